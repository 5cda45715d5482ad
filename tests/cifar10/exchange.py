#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Nets of cifar10 in other programs, and others' in cifar10: exchange.py PROGRAM CONFIGS_FOLDER

Weights go to PyTorch and come back from the layouts that others keep them in; a model file and an ONNX
graph are written and sampled from; samples are measured with a made-up Inception network. Exits 77,
skipped, where PyTorch is missing; the ONNX graph is run where onnxruntime is.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from common import last_checkpoint, make_data, refused, run, train_command

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/eval")]
from inception_reference import random_weights
from safetensors_file import load, save
from torch_net import mean_flow_net, sampling_noise


def convert(*command) -> None:
    subprocess.run([sys.executable, ROOT / "tools/convert_checkpoint.py", *map(str, command)], check=True)


def samples(checkpoint: Path, folder: Path, *more) -> numpy.ndarray:
    out = folder / "samples"
    run("sample", "--checkpoint", checkpoint, "--count", "4", "--seed", "3", "--out", f"{out}.png",
        "--npy", f"{out}.npy", *more)
    return numpy.load(f"{out}.npy")


def config_of(checkpoint: Path, folder: Path) -> Path:
    """The configuration that a checkpoint tells, as a file for weights alone."""
    path = folder / "config.yaml"
    path.write_text(load(checkpoint)[1]["cifar10.config"])
    return path


def check_weights(checkpoint: Path, config: Path, folder: Path) -> None:
    """To PyTorch, into the layout of a training program, and back."""
    expected = samples(checkpoint, folder)
    run("export", "--checkpoint", checkpoint, "--model", folder / "model.safetensors")
    convert(folder / "model.safetensors", folder / "state.pth")
    state = torch.load(folder / "state.pth")
    assert state["conv_in.weight"].shape == (8, 3, 3, 3)
    others = {
        "model": {**{f"net.{n}": torch.zeros_like(t) for n, t in state.items()},
                  **{f"net_ema.{n}": t for n, t in state.items()}},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1}]},
        "epoch": 7,
    }
    torch.save(others, folder / "others.pth")
    back = folder / "back.safetensors"
    convert(folder / "others.pth", back, "--prefix", "model.net_ema.")
    assert numpy.array_equal(samples(back, folder, "--config", config), expected)
    convert(folder / "others.pth", back, "--prefix", "model.net.")
    assert not numpy.array_equal(samples(back, folder, "--config", config), expected)
    wrong = subprocess.run([sys.executable, ROOT / "tools/convert_checkpoint.py", folder / "others.pth",
                            folder / "never.safetensors", "--prefix", "ema."], capture_output=True, text=True)
    assert wrong.returncode == 1 and "model.net_ema. (" in wrong.stderr, wrong.stderr
    assert not (folder / "never.safetensors").exists()


def check_sampled(config: Path, folder: Path) -> None:
    """Weights from a .pth give the samples that the net in PyTorch computes from them; takes the names that
    check_weights has left in model.safetensors."""
    torch.manual_seed(4)
    state = {n: torch.tensor(t) for n, t in load(folder / "model.safetensors")[0].items()}
    state = {n: t + 0.1 * torch.randn(t.shape) for n, t in state.items()}
    torch.save({"model": {f"net_ema.{n}": t for n, t in state.items()}}, folder / "sampled.pth")
    convert(folder / "sampled.pth", folder / "sampled.safetensors", "--prefix", "model.net_ema.")
    found = samples(folder / "sampled.safetensors", folder, "--config", config, "--nfe", "1")
    weights = {n: t.double() for n, t in state.items()}
    z = torch.from_numpy(sampling_noise(3, 4, 32 * 32 * 3)).reshape(4, 32, 32, 3).permute(0, 3, 1, 2)
    times = torch.zeros(4, dtype=torch.double)
    labels = torch.arange(4)  # --count 4 asks for classes in turn
    expected = z - mean_flow_net(weights, z, times, times + 1, labels, levels=2, blocks=1)
    expected = expected.permute(0, 2, 3, 1).numpy()
    difference = numpy.abs(found - expected).max() / numpy.abs(expected).max()
    print(f"samples of PyTorch's weights: {difference:.1e} from PyTorch's")
    assert numpy.abs(expected - z.permute(0, 2, 3, 1).numpy()).max() > 0.1
    assert difference < 1e-6, difference


def check_init(checkpoint: Path, data: Path, folder: Path) -> None:
    """A training run that begins from converted weights begins where they are."""
    run(*train_command(folder / "init", data, ["train.steps=1", "learning_rate.peak=1e-30",
                                               "learning_rate.warmup_steps=0", "optimizer.weight_decay=0"]),
        "--init", folder / "model.safetensors")
    begun, _ = load(last_checkpoint(folder / "init"))
    weights, _ = load(folder / "model.safetensors")
    assert all(numpy.array_equal(begun[name], values) for name, values in weights.items())


def check_onnx(checkpoint: Path, folder: Path) -> None:
    path = folder / "net.onnx"
    run("export", "--checkpoint", checkpoint, "--onnx", path, "--nfe", "2")
    assert path.stat().st_size > 10_000
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["noise", "labels"]
    noise = numpy.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("f4")
    (images,) = session.run(None, {"noise": noise, "labels": numpy.arange(3)})
    assert images.shape == noise.shape and numpy.isfinite(images).all()


def check_published(checkpoint: Path, config: Path, data: Path, folder: Path) -> None:
    """The distances by an Inception network of random weights; the reference is kept and reused."""
    weights = {n: t.numpy() for n, t in random_weights(2).items() if n != "fc.bias"}
    save(folder / "inception.safetensors", weights)
    command = ["evaluate", "--checkpoint", checkpoint, "--data", data, "--inception",
               folder / "inception.safetensors", "--count", "12", "--nfe", "1", "--out", folder / "out.json"]
    text = run(*command)
    assert "training pictures: " in text and "FID" in text, text
    first = json.loads((folder / "out.json").read_text())
    assert first["reference_count"] == 200 and first["count"] == 12
    result = first["results"][0]
    assert result["fid"] > 0 and result["inception_score"]["mean"] >= 1 and 0 <= result["recall"] <= 1
    assert (folder / "run/inception_statistics.safetensors").exists()
    assert "training pictures" not in run(*command)
    again = json.loads((folder / "out.json").read_text())["results"][0]
    assert abs(again["fid"] - result["fid"]) < 1e-6 * result["fid"]
    save(folder / "second.safetensors", {n: 2 * t if n == "fc.weight" else t for n, t in weights.items()})
    refused("holds statistics of other weights of the Inception network", *command[:5], "--inception",
            folder / "second.safetensors")
    # Statistics of others have no features to draw from.
    tensors, _ = load(folder / "run/inception_statistics.safetensors")
    numpy.savez(folder / "others.npz", mu=tensors["mean"], sigma=tensors["covariance"])
    subprocess.run([sys.executable, ROOT / "tools/convert_statistics.py", folder / "others.npz",
                    folder / "others.safetensors", "--count", "200"], check=True)
    run(*command, "--reference", folder / "others.safetensors")
    bare = json.loads((folder / "out.json").read_text())["results"][0]
    assert abs(bare["fid"] - result["fid"]) < 1e-6 * result["fid"] and "recall" not in bare
    refused("has no tensor Conv2d_1a_3x3.bn.weight", *command[:5], "--inception",
            folder / "others.safetensors")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        make_data(data)
        run(*train_command(folder / "run", data, ["train.steps=20"]))
        checkpoint = last_checkpoint(folder / "run")
        config = config_of(checkpoint, folder)
        check_weights(checkpoint, config, folder)
        check_sampled(config, folder)
        check_init(checkpoint, data, folder)
        check_onnx(checkpoint, folder)
        check_published(checkpoint, config, data, folder)
        refused("export needs --model FILE or --onnx FILE", "export", "--checkpoint", checkpoint)
    print("ok")


main()
