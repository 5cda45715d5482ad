#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether TensorBoard's own reader finds in event files what write_events wrote into them.

    tensorboard_reader.py WRITE_EVENTS FOLDER

TensorBoard is installed into a virtual environment in FOLDER, once; ends with 77 if that cannot be.
"""
import math
import shutil
import subprocess
import sys
import venv
from pathlib import Path

program, folder = sys.argv[1], Path(sys.argv[2])
python = folder / "venv" / "bin" / "python"
runs = folder / "runs"


def install() -> None:
    """Creates the virtual environment, and continues in it."""
    try:
        venv.create(folder / "venv", with_pip=True)
        # TensorBoard imports pkg_resources, which newer setuptools no longer have.
        subprocess.run([python, "-m", "pip", "install", "--quiet", "setuptools<81", "tensorboard"],
                       check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"TensorBoard cannot be installed: {error}")
        shutil.rmtree(folder / "venv", ignore_errors=True)
        sys.exit(77)


if Path(sys.prefix) != folder / "venv":
    if not python.exists():
        install()
    sys.exit(subprocess.run([python, *sys.argv]).returncode)

import tensorboard  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402


def expect(what: str, found: object, expected: object) -> None:
    print(f"{what}: {found}")
    if found != expected:
        sys.exit(f"{what}: expected {expected}")


shutil.rmtree(runs, ignore_errors=True)
subprocess.run([program, runs], check=True)
events = EventAccumulator(str(runs), size_guidance={"images": 0, "scalars": 0})
events.Reload()
print("TensorBoard", tensorboard.__version__)
expect("files", len(list(runs.iterdir())), 2)
expect("file version", events.file_version, 2.0)
expect("curves", sorted(events.Tags()["scalars"]), ["loss/train", "odd"])
expect("rows of pictures", sorted(events.Tags()["images"]), ["grey", "samples"])

# The second file says that it resumes at step 6: steps 6 to 9 of the first are gone.
points = [(event.step, round(event.value, 6)) for event in events.Scalars("loss/train")]
expect("loss/train", points, [(step, round(1 / (step + 1), 6)) for step in range(6)]
       + [(6, 100.0), (7, 100.0)])
odd = events.Scalars("odd")
expect("odd, steps", [event.step for event in odd], [1, 1 << 40])
expect("odd, values", (odd[0].value, math.isnan(odd[1].value)), (-math.inf, True))
times = [event.wall_time for event in events.Scalars("loss/train")]
expect("times in order", times == sorted(times) and times[0] > 1.5e9, True)

(picture,) = events.Images("samples")
expect("samples", (picture.step, picture.width, picture.height), (4, 5, 3))
expect("samples, PNG", picture.encoded_image_string[:8], b"\x89PNG\r\n\x1a\n")
(picture,) = events.Images("grey")
expect("grey", (picture.step, picture.width, picture.height), (5, 2, 1))
