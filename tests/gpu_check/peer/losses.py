# SPDX-License-Identifier: MIT
"""Losses with the interface of the peer's."""
from collections import namedtuple

import torch
import torch.autograd.forward_ad as forward

Loss = namedtuple("Loss", "mean")


def rows(s, x):
    return s.reshape(-1, *[1] * (x.dim() - 1))


def fused(net, z, r, t, v, cond):
    with forward.dual_level():
        tangents = (v, torch.zeros_like(r), torch.ones_like(t))
        u = net(*map(forward.make_dual, (z, r, t), tangents), **cond)
        return tuple(forward.unpack_dual(u))


def flow_matching(net, x, eps, t, **cond):
    z = (1 - rows(t, x)) * x + rows(t, x) * eps
    return Loss((net(z, t, t, **cond) - (eps - x)).square().mean())


def meanflow(net, x, eps, r, t, derivative=fused, **cond):
    z, v = (1 - rows(t, x)) * x + rows(t, x) * eps, eps - x
    u, slope = derivative(net, z, r, t, v, cond)
    return Loss((u - (v - rows(t - r, x) * slope).detach()).square().mean())
