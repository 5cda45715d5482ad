#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns statistics of the Inception network that other programs keep in NPZ files (mu and sigma, as
most name them) into the safetensors file that `cifar10 evaluate --inception ... --reference` reads.
Needs numpy.

    convert_statistics.py statistics.npz statistics.safetensors --count 50000
"""
import argparse
import sys

import numpy

from safetensors_file import save

NAMES = (("mu", "sigma"), ("mean", "cov"), ("ref_mu", "ref_sigma"), ("mean", "covariance"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="NPZ file")
    parser.add_argument("target", help="safetensors file to write")
    parser.add_argument("--count", type=int, required=True, help="the pictures that were counted")
    arguments = parser.parse_args()
    with numpy.load(arguments.source, allow_pickle=False) as file:
        for mean, covariance in NAMES:
            if mean in file and covariance in file:
                mean, covariance = file[mean], file[covariance]
                break
        else:
            sys.exit(f"convert_statistics.py: {arguments.source} holds {', '.join(file.files)}; "
                     "expected mu and sigma")
    mean = numpy.asarray(mean, numpy.float64).reshape(-1)
    covariance = numpy.asarray(covariance, numpy.float64)
    if covariance.shape != (mean.size, mean.size):
        sys.exit(f"convert_statistics.py: sigma has shape {covariance.shape} for {mean.size} features")
    save(arguments.target, {"count": numpy.array(arguments.count, numpy.int64), "mean": mean,
                            "covariance": covariance})
    print(f"{arguments.target}: {mean.size} features")


if __name__ == "__main__":
    main()
