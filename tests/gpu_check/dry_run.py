#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""All stages of gpu-check with the host in place of a GPU: dry_run.py SOURCE BUILD

Packs the programs of a build, goes with the pack into an empty folder, and runs every stage at small
sizes there. MEANFLOW_PEER_DIR may name the peer's own nets and losses.
"""
import io
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path

SOURCE, BUILD = Path(sys.argv[1]), Path(sys.argv[2])
HERE = Path(__file__).resolve().parent


def find_python() -> tuple[str, bool]:
    """One that has PyTorch, if there is one, and whether it has."""
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import torch, matplotlib"], capture_output=True).returncode == 0:
            return python, True
    return sys.executable, False


PYTHON, HAS_PEER = find_python()


def png(draw: random.Random) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    lines = b"".join(b"\0" + draw.randbytes(32 * 3) for _ in range(32))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def make_data(path: Path) -> None:
    draw = random.Random(1)
    with tarfile.open(path, "w") as tar:
        for i in range(60):
            content = png(draw)
            entry = tarfile.TarInfo(f"train/class{i % 3}/{i}.png")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


class Pack:
    def __init__(self, folder: Path):
        self.folder = folder
        data = folder / "data.tar"
        make_data(data)
        peer = os.environ.get("MEANFLOW_PEER_DIR") or HERE / "peer"
        made = subprocess.run([PYTHON, SOURCE / "scripts/gpu-check", "pack", "--host", "--build", BUILD, "--to",
                               folder / "pack", "--data", data, "--peer", peer], capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        print(made.stdout.strip())
        self.tmp = folder / "tmp"  # so that nothing is left of this run, and nothing found of others
        self.tmp.mkdir()

    def command(self, stage: str, *options: str) -> list[str]:
        return [PYTHON, str(self.folder / "pack/gpu-check"), stage, "--small", "--out",
                str(self.folder / "out"), *options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.tmp)}

    def run(self, stage: str, *options: str) -> subprocess.CompletedProcess:
        start = time.monotonic()
        done = subprocess.run(self.command(stage, *options), capture_output=True, text=True,
                              env=self.environment(), cwd=self.tmp)
        print(f"{stage}: {time.monotonic() - start:.0f} s, status {done.returncode}", flush=True)
        return done

    def results(self, stage: str) -> list[dict]:
        lines = (self.folder / "out/results.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["stage"] == stage]

    def report(self) -> str:
        return (self.folder / "out/report.md").read_text()


def passes(pack: Pack, stage: str, *options: str) -> list[dict]:
    done = pack.run(stage, *options)
    log = (pack.folder / "out/log.txt").read_text()[-3000:]
    assert done.returncode == 0, (stage, done.stdout[-3000:], done.stderr[-2000:], log)
    results = pack.results(stage)
    assert results and not [row for row in results if "why_not" in row], results
    assert f"## {stage}\n" in pack.report()
    return results


def children_of(pack: Pack) -> list[str]:
    """Processes of programs of the pack."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "exe").startswith(str(pack.tmp)):
                found.append(path.name)
        except OSError:  # it has ended, or is somebody else's
            pass
    return found


def check_clock(pack: Pack) -> None:
    """A stage whose time is over, or that is killed, leaves what it has, and fails."""
    done = pack.run("bench", "--seconds", "3")
    assert not children_of(pack)
    assert done.returncode == 1 and "is missing" in done.stderr, (done.returncode, done.stderr[-500:])
    assert "Missing in the stage bench: " in pack.report()

    for how, status in ((signal.SIGTERM, 1), (signal.SIGKILL, -9)):
        (pack.folder / "out/results.jsonl").unlink()
        process = subprocess.Popen(pack.command("bench"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True, env=pack.environment())
        first = json.loads(process.stdout.readline())
        process.send_signal(how)
        assert process.wait() == status, (how, process.returncode)
        if how == signal.SIGTERM:
            assert not children_of(pack)
        for pid in children_of(pack):  # SIGKILL leaves what it was about, as part of its session
            os.kill(int(pid), signal.SIGKILL)
        assert pack.results("bench")[0] == first
        assert first["name"] in pack.report() and "Missing in the stage bench: " in pack.report()


def check_stages(pack: Pack) -> None:
    assert len(passes(pack, "ceilings")) == 3
    names = {row["name"] for row in passes(pack, "tests")}
    assert names >= {"gpu_tests", "gpu_tests, debug memory", "gpu_parity, small, debug memory"}, names
    most = ["--only", "meanflow_75|sampling"]
    results = {row["name"]: row for row in passes(pack, "bench", "--again", *most)}
    known = len(pack.results("bench"))
    step = "sampling/mlp_256x4/8"
    again = passes(pack, "bench", "--again", "--only", f"^{step}$")
    assert [row["name"] for row in again[known:]] == [step], again[known:]
    assert pack.run("bench", *most).returncode == 0
    assert len(pack.results("bench")) == known + 1  # all are known
    assert results["training_step/songunet/meanflow_75/8"]["value"] > 0
    assert "profile of training_step/mlp_256x4/meanflow_75/8" in results
    profile = (pack.folder / "out/profile.csv").read_text().splitlines()
    assert profile[0] == "step,microseconds,calls,elements,name" and len(profile) > 5, profile
    if HAS_PEER:
        names = {row["name"] for row in passes(pack, "peer")}
        assert "training_step/songunet/meanflow_75/8" in names, names
        assert "| eager+" in pack.report().replace("form | ratio", ""), pack.report()
    else:
        print("peer: not run, since no Python here has PyTorch and Matplotlib")


def check_training(pack: Pack) -> None:
    """The training run outlives the stage that started it."""
    assert passes(pack, "train", "--for", "60")[0]["unit"] == "rows/s"
    log = next(pack.tmp.glob("meanflow-gpu-check-*/training/log.csv"))
    before = len(log.read_text().splitlines())
    end = time.monotonic() + 50  # the training itself stops after 60 s
    while len(log.read_text().splitlines()) == before and time.monotonic() < end:
        time.sleep(0.1)
    assert len(log.read_text().splitlines()) > before
    done = pack.run("collect")
    names = {row["name"] for row in pack.results("collect") if "why_not" not in row}
    wanted = {"end of training", "steps", "rows/s", "grid"}
    assert wanted <= names, (names, done.stderr, done.stdout)
    last = max((log.parent / "checkpoints").glob("*.safetensors"))
    assert int(last.stem.split("-")[-1]) == int(log.read_text().splitlines()[-1].split(",")[0])
    assert any(name.startswith("Frechet distance at") for name in names), names
    assert done.returncode == (0 if HAS_PEER else 1), done.stderr  # the curve needs Matplotlib
    shown = ["grid.png", "training.csv", *(["curve.png"] if HAS_PEER else [])]
    assert all((pack.folder / "out" / name).stat().st_size > 0 for name in shown)
    after = log.read_text()
    time.sleep(0.5)
    assert log.read_text() == after  # it has been stopped


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    try:
        pack = Pack(folder)
        check_clock(pack)
        check_stages(pack)
        check_training(pack)
        assert len(list((folder / "out").iterdir())) <= 8
    finally:
        if os.environ.get("KEEP"):
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print("gpu-check: every stage runs from its pack, by its own clock")


main()
