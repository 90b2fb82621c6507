"""Twenty steps of each optimizer against PyTorch's, in float64, and the rates of schedules."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from eddl import optimizers as ours
from eddl import schedules

PATH = Path(__file__).parents[1] / "eddl" / "optimizers" / "test_optimizers.py"
SPEC = importlib.util.spec_from_file_location("rows_of_optimizers", PATH)
rows = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rows)
theirs, rates = torch.optim, torch.optim.lr_scheduler

ROWS = {
    "sgd": (ours.SGD(0.1), theirs.SGD, {"lr": 0.1}),
    "sgd with all": (ours.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1), theirs.SGD,
                     {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "rmsprop": (ours.RMSprop(), theirs.RMSprop, {}),
    "rmsprop with all": (
        ours.RMSprop(0.1, decay=0.9, momentum=0.5, centered=True, weight_decay=0.1),
        theirs.RMSprop,
        {"lr": 0.1, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    "adam": (ours.Adam(weight_decay=0.1), theirs.Adam, {"weight_decay": 0.1}),
    "amsgrad": (ours.AMSGrad(), theirs.Adam, {"amsgrad": True}),
    "adamw": (ours.AdamW(amsgrad=True), theirs.AdamW, {"amsgrad": True}),
    "adamax": (ours.Adamax(weight_decay=0.1), theirs.Adamax, {"weight_decay": 0.1}),
    "nadam": (ours.Nadam(weight_decay=0.1), theirs.NAdam, {"weight_decay": 0.1}),
    "adagrad": (ours.Adagrad(rate_decay=0.1, weight_decay=0.1), theirs.Adagrad,
                {"lr_decay": 0.1, "weight_decay": 0.1}),
    "adadelta": (ours.Adadelta(weight_decay=0.1), theirs.Adadelta, {"weight_decay": 0.1}),
}  # fmt: skip
ABSENT = {"lamb": "PyTorch has none; tests/eddl/optimizers holds it against NumPy"}


def test_every_optimizer_has_a_row():
    covered = {type(optimizer) for optimizer, _, _ in ROWS.values()}
    assert {n for n, make in ours.NAMED.items() if make not in covered} == set(ABSENT)


@pytest.fixture
def double():
    """PyTorch keeps Nadam's product of momenta in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ROWS)
def test_twenty_steps(name):
    optimizer, make, options = ROWS[name]
    parameter = torch.nn.Parameter(torch.tensor(rows.START))
    other = make([parameter], **options)
    expected = []
    for gradient in rows.GRADIENTS:
        parameter.grad = torch.tensor(gradient)
        other.step()
        expected.append(parameter.detach().numpy().copy())
    found = rows.updates(optimizer, rows.START, rows.GRADIENTS)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


SCHEDULES = {
    "step": (schedules.StepDecay(0.1, 7, 0.5), lambda o: rates.StepLR(o, 7, 0.5)),
    "multi": (schedules.MultiStep(0.1, (5, 9)), lambda o: rates.MultiStepLR(o, [5, 9])),
    "exponential": (schedules.Exponential(0.1, 0.9), lambda o: rates.ExponentialLR(o, 0.9)),
    "cosine": (schedules.Cosine(0.1, 40, end=0.01),
               lambda o: rates.CosineAnnealingLR(o, 40, 0.01)),
    "restarts": (schedules.Cosine(0.1, 5, end=0.01, restarts=True, lengthen=2),
                 lambda o: rates.CosineAnnealingWarmRestarts(o, 5, 2, 0.01)),
    "polynomial": (schedules.Polynomial(0.1, 30, 0.9), lambda o: rates.PolynomialLR(o, 30, 0.9)),
    "warm up": (schedules.WarmUp(0.1, 10, start=0.2), lambda o: rates.LinearLR(o, 0.2, 1.0, 10)),
    "one cycle": (schedules.OneCycle(0.1, steps=39, warm_up=0.5, end=25e4),
                  lambda o: rates.OneCycleLR(o, 0.1, 40, pct_start=20.5 / 40)),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    schedule, make = SCHEDULES[name]
    other = theirs.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(other)
    for step in range(39):
        assert schedule(step) == pytest.approx(other.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        other.step()
        scheduler.step()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_plateau(mode, seed):
    values = np.random.default_rng(seed).uniform(1, 2, 60).round(1)
    other = theirs.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = rates.ReduceLROnPlateau(
        other, mode, 0.5, seed, threshold=0.01 * seed, cooldown=seed % 3, min_lr=1e-3, eps=0.0
    )
    schedule = schedules.Plateau(
        0.1, mode=mode, factor=0.5, patience=seed, threshold=0.01 * seed, cooldown=seed % 3,
        minimum=1e-3,
    )  # fmt: skip
    for epoch in range(60):
        scheduler.step(values[epoch])
        assert schedule(0, values[: epoch + 1]) == pytest.approx(other.param_groups[0]["lr"])
