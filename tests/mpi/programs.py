#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs in several processes: programs.py CIFAR10 CONFIGS_FOLDER TOY2D MPIEXEC FLAG"""
import json
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "cifar10"))
from common import (PROGRAM, arguments, last_checkpoint, logged_steps, make_data, npy_shape, train_command,  # noqa: E402
                    wait_for)

TOY2D, MPIEXEC, FLAG = sys.argv[3:6]


def start(processes: int, *command: object, program: str = PROGRAM) -> subprocess.Popen[str]:
    return subprocess.Popen([MPIEXEC, FLAG, str(processes), program, *map(str, command)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(running: subprocess.Popen[str], code: int = 0) -> str:
    out, err = running.communicate(timeout=120)
    assert (running.returncode == 0) == (code == 0), (running.args, running.returncode, out, err)
    return out + err


def run(processes: int, *command: object, code: int = 0, program: str = PROGRAM) -> str:
    return finish(start(processes, *command, program=program), code)


def close(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) <= tolerance * max(abs(a), abs(b))


def column(workdir: Path, name: str) -> list[float]:
    head, *lines = (line.split(",") for line in (workdir / "log.csv").read_text().splitlines())
    return [float(line[head.index(name)]) for line in lines]


def numbers(path: Path) -> tuple[float, ...]:
    data = path.read_bytes()
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack(f"<{(len(data) - begin) // 4}f", data[begin:])


def check_training(folder: Path, data: Path) -> None:
    changes = ["train.label_dropout.rate=0.2", "guidance.omega=1.5", "data.flip=true", "train.steps=40"]
    for processes in (1, 4):
        workdir = folder / f"of-{processes}"
        text = run(processes, *train_command(workdir, data, changes))
        assert text.strip() == "" or "warning" in text, text
        assert logged_steps(workdir) == list(range(5, 41, 5))
    for a, b in zip(column(folder / "of-1", "loss"), column(folder / "of-4", "loss")):
        assert close(a, b, 1e-4), (a, b)
    # Two go on where four have stopped, each with half of Adam's moments, and a log of its own.
    text = run(2, *train_command(folder / "of-4", data, [*changes, "train.steps=50", "train.shard_optimizer=true",
                                                         "log.each_process=true"]))
    assert text.count("resuming from step 40") == 1, text
    for rank in range(2):
        head, *lines = (folder / "of-4" / f"log-process-{rank}.csv").read_text().splitlines()
        assert head == "step,loss,seconds,waited" and [line.split(",")[0] for line in lines] == ["45", "50"], lines
    assert last_checkpoint(folder / "of-4").name == "checkpoint-000000050.safetensors"


def check_samples(folder: Path) -> None:
    for processes in (1, 3):
        text = run(processes, "sample", "--checkpoint", folder / "of-1", "--count", 10, "--out",
                   folder / f"{processes}.png", "--npy", folder / f"{processes}.npy", "--threads", 1)
        assert text.count("10 pictures in 1 step") == 1, text
    assert npy_shape(folder / "3.npy") == (10, 32, 32, 3)
    for a, b in zip(numbers(folder / "1.npy"), numbers(folder / "3.npy")):
        assert abs(a - b) < 1e-4, (a, b)


def check_evaluation(folder: Path, data: Path) -> None:
    found = []
    for processes in (1, 2):
        out = folder / f"{processes}.json"
        text = run(processes, "evaluate", "--checkpoint", folder / "of-1", "--data", data, "--count", 40, "--nfe",
                   "1,2", "--out", out, "--threads", 1)
        assert text.count("40 samples in 2 steps") == 1, text
        found.append(json.loads(out.read_text()))
    for one, two in zip(found[0]["results"], found[1]["results"]):
        assert close(one["classifier_frechet_distance"], two["classifier_frechet_distance"], 1e-3), (one, two)
        assert one["class_agreement"] == two["class_agreement"], (one, two)


def check_refusals(folder: Path, data: Path) -> None:
    """Each is said once, and nobody waits for ever."""
    text = run(3, *train_command(folder / "refused", data, ["train.bacth=3"]), code=2)
    assert text.count("cifar10: ") == 1 and "did you mean train.batch" in text, text
    text = run(3, *train_command(folder / "refused", data, []), code=2)  # 8 rows
    assert text.count("cifar10: ") == 1 and "must be a multiple of the number of processes, 3" in text, text
    text = run(2, *train_command(folder / "refused", folder / "nowhere", []), code=2)
    assert text.count("cifar10: ") == 1 and "nowhere" in text, text
    # Processes that are told different things, as when machines hold different files.
    command = train_command(folder / "refused", data, [])
    text = finish(subprocess.Popen(
        [MPIEXEC, FLAG, "1", PROGRAM, *command, ":", FLAG, "1", PROGRAM, *command, *arguments(["train.seed=3"])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), code=2)
    assert "this process is configured otherwise than the root: train.seed" in text, text


def check_stopping(folder: Path, data: Path) -> None:
    workdir = folder / "stopped"
    command = train_command(workdir, data, ["train.steps=5000", "checkpoint.every=10"])
    running = start(2, *command)
    wait_for(workdir / "checkpoints" / "checkpoint-000000010.safetensors")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    done = int(last_checkpoint(workdir).stem.split("-")[1])
    assert done < 5000 and logged_steps(workdir)[-1] == done, (done, logged_steps(workdir))
    text = run(2, *train_command(workdir, data, [f"train.steps={done + 10}"]))
    assert f"resuming from step {done}" in text, text


def check_full_disk(folder: Path, data: Path) -> None:
    """The root cannot write a checkpoint: all end, and nothing half-written is left."""
    workdir = folder / "full"
    command = train_command(workdir, data, ["checkpoint.every=10"])
    limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh", PROGRAM, *command]  # blocks of 512 bytes
    text = finish(subprocess.Popen([MPIEXEC, FLAG, "1", *limited, ":", FLAG, "1", PROGRAM, *command],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), code=2)
    assert "cifar10: " in text and "checkpoint-000000010" in text, text
    assert not list((workdir / "checkpoints").iterdir()), list((workdir / "checkpoints").iterdir())
    run(2, *train_command(workdir, data, ["checkpoint.every=10", "train.steps=20"]))


def check_toy2d(folder: Path) -> None:
    text = run(2, "--steps", 60, "--hidden", 16, "--samples", 50, "--out", folder / "toy2d", "--quiet", program=TOY2D)
    assert text.count("written to") == 1, text
    assert (folder / "toy2d" / "samples.png").exists()
    text = run(2, "--steps", 60, "--data", folder / "none.npy", program=TOY2D, code=2)
    assert text.count("toy2d: ") == 1, text
    assert run(2, "--help", program=TOY2D).count("Usage") == 1


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    make_data(folder / "data")
    for check in (check_training, check_stopping, check_refusals, check_full_disk):
        check(folder, folder / "data")
    check_samples(folder)
    check_evaluation(folder, folder / "data")
    check_toy2d(folder)
