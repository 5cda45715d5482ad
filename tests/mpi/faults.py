#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kills, stops and interrupts processes of a training run at random moments: the others have to
end in time, and the next start has to end where an undisturbed run does.

  faults.py FOLDER REPETITIONS -- MPIEXEC FLAG PROGRAM"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS, TIMEOUT, PROCESSES = 400, 3, 3


def start(command, folder, processes, state="whole"):
    mpiexec, flag, program = command
    return subprocess.Popen([mpiexec, flag, str(processes), program, str(folder), str(STEPS), str(TIMEOUT),
                             state],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(running, limit):
    try:
        out, err = running.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        running.kill()
        sys.exit(f"the training run still hangs after {limit} s")
    return running.returncode, out, err


def result(out):
    found = re.search(r"steps (\d+), parameters ([\d.]+)", out)
    return (int(found[1]), float(found[2])) if found else (0, 0.0)


def pids(folder, processes):
    files = [folder / f"{rank}.pid" for rank in range(processes)]
    for _ in range(600):
        texts = [f.read_text() if f.exists() else "" for f in files]
        if all(text.endswith("\n") for text in texts):
            return [int(text) for text in texts]
        time.sleep(0.05)
    sys.exit("the training run does not begin")


def disturb(command, folder, number, expected):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = random.choice(["whole", "parts"])
    running = start(command, folder, PROCESSES, state)
    victims = pids(folder, PROCESSES)
    rank = random.randrange(PROCESSES)
    # SIGSTOP goes last through the list: its processes wait for the timeout.
    how = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP][number % 4]
    time.sleep(random.uniform(0, 0.8))  # of 1.2 s or more
    try:
        os.kill(victims[rank], how)
    except ProcessLookupError:
        pass  # it was faster
    begin = time.time()
    code, out, err = finish(running, 10 * TIMEOUT)
    took = time.time() - begin
    if how == signal.SIGTERM and code != 0:
        sys.exit(f"a training run that is told to stop ends with {code}: {err}")
    if how == signal.SIGSTOP and result(out)[0] < STEPS and f"no answer from process {rank}" not in err:
        sys.exit(f"process {rank} was stopped, but nobody says so: {err}")
    # Another number of processes may go on.
    code, out, err = finish(start(command, folder, 2, random.choice(["whole", "parts"])), 60)
    steps, parameters = result(out)
    if code != 0 or steps != STEPS or abs(parameters / expected - 1) > 1e-4:
        sys.exit(f"the next start ends with {code}, {out}{err}; {expected} was expected")
    print(f"{how.name} of process {rank}, state {state}: ended after {took:.1f} s, and resumed", flush=True)


def main():
    folder, repetitions, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4:7]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    code, out, err = finish(start(command, folder, PROCESSES), 60)
    steps, expected = result(out)
    if code != 0 or steps != STEPS:
        sys.exit(f"undisturbed, the training run ends with {code}: {out}{err}")
    for number in range(repetitions):
        disturb(command, folder, number, expected)


main()
