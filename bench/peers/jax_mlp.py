#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The steps of bench_training in JAX: MLP 256 x 4 on (z, t, t - r), Adam, jitted as one function.

usage: jax_mlp.py [BATCH] [--json]     prints the median time of each kind of step in milliseconds
"""
import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp

# float32 as it is: on a GPU it would be rounded to TF32.
jax.config.update("jax_default_matmul_precision", "highest")

SIZES = [4] + [256] * 4 + [2]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    return [(jax.random.uniform(k, (a, b), minval=-a ** -0.5, maxval=a ** -0.5), jnp.zeros(b))
            for k, a, b in zip(keys, SIZES, SIZES[1:])]


def net(params, z, r, t):
    x = jnp.concatenate([z, t[:, None], (t - r)[:, None]], 1)
    for w, b in params[:-1]:
        x = jax.nn.silu(x @ w + b)
    return x @ params[-1][0] + params[-1][1]


def loss(params, x, key, jumps, net, p=1.0, c=0.01):
    """Only the first `jumps` rows have r < t, and only they are differentiated along time."""
    n = len(x)
    each_row = lambda s: s.reshape(n, *[1] * (x.ndim - 1))
    ka, kb = jax.random.split(key)
    eps = jax.random.normal(ka, x.shape)
    a, b = jax.nn.sigmoid(jax.random.normal(kb, (2, n)) - 0.4)
    t = jnp.maximum(a, b)
    r = jnp.where(jnp.arange(n) < jumps, jnp.minimum(a, b), t)
    z, v = (1 - each_row(t)) * x + each_row(t) * eps, eps - x
    f = lambda z, r, t: net(params, z, r, t)
    if jumps == n:
        u, dudt = jax.jvp(f, (z, r, t), (v, jnp.zeros(n), jnp.ones(n)))
    elif jumps:
        k = jumps
        u0, d0 = jax.jvp(f, (z[:k], r[:k], t[:k]), (v[:k], jnp.zeros(k), jnp.ones(k)))
        u = jnp.concatenate([u0, f(z[k:], r[k:], t[k:])])
        dudt = jnp.concatenate([d0, jnp.zeros_like(x[k:])])
    else:
        u, dudt = f(z, r, t), jnp.zeros_like(z)
    error = u - jax.lax.stop_gradient(v - each_row(t - r) * dudt)
    square = jnp.sum((error ** 2).reshape(n, -1), 1)
    return jnp.mean(square / jax.lax.stop_gradient(square + c) ** p)


def make_step(jumps, net):
    @jax.jit
    def step(state, x):
        params, m, v, n, key = state
        key, sub = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(params, x, sub, jumps, net)
        n = n + 1
        tree = jax.tree_util.tree_map
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        params = tree(lambda p, m, v: p - 1e-5 * (m / (1 - 0.9 ** n)) /
                      (jnp.sqrt(v / (1 - 0.999 ** n)) + 1e-8), params, m, v)
        return (params, m, v, n, key), value
    return step


def median_ms(run, rounds=200):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[rounds // 10:])


def show(name, ms):
    if "--json" in sys.argv:
        print(json.dumps({"name": name, "form": "JAX, jitted", "ms": round(ms, 4)}), flush=True)
    else:
        print(f"{name} {ms:.2f} ms", flush=True)


def main(name, params, net, row, batch, rounds=200):
    zeros = jax.tree_util.tree_map(jnp.zeros_like, params)
    x = jax.random.normal(jax.random.PRNGKey(1), (batch, *row))
    for kind, share in [("flow_matching", 0), ("meanflow_25", 0.25), ("meanflow_75", 0.75),
                        ("meanflow_100", 1)]:
        step = make_step(round(share * batch), net)
        state = [(params, zeros, zeros, jnp.float32(0), jax.random.PRNGKey(2))]

        def run():
            state[0], value = step(state[0], x)
            value.block_until_ready()
        show(f"training_step/{name}/{kind}/{batch}", median_ms(run, rounds))
    one, zero = jnp.ones(batch), jnp.zeros(batch)
    sample = jax.jit(lambda params, e: e - net(params, e, zero, one))
    show(f"sampling/{name}/{batch}", median_ms(lambda: sample(params, x).block_until_ready(), rounds))


if __name__ == "__main__":
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    main("mlp_256x4", init(jax.random.PRNGKey(0)), net, (2,), batch)
