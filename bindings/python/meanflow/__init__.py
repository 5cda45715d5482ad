# SPDX-License-Identifier: MIT
"""One-step generative models in Python: sample from models of meanflow, differentiate them exactly,
and learn a table of points.

    import meanflow
    model, losses = meanflow.train(points)     # (N, D)
    samples = model.sample(1000)               # (1000, D), one evaluation of the net for each
    model.save("points.safetensors")
    model = meanflow.load("points.safetensors")

Arrays are numpy's, float32 and contiguous; others are converted, which copies them. Images are
(B, H, W, C) in [-1, 1]. Other threads run while the library works.
"""
import json as _json

import numpy as _numpy

from . import _core
from ._core import Error, set_threads

__all__ = ["Error", "Model", "load", "set_threads", "train"]
__version__ = "0.1.0"


def _floats(values):
    return None if values is None else _numpy.ascontiguousarray(values, dtype=_numpy.float32)


def _integers(values):
    if values is None:
        return None
    array = _numpy.asarray(values)
    if array.dtype.kind not in "iu" or (array.size and not -(2**31) <= array.min() <= array.max() < 2**31):
        raise Error(f"labels must be whole numbers of 32 bits, but are {array.dtype}")
    return _numpy.ascontiguousarray(array, dtype=_numpy.int32)


class Model:
    """A trained net with what is needed to sample from it.

    What it is told is given by keywords, of as many rows as the batch or of one that is meant for
    all: `labels` (B), `values` (B, C), `augmentation` (B, A), `omega`, `t_min` and `t_max` (B). `parts` names
    those that this kind of net knows; another is an `Error`.
    """

    _PARTS = ("values", "augmentation", "omega", "t_min", "t_max")

    def __init__(self, core):
        self._core = core

    @property
    def net(self):
        """The kind of the net, as 'Mlp<Silu>'."""
        return self._core.net

    @property
    def settings(self):
        """The net's settings, a dictionary."""
        return _json.loads(self._core.settings_json)

    @property
    def parameters(self):
        """The number of parameters."""
        return self._core.parameters

    @property
    def shape(self):
        """The shape of a sample; () if the file does not tell."""
        return tuple(self._core.row_shape)

    @property
    def parts(self):
        """What the net can be told, by name."""
        return tuple(self._core.parts)

    def __repr__(self):
        return f"Model({self.net}, {self.parameters} parameters, samples of shape {self.shape})"

    def _told(self, labels, parts):
        unknown = set(parts) - set(self._PARTS)
        if unknown:
            raise TypeError(f"unexpected keyword {sorted(unknown)[0]!r}")
        return (_integers(labels), *(_floats(parts.get(name)) for name in self._PARTS))

    def sample(self, count, steps=1, *, seed=0, guidance=1.0, batch=4096, labels=None, **told):
        """`count` samples (count, ...) in the units of the data. Sample i depends on the seed and on
        i alone, up to rounding. `guidance` is for nets that were trained with dropped conditions."""
        return self._core.sample(
            count, steps, seed, guidance, batch, *self._told(labels, told)
        )

    def velocity(self, z, r, t, *, labels=None, **told):
        """u(z, r, t) (B, ...): z (B, ...), r and t (B), in the units that the net sees."""
        return self._core.velocity(_floats(z), _floats(r), _floats(t), *self._told(labels, told))

    def jvp(self, z, r, t, dz, dr, dt, *, labels=None, **told):
        """u(z, r, t) and its derivative along (dz, dr, dt): exact, in one evaluation."""
        return self._core.jvp(
            *(_floats(x) for x in (z, r, t, dz, dr, dt)), *self._told(labels, told)
        )

    def save(self, path):
        """Writes the model to one file, whole or not at all."""
        self._core.save(str(path))


def load(path):
    """Reads a model that this package, or `meanflow::save_model` in C++, wrote."""
    return Model(_core.load(str(path)))


def train(points, *, progress=None, **settings):
    """Learns a table of points (N, D), each column scaled by its deviation. Returns the model and the
    loss of each step.

    Settings: steps (3000), batch (1024), hidden (256), layers (4), octaves (4), learning_rate (5e-3)
    and seed (0). `progress(step, loss)` is called after every step.
    """
    core = _core.PointTraining()
    for name, value in settings.items():
        if not hasattr(core, name):
            raise TypeError(f"unexpected keyword {name!r}")
        setattr(core, name, value)
    table = _numpy.ascontiguousarray(points, dtype=_numpy.float64)
    model, losses = _core.train(table, core, progress)
    return Model(model), losses
