#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Looks at the machine code of the device's kernels, without a GPU.

    count.py --nvcc NVCC --include DIR... [--budget FILE] [--source FILE]

Compiles kernels.cu for sm_90 and fails where a kernel has a stack frame, spills registers, or needs
more instructions for 16 bytes that it reads or writes than the budget allows. They are counted
along the path through the kernel that moves most bytes, each loop passed once.

An H200 gives an SM 21 bytes a clock and lets it issue 4 instructions for 32 threads: a kernel that
has less than 100 instructions for 16 bytes waits for memory and not for them.

Exit status: 0 all within the budget, 1 not, 77 there is no disassembler (nvdisasm of the CUDA
toolkit, or of the package nvidia-cuda-nvdisasm).
"""
import argparse
import csv
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT = 40  # instructions for 16 bytes
WIDTHS = {".128": 16, ".64": 8, ".U16": 2, ".S16": 2, ".U8": 1, ".S8": 1}


def disassembler(folder):
    """nvdisasm, from the package if need be, which is 5 MB; None without it."""
    found = shutil.which("nvdisasm")
    if found:
        return found
    in_package = pathlib.Path("nvidia/cu13/bin/nvdisasm")
    for place in [sysconfig.get_path("purelib"), folder]:
        if (pathlib.Path(place) / in_package).exists():
            return str(pathlib.Path(place) / in_package)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder),
               "nvidia-cuda-nvdisasm"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        return None
    return str(folder / in_package)


def compiled(nvcc, source, includes, folder):
    """The cubin, and what ptxas says of stacks and spills, by kernel."""
    cubin = folder / "kernels.cubin"
    command = [nvcc, "-cubin", "-arch=sm_90", "-std=c++20", "-O3", "--extended-lambda",
               "--expt-relaxed-constexpr", "-Xptxas", "-v", "-Wno-deprecated-declarations",
               "-UMEANFLOW_WITH_ONEDNN", str(source), "-o", str(cubin)]
    command += [f"-I{include}" for include in includes]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr + "\ncount.py: nvcc failed")
    pattern = (r"Compiling entry function '(\S+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores"
               r".*?Used (\d+) registers")
    found = re.findall(pattern, done.stderr, re.S)
    return cubin, {name: tuple(map(int, rest)) for name, *rest in found}


def short(name):
    """A demangled name without what all have in common."""
    for word in ["meanflow::", "kernels::", "cuda::", "detail::", "unsigned long", "unsigned int"]:
        name = name.replace(word, "")
    name = re.sub(r"^.*static_kernel<.*op_wrapper_t<[^,]*, ", "Thrust: ", name)
    name = re.sub(r"::\{lambda\(.*$", "", name)
    name = re.sub(r"\((?:[^()]|\([^()]*\))*\)$", "", name)
    return re.sub(r"^void ", "", name).replace("ul>", ">").strip()


def instructions(text):
    """(opcode, target label or None, whether conditional) of each; and the labels' places."""
    listing, labels = [], {}
    for line in text.split("\n"):
        label = re.match(r"^\s*(\.L_\w+):", line)
        if label:
            labels[label[1]] = len(listing)
            continue
        found = re.match(r"^\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)(.*?);", line)
        if not found or found[2] == "NOP":
            continue
        target = re.search(r"\((\.L_\w+)\)", found[3]) if found[2].startswith("BRA") else None
        listing.append((found[2], target[1] if target else None, bool(found[1])))
    return listing, labels


def moved(opcode):
    """Bytes to or from memory that a block does not have for itself; LD and ST find out which."""
    if not opcode.startswith(("LDG", "STG", "LD.", "ST.")):
        return 0
    return next((bytes_ for suffix, bytes_ in WIDTHS.items() if suffix in opcode), 4)


def path(listing, labels):
    """(bytes moved, instructions) of the path that moves most, and of those the shortest."""
    best = [(0, 0)] * (len(listing) + 1)
    for i in range(len(listing) - 1, -1, -1):
        opcode, target, conditional = listing[i]
        following = []
        ends = opcode.startswith(("EXIT", "RET", "BRA")) and not conditional
        if not ends:
            following.append(best[i + 1])
        if target is not None and labels[target] > i:
            following.append(best[labels[target]])
        if conditional and opcode.startswith("EXIT"):
            following.append((0, 0))
        size, count = max(following, key=lambda b: (b[0], -b[1]), default=(0, 0))
        best[i] = (size + moved(opcode), count + 1)
    return best[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--source", default=HERE / "kernels.cu")
    parser.add_argument("--budget", default=HERE / "budget.csv")
    parser.add_argument("--folder", default=None, help="to keep the disassembler in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kept = pathlib.Path(arguments.folder or temporary)
        tool = disassembler(kept)
        if not tool:
            print("count.py: no nvdisasm: install the package nvidia-cuda-nvdisasm")
            return 77
        cubin, properties = compiled(arguments.nvcc, arguments.source, arguments.include,
                                     pathlib.Path(temporary))
        text = subprocess.run([tool, "-c", str(cubin)], capture_output=True, text=True,
                              check=True).stdout
    sections = re.split(r"\n\s*\.section\s+\.text\.(\S+?),", text)
    names = sections[1::2]
    plain = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True,
                           check=True).stdout.split("\n")
    with open(arguments.budget, newline="") as file:
        budget = [(row["kernel"], float(row["instructions"])) for row in csv.DictReader(file)]
    failures, used = [], set()
    print(f"{'for 16 bytes':>12} {'of':>5} {'path':>6} {'all':>6} {'registers':>9}  kernel")
    for name, demangled, body in zip(names, plain, sections[2::2]):
        title = short(demangled)
        if "EmptyKernel" in title:
            continue
        if name.startswith("_Z") and demangled.startswith("_Z"):
            title = "Thrust: " + name  # the demangler of binutils gives up
        listing, labels = instructions(body)
        size, count = path(listing, labels)
        stack, spilled, registers = properties[name]
        match = next((k for k, (kernel, _) in enumerate(budget) if kernel in title), None)
        allowed = DEFAULT if match is None else budget[match][1]
        used.add(match)
        each = 16 * count / size if size else 0
        print(f"{each:12.1f} {allowed:5.0f} {count:6} {len(listing):6} {registers:9}  {title[:150]}")
        if stack or spilled:
            failures.append(f"{title}: a stack of {stack} bytes, {spilled} of them spilled")
        if size == 0:
            failures.append(f"{title}: no bytes that it reads or writes were found")
        if each > allowed:
            failures.append(f"{title}: {each:.1f} instructions for 16 bytes, {allowed:.0f} allowed")
    for k, (kernel, _) in enumerate(budget):
        if k not in used:
            failures.append(f"{pathlib.Path(arguments.budget).name}: no kernel is called {kernel}")
    for failure in failures:
        print("too much:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
