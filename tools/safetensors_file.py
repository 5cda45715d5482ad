# SPDX-License-Identifier: MIT
"""Reading and writing safetensors files with numpy alone, and state dicts with PyTorch."""
import json
import os
import struct
import sys
import tempfile

import numpy

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
         "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
NAMES = {numpy.dtype(code): name for name, code in TYPES.items()}


def save(path, tensors, metadata=None):
    """Writes arrays by name, whole or not at all."""
    arrays = {name: numpy.asarray(tensor) for name, tensor in tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header, end = {}, 0
    if metadata:
        header["__metadata__"] = {key: str(value) for key, value in metadata.items()}
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".tmp-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in order:
                file.write(numpy.ascontiguousarray(arrays[name]).tobytes())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path):
    """Arrays by name, and the metadata."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in (*TYPES, "BF16"):
            sys.exit(f"{path}: {name} is of type {entry['dtype']}, which numpy does not have")
        first, last = entry["data_offsets"]
        if entry["dtype"] == "BF16":
            values = (numpy.frombuffer(data[first:last], "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = numpy.frombuffer(data[first:last], TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def flattened(tree, prefix=""):
    """The tensors of nested dictionaries, by names joined with dots."""
    import torch

    for key, value in tree.items():
        if isinstance(value, torch.Tensor):
            yield prefix + str(key), value
        elif isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")


def load_torch(path):
    """The tensors of a file of torch.save as arrays, whatever dictionaries they lie in. Nothing but
    tensors and plain containers is read, so that a file cannot run code."""
    import pickle

    import torch

    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        sys.exit(f"{path} holds more than tensors and plain containers, or what PyTorch {torch.__version__} "
                 f"does not read without running code: {str(error).splitlines()[-1]}")
    if not isinstance(tree, dict):
        sys.exit(f"{path} holds a {type(tree).__name__}, not a dictionary of tensors")
    return {
        name: (t.detach().float() if t.dtype == torch.bfloat16 else t.detach()).numpy()
        for name, t in flattened(tree)
    }
