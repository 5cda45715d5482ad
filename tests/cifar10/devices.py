#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cifar10 on its two devices: devices.py PROGRAM CONFIGS_FOLDER

PROGRAM has the host in place of a GPU. What one device has trained the other samples from,
evaluates and resumes.
"""
import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM, CONFIGS = sys.argv[1], Path(sys.argv[2])
SMALL = ["net.base=8", "net.multipliers=[1, 2]", "net.blocks=1", "net.embedding=16",
         "net.condition=16", "train.batch=8", "train.steps=6", "log.every=2", "checkpoint.every=3",
         "sample.every=0", "sample.count=10", "learning_rate.warmup_steps=0", "classifier.width=8",
         "classifier.epochs=1", "classifier.batch=20"]


def run(*command: object, code: int = 0) -> str:
    done = subprocess.run([PROGRAM, *map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def make_data(folder: Path) -> None:
    draw = random.Random(1)
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        with open(folder / f"{name}.bin", "wb") as file:
            for i in range(20):
                file.write(bytes([i % 10]) + draw.randbytes(3072))


def train(device: str, workdir: Path, data: Path, *changes: str) -> Path:
    settings = [part for change in [*SMALL, *changes] for part in ("--set", change)]
    run("train", "--config", CONFIGS / "quick.yaml", "--data", data, "--workdir", workdir, "--quiet",
        "--device", device, *settings)
    return sorted((workdir / "checkpoints").glob("*.safetensors"))[-1]


def floats(path: Path) -> list[float]:
    content = path.read_bytes()
    start = 10 + struct.unpack("<H", content[8:10])[0]
    return list(struct.unpack(f"<{(len(content) - start) // 4}f", content[start:]))


def sampled(device: str, checkpoint: Path, folder: Path, *options: str) -> list[float]:
    run("sample", "--checkpoint", checkpoint, "--device", device, "--out", folder / "s.png", "--npy",
        folder / "s.npy", "--count", 6, "--batch", 4, *options)
    return floats(folder / "s.npy")


def largest_difference(a: list[float], b: list[float]) -> float:
    assert len(a) == len(b) and len(a) > 0
    return max(abs(x - y) for x, y in zip(a, b))


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cifar10-devices-"))
    try:
        data = folder / "data"
        make_data(data)
        checkpoints = {device: train(device, folder / device, data) for device in ("cpu", "cuda")}
        for checkpoint in checkpoints.values():
            for options in ([], ["--nfe", "3"], ["--guidance", "2"], ["--average", "-1"]):
                on_cpu = sampled("cpu", checkpoint, folder, *options)
                on_cuda = sampled("cuda:0", checkpoint, folder, *options)
                assert max(map(abs, on_cpu)) > 0.1
                assert largest_difference(on_cpu, on_cuda) < 1e-3, options

        # Each resumes from what the other has left.
        ends = []
        for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
            workdir = folder / f"{first}-{second}"
            train(first, workdir, data, "train.steps=3")
            train(second, workdir, data)
            ends.append(sampled("cpu", workdir, folder))
        assert largest_difference(*ends) < 1e-2, largest_difference(*ends)

        found = {}
        for device in ("cpu", "cuda"):
            out = folder / f"{device}.json"
            run("evaluate", "--checkpoint", checkpoints["cpu"], "--data", data, "--count", 20, "--nfe",
                "1,2", "--out", out, "--device", device)
            found[device] = [row["classifier_frechet_distance"]
                             for row in json.loads(out.read_text())["results"]]
        assert largest_difference(found["cpu"], found["cuda"]) < 1e-3 * max(found["cpu"]), found

        for device, part in (("cuda:7", "there is no GPU number 7"), ("gpu", "is not cpu, cuda")):
            message = run("sample", "--checkpoint", checkpoints["cpu"], "--device", device, code=2)
            assert message.startswith("cifar10: ") and part in message, message
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("cifar10: sample, evaluate and train on either device from what the other has left")


main()
