# SPDX-License-Identifier: MIT
"""The Inception network of published distances in PyTorch, written from its description: the layers
of Szegedy et al. (arXiv 1512.00567) as TensorFlow's frozen graph of 2015-12-05 has them. Weights are
random ones, under the names of the public PyTorch file."""
import torch
import torch.nn.functional as F

# name: (in, out, kernel, stride, padding)
STEM = {
    "Conv2d_1a_3x3": (3, 32, 3, 2, 0),
    "Conv2d_2a_3x3": (32, 32, 3, 1, 0),
    "Conv2d_2b_3x3": (32, 64, 3, 1, 1),
    "Conv2d_3b_1x1": (64, 80, 1, 1, 0),
    "Conv2d_4a_3x3": (80, 192, 3, 1, 0),
}
WIDE, TALL = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))


def block_a(n, pooled):
    return {
        "branch1x1": (n, 64, 1, 1, 0),
        "branch5x5_1": (n, 48, 1, 1, 0),
        "branch5x5_2": (48, 64, 5, 1, 2),
        "branch3x3dbl_1": (n, 64, 1, 1, 0),
        "branch3x3dbl_2": (64, 96, 3, 1, 1),
        "branch3x3dbl_3": (96, 96, 3, 1, 1),
        "branch_pool": (n, pooled, 1, 1, 0),
    }


def block_c(n):
    return {
        "branch1x1": (768, 192, 1, 1, 0),
        "branch7x7_1": (768, n, 1, 1, 0),
        "branch7x7_2": (n, n, *WIDE),
        "branch7x7_3": (n, 192, *TALL),
        "branch7x7dbl_1": (768, n, 1, 1, 0),
        "branch7x7dbl_2": (n, n, *TALL),
        "branch7x7dbl_3": (n, n, *WIDE),
        "branch7x7dbl_4": (n, n, *TALL),
        "branch7x7dbl_5": (n, 192, *WIDE),
        "branch_pool": (768, 192, 1, 1, 0),
    }


def block_e(n):
    return {
        "branch1x1": (n, 320, 1, 1, 0),
        "branch3x3_1": (n, 384, 1, 1, 0),
        "branch3x3_2a": (384, 384, (1, 3), 1, (0, 1)),
        "branch3x3_2b": (384, 384, (3, 1), 1, (1, 0)),
        "branch3x3dbl_1": (n, 448, 1, 1, 0),
        "branch3x3dbl_2": (448, 384, 3, 1, 1),
        "branch3x3dbl_3a": (384, 384, (1, 3), 1, (0, 1)),
        "branch3x3dbl_3b": (384, 384, (3, 1), 1, (1, 0)),
        "branch_pool": (n, 192, 1, 1, 0),
    }


BLOCKS = {
    "Mixed_5b": block_a(192, 32),
    "Mixed_5c": block_a(256, 64),
    "Mixed_5d": block_a(288, 64),
    "Mixed_6a": {
        "branch3x3": (288, 384, 3, 2, 0),
        "branch3x3dbl_1": (288, 64, 1, 1, 0),
        "branch3x3dbl_2": (64, 96, 3, 1, 1),
        "branch3x3dbl_3": (96, 96, 3, 2, 0),
    },
    "Mixed_6b": block_c(128),
    "Mixed_6c": block_c(160),
    "Mixed_6d": block_c(160),
    "Mixed_6e": block_c(192),
    "Mixed_7a": {
        "branch3x3_1": (768, 192, 1, 1, 0),
        "branch3x3_2": (192, 320, 3, 2, 0),
        "branch7x7x3_1": (768, 192, 1, 1, 0),
        "branch7x7x3_2": (192, 192, *WIDE),
        "branch7x7x3_3": (192, 192, *TALL),
        "branch7x7x3_4": (192, 192, 3, 2, 0),
    },
    "Mixed_7b": block_e(1280),
    "Mixed_7c": block_e(2048),
}
LAYERS = STEM | {
    f"{block}.{name}": layer for block, layers in BLOCKS.items() for name, layer in layers.items()
}


def random_weights(seed):
    """A state dict, drawn so that signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (n, out, kernel, _, _) in LAYERS.items():
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        w = torch.randn(out, n, *kernel, generator=generator)
        weights[f"{name}.conv.weight"] = w * (2 / (n * kernel[0] * kernel[1])) ** 0.5
        draw = lambda: torch.rand(out, generator=generator)
        weights[f"{name}.bn.weight"] = 0.8 + 0.4 * draw()
        weights[f"{name}.bn.bias"] = 0.2 * draw() - 0.1
        weights[f"{name}.bn.running_mean"] = 0.2 * draw() - 0.1
        weights[f"{name}.bn.running_var"] = 0.8 + 0.4 * draw()
    weights["fc.weight"] = torch.randn(1008, 2048, generator=generator) / 2048**0.5
    weights["fc.bias"] = torch.zeros(1008)
    return weights


def resize(x, side=299):
    """TensorFlow 1's bilinear resizing of (N, C, H, W): pixel i lies at i H / side."""
    for axis in (2, 3):
        at = torch.arange(side, dtype=torch.float32) * (x.shape[axis] / side)
        first = at.floor().long()
        second = (first + 1).clamp(max=x.shape[axis] - 1)
        share = (at - first).reshape(-1, *[1] * (3 - axis))
        a, b = x.index_select(axis, first), x.index_select(axis, second)
        x = a + (b - a) * share
    return x


def inception(weights, images):
    """Features (N, 2048) and logits (N, 1008) of bytes (N, H, W, C)."""

    def conv(x, name):
        _, _, _, stride, padding = LAYERS[name]
        x = F.conv2d(x, weights[f"{name}.conv.weight"], stride=stride, padding=padding)
        norm = [weights[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *norm, eps=0.001))

    def chain(x, block, *names):
        for name in names:
            x = conv(x, f"{block}.{name}")
        return x

    def average(x):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def a(x, b):
        return torch.cat([
            chain(x, b, "branch1x1"),
            chain(x, b, "branch5x5_1", "branch5x5_2"),
            chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            chain(average(x), b, "branch_pool"),
        ], 1)

    def c(x, b):
        return torch.cat([
            chain(x, b, "branch1x1"),
            chain(x, b, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
            chain(x, b, *(f"branch7x7dbl_{i}" for i in range(1, 6))),
            chain(average(x), b, "branch_pool"),
        ], 1)

    def e(x, b, pool):
        three = chain(x, b, "branch3x3_1")
        twice = chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
        return torch.cat([
            chain(x, b, "branch1x1"),
            chain(three, b, "branch3x3_2a"),
            chain(three, b, "branch3x3_2b"),
            chain(twice, b, "branch3x3dbl_3a"),
            chain(twice, b, "branch3x3dbl_3b"),
            chain(pool(x), b, "branch_pool"),
        ], 1)

    x = images.permute(0, 3, 1, 2).float()
    if x.shape[1] == 1:
        x = x.repeat(1, 3, 1, 1)
    x = (resize(x) - 128) / 128
    for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"):
        x = conv(x, name)
    x = F.max_pool2d(x, 3, 2)
    for name in ("Conv2d_3b_1x1", "Conv2d_4a_3x3"):
        x = conv(x, name)
    x = F.max_pool2d(x, 3, 2)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = a(x, block)
    b = "Mixed_6a"
    x = torch.cat([
        chain(x, b, "branch3x3"),
        chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        F.max_pool2d(x, 3, 2),
    ], 1)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = c(x, block)
    b = "Mixed_7a"
    x = torch.cat([
        chain(x, b, "branch3x3_1", "branch3x3_2"),
        chain(x, b, *(f"branch7x7x3_{i}" for i in range(1, 5))),
        F.max_pool2d(x, 3, 2),
    ], 1)
    x = e(x, "Mixed_7b", average)
    x = e(x, "Mixed_7c", lambda x: F.max_pool2d(x, 3, 1, 1))
    features = x.mean(dim=(2, 3))
    return features, features @ weights["fc.weight"].T
