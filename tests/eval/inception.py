# SPDX-License-Identifier: MIT
"""Compares what the Inception network of this library sees with what PyTorch computes from the same
weights, which are random ones, and reads them by way of tools/convert_inception.py. Exits 77, skipped,
where PyTorch is missing.

    inception.py PROGRAM FOLDER
"""
import pathlib
import subprocess
import sys

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from inception_reference import inception, random_weights

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from safetensors_file import load


def main(program, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = random_weights(1)
    torch.save(weights, folder / "weights.pth")
    subprocess.run(
        [sys.executable, ROOT / "tools/convert_inception.py", folder / "weights.pth",
         folder / "weights.safetensors"],
        check=True,
    )
    worst = 0
    for shape in ((5, 32, 32, 3), (2, 28, 28, 1), (1, 320, 310, 3)):
        images = numpy.random.default_rng(3).integers(0, 256, shape, dtype=numpy.uint8)
        numpy.save(folder / "images.npy", images)
        subprocess.run(
            [program, folder / "weights.safetensors", folder / "images.npy", folder / "seen.safetensors"],
            check=True,
        )
        seen, _ = load(folder / "seen.safetensors")
        with torch.no_grad():
            expected = inception(weights, torch.from_numpy(images))
        for name, values in zip(("features", "logits"), expected):
            values = values.numpy()
            error = numpy.abs(seen[name] - values).max() / numpy.abs(values).max()
            print(f"{str(shape):20} {name:9} largest difference {error:.1e} of {numpy.abs(values).max():.2f}")
            worst = max(worst, error)
    return 0 if worst < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
