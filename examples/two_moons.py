# SPDX-License-Identifier: MIT
"""Learns two moons and draws new points in one step, in Python."""
import numpy

random = numpy.random.default_rng(0)
angle = random.uniform(0, numpy.pi, 4000)
upper = random.integers(0, 2, 4000).astype(bool)
x = numpy.where(upper, numpy.cos(angle), 1 - numpy.cos(angle))
y = numpy.where(upper, numpy.sin(angle), 0.5 - numpy.sin(angle))
points = numpy.stack([x, y], axis=1) + 0.05 * random.normal(size=(4000, 2))

# [docs:python]
import meanflow

model, losses = meanflow.train(points, steps=500)  # points (N, D)
samples = model.sample(1000)  # (1000, D), one evaluation of the net for each
model.save("two_moons.safetensors")  # which C++ and C read as well

model = meanflow.load("two_moons.safetensors")
z, dz = random.normal(size=(2, 5, 2))
zeros, ones = numpy.zeros(5), numpy.ones(5)
u, du = model.jvp(z, zeros, ones, dz, zeros, ones)  # exact, in one evaluation
# [docs:end]

assert samples.shape == (1000, 2) and u.shape == du.shape == (5, 2)
assert losses[-100:].mean() < losses[:100].mean()
