"""Every optimizer by name against its formula in NumPy, and in a model that trains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import eddl
from eddl import layers, optimizers, schedules
from eddl.errors import EddlError
from eddl.graph import Input, Type

R = np.random.default_rng(0)
STEPS = 20
START = R.standard_normal((5, 3))
GRADIENTS = R.standard_normal((STEPS, 5, 3)) * np.linspace(1, 0.1, STEPS)[:, None, None]


def updates(optimizer, start, gradients, dtype="float64"):
    """The parameter after each gradient."""
    values = {name: Input(Type(dtype, start.shape), name=name)
              for name in ("parameter", "gradient", *optimizer.slots)}  # fmt: skip
    rate, step = Input(Type(dtype, ()), name="rate"), Input(Type("float64", ()), name="step")
    slots = {name: values[name] for name in optimizer.slots}
    new, moved = optimizer.update(values["parameter"], values["gradient"], slots, rate, step)
    assert set(moved) == set(optimizer.slots)
    run = eddl.Step([*values.values(), rate, step],
                    [new, *(moved[name] for name in optimizer.slots)], training=False)  # fmt: skip
    parameter = start.astype(dtype)
    held = [np.zeros_like(parameter) for _ in optimizer.slots]
    found = []
    for t, gradient in enumerate(gradients):
        speed = np.asarray(optimizers.rate_at(optimizer, t), dtype)
        parameter, *held = run(parameter, gradient.astype(dtype), *held, speed,
                               np.asarray(t + 1.0))  # fmt: skip
        found.append(parameter)
    return np.array(found)


def sgd(p, t, g, s, rate=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = g + weight_decay * p
    s["v"] = momentum * s.get("v", 0) + g
    return p - rate * (g + momentum * s["v"] if nesterov else s["v"])


def rmsprop(p, t, g, s, rate=0.01, decay=0.99, eps=1e-8, momentum=0.0, centered=False):
    s["q"] = decay * s.get("q", 0) + (1 - decay) * g**2
    s["m"] = decay * s.get("m", 0) + (1 - decay) * g
    size = s["q"] - s["m"] ** 2 if centered else s["q"]
    s["v"] = momentum * s.get("v", 0) + g / (np.sqrt(size) + eps)
    return p - rate * s["v"]


def moments(s, g, b1=0.9, b2=0.999):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["q"] = b2 * s.get("q", 0) + (1 - b2) * g**2
    return s["m"], s["q"]


def adam(p, t, g, s, rate=1e-3, eps=1e-8, amsgrad=False, weight_decay=0.0, decoupled=0.0):
    m, q = moments(s, g + weight_decay * p)
    if amsgrad:
        q = s["x"] = np.maximum(s.get("x", 0), q)
    change = m / (1 - 0.9**t) / (np.sqrt(q / (1 - 0.999**t)) + eps)
    return p - rate * (change + decoupled * p)


def adamax(p, t, g, s, rate=2e-3):
    m, _ = moments(s, g)
    s["x"] = np.maximum(0.999 * s.get("x", 0), abs(g) + 1e-8)
    return p - rate / (1 - 0.9**t) * m / s["x"]


def nadam(p, t, g, s, rate=2e-3, decay=4e-3):
    m, q = moments(s, g)
    now, after = (0.9 * (1 - 0.5 * 0.96 ** (i * decay)) for i in (t, t + 1))
    s["product"] = s.get("product", 1.0) * now
    root = np.sqrt(q / (1 - 0.999**t)) + 1e-8
    ahead = (1 - now) / (1 - s["product"]) * g + after / (1 - s["product"] * after) * m
    return p - rate * ahead / root


def adagrad(p, t, g, s, rate=0.01, rate_decay=0.0):
    s["q"] = s.get("q", 0) + g**2
    return p - rate / (1 + (t - 1) * rate_decay) * g / (np.sqrt(s["q"]) + 1e-10)


def adadelta(p, t, g, s, rate=1.0, rho=0.9, eps=1e-6):
    s["q"] = rho * s.get("q", 0) + (1 - rho) * g**2
    change = g * np.sqrt(s.get("c", 0) + eps) / np.sqrt(s["q"] + eps)
    s["c"] = rho * s.get("c", 0) + (1 - rho) * change**2
    return p - rate * change


def lamb(p, t, g, s, rate=1e-3, weight_decay=0.01):
    m, q = moments(s, g)
    u = m / (1 - 0.9**t) / (np.sqrt(q / (1 - 0.999**t)) + 1e-6) + weight_decay * p
    return p - rate * np.linalg.norm(p) / np.linalg.norm(u) * u


ROWS = {
    "sgd": (eddl.SGD(), sgd),
    "sgd with momentum": (eddl.SGD(0.1, momentum=0.9, weight_decay=0.1),
        lambda *a: sgd(*a, rate=0.1, momentum=0.9, weight_decay=0.1)),
    "sgd of Nesterov": (eddl.SGD(0.1, momentum=0.9, nesterov=True),
        lambda *a: sgd(*a, rate=0.1, momentum=0.9, nesterov=True)),
    "rmsprop": (optimizers.RMSprop(), rmsprop),
    "rmsprop, centered": (optimizers.RMSprop(0.1, decay=0.9, momentum=0.5, centered=True),
        lambda *a: rmsprop(*a, rate=0.1, decay=0.9, momentum=0.5, centered=True)),
    "adam": (eddl.Adam(), adam),
    "adam with decay": (eddl.Adam(weight_decay=0.1), lambda *a: adam(*a, weight_decay=0.1)),
    "amsgrad": (optimizers.AMSGrad(), lambda *a: adam(*a, amsgrad=True)),
    "adamw": (optimizers.AdamW(), lambda *a: adam(*a, decoupled=0.01)),
    "adamax": (optimizers.Adamax(), adamax),
    "nadam": (optimizers.Nadam(), nadam),
    "nadam, warm": (optimizers.Nadam(momentum_decay=0.0), lambda *a: nadam(*a, decay=0.0)),
    "adagrad": (optimizers.Adagrad(), adagrad),
    "adagrad, slower": (optimizers.Adagrad(0.1, rate_decay=0.2),
        lambda *a: adagrad(*a, rate=0.1, rate_decay=0.2)),
    "adadelta": (optimizers.Adadelta(), adadelta),
    "lamb": (optimizers.LAMB(), lamb),
}  # fmt: skip


def test_every_optimizer_has_a_row():
    assert {optimizers.NAMED[name] for name in optimizers.NAMED} == {
        type(o) for o, _ in ROWS.values()
    }


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("dtype", "limit"), [("float64", 1e-10), ("float32", 2e-5)])
def test_updates_equal_their_formula(name, dtype, limit):
    optimizer, formula = ROWS[name]
    expected, p, memory = [], START, {}
    for t, g in enumerate(GRADIENTS, 1):
        p = formula(p, t, g, memory)
        expected.append(p)
    found = updates(optimizer, START, GRADIENTS, dtype)
    np.testing.assert_allclose(found, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("name", optimizers.NAMED)
def test_nothing_moves_where_parameter_and_gradient_are_zero(name):
    """The gaps between the segments of an arena stay zero."""
    found = updates(optimizers.NAMED[name](), np.zeros(4), np.zeros((3, 4)))
    np.testing.assert_array_equal(found, 0)


def test_the_product_of_momenta_is_exact_far_on():
    step = Input(Type("float64", ()), name="step")
    optimizer = optimizers.Nadam(beta_1=0.999, momentum_decay=0.5)
    run = eddl.Step([step], [optimizer._product(step)], training=False)
    steps = np.arange(1, 2001)
    product = np.cumprod(0.999 * (1 - 0.5 * 0.96 ** (steps * 0.5)))
    for t in (1, 2, 10, 500, 2000):
        np.testing.assert_allclose(run(np.asarray(float(t)))[0], product[t - 1], rtol=1e-11)


@pytest.mark.parametrize("name", optimizers.NAMED)
def test_a_model_learns(name):
    r = np.random.default_rng(1)
    data = r.standard_normal((64, 6)).astype("float32")
    targets = (data @ r.standard_normal((6, 2))).astype("float32")
    x = eddl.Input((6,))
    net = eddl.Model(x, layers.dense(x, 2))
    rate = {"adadelta": 30.0, "adagrad": 0.5, "lamb": 0.1, "sgd": 0.1}.get(name, 0.05)
    net.build(optimizer=optimizers.NAMED[name](rate), loss="mean_squared_error")
    losses = [net.train_batch(data, targets)["loss"] for _ in range(40)]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("rate", [0.05, schedules.OneCycle(peak=0.1, steps=6)])
def test_the_rate_of_each_step(rate):
    optimizer = eddl.SGD(rate)
    found = updates(optimizer, START, GRADIENTS[:6])
    speeds = [rate(t) if callable(rate) else rate for t in range(6)]
    expected = START - np.cumsum(np.array(speeds)[:, None, None] * GRADIENTS[:6], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", optimizers.NAMED)
def test_numbers_that_cannot_work_are_refused(name):
    make = optimizers.NAMED[name]
    fields = {field.name for field in dataclasses.fields(make)}
    for field, wrong in {"learning_rate": 0.0, "beta_1": 1.0, "beta_2": -0.1, "epsilon": 0.0,
                         "momentum": 1.0, "decay": 1.5, "weight_decay": -1.0, "rate_decay": -1.0,
                         "momentum_decay": -1.0}.items():  # fmt: skip
        if field in fields:
            for value in (wrong, float("nan")):
                with pytest.raises(EddlError, match=f"{make.__name__}: received {field}="):
                    make(**{field: value})
    with pytest.raises(EddlError, match="nesterov"):
        eddl.SGD(nesterov=True)
    assert fields <= {*optimizers.RANGES, "learning_rate", "amsgrad", "nesterov", "centered"}
