#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cifar10 from end to end on a data set made here: program.py PROGRAM CONFIGS_FOLDER

Trains, is killed, resumes, is stopped politely, samples, evaluates, and refuses bad input.
"""
import json
import random
import shutil
import signal
import struct
import subprocess
import tempfile
from pathlib import Path

from common import (CONFIGS, PROGRAM, SMALL, fresh_training, last_checkpoint, logged_steps, make_data, npy_shape,
                    png_size, refused, run, train_command, wait_for, write_npy)


def check_settings_matter(folder: Path, data: Path) -> None:
    """A setting that changes nothing is one that is not passed on."""
    unet = ["net.kind=song_unet", "net.model_channels=8", "net.channel_mult=[1, 2]", "net.blocks=1",
            "net.attention_resolutions=[16]"]
    unet_small = [change for change in SMALL if not change.startswith("net.")]
    variants = {
        "as it is": [], "flip": ["data.flip=false"], "labels": ["data.labels=false",
                                                                "train.label_dropout.rate=0"],
        "fraction": ["data.fraction=0.5"], "times": ["times.distribution=uniform"],
        "jumps": ["times.jump_fraction=1"], "r": ["times.r.mean=-4"],
        "pairing": ["times.pairing=equal_then_min"], "weighting": ["weighting.p=1"],
        "flow matching": ["objective.kind=flow_matching"],
        "improved": ["objective.kind=improved_meanflow"],
        "guided": ["guidance.omega=2"], "guided by the class": ["guidance.kappa=0.5"],
        "interval": ["guidance.omega=2", "guidance.t_end=0.5"],
        "label dropout": ["train.label_dropout.rate=0.5"], "clipping": ["train.clip_norm=0.01"],
        "optimizer": ["optimizer.beta2=0.9"], "rate": ["learning_rate.peak=0.01"],
        "averages": ["averages=[{rule: constant, decay: 0.5}]"], "seed": ["train.seed=1"],
        "attention": ["net.attention_levels=[1]"],
    }
    results = {name: fresh_training(folder / f"matter-{i}", data, changes)
               for i, (name, changes) in enumerate(variants.items())}
    assert results["as it is"] == fresh_training(folder / "again", data, [])
    for name, result in results.items():
        same = [other for other in results if other != name and results[other] == result]
        assert not same, (name, same)

    trained = [fresh_training(folder / f"unet-{i}", data, [*unet, *changes], unet_small)
               for i, changes in enumerate([[], ["data.augment=true"], ["net.dropout=0.3"]])]
    assert len(set(trained)) == 3
    run("sample", "--checkpoint", folder / "unet-1", "--count", "2", "--out", folder / "unet.png")


def check_own_pictures(folder: Path) -> None:
    """An array of odd size without classes, and one with them that is measured."""
    draw = random.Random(2)
    plain, classed = folder / "plain", folder / "classed"
    plain.mkdir()
    classed.mkdir()
    write_npy(plain / "images.npy", "|u1", (24, 30, 22, 1), b"".join(bytes([9 * i]) * 660 for i in range(24)))
    unlabelled = ["data.kind=array", "data.labels=false", "train.label_dropout.rate=0"]
    fresh_training(folder / "plain-run", plain, unlabelled)
    run("sample", "--checkpoint", folder / "plain-run", "--count", "3", "--npy", folder / "p.npy",
        "--out", folder / "p.png")
    assert npy_shape(folder / "p.npy") == (3, 30, 22, 1)
    measured = folder / "plain.json"
    text = run("evaluate", "--checkpoint", folder / "plain-run", "--data", plain, "--count", "4", "--nfe", "1",
               "--out", measured)
    # A picture of one grey looks the same however it is turned.
    assert "warning: the classifier is right in" in text and "where guessing is right in 50.0 %" in text, text
    measures = json.loads(measured.read_text())
    assert "how pictures without classes are turned" in measures["classifier"]["name"], measures
    assert "class_agreement" not in measures["results"][0], measures
    refused("divisible by 4, but these have 30 x 22", *train_command(
        folder / "plain-refused", plain, [*unlabelled, "net.multipliers=[1, 1, 1]"]))
    assert not (folder / "plain-refused").exists()
    write_npy(plain / "images.npy", "|u1", (24, 30, 22, 1), draw.randbytes(24 * 30 * 22))
    refused("checksum", *train_command(folder / "plain-run", plain, unlabelled))

    labels = [i % 3 for i in range(60)]
    few = folder / "few"
    few.mkdir()
    write_npy(few / "images.npy", "|u1", (12, 12, 20, 3), bytes(12 * 720))
    write_npy(few / "labels.npy", "<i8", (12,), struct.pack("<12q", *labels[:12]))
    write_npy(classed / "images.npy", "|u1", (60, 12, 20, 3),
              b"".join(bytes([80 * k]) * 720 for k in labels))
    write_npy(classed / "labels.npy", "<i8", (60,), struct.pack("<60q", *labels))
    fresh_training(folder / "classed-run", classed, ["data.kind=array"])
    refused("evaluate needs 2 test pictures, but has 1", "evaluate", "--checkpoint",
            folder / "classed-run", "--data", few)
    out = folder / "classed.json"
    run("evaluate", "--checkpoint", folder / "classed-run", "--data", classed, "--count", "6",
        "--nfe", "1", "--guidance", "2", "--seed", "9", "--out", out)
    measures = json.loads(out.read_text())
    assert measures["classifier"]["features"] == 32, measures
    row = measures["results"][0]
    assert measures["precision_rows"] == 6 and "precision" not in row, measures
    assert (row["guidance"], row["seed"], row["evaluations_per_picture"]) == (2, 9, 2), row
    check_floor_of_sorted_pictures(folder)


def check_floor_of_sorted_pictures(folder: Path) -> None:
    """The floor is of pictures drawn from all that are there for testing, not of the first class alone."""
    def floor(name: str, labels: list[int]) -> float:
        data, out = folder / name, folder / f"{name}.json"
        data.mkdir()
        write_npy(data / "images.npy", "|u1", (300, 12, 20, 3), b"".join(bytes([80 * k]) * 720 for k in labels))
        write_npy(data / "labels.npy", "<i8", (300,), struct.pack("<300q", *labels))
        run("evaluate", "--checkpoint", folder / "classed-run", "--data", data, "--count", "10", "--nfe", "1",
            "--classifier", folder / "sorted-classifier.safetensors", "--out", out)
        return json.loads(out.read_text())["floor"]["classifier_frechet_distance"]

    by_class = [i // 100 for i in range(300)]
    # Every tenth picture is for testing: here all of them are of one class.
    one_class = [0 if i % 10 == 9 else label for i, label in enumerate(by_class)]
    assert floor("sorted", by_class) < floor("one-class", one_class) / 3


def check_bare_weights(folder: Path, checkpoint: Path) -> None:
    """Weights without anything else, as of a published net."""
    content = checkpoint.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:8 + length]), b""
    del header["__metadata__"]
    weights = {}
    for name, tensor in header.items():
        if name == "step" or name.startswith(("adam.", "average.")):
            continue
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        weights[name] = {**tensor, "data_offsets": [len(data), len(data) + end - begin]}
        data += content[begin:end]
    text = json.dumps(weights).encode()
    bare, config = folder / "bare.safetensors", folder / "bare.yaml"
    bare.write_bytes(struct.pack("<Q", len(text)) + text + data)
    refused("give --config to sample", "sample", "--checkpoint", bare)
    config.write_text((checkpoint.parent.parent / "config.yaml").read_text())
    for name, options in [("bare", ["--checkpoint", bare, "--config", config]),
                          ("full", ["--checkpoint", checkpoint, "--average", "-1"])]:
        run("sample", *options, "--count", "2", "--npy", folder / f"{name}.npy", "--out",
            folder / "bare.png")
    assert (folder / "bare.npy").read_bytes() == (folder / "full.npy").read_bytes()


def check_resuming(folder: Path, data: Path) -> Path:
    whole, killed, stopped = folder / "whole", folder / "killed", folder / "stopped"
    run(*train_command(whole, data, []))
    assert logged_steps(whole) == list(range(5, 65, 5))
    assert (whole / "samples" / "step-000060.png").exists()
    assert list((whole / "tensorboard").glob("events.out.tfevents.*"))
    assert "batch: 8" in (whole / "config.yaml").read_text()
    assert "nothing to do" in run(*train_command(whole, data, []))

    # SIGKILL after the first checkpoint; more steps than needed, so that it cannot be too late.
    process = subprocess.Popen([PROGRAM, *train_command(killed, data, ["train.steps=100000"])],
                               stderr=subprocess.DEVNULL)
    wait_for(killed / "checkpoints" / "checkpoint-000000020.safetensors")
    process.send_signal(signal.SIGKILL)
    process.wait()
    for late in (killed / "checkpoints").glob("checkpoint-*.safetensors"):
        if int(late.name[11:20]) >= 60:
            late.unlink()
    assert "resuming from step" in run(*train_command(killed, data, ["log.every=3"]))
    assert logged_steps(killed)[-1] == 60

    process = subprocess.Popen([PROGRAM, *train_command(stopped, data, ["train.steps=100000"])],
                               stderr=subprocess.PIPE, text=True)
    wait_for(stopped / "log.csv")
    wait_for(stopped / "checkpoints" / "checkpoint-000000020.safetensors")
    process.send_signal(signal.SIGTERM)
    message = process.communicate()[1]
    assert process.returncode == 0 and "stopped and saved at step" in message, message
    at = int(last_checkpoint(stopped).name[11:20])
    assert f"at step {at};" in message, (at, message)
    # As far as both have to go, whenever the signal came.
    end = f"train.steps={max(at, 60) + 1}"
    run(*train_command(stopped, data, [end]))
    run(*train_command(folder / "unstopped", data, [end]))
    assert last_checkpoint(stopped).name == last_checkpoint(folder / "unstopped").name
    assert last_checkpoint(stopped).read_bytes() == \
        last_checkpoint(folder / "unstopped").read_bytes()

    # Bit for bit, but for the settings that may differ.
    run(*train_command(killed, data, ["train.steps=61"]))
    run(*train_command(whole, data, ["train.steps=61"]))
    assert last_checkpoint(whole).name == "checkpoint-000000061.safetensors"
    assert last_checkpoint(whole).read_bytes() == last_checkpoint(killed).read_bytes()

    refused("holds another training run: train.batch is 4, but was 8",
            *train_command(whole, data, ["train.batch=4"]))
    return last_checkpoint(whole)


def check_not_finite(folder: Path, data: Path) -> None:
    workdir = folder / "diverged"
    changes = ["checkpoint.every=1", "learning_rate.warmup_steps=0"]
    run(*train_command(workdir, data, [*changes, "train.steps=2"]))
    before = last_checkpoint(workdir).read_bytes()
    refused("not finite", *train_command(workdir, data, [
        "checkpoint.every=0", "learning_rate.warmup_steps=0", "learning_rate.peak=1e+30",
        "learning_rate.decay=constant"]), code=1)
    assert last_checkpoint(workdir).read_bytes() == before


def check_samples(folder: Path, checkpoint: Path) -> None:
    def sample(name: str, *options: str) -> Path:
        run("sample", "--checkpoint", checkpoint, "--out", folder / f"{name}.png", "--npy",
            folder / f"{name}.npy", *options)
        return folder / f"{name}.npy"

    first = sample("a", "--count", "20", "--seed", "5", "--batch", "8")
    assert npy_shape(first) == (20, 32, 32, 3)
    assert png_size(folder / "a.png") == (2 * 34 + 2, 10 * 34 + 2)  # one class to a row
    again = sample("b", "--count", "20", "--seed", "5", "--batch", "8")
    assert first.read_bytes() == again.read_bytes()
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    differing = [sample("c", "--count", "20", "--seed", "6", "--batch", "8"),
                 sample("d", "--count", "20", "--seed", "5", "--batch", "8", "--nfe", "2"),
                 sample("e", "--count", "20", "--seed", "5", "--batch", "8", "--average", "-1"),
                 sample("f", "--count", "20", "--seed", "5", "--batch", "8", "--guidance", "3"),
                 sample("g", "--count", "20", "--seed", "5", "--batch", "8", "--class", "4"),
                 sample("h", "--count", "20", "--seed", "5", "--batch", "8", "--nfe", "2", "--solver", "euler"),
                 sample("i", "--count", "20", "--seed", "5", "--batch", "8", "--nfe", "2", "--solver", "heun")]
    assert len({path.read_bytes() for path in [first, *differing]}) == 8
    refused("--solver", "sample", "--checkpoint", checkpoint, "--solver", "rk4")
    assert png_size(folder / "g.png") == (5 * 34 + 2, 4 * 34 + 2)
    refused("--class is 10", "sample", "--checkpoint", checkpoint, "--class", "10")
    refused("--average is 1", "sample", "--checkpoint", checkpoint, "--average", "1")


def check_evaluation(folder: Path, checkpoint: Path, data: Path) -> None:
    out = folder / "measures.json"
    command = ["evaluate", "--checkpoint", checkpoint.parent.parent, "--data", data, "--count", "40", "--nfe",
               "1,2", "--out", out]
    text = run(*command)
    assert "not the FID" in text and "test accuracy" in text, text
    check_table(text)
    measures = json.loads(out.read_text())
    assert "not the FID" in measures["measure"]
    assert measures["count"] == 40 and measures["step"] == 61
    assert measures["classifier"]["test_accuracy"] > 0.5, measures
    assert [row["nfe"] for row in measures["results"]] == [1, 2]
    for row in [measures["floor"], *measures["results"]]:
        assert set(row["classifier_kernel_distance"]) == {"mean", "standard_deviation"}
        assert row["classifier_frechet_distance"] > -1e-3
        assert 0 <= row["precision"] <= 1 and 0 <= row["recall"] <= 1, row
    # Real pictures lie among others, and others among them; those of a net that has learned little do not.
    for key in ("precision", "recall"):
        assert measures["floor"][key] > max(row[key] for row in measures["results"]), measures
    assert all(0 <= row["class_agreement"] <= 1 for row in measures["results"])
    assert measures["floor"]["classifier_frechet_distance"] < min(
        row["classifier_frechet_distance"] for row in measures["results"])
    assert (checkpoint.parent.parent / "classifier.safetensors").exists()
    assert "training the classifier" not in run(*command)
    assert json.loads(out.read_text()) == measures
    refused("trained with classifier.epochs 2, not 3", *command, "--set", "classifier.epochs=3")
    refused("settings of evaluate and classifier alone", *command, "--set", "train.batch=3")


def check_table(text: str) -> None:
    """Numbers end where their headings end, and lines where their text does."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if "Frechet*" in line)
    for line in lines[head:head + 4]:
        assert line == line.rstrip(), repr(line)
    for row in lines[head + 1:head + 4]:
        for heading in ("Frechet*", "precision*", "recall*"):
            end = lines[head].index(heading) + len(heading)
            assert row[end - 1].isdigit() and row[end:end + 1] in ("", " "), (heading, row)
    for row in lines[head + 2:head + 4]:
        assert row.endswith(" %") and len(row) == len(lines[head]), row


def check_information(checkpoint: Path) -> None:
    text = run("info", "--checkpoint", checkpoint)
    assert "step 61" in text and "multiply-adds per picture" in text, text
    assert "down.0.blocks.0.conv1.weight" in text, text
    assert run("info", "--checkpoint", checkpoint.parent.parent) == text
    assert "batch: 7\n" in run("info", "--checkpoint", checkpoint, "--set", "train.batch=7")
    assert "2.03 G" in run("info", "--config", CONFIGS / "meanflownet.yaml")


def check_refusals(folder: Path, data: Path, checkpoint: Path) -> None:
    refused("did you mean train.batch?", *train_command(folder / "x", data, ["train.bacth=4"]))
    refused("none.yaml", "info", "--config", folder / "none.yaml")
    refused("data_batch_1.bin", *train_command(folder / "x", folder / "none", []))
    broken = folder / "broken.safetensors"
    broken.write_bytes(checkpoint.read_bytes()[:1000])
    refused("broken.safetensors", "sample", "--checkpoint", broken)
    refused("is not a checkpoint of cifar10 train", "sample", "--checkpoint",
            checkpoint.parent.parent / "classifier.safetensors")
    refused("has no checkpoints", "sample", "--checkpoint", data)
    refused("--config", "train")
    refused("--config or --checkpoint", "info")
    refused("subcommand", "--threads", "2")
    refused("--nfe", "sample", "--checkpoint", checkpoint, "--nfe", "0")
    refused("--seed", "sample", "--checkpoint", checkpoint, "--seed", "-1")
    refused("--data", "info", "--checkpoint", checkpoint, "--data", data)
    refused(str(folder), "info", "--config", folder)
    assert not (folder / "x").exists()


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cifar10-"))
    try:
        data = folder / "data"
        make_data(data)
        checkpoint = check_resuming(folder, data)
        check_not_finite(folder, data)
        check_samples(folder, checkpoint)
        check_bare_weights(folder, checkpoint)
        check_settings_matter(folder, data)
        check_own_pictures(folder)
        check_evaluation(folder, checkpoint, data)
        check_information(checkpoint)
        check_refusals(folder, data, checkpoint)
        assert "evaluate" in run("--help") and "--checkpoint" in run("sample", "--help")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("cifar10: train, kill, resume, stop, sample, evaluate, info, refusals: as expected")


main()
