# SPDX-License-Identifier: MIT
"""Installs the Python package into an environment of its own, as a user does, runs its tests there, and
executes the notebook. Exits 77, skipped, where packages cannot be installed.

    install_and_test.py SOURCE FOLDER
"""
import pathlib
import shutil
import subprocess
import sys


def main(source, folder):
    source, folder = pathlib.Path(source), pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    python = folder / "environment/bin/python"
    needed = ["numpy", "scikit-build-core>=0.10", "nanobind>=2", "ninja", "pytest", "matplotlib",
              "nbconvert", "nbformat", "ipykernel"]
    if subprocess.run([python, "-m", "pip", "install", "--quiet", *needed]).returncode != 0:
        print("skipped: the packages that the test needs cannot be installed")
        return 77
    subprocess.run([python, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
                    "--wheel-dir", folder / "wheel", source], check=True)
    wheel = next((folder / "wheel").glob("meanflow-*.whl"))
    subprocess.run([python, "-m", "pip", "install", "--no-deps", wheel], check=True)
    # From elsewhere, so that the installed package is found and not the source.
    here = pathlib.Path(__file__).parent
    subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                    here / "test_package.py"], cwd=folder, check=True)
    subprocess.run([python, source / "examples/two_moons.py"], cwd=folder, check=True)
    # A copy, since a notebook writes where it lies.
    shutil.copy(source / "examples/two_moons.ipynb", folder)
    subprocess.run([python, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute",
                    "--output", "executed", folder / "two_moons.ipynb"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
