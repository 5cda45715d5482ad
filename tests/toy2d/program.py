#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program toy2d from end to end: program.py TOY2D"""
import ast
import json
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

TOY2D = sys.argv[1]
SMALL = ["--steps", "30", "--batch", "64", "--hidden", "16", "--layers", "2", "--samples", "300", "--quiet"]


def run(*arguments, status=0):
    done = subprocess.run([TOY2D, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def load(path):
    """The rows of an N x 2 array of floats."""
    content = path.read_bytes()
    (length,) = struct.unpack("<H", content[8:10])
    header = ast.literal_eval(content[10:10 + length].decode())
    assert header["descr"] == "<f4" and header["shape"][1] == 2, header
    numbers = struct.unpack(f"<{header['shape'][0] * 2}f", content[10 + length:])
    return list(zip(numbers[::2], numbers[1::2]))


def check_named_set(folder):
    out = folder / "moons"
    done = run("--dataset", "two_moons", "--baseline-steps", 10, "--out", out, *SMALL)
    assert "precision" in done.stdout and "fresh data" in done.stdout, done.stdout
    metrics = json.loads((out / "metrics.json").read_text())
    for name in ("energy_distance", "precision", "recall"):
        assert set(metrics[name]) == {"1", "2", "4"}, metrics
    assert 0.8 < metrics["fresh_data"]["precision"] <= 1
    assert all((out / f"{name}.png").stat().st_size > 1000 for name in ("samples", "paths", "loss"))
    assert len(load(out / "samples_2.npy")) == 300
    again = folder / "again.npy"
    run("sample", "--model", out / "model.safetensors", "--count", 300, "--nfe", 2, "--out", again)
    assert load(again) == load(out / "samples_2.npy")


def check_file(folder):
    """Samples come in the units of the file, however different those of its columns are."""
    draw = random.Random(1)
    rows = [(5000 + draw.gauss(0, 1000), draw.gauss(0, 1e-3)) for _ in range(1000)]
    table = folder / "table.csv"
    table.write_text("far,near\n" + "".join(f"{x},{y}\n" for x, y in rows))
    for coupling in ("independent", "sinkhorn"):
        out = folder / coupling
        run("--data", table, "--coupling", coupling, "--coupling-block", 32, "--out", out, *SMALL)
        samples = load(out / "samples_1.npy")
        mean = sum(x for x, _ in samples) / len(samples)
        assert 3000 < mean < 7000, mean
        assert max(abs(y) for _, y in samples) < 0.1


def check_refusals(folder):
    assert "--coupling" in run("--coupling", "cupid", status=2).stderr
    broken = folder / "broken.csv"
    broken.write_text("1,2\n3,apple\n")
    assert "line 2, column 2: 'apple' is not a number." in run("--data", broken, status=2).stderr
    wide = folder / "wide.csv"
    wide.write_text("1,2,3\n4,5,6\n")
    assert "has 3 columns, expected 2" in run("--data", wide, status=2).stderr
    few = folder / "few.csv"
    few.write_text("1,2\n3,4\n" * 10)
    assert "2 are too few; give 40 or more" in run("--data", few, status=2).stderr
    other = folder / "other.safetensors"
    other.write_bytes(struct.pack("<Q", 2) + b"{}")
    assert "is not a model" in run("sample", "--model", other, status=2).stderr


with tempfile.TemporaryDirectory() as name:
    for check in (check_named_set, check_file, check_refusals):
        check(Path(name))
print("toy2d: from data to samples")
