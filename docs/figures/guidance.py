#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws what guidance as an input does to samples: own_guidance_input | guidance.py OUT.png"""
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def read(lines):
    """(omega, own class, precision, recall) of each line whose interval is all of [0, 1]."""
    rows = [line.replace("[", " ").replace("]", " ").replace(",", " ").split() for line in lines]
    numbers = [[float(word) for word in row] for row in rows if row and row[0][0].isdigit()]
    return [(omega, *measures) for omega, t_min, t_max, *measures in numbers if (t_min, t_max) == (0, 1)]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = read(sys.stdin)
    if not found:
        sys.exit("guidance.py: the input has no line of measures")
    omega, *measures = zip(*found)
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    for name, values in zip(("nearest to its own class", "precision", "recall"), measures):
        axes.plot(omega, values, marker="o", markersize=4, label=name)
    axes.set(xscale="log", xlabel="omega", ylim=(0, 1.05), title="Four overlapping classes in 2-D, one step")
    axes.set_xticks(omega, [f"{value:g}" for value in omega])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(sys.argv[1], dpi=120)


if __name__ == "__main__":
    main()
