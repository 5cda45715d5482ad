#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times this library beside a PyTorch program that does the same steps, in turns.

usage: bench/compare.py --peer FOLDER [--rounds 5] [--bench build/bin/bench_training]

FOLDER holds a bench.py that is called as `bench.py NET KIND STEPS [VARIANT]` and prints a JSON line
with "ms" and "best". In every round each program runs once, one after the other, so that a change of
the machine's speed meets both; the table shows medians and the median of the rounds' ratios.
"""
import argparse
import json
import os
import statistics
import subprocess

# kind of the peer's step, name of ours, largest ratio aimed at
CASES = [("mf", "training_step/mlp_256x4/meanflow_100", None),
         ("mf75", "training_step/mlp_256x4/meanflow_75", 0.45),
         ("mf25rows", "training_step/mlp_256x4/meanflow_25", 0.50),
         ("fm", "training_step/mlp_256x4/flow_matching", 0.65),
         ("imf", "training_step/mlp_256x4/improved_meanflow_75", None),
         ("sample", "sampling/mlp_256x4", 0.75)]


def environment():
    """The peer's best: OpenMP threads for OpenBLAS, kernels of this processor, large blocks kept."""
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    env.update(OMP_NUM_THREADS="2", MALLOC_MMAP_THRESHOLD_="8589934592",
               MALLOC_TRIM_THRESHOLD_="17179869184", MALLOC_TOP_PAD_="268435456")
    return env


def peer_ms(folder, net, kind, variant, python):
    env = environment()
    env["LD_LIBRARY_PATH"] = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
    command = [python, os.path.join(folder, "bench.py"), net, kind, "15"] + ([variant] if variant else [])
    line = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    result = json.loads(line.strip().splitlines()[-1])
    return result["ms"], result["best"]


def our_ms(program, name, batch):
    command = [program, f"--benchmark_filter=^{name}/{batch}/real_time$", "--benchmark_format=json",
               "--benchmark_min_time=0.3", "--benchmark_repetitions=3",
               "--benchmark_report_aggregates_only=true"]
    text = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
    runs = json.loads(text)["benchmarks"]
    return next(r["real_time"] for r in runs if r["aggregate_name"] == "median")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--bench", default="build/bin/bench_training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 4096])
    args = parser.parse_args()
    print("| step | batch | ours, ms | peer, ms | ratio | aim |\n| --- | --- | --- | --- | --- | --- |")
    for batch in args.batches:
        for kind, name, aim in CASES:
            # The peer's own kinds: a step with 75 % of the rows costs it what one with all rows does.
            peer_kind = "mf" if kind == "mf75" else kind
            variant, ours, peers = None, [], []
            for _ in range(args.rounds):
                ours.append(our_ms(args.bench, name, batch))
                ms, variant = peer_ms(args.peer, f"mlp{batch}", peer_kind, variant, args.python)
                peers.append(ms)
            ratio = statistics.median(a / b for a, b in zip(ours, peers))
            print(f"| {name} | {batch} | {statistics.median(ours):.2f} | {statistics.median(peers):.2f} "
                  f"| {ratio:.2f} | {aim or ''} |", flush=True)


if __name__ == "__main__":
    main()
