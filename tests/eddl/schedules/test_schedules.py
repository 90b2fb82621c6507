"""Every schedule by name against its closed form; tests/parity holds them against PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import eddl
from eddl import optimizers, schedules
from eddl.errors import EddlError

STEPS = range(60)


def cosine(t, steps=20, end=0.1):
    return end + (1 - end) * (1 + math.cos(math.pi * min(t / steps, 1))) / 2


def restarted(t):
    """Cycles of 10, 20 and 40 steps, each half as high as the one before."""
    for i, (start, length) in enumerate([(0, 10), (10, 20), (30, 40)]):
        if t < start + length:
            top = max(0.5**i, 0.1)
            return 0.1 + (top - 0.1) * (1 + math.cos(math.pi * (t - start) / length)) / 2
    return None


def one_cycle(t):
    if t < 15:
        return 1 + (1 / 25 - 1) * (1 + math.cos(math.pi * t / 15)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * min((t - 15) / 35, 1))) / 2


VALUES = [5.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0]
ROWS = {
    "step_decay": (schedules.StepDecay(1.0, every=7, factor=0.5), lambda t: 0.5 ** (t // 7)),
    "multi_step": (schedules.MultiStep(1.0, (5, 9, 40), 0.5),
                   lambda t: 0.5 ** ((t >= 5) + (t >= 9) + (t >= 40))),
    "exponential": (schedules.Exponential(1.0, 0.9, every=3), lambda t: 0.9 ** (t / 3)),
    "cosine": (schedules.Cosine(1.0, 20, end=0.1), cosine),
    "cosine again": (schedules.Cosine(1.0, 20, end=0.1, restarts=True), lambda t: cosine(t % 20)),
    "cosine, longer and lower": (
        schedules.Cosine(1.0, 10, end=0.1, restarts=True, lengthen=2, shrink=0.5), restarted),
    "polynomial": (schedules.Polynomial(1.0, 50, 0.9, end=0.1),
                   lambda t: 0.1 + 0.9 * max(1 - t / 50, 0) ** 0.9),
    "warm_up": (schedules.WarmUp(schedules.Cosine(1.0, 20, end=0.1), 10, start=0.2),
                lambda t: 0.2 + 0.8 * t / 10 if t < 10 else cosine(t - 10)),
    "warm_up of a number": (schedules.WarmUp(0.5, 10), lambda t: 0.5 * min(t / 10, 1)),
    "one_cycle": (schedules.OneCycle(1.0, 50), one_cycle),
    "plateau": (schedules.Plateau(1.0, patience=1), lambda t: 1.0),
}  # fmt: skip


def test_every_schedule_has_a_row():
    assert set(schedules.NAMED.values()) == {type(schedule) for schedule, _ in ROWS.values()}


@pytest.mark.parametrize("name", ROWS)
def test_the_closed_form(name):
    schedule, formula = ROWS[name]
    found = [schedule(t) for t in STEPS]
    np.testing.assert_allclose(found, [formula(t) for t in STEPS], rtol=1e-12)
    assert all(type(rate) is float for rate in found)
    assert hash(schedule) == hash(schedule)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.Plateau(1.0, factor=0.5, patience=2), [1] * 5 + [0.5] * 4 + [0.25] * 2),
        (schedules.Plateau(1.0, factor=0.5, patience=0), [1, 1, 1, 0.5, 0.25, 0.125]),
        (schedules.Plateau(1.0, factor=0.5, patience=0, cooldown=2), [1, 1, 1, 0.5, 0.5, 0.5]),
        (schedules.Plateau(1.0, factor=0.5, patience=0, minimum=0.4), [1, 1, 1, 0.5, 0.4, 0.4]),
        (schedules.Plateau(1.0, factor=0.5, patience=1, threshold=0.5), [1, 1, 1, 0.5]),
        (schedules.Plateau(1.0, factor=0.5, patience=0, mode="max"), [1, 1, 0.5, 0.25]),
    ],
)  # fmt: skip
def test_the_plateau_is_a_function_of_the_history(schedule, expected):
    """`expected[n]` is the rate after n epochs."""
    assert [schedule(99, VALUES[:n]) for n in range(len(expected))] == expected


def test_a_value_that_is_no_number_is_no_improvement():
    rate = schedules.Plateau(1.0, factor=0.5, patience=1)
    assert rate(0, [math.nan, math.nan]) == 0.5
    assert rate(0, [math.nan, 1.0, 0.5]) == 1.0


def test_rates_of_an_optimizer_with_a_history():
    plateau = schedules.Plateau(1.0, monitor="val_dice", factor=0.5, patience=0, mode="max")
    history = {"val_dice": [0.5, 0.4], "loss": [1.0, 2.0]}
    for schedule, rate in [(plateau, 0.5), (schedules.WarmUp(plateau, 10), 0.25), (0.3, 0.3),
                           (lambda step: step / 100, 0.05)]:  # fmt: skip
        assert optimizers.rate_at(eddl.SGD(schedule), 5, history) == pytest.approx(rate)
    assert optimizers.rate_at(eddl.SGD(plateau), 5) == 1.0


def test_a_plateau_lowers_the_rate_of_a_training():
    """The targets are what the model gives already, so the loss never improves."""
    x = eddl.Input((2,))
    net = eddl.Model(x, eddl.layers.dense(x, 1))
    data = np.ones((8, 2), "float32")
    schedule = schedules.Plateau(0.1, monitor="loss", factor=0.5, patience=0)
    net.build(optimizer=eddl.SGD(schedule), loss="mean_squared_error")
    history = net.fit(data, net.predict(data), epochs=4, batch_size=4)
    assert history["loss"] == [0.0] * 4
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.05, 0.025])


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.StepDecay(0.0, 5),
        lambda: schedules.StepDecay(1.0, 0),
        lambda: schedules.MultiStep(1.0, (5, 5)),
        lambda: schedules.Exponential(1.0, -0.5),
        lambda: schedules.Cosine(1.0, 10, end=2.0),
        lambda: schedules.Cosine(1.0, 10, lengthen=0.5),
        lambda: schedules.Polynomial(1.0, 0),
        lambda: schedules.WarmUp(1.0, 0),
        lambda: schedules.WarmUp(-1.0, 5),
        lambda: schedules.Plateau(1.0, factor=1.0),
        lambda: schedules.Plateau(1.0, mode="least"),
        lambda: schedules.OneCycle(peak=0.0, steps=1),
        lambda: schedules.OneCycle(peak=float("nan"), steps=1),
    ],
)
def test_numbers_that_cannot_work_are_refused(make):
    with pytest.raises(EddlError, match=r"received .* expected"):
        make()
