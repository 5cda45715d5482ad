#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program policy from end to end: program.py POLICY"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

POLICY = sys.argv[1]
SMALL = ["--demonstrations", "30", "--steps", "30", "--batch", "64", "--hidden", "16", "--layers", "2",
         "--episodes", "20", "--quiet"]
LEARNT = {"mean_flow_1", "flow_matching_1", "flow_matching_10", "regression"}


def run(*arguments, status=0):
    done = subprocess.run([POLICY, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def without_durations(scores):
    return {name: {key: value for key, value in score.items() if not key.endswith("_us")}
            for name, score in scores.items()}


def check_everything(folder):
    scores = []
    for out in (folder / "once", folder / "again"):
        done = run("--out", out, "--threads", 1, *SMALL)
        assert "mean flow, 1 step" in done.stdout, done.stdout
        assert (out / "ways.png").stat().st_size > 1000
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["settings"]["episodes"] == 20 and metrics["pairs"] > 30, metrics
        scores.append(metrics["policies"])
    assert set(scores[0]) == LEARNT | {"expert"}, scores
    assert scores[0]["expert"]["success"] > 0.9, scores
    for name in LEARNT:
        score = scores[0][name]
        assert abs(score["success"] + score["touched"] + score["late"] - 1) < 1e-9, score
        assert score["decisions"] >= 20 and 0 < score["median_us"] <= score["p99_us"], score
    assert without_durations(scores[0]) == without_durations(scores[1]), scores


def check_refusals(folder):
    assert "--execute is 9, but --chunk gives 8" in run("--execute", 9, status=2).stderr
    assert "--episodes" in run("--episodes", 0, status=2).stderr
    occupied = folder / "file"
    occupied.write_text("")
    assert run("--out", occupied / "below", *SMALL, status=2).stderr.count("\n") == 1


with tempfile.TemporaryDirectory() as name:
    for check in (check_everything, check_refusals):
        check(Path(name))
print("policy: from demonstrations to episodes")
