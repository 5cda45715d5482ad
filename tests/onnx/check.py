# SPDX-License-Identifier: MIT
"""Checks the ONNX files of write_models with onnx's own checker, runs them in onnxruntime, and
compares what comes out with what this library computes. Exits 77, skipped, where one of the two
packages is missing.

    check.py WRITE_MODELS FOLDER
"""
import pathlib
import subprocess
import sys

try:
    import numpy
    import onnx
    import onnxruntime
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from safetensors_file import load

BOUNDS = {"tensor(float)": 1e-5, "tensor(double)": 1e-12}


def difference(path):
    """The largest difference, relative to the largest expected number, and what is allowed."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tensors, _ = load(path.with_suffix(".safetensors"))
    expected = tensors.pop("expected")
    wanted = {i.name: i for i in session.get_inputs()}
    assert set(wanted) == set(tensors), f"inputs {sorted(wanted)}, but {sorted(tensors)} are given"
    assert all(i.shape[0] == "batch" for i in wanted.values()), "a batch of one size"
    feed = {
        name: values.astype(numpy.int64) if values.dtype == numpy.int32 else values
        for name, values in tensors.items()
    }
    bound = BOUNDS[session.get_outputs()[0].type]
    worst = 0
    for rows in (len(expected), 1):  # any number of rows
        (found,) = session.run(None, {name: values[:rows] for name, values in feed.items()})
        assert found.shape == expected[:rows].shape, f"{found.shape}, expected {expected[:rows].shape}"
        worst = max(worst, numpy.abs(found - expected[:rows]).max() / numpy.abs(expected).max())
    return worst, bound, len(model.graph.node)


def main(program, folder):
    subprocess.run([program, folder], check=True)
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    failures = 0
    files = sorted(pathlib.Path(folder).glob("*.onnx"))
    assert files, "no file was written"
    for path in files:
        worst, bound, nodes = difference(path)
        verdict = "ok" if worst <= bound else "FAILED"
        failures += worst > bound
        print(f"{verdict:6} {path.stem:28} {nodes:5} nodes, largest difference {worst:.1e}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
