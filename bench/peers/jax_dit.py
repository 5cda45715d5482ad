#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The steps of bench_training in JAX: DiT-B/4 on latents of 32 x 32 x 4, jitted as one function.

usage: jax_dit.py [BATCH] [--json]     prints the median time of each kind of step in milliseconds
"""
import sys

import jax
import jax.numpy as jnp

import jax_mlp

SIDE, PATCH, CHANNELS, WIDTH, DEPTH, HEADS, CLASSES = 32, 4, 4, 768, 12, 12, 1000
TOKENS, PIXELS = (SIDE // PATCH) ** 2, PATCH ** 2 * CHANNELS


def init(key):
    """Layers that begin with zeros do the same work as others: all are drawn."""
    keys = iter(jax.random.split(key, 100))
    linear = lambda a, b: (0.02 * jax.random.normal(next(keys), (a, b)), jnp.zeros(b))
    number = lambda: [linear(256, WIDTH), linear(WIDTH, WIDTH)]
    block = lambda: {"modulation": linear(WIDTH, 6 * WIDTH), "qkv": linear(WIDTH, 3 * WIDTH),
                     "proj": linear(WIDTH, WIDTH), "fc1": linear(WIDTH, 4 * WIDTH),
                     "fc2": linear(4 * WIDTH, WIDTH)}
    return {"patches": linear(PIXELS, WIDTH), "t": number(), "h": number(),
            "classes": 0.02 * jax.random.normal(next(keys), (CLASSES + 1, WIDTH)),
            "blocks": [block() for _ in range(DEPTH)],
            "last": [linear(WIDTH, 2 * WIDTH), linear(WIDTH, PIXELS)]}


def apply(layer, x):
    return x @ layer[0] + layer[1]


def embed_number(layers, s):
    angles = s[:, None] * 10000.0 ** (-jnp.arange(128) / 128)
    features = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], 1)
    return apply(layers[1], jax.nn.silu(apply(layers[0], features)))


def modulated(x, shift, scale):
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)
    return x * (1 + scale[:, None]) + shift[:, None]


def attend(qkv):
    n = len(qkv)
    q, k, v = qkv.reshape(n, TOKENS, 3, HEADS, -1).transpose(2, 0, 3, 1, 4)
    p = jax.nn.softmax(q @ k.swapaxes(-1, -2) * q.shape[-1] ** -0.5)
    return (p @ v).transpose(0, 2, 1, 3).reshape(n, TOKENS, WIDTH)


def positions():
    angles = jnp.arange(SIDE // PATCH)[:, None] * 10000.0 ** (-jnp.arange(WIDTH // 4) / (WIDTH // 4))
    of_one = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1)
    side = len(of_one)
    return jnp.concatenate([jnp.tile(of_one, (side, 1)), jnp.repeat(of_one, side, 0)], 1)


def net(params, z, r, t):
    n, side = len(z), SIDE // PATCH
    x = z.reshape(n, side, PATCH, side, PATCH, CHANNELS).transpose(0, 1, 3, 2, 4, 5)
    x = apply(params["patches"], x.reshape(n, TOKENS, PIXELS)) + positions()
    c = embed_number(params["t"], t) + embed_number(params["h"], t - r)
    c = jax.nn.silu(c + params["classes"][jnp.arange(n) % CLASSES])
    for block in params["blocks"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(apply(block["modulation"], c), 6, 1)
        a = attend(apply(block["qkv"], modulated(x, shift1, scale1)))
        x = x + gate1[:, None] * apply(block["proj"], a)
        a = jax.nn.gelu(apply(block["fc1"], modulated(x, shift2, scale2)), approximate=True)
        x = x + gate2[:, None] * apply(block["fc2"], a)
    shift, scale = jnp.split(apply(params["last"][0], c), 2, 1)
    x = apply(params["last"][1], modulated(x, shift, scale))
    x = x.reshape(n, side, side, PATCH, PATCH, CHANNELS).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, SIDE, SIDE, CHANNELS)


if __name__ == "__main__":
    batch = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 8
    jax_mlp.main("dit_b4", init(jax.random.PRNGKey(0)), net, (SIDE, SIDE, CHANNELS), batch, rounds=7)
