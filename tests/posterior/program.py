#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program posterior from end to end: program.py POSTERIOR"""
import ast
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

POSTERIOR = sys.argv[1]
SMALL = ["--simulations", "400", "--observations", "2", "--samples", "300", "--steps", "40", "--batch", "64",
         "--hidden", "16", "--layers", "2", "--quiet"]
PARAMETERS = {"gaussian_linear": 10, "gaussian_mixture": 2, "two_moons": 2, "slcp": 5}
BOUND = {"gaussian_linear": math.inf, "gaussian_mixture": 10, "two_moons": 1, "slcp": 3}


def run(*arguments, status=0):
    done = subprocess.run([POSTERIOR, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def load(path):
    """Shape and numbers of an array."""
    content = path.read_bytes()
    (length,) = struct.unpack("<H", content[8:10])
    header = ast.literal_eval(content[10:10 + length].decode())
    kind = {"<f4": "f", "<f8": "d"}[header["descr"]]
    count = math.prod(header["shape"])
    return header["shape"], struct.unpack(f"<{count}{kind}", content[10 + length:])


def rows(path):
    """The draws of each observation."""
    (observations, samples, dim), numbers = load(path)
    draws = [numbers[i:i + dim] for i in range(0, len(numbers), dim)]
    return [draws[i * samples:(i + 1) * samples] for i in range(observations)]


def check_all(folder):
    out = folder / "all"
    done = run("--task", "all", "--euler", "--out", out, *SMALL)
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["tasks"]) == set(PARAMETERS)
    for task, dim in PARAMETERS.items():
        assert task in done.stdout, done.stdout
        found = metrics["tasks"][task]
        for name in ("c2st", "c2st_euler"):
            assert len(found[name]) == 2 and all(0.4 < value <= 1 for value in found[name]), found
        assert found["samples_per_second"] > 0 and found["samples_per_second_euler"] > 0
        for name in ("samples", "reference"):
            shape, numbers = load(out / task / f"{name}.npy")
            assert shape == (2, 300, dim), shape
            assert all(abs(value) <= BOUND[task] for value in numbers), (task, name)
        assert (out / task / "samples.png").exists() == (dim == 2)


def check_references(folder):
    """What is drawn as the reference fits the observation."""
    out = folder / "all"
    x = load(out / "gaussian_linear" / "observations.npy")[1]
    for i, draws in enumerate(rows(out / "gaussian_linear" / "reference.npy")):
        for d in range(10):  # N(x / 2, 0.05)
            mean = sum(row[d] for row in draws) / len(draws)
            assert abs(mean - x[10 * i + d] / 2) < 5 * math.sqrt(0.05 / len(draws))
            square = sum((row[d] - mean) ** 2 for row in draws) / len(draws)
            assert 0.03 < square < 0.075, square
    x = load(out / "two_moons" / "observations.npy")[1]
    for i, draws in enumerate(rows(out / "two_moons" / "reference.npy")):
        for a, b in draws:  # p = (r cos a + 0.25, r sin a) again, r ~ N(0.1, 0.01^2), cos a > 0
            p = x[2 * i] + abs(a + b) / math.sqrt(2) - 0.25, x[2 * i + 1] - (b - a) / math.sqrt(2)
            assert p[0] > -1e-5 and abs(math.hypot(*p) - 0.1) < 0.06, p
    for draws in rows(out / "slcp" / "reference.npy"):
        for sign in (1, -1):
            for d in (2, 3):  # each of the four modes has its share
                assert 0.35 < sum(sign * row[d] > 0 for row in draws) / len(draws) < 0.65


def check_same_seed(folder):
    for name in ("first", "second"):
        run("--task", "two_moons", "--threads", 1, "--out", folder / name, *SMALL)
    first, second = (folder / name / "two_moons" / "samples.npy" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def check_refusals(folder):
    assert "--task" in run("--task", "three_moons", status=2).stderr
    assert "--simulations" in run("--simulations", 3, status=2).stderr
    blocked = folder / "file"
    blocked.write_text("")
    assert run("--out", blocked, *SMALL, status=2).stderr.startswith("posterior: ")


with tempfile.TemporaryDirectory() as name:
    for check in (check_all, check_references, check_same_seed, check_refusals):
        check(Path(name))
print("posterior: from simulations to samples")
