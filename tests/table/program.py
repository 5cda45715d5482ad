#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program table from end to end: program.py TABLE"""
import math
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TABLE = Path(sys.argv[1]).resolve()


def run(folder, *arguments):
    return subprocess.run([TABLE, *arguments], cwd=folder, capture_output=True, text=True)


def curve(pressure):
    return 0.01 + 0.004 * math.sin((pressure - 1000) / 5000 * 2 * math.pi)


def row(draw):
    """Columns of different units: a curve, and two groups."""
    pressure = draw.uniform(1000, 6000)
    rate = curve(pressure) + draw.gauss(0, 0.0005)
    return pressure, rate, draw.gauss(-3, 0.5) if draw.random() < 0.35 else draw.gauss(4, 0.8)


def main():
    draw = random.Random(7)
    rows = [row(draw) for _ in range(2000)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = "".join(",".join(map(str, numbers)) + "\n" for numbers in rows)
        (folder / "mine.csv").write_text("pressure,rate,signal\n" + text)
        done = run(folder, "mine.csv", "new.csv")
        assert done.returncode == 0, done.stderr
        names, *lines = (folder / "new.csv").read_text().splitlines()
        assert names == "pressure,rate,signal" and len(lines) == 2000
        new = [tuple(map(float, line.split(","))) for line in lines]
        for column, found in zip(zip(*rows), zip(*new)):
            deviation = statistics.stdev(column)
            assert abs(statistics.mean(found) - statistics.mean(column)) < 0.1 * deviation
            assert abs(statistics.stdev(found) - deviation) < 0.1 * deviation
        # The columns belong together: shuffled ones would miss the curve several times as far.
        misses = [abs(rate - curve(pressure)) for pressure, rate, _ in new]
        assert statistics.median(misses) < 0.0006, statistics.median(misses)
        between = sum(-1 < signal < 1 for _, _, signal in new) / len(new)
        assert between < 0.03, between
        share = sum(signal < 0 for _, _, signal in new) / len(new)
        expected = sum(signal < 0 for _, _, signal in rows) / len(rows)
        assert abs(share - expected) < 0.03, (share, expected)
        print(f"{share:.3f} in the smaller group, {expected:.3f} in the data; misses {statistics.median(misses):.1e}")
        missing = run(folder, "none.csv", "new.csv")
        assert missing.returncode == 1 and "none.csv" in missing.stderr, missing.stderr
    print("ok")


main()
