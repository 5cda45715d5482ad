# SPDX-License-Identifier: MIT
"""The Python package: what it learns, loads, samples and differentiates."""
import threading
import time

import numpy
import pytest

import meanflow


def moons(count, seed=0):
    random = numpy.random.default_rng(seed)
    angle = random.uniform(0, numpy.pi, count)
    upper = random.integers(0, 2, count).astype(bool)
    x = numpy.where(upper, numpy.cos(angle), 1 - numpy.cos(angle))
    y = numpy.where(upper, numpy.sin(angle), 0.5 - numpy.sin(angle))
    return numpy.stack([x, y], 1) + 0.05 * random.normal(size=(count, 2))


def energy_distance(x, y):
    def mean(a, b):
        return numpy.linalg.norm(a[:, None] - b[None], axis=-1).mean()

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


@pytest.fixture(scope="module")
def model():
    trained, losses = meanflow.train(moons(2000), steps=400, batch=256, hidden=64, seed=1)
    assert losses.shape == (400,) and losses[-50:].mean() < losses[:50].mean()
    return trained


def test_samples_are_near_the_data(model):
    samples = model.sample(1000, seed=3)
    assert samples.shape == (1000, 2) and samples.dtype == numpy.float32
    assert energy_distance(samples, moons(1000, seed=5)) < 0.05
    assert energy_distance(numpy.random.default_rng(0).normal(size=(1000, 2)), moons(1000)) > 0.05


def test_a_sample_depends_on_the_seed_and_its_number(model):
    # Products of other sizes round otherwise.
    assert numpy.allclose(model.sample(5, seed=2), model.sample(9, seed=2)[:5], atol=1e-5)
    assert not numpy.array_equal(model.sample(5, seed=2), model.sample(5, seed=3))


def test_a_saved_model_gives_the_same(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    loaded = meanflow.load(tmp_path / "model.safetensors")
    assert loaded.net == "Mlp<Silu>" and loaded.settings["hidden"] == 64
    assert loaded.shape == (2,) and loaded.parameters == model.parameters
    assert numpy.array_equal(loaded.sample(100, seed=4), model.sample(100, seed=4))


def test_the_jvp_is_the_derivative(model):
    random = numpy.random.default_rng(0)
    z, dz = random.normal(size=(2, 6, 2)).astype("f4")
    r, t = numpy.full(6, 0.25, "f4"), numpy.full(6, 0.75, "f4")
    dr, dt = numpy.zeros(6, "f4"), numpy.ones(6, "f4")
    u, du = model.jvp(z, r, t, dz, dr, dt)
    assert numpy.allclose(u, model.velocity(z, r, t), atol=1e-5)
    h = 1e-2
    ahead = model.velocity(z + h * dz, r, t + h * dt)
    behind = model.velocity(z - h * dz, r, t - h * dt)
    difference = (ahead - behind) / (2 * h)
    assert numpy.abs(du - difference).max() < 0.02 * numpy.abs(difference).max()


def test_other_threads_run_meanwhile(model):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = len(ticks)
    model.sample(200_000, steps=4)
    counted = len(ticks) - before
    done.set()
    thread.join()
    assert counted > 10


def test_what_is_wrong_is_said(model, tmp_path):
    with pytest.raises(meanflow.Error, match="missing.safetensors"):
        meanflow.load(tmp_path / "missing.safetensors")
    with pytest.raises(meanflow.Error, match="labels was given, but Mlp<Silu> takes values"):
        model.sample(2, labels=[0, 1])
    with pytest.raises(TypeError, match="unexpected keyword 'label'"):
        model.sample(2, label=[0, 1])
    with pytest.raises(TypeError, match="unexpected keyword 'step'"):
        meanflow.train(moons(100), step=3)
    with pytest.raises(ValueError, match="points must be"):
        meanflow.train([1.0, 2.0])
    with pytest.raises(RuntimeError, match="enough"):
        def stop(step, loss):
            if step == 5:
                raise RuntimeError("enough")

        meanflow.train(moons(100), steps=100, hidden=16, batch=32, progress=stop)
