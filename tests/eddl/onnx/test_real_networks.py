"""Whole networks of the ONNX suite: their weights made learnable, trained, saved, loaded again."""

from __future__ import annotations

import numpy as np
import pytest

import eddl
from eddl.onnx.conformance import cases
from eddl.onnx.load import to_model

REAL = {case.name: case for case in cases(("real",))}


def norm(array):
    return np.linalg.norm(array.astype(np.float64))


def check(name, tmp_path):
    case = REAL[name]
    net = to_model(case.model).make_trainable()
    data = np.random.default_rng(0).random((2, *case.sets[0][0][0].shape[1:]), np.float32)
    classes = case.sets[0][1][0].shape[1]
    labels = np.arange(2) % classes
    shape = (2, *case.sets[0][1][0].shape[1:])
    targets = labels.reshape(2, *[1] * (len(shape) - 2))
    targets = np.broadcast_to(targets, (2, *shape[2:])).copy()
    loss = "categorical_cross_entropy"
    net.build(optimizer=eddl.SGD(1.0), loss=loss)
    _, gradients = net.loss_and_gradients(data, targets)
    weights = net.weights()
    # The suite's weights are made up, so a rate that fits one network blows up another.
    steepest = max(norm(g) / norm(weights[n])
                   for n, g in gradients.items() if np.any(weights[n]))  # fmt: skip
    assert np.isfinite(steepest)
    options = {"optimizer": eddl.SGD(1e-4 / steepest), "loss": loss}
    net.build(**options)
    assert sum(p.type.count for p in net.parameters) > 500_000
    before = net.weights()
    for _ in range(10):
        net.train_batch(data, targets)
    assert any((before[n] != a).any() for n, a in net.weights().items())
    net.save(tmp_path / "net.onnx")
    again = eddl.load(tmp_path / "net.onnx")
    again.build(**options)
    assert len(again.parameters) == len(net.parameters)
    losses = [n.evaluate(data, targets, batch_size=2)["loss"] for n in (net, again)]
    assert np.isfinite(losses[0])
    assert losses[0] == losses[1]


def test_a_real_network_trains_and_keeps_its_loss(tmp_path):
    check("test_squeezenet", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(REAL) - {"test_squeezenet"}))
def test_every_real_network_trains_and_keeps_its_loss(name, tmp_path):
    check(name, tmp_path)
