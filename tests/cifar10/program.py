#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cifar10 from end to end on a data set made here: program.py PROGRAM CONFIGS_FOLDER

Trains, is killed, goes on, is stopped politely, samples, evaluates, and refuses bad input.
"""
import ast
import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM, CONFIGS = sys.argv[1], Path(sys.argv[2])
SMALL = ["net.base=8", "net.multipliers=[1, 2]", "net.blocks=1", "net.embedding=16",
         "net.condition=16", "train.batch=8", "train.steps=60", "log.every=5", "checkpoint.every=20",
         "checkpoint.keep=3", "sample.every=0", "sample.count=10", "classifier.width=8",
         "classifier.epochs=2", "classifier.batch=20"]


def arguments(changes: list[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


def run(*command: str, code: int = 0) -> str:
    done = subprocess.run([PROGRAM, *map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (command, done.returncode, done.stdout, done.stderr)
    return done.stderr if code else done.stdout + done.stderr


def refused(part: str, *command: str, code: int = 2) -> None:
    message = run(*command, code=code)
    last = message.strip().splitlines()[-1]
    assert last.startswith("cifar10: ") and part in last, (command, message)
    if "going on" not in message:
        assert len(message.strip().splitlines()) == 1, message


def make_data(folder: Path) -> None:
    """Classes are colours, with noise: a small classifier can tell them apart."""
    draw = random.Random(1)
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        with open(folder / f"{name}.bin", "wb") as file:
            for i in range(40):
                label = i % 10
                planes = [(37 * label) % 200, (91 * label) % 200, (151 * label) % 200]
                noise = draw.randbytes(3072)
                file.write(bytes([label]) + bytes(
                    planes[j // 1024] + noise[j] % 50 for j in range(3072)))


def train_command(workdir: Path, data: Path, changes: list[str]) -> list[str]:
    return ["train", "--config", str(CONFIGS / "quick.yaml"), "--data", str(data), "--workdir",
            str(workdir), "--quiet", "--threads", "2", *arguments(SMALL + changes)]


def last_checkpoint(workdir: Path) -> Path:
    return sorted((workdir / "checkpoints").glob("checkpoint-*.safetensors"))[-1]


def wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} does not appear")


def logged_steps(workdir: Path) -> list[int]:
    lines = (workdir / "log.csv").read_text().splitlines()
    assert lines[0].startswith("step,loss,squared_error,velocity_error,derivative_norm"), lines[0]
    return [int(line.split(",")[0]) for line in lines[1:]]


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    return struct.unpack(">II", data[16:24])


def npy_shape(path: Path) -> tuple[int, ...]:
    data = path.read_bytes()
    assert data[:6] == b"\x93NUMPY", path
    length = struct.unpack("<H", data[8:10])[0]
    return ast.literal_eval(data[10:10 + length].decode())["shape"]


def check_resuming(folder: Path, data: Path) -> Path:
    whole, killed, stopped = folder / "whole", folder / "killed", folder / "stopped"
    run(*train_command(whole, data, []))
    assert logged_steps(whole) == list(range(5, 65, 5))
    assert (whole / "samples" / "step-000060.png").exists()
    assert list((whole / "tensorboard").glob("events.out.tfevents.*"))
    assert "batch: 8" in (whole / "config.yaml").read_text()
    assert "nothing to do" in run(*train_command(whole, data, []))

    # SIGKILL after the first checkpoint; more steps than needed, so that it cannot be too late.
    process = subprocess.Popen([PROGRAM, *train_command(killed, data, ["train.steps=100000"])],
                               stderr=subprocess.DEVNULL)
    wait_for(killed / "checkpoints" / "checkpoint-000000020.safetensors")
    process.send_signal(signal.SIGKILL)
    process.wait()
    for late in (killed / "checkpoints").glob("checkpoint-*.safetensors"):
        if int(late.name[11:20]) >= 60:
            late.unlink()
    assert "going on from step" in run(*train_command(killed, data, ["log.every=3"]))
    assert logged_steps(killed)[-1] == 60

    process = subprocess.Popen([PROGRAM, *train_command(stopped, data, ["train.steps=100000"])],
                               stderr=subprocess.PIPE, text=True)
    wait_for(stopped / "log.csv")
    wait_for(stopped / "checkpoints" / "checkpoint-000000020.safetensors")
    process.send_signal(signal.SIGTERM)
    message = process.communicate()[1]
    assert process.returncode == 0 and "stopped and saved at step" in message, message
    at = int(last_checkpoint(stopped).name[11:20])
    assert f"at step {at};" in message, (at, message)
    if at < 60:
        run(*train_command(stopped, data, []))

    # Bit for bit, but for the settings that may differ.
    expected = last_checkpoint(whole)
    run(*train_command(killed, data, ["train.steps=61"]))
    run(*train_command(whole, data, ["train.steps=61"]))
    assert last_checkpoint(whole).name == "checkpoint-000000061.safetensors"
    assert last_checkpoint(whole).read_bytes() == last_checkpoint(killed).read_bytes()
    if at < 60:
        assert last_checkpoint(stopped).read_bytes() == expected.read_bytes()

    refused("holds another training: train.batch is 4, not 8",
            *train_command(whole, data, ["train.batch=4"]))
    return last_checkpoint(whole)


def check_not_finite(folder: Path, data: Path) -> None:
    workdir = folder / "diverged"
    changes = ["checkpoint.every=1", "learning_rate.warmup_steps=0"]
    run(*train_command(workdir, data, [*changes, "train.steps=2"]))
    before = last_checkpoint(workdir).read_bytes()
    refused("not finite", *train_command(workdir, data, [
        "checkpoint.every=0", "learning_rate.warmup_steps=0", "learning_rate.peak=1e+30",
        "learning_rate.decay=constant"]), code=1)
    assert last_checkpoint(workdir).read_bytes() == before


def check_samples(folder: Path, checkpoint: Path) -> None:
    def sample(name: str, *options: str) -> Path:
        run("sample", "--checkpoint", checkpoint, "--out", folder / f"{name}.png", "--npy",
            folder / f"{name}.npy", *options)
        return folder / f"{name}.npy"

    first = sample("a", "--count", "20", "--seed", "5", "--batch", "8")
    assert npy_shape(first) == (20, 32, 32, 3)
    assert png_size(folder / "a.png") == (2 * 34 + 2, 10 * 34 + 2)  # one class to a row
    again = sample("b", "--count", "20", "--seed", "5", "--batch", "8")
    assert first.read_bytes() == again.read_bytes()
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    differing = [sample("c", "--count", "20", "--seed", "6", "--batch", "8"),
                 sample("d", "--count", "20", "--seed", "5", "--batch", "8", "--nfe", "2"),
                 sample("e", "--count", "20", "--seed", "5", "--batch", "8", "--average", "-1"),
                 sample("f", "--count", "20", "--seed", "5", "--batch", "8", "--guidance", "3"),
                 sample("g", "--count", "20", "--seed", "5", "--batch", "8", "--class", "4")]
    assert len({path.read_bytes() for path in [first, *differing]}) == 6
    assert png_size(folder / "g.png") == (5 * 34 + 2, 4 * 34 + 2)
    refused("--class is 10", "sample", "--checkpoint", checkpoint, "--class", "10")
    refused("--average is 1", "sample", "--checkpoint", checkpoint, "--average", "1")


def check_evaluation(folder: Path, checkpoint: Path, data: Path) -> None:
    out = folder / "measures.json"
    command = ["evaluate", "--checkpoint", checkpoint.parent.parent, "--data", data, "--count", "40", "--nfe",
               "1,2", "--out", out]
    text = run(*command)
    assert "not the FID" in text and "test accuracy" in text, text
    measures = json.loads(out.read_text())
    assert "not the FID" in measures["measure"]
    assert measures["count"] == 40 and measures["step"] == 61
    assert measures["classifier"]["test_accuracy"] > 0.5, measures
    assert [row["nfe"] for row in measures["results"]] == [1, 2]
    for row in [measures["floor"], *measures["results"]]:
        assert set(row["classifier_kernel_distance"]) == {"mean", "standard_deviation"}
        assert row["classifier_frechet_distance"] > -1e-3
    assert all(0 <= row["class_agreement"] <= 1 for row in measures["results"])
    assert measures["floor"]["classifier_frechet_distance"] < min(
        row["classifier_frechet_distance"] for row in measures["results"])
    assert (checkpoint.parent.parent / "classifier.safetensors").exists()
    assert "training the classifier" not in run(*command)
    assert json.loads(out.read_text()) == measures
    refused("trained with classifier.epochs 2, not 3", *command, "--set", "classifier.epochs=3")
    refused("settings of evaluate and classifier alone", *command, "--set", "train.batch=3")


def check_information(checkpoint: Path) -> None:
    text = run("info", "--checkpoint", checkpoint)
    assert "step 61" in text and "multiply-adds per picture" in text, text
    assert "down.0.blocks.0.conv1.weight" in text, text
    assert run("info", "--checkpoint", checkpoint.parent.parent) == text
    assert "batch: 7\n" in run("info", "--checkpoint", checkpoint, "--set", "train.batch=7")
    assert "2.03 G" in run("info", "--config", CONFIGS / "meanflownet.yaml")


def check_refusals(folder: Path, data: Path, checkpoint: Path) -> None:
    refused("did you mean train.batch?", *train_command(folder / "x", data, ["train.bacth=4"]))
    refused("none.yaml: cannot be read", "info", "--config", folder / "none.yaml")
    refused("data_batch_1.bin", *train_command(folder / "x", folder / "none", []))
    broken = folder / "broken.safetensors"
    broken.write_bytes(checkpoint.read_bytes()[:1000])
    refused("broken.safetensors", "sample", "--checkpoint", broken)
    refused("is no checkpoint of cifar10 train", "sample", "--checkpoint",
            checkpoint.parent.parent / "classifier.safetensors")
    refused("has no checkpoints", "sample", "--checkpoint", data)
    refused("--config", "train")
    refused("--config or --checkpoint", "info")
    refused("subcommand", "--threads", "2")
    refused("--nfe", "sample", "--checkpoint", checkpoint, "--nfe", "0")
    assert not (folder / "x").exists()


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cifar10-"))
    try:
        data = folder / "data"
        make_data(data)
        checkpoint = check_resuming(folder, data)
        check_not_finite(folder, data)
        check_samples(folder, checkpoint)
        check_evaluation(folder, checkpoint, data)
        check_information(checkpoint)
        check_refusals(folder, data, checkpoint)
        assert "evaluate" in run("--help") and "--checkpoint" in run("sample", "--help")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("cifar10: train, kill, resume, stop, sample, evaluate, info, refusals: as expected")


main()
