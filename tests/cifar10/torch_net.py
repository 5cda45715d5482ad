# SPDX-License-Identifier: MIT
"""MeanFlowNet in PyTorch, from its weights alone, and the noise that cifar10 samples from."""
import math

import numpy
import torch
import torch.nn.functional as F


def conv(w, name, x, **how):
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=w[f"{name}.weight"].shape[-1] // 2, **how)


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def norm(w, name, x):
    return F.group_norm(x, min(32, x.shape[1] // 4), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def sinusoid(time, width):
    half = width // 2
    angles = time[:, None] * torch.tensor([10000 ** (-i / half) for i in range(half)], dtype=time.dtype)
    return torch.cat([angles.cos(), angles.sin()], 1)


def block(w, name, x, condition):
    y = conv(w, f"{name}.conv1", F.silu(norm(w, f"{name}.norm1", x)))
    scale, shift = linear(w, f"{name}.affine", condition)[:, :, None, None].chunk(2, 1)
    y = conv(w, f"{name}.conv2", F.silu(norm(w, f"{name}.norm2", y) * (1 + scale) + shift))
    return y + (conv(w, f"{name}.skip", x) if f"{name}.skip.weight" in w else x)


def mean_flow_net(w, z, r, t, labels, levels, blocks):
    """u(z, r, t | class) of images (N, C, H, W); w holds the weights by name."""
    width = w["class_embed.weight"].shape[1]
    features = torch.cat([sinusoid(r, width), sinusoid(t, width), w["class_embed.weight"][labels]], 1)
    c = F.silu(linear(w, "cond_mlp.2", F.silu(linear(w, "cond_mlp.0", features))))
    x = conv(w, "conv_in", z)
    skips = [x]
    for i in range(levels):
        for j in range(blocks):
            skips.append(x := block(w, f"down.{i}.blocks.{j}", x, c))
        if i + 1 < levels:
            skips.append(x := conv(w, f"down.{i}.resample", x, stride=2))
    for i in range(2):
        x = block(w, f"mid.{i}", x, c)
    for i in range(levels):
        if i > 0:
            x = conv(w, f"up.{i}.resample", F.interpolate(x, scale_factor=2, mode="nearest"))
        for j in range(blocks + 1):
            x = block(w, f"up.{i}.blocks.{j}", torch.cat([x, skips.pop()], 1), c)
    return conv(w, "conv_out", F.silu(norm(w, "norm_out", x)))


def philox(key, counters):
    """Philox4x32-10 of counters (N, 4): Salmon et al., SC 2011."""
    c = [counters[:, i].astype("u8") for i in range(4)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return numpy.stack(c, 1)


def sampling_noise(seed, count, size):
    """(count, size) standard normal numbers, as `sample --seed` draws them (random/philox.hpp)."""
    sampling = 8
    blocks = numpy.arange(math.ceil(size / 4), dtype="u8")
    rows = []
    for row in range(count):
        counters = numpy.stack([0 * blocks, 0 * blocks + row, 0 * blocks + sampling, blocks], 1)
        words = philox(seed, counters).reshape(-1, 2)
        radius = numpy.sqrt(-2 * numpy.log(words[:, 0] * 2.0 ** -32 + 2.0 ** -33))
        angle = 2 * math.pi * (words[:, 1] >> numpy.uint64(8)) * 2.0 ** -24
        rows.append(numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], 1).reshape(-1)[:size])
    return numpy.stack(rows)
