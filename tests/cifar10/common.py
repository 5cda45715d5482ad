# SPDX-License-Identifier: MIT
"""What the tests of the program share: how it is run and refuses, and small data sets."""
import ast
import random
import struct
import subprocess
import sys
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
    if "resuming" not in message:
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


def train_command(workdir: Path, data: Path, changes: list[str],
                  base: list[str] = SMALL) -> list[str]:
    return ["train", "--config", str(CONFIGS / "quick.yaml"), "--data", str(data), "--workdir",
            str(workdir), "--quiet", "--threads", "2", *arguments(base + changes)]


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
    assert lines[0].startswith("step,loss,squared_error,velocity_error,jvp_norm"), lines[0]
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


def fresh_training(workdir: Path, data: Path, changes: list[str], base: list[str] = SMALL) -> bytes:
    """Trains a few steps of a small net and gives the bytes of its numbers. Two would not do: the
    last layer begins with zeros, so that the first step sees no derivatives."""
    run(*train_command(workdir, data, ["train.steps=3", "learning_rate.warmup_steps=0", *changes],
                       base))
    content = last_checkpoint(workdir).read_bytes()
    return content[8 + struct.unpack("<Q", content[:8])[0]:]


def write_npy(path: Path, kind: str, shape: tuple[int, ...], content: bytes) -> None:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content)
