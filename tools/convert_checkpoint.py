#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns checkpoints of others into safetensors files with the net's own names, for
`cifar10 sample --config`, `evaluate --config` and `train --init`, and back into files that PyTorch
loads.

    convert_checkpoint.py model.pth --list
    convert_checkpoint.py model.pth out.safetensors --prefix model.net_ema.
    convert_checkpoint.py model.msgpack out.safetensors --prefix params.
    convert_checkpoint.py model.safetensors out.pth

Read are files of torch.save (.pth, .pt, .ckpt; nothing but tensors and plain containers, so that a file
cannot run code), of flax's msgpack and of safetensors. What lies in nested dictionaries has a name with
dots. Arrays of flax are brought into PyTorch's layout: kernels (H, W, in, out) to (out, in, H, W) and
(in, out) to (out, in), which is right for convolutions and dense layers, but not for transposed
convolutions; kernel, scale and embedding are called weight.
Needs numpy, and PyTorch or msgpack for their files.
"""
import argparse
import pathlib
import re
import sys

import numpy

from safetensors_file import load, load_torch, save


def load_flax(path):
    """The arrays of a file of flax.serialization.to_bytes."""
    import msgpack

    def array(code, data):
        if code == 1:  # an array: shape, type, bytes
            shape, kind, values = msgpack.unpackb(data, raw=True)
            kind = kind.decode()
            if kind == "bfloat16":
                wide = numpy.frombuffer(values, "<u2").astype("<u4") << 16
                return wide.view("<f4").reshape(shape)
            return numpy.frombuffer(values, numpy.dtype(kind)).reshape(shape)
        return msgpack.ExtType(code, data)

    def flattened(tree, prefix=""):
        if "__msgpack_chunked_array__" in tree:
            sys.exit(f"convert_checkpoint.py: {prefix[:-1]} is kept in pieces, which are not read: save it by "
                     "another program as float32")
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flattened(value, f"{prefix}{key}.")
            elif isinstance(value, numpy.ndarray):
                yield prefix + str(key), value

    tree = msgpack.unpackb(pathlib.Path(path).read_bytes(), ext_hook=array, raw=False,
                           strict_map_key=False)
    if not isinstance(tree, dict):
        sys.exit(f"{path} holds a {type(tree).__name__}, not a dictionary of arrays")
    return unique(as_torch(name, array) for name, array in flattened(tree))


def unique(pairs):
    """A dictionary of named tensors, none of which has the name of another."""
    tensors = {}
    for name, tensor in pairs:
        if name in tensors:
            sys.exit(f"convert_checkpoint.py: two tensors would be named {name}")
        tensors[name] = tensor
    return tensors


def as_torch(name, array):
    """A parameter of flax by PyTorch's name and in its layout."""
    head, _, last = name.rpartition(".")
    if last == "kernel":
        axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}.get(array.ndim)
        if axes is None:
            sys.exit(f"convert_checkpoint.py: {name} has {array.ndim} axes, but a kernel has 2, 3 or 4")
        array = array.transpose(axes)
    if last in ("kernel", "scale", "embedding"):
        last = "weight"
    return (f"{head}.{last}" if head else last), array


def read(path):
    suffix = pathlib.Path(path).suffix
    if suffix == ".safetensors":
        return load(path)[0]
    return load_flax(path) if suffix in (".msgpack", ".flax") else load_torch(path)


def groups(names):
    """How many tensors there are by what their names begin with, as deep as the groups differ."""
    counts = {}
    for name in names:
        parts = name.split(".")
        for depth in (1, 2):
            if len(parts) > depth:
                prefix = ".".join(parts[:depth]) + "."
                counts[prefix] = counts.get(prefix, 0) + 1
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the checkpoint")
    parser.add_argument("target", nargs="?", help="what to write: .safetensors, or .pth for PyTorch")
    parser.add_argument("--prefix", default="", help="take the tensors whose names begin so, without it")
    parser.add_argument("--rename", action="append", default=[], metavar="PATTERN=TEXT",
                        help="replace a regular expression in the names; repeatable, in this order")
    parser.add_argument("--list", action="store_true", help="print names and shapes")
    arguments = parser.parse_args()
    tensors = read(arguments.source)
    chosen = {n[len(arguments.prefix):]: t for n, t in tensors.items() if n.startswith(arguments.prefix)}
    if not chosen:
        begins = ", ".join(f"{p} ({c})" for p, c in sorted(groups(tensors).items())) or "no tensors"
        sys.exit(f"convert_checkpoint.py: no name begins with {arguments.prefix!r}; there are {begins}")
    for rule in arguments.rename:
        pattern, equals, text = rule.partition("=")
        if not equals:
            sys.exit(f"convert_checkpoint.py: --rename {rule}: expected PATTERN=TEXT")
        chosen = unique((re.sub(pattern, text, name), tensor) for name, tensor in chosen.items())
    if arguments.list or arguments.target is None:
        for name, tensor in sorted(chosen.items()):
            print(f"{name:60} {str(tuple(tensor.shape)):24} {tensor.dtype}")
        return
    suffix = pathlib.Path(arguments.target).suffix
    if suffix in (".pth", ".pt"):
        import os

        import torch

        temporary = f"{arguments.target}.tmp-{os.getpid()}"
        try:
            torch.save({n: torch.from_numpy(t.copy()) for n, t in chosen.items()}, temporary)
            os.replace(temporary, arguments.target)
        finally:
            pathlib.Path(temporary).unlink(missing_ok=True)
    elif suffix == ".safetensors":
        save(arguments.target, chosen)
    else:
        sys.exit(f"convert_checkpoint.py: {arguments.target}: expected a name that ends in .safetensors, .pth or .pt")
    print(f"{arguments.target}: {len(chosen)} tensors, {sum(t.size for t in chosen.values())} numbers")


if __name__ == "__main__":
    main()
