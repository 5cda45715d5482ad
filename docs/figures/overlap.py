#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws when the parts of a gradient were on their way: the last step of a benchmark's output whose
line begins with NAME.

  mpirun -n 2 bench_processes meanflownet 32 6 | overlap.py NAME OUT.png"""
import re
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def read(lines, name):
    """When the backward pass ended, and (numbers, sent, arrived) of each sum, in ms."""
    backward, sums, inside = 0.0, [], False
    for line in lines:
        if not line.startswith(" "):
            inside = line.startswith(name)
        elif inside and (found := re.search(r"backward pass done ([\d.]+)", line)):
            backward = float(found[1])
        elif inside and (found := re.search(r"sum of (\d+) numbers: sent ([\d.]+), arrived ([\d.]+)", line)):
            sums.append((int(found[1]), float(found[2]), float(found[3])))
    return backward, sums


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    backward, sums = read(sys.stdin, sys.argv[1])
    if not sums:
        sys.exit(f"overlap.py: the input has no sums of {sys.argv[1]}")
    figure, axes = pyplot.subplots(figsize=(7.2, 3.4), layout="constrained")
    axes.barh(0, backward, height=0.7, color="0.75")
    axes.text(backward / 2, 0, "forward and back", ha="center", va="center")
    for row, (numbers, sent, arrived) in enumerate(sums, 1):
        axes.barh(row, arrived - sent, left=sent, height=0.7, color="tab:blue")
        axes.text(sent, row, f"{numbers / 1e6:.1f} M ", ha="right", va="center", fontsize=8)
    axes.axvline(backward, color="0.3", linewidth=1)
    axes.invert_yaxis()
    axes.set(xlabel="ms of a step", yticks=[], title="Parts of the gradient on their way between two processes")
    figure.savefig(sys.argv[2], dpi=120)


if __name__ == "__main__":
    main()
