"""The twins of the benchmarks' networks compute what ours compute: equal first losses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import eddl

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from networks import BATCHES, NETWORKS

SMALL = {"unet32": 32, "unet16": 32, "unet3d": 16, "vnet": 16, "resnet18": 64, "resnet50": 64,
         "densenet121": 64}  # fmt: skip
"""Sizes of space that are quick enough here; the networks are the same."""


@pytest.mark.parametrize("name", BATCHES)
def test_the_twin_has_our_first_loss(name):
    network = NETWORKS[name]
    shape = (2, *network.shape[1:])
    if name in SMALL:
        shape = (2, shape[1], *[SMALL[name]] * network.space)
    x = eddl.Input(shape[1:])
    model = eddl.Model(x, network.ours(x))
    model.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy")
    twin = network.twin(model)
    rng = np.random.default_rng(1)
    data = rng.standard_normal(shape).astype("float32")
    labels = rng.integers(0, network.classes, (2, *shape[2:]) if network.dense else 2)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(
            twin(torch.from_numpy(data)), torch.from_numpy(labels)
        )
    assert model.train_batch(data, labels)["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert sum(p.numel() for p in twin.parameters()) == sum(p.type.count for p in model.parameters)
