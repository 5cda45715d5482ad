#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times this library beside PyTorch programs that do the same steps, in turns.

usage: bench/compare.py --peer FOLDER [--nets mlp_256x4 meanflownet songunet dit_b4] [--rounds 5]
                        [--environment FOLDER] [--forms eager] [--without-old] [--only PATTERN]

The peer's FOLDER holds a bench.py that is called as `bench.py NET KIND STEPS [VARIANT]` and prints a
JSON line with "ms" and "best"; and the nets and losses that bench/peers/torch_gpu.py takes. With an
environment of scripts/peer-environment, nets for images are measured beside its PyTorch 2 too, eager
and compiled (minutes for each step; --forms eager leaves that out); the peer of a round is the faster
of the two, unless --without-old leaves the first out. In every round each program runs once, one
after the other, so that a change of the machine's speed meets all; the table shows medians and the
median of the rounds' ratios.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
from pathlib import Path

# kind of the peer's step, name of ours
KINDS = [("mf", "training_step/{}/meanflow_100"), ("mf75", "training_step/{}/meanflow_75"),
         ("mf25rows", "training_step/{}/meanflow_25"), ("fm", "training_step/{}/flow_matching"),
         ("imf", "training_step/{}/improved_meanflow_75"), ("sample", "sampling/{}")]
# our net: the peer's name at a batch, batches, largest ratios aimed at
NETS = {"mlp_256x4": ("mlp{}", [1024, 4096], {"mf75": 0.45, "mf25rows": 0.50, "fm": 0.65, "sample": 0.75}),
        "meanflownet": ("meanflownet", [32], {"mf75": 0.35, "mf25rows": 0.42, "fm": 0.50, "sample": 0.48}),
        "songunet": ("songunet", [4], {"mf75": 0.38, "fm": 0.55, "sample": 0.52}),
        "dit_b4": (None, [8], {"mf75": 0.66, "mf25rows": 0.70, "fm": 0.85, "sample": 0.85})}
# The kinds that torch_gpu.py has on the processor.
IN_ENVIRONMENT = {"mf75", "mf25rows", "fm", "sample"}


def environment():
    """The peer's best: OpenMP threads for OpenBLAS, kernels of this processor, large blocks kept."""
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    env.update(OMP_NUM_THREADS="2", MALLOC_MMAP_THRESHOLD_="8589934592",
               MALLOC_TRIM_THRESHOLD_="17179869184", MALLOC_TOP_PAD_="268435456")
    return env


def measured(command, env):
    """What the command prints, and the most memory that it held, in GB."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed with status {status}")
    return text, usage.ru_maxrss / 1e6


def peer_ms(folder, net, kind, variant, python):
    env = environment()
    env["LD_LIBRARY_PATH"] = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
    steps = "15" if net.startswith("mlp") else "5"
    command = [python, os.path.join(folder, "bench.py"), net, kind, steps] + ([variant] if variant else [])
    text, memory = measured(command, env)
    result = json.loads(text.strip().splitlines()[-1])
    return result["ms"], result["best"], memory


def newer_peer_ms(args, name, form):
    """PyTorch 2 at its fastest form, or at the one given: milliseconds, form, memory."""
    command = [str(Path(args.environment) / "bin" / "python"), str(Path(__file__).parent / "peers" / "torch_gpu.py"),
               args.peer, "--forms", args.forms, "--device", "cpu", "--steps", f"^{name}$", "--seconds", "2"]
    text, memory = measured(command + (["--form", form] if form else []), environment())
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if not any("ms" in row for row in found):
        raise SystemExit(f"{' '.join(command)} measured nothing:\n{text}")
    best = min((row for row in found if "ms" in row), key=lambda row: row["ms"])
    return best["ms"], best["form"], memory


def our_ms(program, name, batch):
    command = [program, f"--benchmark_filter=^{name}/{batch}/real_time$", "--benchmark_format=json",
               "--benchmark_min_time=0.3", "--benchmark_repetitions=3",
               "--benchmark_report_aggregates_only=true"]
    text, memory = measured(command, environment())
    runs = json.loads(text)["benchmarks"]
    return next(r["real_time"] for r in runs if r["aggregate_name"] == "median"), memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--bench", default="build/bin/bench_training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=["mlp_256x4"])
    parser.add_argument("--environment", help="of scripts/peer-environment")
    parser.add_argument("--forms", default="eager|compiled", help="of PyTorch 2")
    parser.add_argument("--without-old", action="store_true", help="only beside the environment's PyTorch")
    parser.add_argument("--only", default=".", help="what the names of the steps match")
    args = parser.parse_args()
    print("| step | batch | ours, ms | peer, ms | ratio | aim | ours, GB | peer, GB | peer |\n"
          "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for net in args.nets:
        peer_net, batches, aims = NETS[net]
        for batch in batches:
            for kind, name in KINDS:
                if re.search(args.only, name.format(net)):
                    compare(args, name.format(net), batch, peer_net and peer_net.format(batch), kind,
                            aims.get(kind, ""))


def compare(args, name, batch, peer_net, kind, aim):
    # The peer's own kinds: a step with 75 % of the rows costs it what one with all rows does.
    peer_kind = "mf" if kind == "mf75" else kind
    newer = args.environment and "mlp_256x4" not in name and kind in IN_ENVIRONMENT
    if not newer and (args.without_old or not peer_net):
        return
    ours, peers, variant, form = [], [], None, None
    for _ in range(args.rounds):
        ours.append(our_ms(args.bench, name, batch))
        in_round = []
        if peer_net and not args.without_old:
            ms, variant, memory = peer_ms(args.peer, peer_net, peer_kind, variant, args.python)
            in_round.append((ms, memory, f"bench.py {variant}"))
        if newer:
            ms, form, memory = newer_peer_ms(args, f"{name}/{batch}", form)
            in_round.append((ms, memory, f"PyTorch 2 {form}"))
        peers.append(min(in_round))
    ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, peers))
    # A peer's first round tries all its variants; the others hold the memory of the fastest alone.
    fastest = statistics.mode(p[2] for p in peers)
    print(f"| {name} | {batch} | {statistics.median(o[0] for o in ours):.2f} "
          f"| {statistics.median(p[0] for p in peers):.2f} | {ratio:.2f} | {aim} "
          f"| {min(o[1] for o in ours):.2f} | {min(p[1] for p in peers):.2f} | {fastest} |", flush=True)


if __name__ == "__main__":
    main()
