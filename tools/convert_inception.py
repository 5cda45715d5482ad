#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns the public PyTorch file of the Inception network of published distances
(pt_inception-2015-12-05-6726825d.pth) into the safetensors file that `cifar10 evaluate --inception`
and meanflow::Inception read. Needs PyTorch and numpy.

    convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors
"""
import argparse
import sys

from safetensors_file import load_torch, save


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", help="state dict of PyTorch")
    parser.add_argument("target", help="safetensors file to write")
    arguments = parser.parse_args()
    tensors = load_torch(arguments.source)
    wanted = {
        name: tensor
        for name, tensor in tensors.items()
        if name.endswith((".conv.weight", ".bn.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var"))
        or name == "fc.weight"
    }
    for name, shape in (("Conv2d_1a_3x3.conv.weight", (32, 3, 3, 3)), ("fc.weight", (1008, 2048))):
        found = tuple(wanted[name].shape) if name in wanted else "none"
        if found != shape:
            sys.exit(f"convert_inception.py: {arguments.source}: {name} has shape {found}, expected {shape}")
    save(arguments.target, wanted)
    print(f"{arguments.target}: {len(wanted)} tensors")


if __name__ == "__main__":
    main()
