#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cifar10's transformers, objectives and latents from end to end: transformers.py PROGRAM CONFIGS_FOLDER"""
import random
import shutil
import struct
import tempfile
from pathlib import Path

from common import (CONFIGS, SMALL, fresh_training, make_data, npy_shape, refused, run, train_command, write_npy)

PLAIN = [change for change in SMALL if not change.startswith("net.")]
DIT = ["net.kind=dit", "net.patch_size=8", "net.hidden_size=16", "net.depth=2", "net.heads=2"]
IMF = ["net.kind=imf_transformer", "net.patch_size=8", "net.hidden_size=16", "net.depth=2",
       "net.head_depth=1", "net.heads=2", "objective.kind=imf", "train.label_dropout.rate=0"]
UNET = ["net.kind=attention_unet", "net.dimension=8", "net.multipliers=[1, 2]", "net.blocks=1", "net.heads=2"]


def check_objectives(folder: Path, data: Path) -> None:
    """Each objective, net and option does something of its own."""
    variants = {
        "dit": DIT, "x prediction": [*DIT, "net.x_prediction=true"], "time scale": [*DIT, "net.time_scale=1000"],
        "imf": IMF, "imf, omega": [*IMF, "objective.guidance.omega_max=2"],
        "imf, beta": [*IMF, "objective.guidance.beta=2"], "imf, interval": [*IMF, "objective.guidance.t_min_max=0.1"],
        "imf, dropout": [*IMF, "objective.dropout.rate=0.9"],
        "imf, guidance frequency": [*IMF, "net.guidance_frequency=20"],
        "imf, x prediction": [*IMF, "net.x_prediction=true"], "unet": UNET,
        "alpha-Flow": [*DIT, "objective.kind=alpha_flow"],
        "alpha-Flow, gap": [*DIT, "objective.kind=alpha_flow", "objective.gap.from=0.5"],
        "alpha-Flow, least gap": [*DIT, "objective.kind=alpha_flow", "objective.gap.from=0.5", "objective.least_gap=0.4"],
        "SoFlow": [*DIT, "objective.kind=alpha_flow", "objective.divided=true", "objective.gap.shape=exponential",
                   "objective.gap.to=0.001", "objective.derivative_below=0"],
        "SplitMeanFlow": [*DIT, "objective.kind=split_meanflow"],
        "Shortcut": [*DIT, "objective.kind=split_meanflow", "objective.halves=true", "objective.from_average=true",
                     "times.distribution=dyadic", "times.jump_fraction=0.5"],
        "mixed tangent": [*DIT, "objective.tangent.mixing=0.5"], "clipped": [*DIT, "objective.tangent.clip=0.01"],
        "normalised": [*DIT, "objective.tangent.normalise=0.1"], "warm-up": [*DIT, "objective.tangent.warmup_steps=50"],
        "differences": [*DIT, "objective.tangent.difference=0.05"],
    }
    results = {name: fresh_training(folder / f"objective-{i}", data, changes, PLAIN)
               for i, (name, changes) in enumerate(variants.items())}
    for name, result in results.items():
        same = [other for other in results if other != name and results[other] == result]
        assert not same, (name, same)
    # Recomputed, blocks give the same gradients; a rounding in their sums is allowed to differ.
    run(*train_command(folder / "recomputed", data, [*DIT, "net.recompute=true", "train.steps=3"], PLAIN))


def check_guidance_input(folder: Path, data: Path) -> None:
    workdir = folder / "imf"
    run(*train_command(workdir, data, [*IMF, "train.steps=10", "learning_rate.warmup_steps=0"], PLAIN))

    def sample(name: str, *options: str) -> bytes:
        run("sample", "--checkpoint", workdir, "--count", "4", "--out", folder / "imf.png", "--npy",
            folder / f"{name}.npy", *options)
        return (folder / f"{name}.npy").read_bytes()

    seen = {sample("plain"), sample("omega", "--omega", "3"), sample("interval", "--omega", "3", "--interval", "0.2,0.9")}
    assert len(seen) == 3
    assert sample("again", "--omega", "1") in seen
    refused("omega is 0.5", "sample", "--checkpoint", workdir, "--omega", "0.5")
    refused("the interval is [0.9", "sample", "--checkpoint", workdir, "--interval", "0.9,0.2")
    refused("this one takes --omega", "sample", "--checkpoint", workdir, "--guidance", "2")


def check_fine_tuning(folder: Path, data: Path) -> None:
    """From flow matching to Mean Flows, by its weights and by its velocity."""
    flow = folder / "flow"
    run(*train_command(flow, data, [*DIT, "objective.kind=flow_matching", "train.steps=10"], PLAIN))
    started = {}
    for name, options in {"alone": [], "init": ["--init", flow], "teacher": ["--teacher", flow],
                          "guided": ["--teacher", flow, "--teacher-guidance", "3"]}.items():
        run(*train_command(folder / name, data, [*DIT, "train.steps=2"], PLAIN), *options)
        run("sample", "--checkpoint", folder / name, "--average", "-1", "--count", "2", "--out", folder / "f.png",
            "--npy", folder / f"{name}.npy")
        started[name] = (folder / f"{name}.npy").read_bytes()
    assert len(set(started.values())) == 4
    refused("was written with objective", *train_command(folder / "teacher", data, [*DIT, "train.steps=4"], PLAIN))
    refused("--teacher-guidance is for", *train_command(folder / "x", data, DIT, PLAIN), "--teacher-guidance", "2")
    refused("--init", *train_command(folder / "other", data, [*UNET, "train.steps=2"], PLAIN), "--init", flow)
    refused("this one takes --guidance", "sample", "--checkpoint", flow, "--omega", "2")


def check_latents(folder: Path) -> None:
    draw = random.Random(3)
    latents = folder / "latents"
    latents.mkdir()
    count, shape = 24, (24, 8, 8, 4)
    size = 8 * 8 * 4
    numbers = [draw.gauss(0, 5) for _ in range(count * size)]
    write_npy(latents / "mean.npy", "<f4", shape, struct.pack(f"<{len(numbers)}f", *numbers))
    write_npy(latents / "std.npy", "<f4", shape, struct.pack(f"<{len(numbers)}f", *[0.1] * len(numbers)))
    write_npy(latents / "labels.npy", "<i8", (count,), struct.pack(f"<{count}q", *[i % 3 for i in range(count)]))
    changes = [*DIT, "net.patch_size=2", "data.kind=latents", "sample.every=10", "train.steps=20"]
    run(*train_command(folder / "on-latents", latents, changes, PLAIN))
    assert npy_shape(folder / "on-latents" / "samples" / "step-000020.npy") == (10, 8, 8, 4)
    run("sample", "--checkpoint", folder / "on-latents", "--count", "6", "--npy", folder / "l.npy")
    assert npy_shape(folder / "l.npy") == (6, 8, 8, 4)
    refused("give --npy FILE", "sample", "--checkpoint", folder / "on-latents")
    refused("which are no pictures", "evaluate", "--checkpoint", folder / "on-latents", "--data", latents)
    refused("should be about 1", *train_command(folder / "scaled", latents, [*changes, "data.latent_scale=5"], PLAIN))
    refused("divisible by patch_size", *train_command(folder / "patch", latents, [*changes, "net.patch_size=3"], PLAIN))
    text = run("info", "--config", CONFIGS / "dit-b2.yaml", "--data", latents)
    assert "pictures: 8 x 8 x 4, 3 classes" in text, text
    refused("has no latents", *train_command(folder / "none", folder / "on-latents", changes, PLAIN))


def check_refusals(folder: Path, data: Path) -> None:
    refused("latents are taken whole", *train_command(folder / "x", data, [*DIT, "data.kind=latents", "data.fraction=0.5"], PLAIN))
    refused("set net.kind to imf_transformer", *train_command(folder / "x", data, [*DIT, "objective.kind=imf"], PLAIN))
    refused("which drops labels itself",
            *train_command(folder / "x", data, [*IMF, "train.label_dropout.rate=0.1"], PLAIN))
    refused("divisible by heads", *train_command(folder / "x", data, [*DIT, "net.heads=3"], PLAIN))
    refused("is not told what was done", *train_command(folder / "x", data, [*DIT, "data.augment=true"], PLAIN))
    for name, count in {"dit-xl2": "676440592", "imf-xl2": "711", "attention_unet": "38631939"}.items():
        text = run("info", "--config", CONFIGS / f"{name}.yaml")
        assert count in text and "multiply-adds per picture" in text, text


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cifar10-"))
    try:
        data = folder / "data"
        make_data(data)
        check_objectives(folder, data)
        check_guidance_input(folder, data)
        check_fine_tuning(folder, data)
        check_latents(folder)
        check_refusals(folder, data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("cifar10: transformers, objectives, guidance as an input, fine-tuning, latents: as expected")


main()
