"""Every layer: its numbers against an oracle, every rank it claims, its gradient, its file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, special

import eddl
from eddl import layers

SPATIAL = {1: (8,), 2: (8, 6), 3: (4, 6, 8)}


def correlate(x, w, b):
    """A convolution with 'same' padding, one filter and channel at a time."""
    out = np.zeros((x.shape[0], w.shape[0], *x.shape[2:]))
    for n in range(x.shape[0]):
        for f in range(w.shape[0]):
            out[n, f] = b[f] + sum(
                ndimage.correlate(x[n, c], w[f, c], mode="constant") for c in range(x.shape[1])
            )
    return out


def pooled(x):
    for axis in range(2, x.ndim):
        shape = (*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = x.reshape(shape).max(axis + 1)
    return x


def repeated(x, w, b):
    """A transposed convolution whose kernel is its stride: an outer product a voxel."""
    out = np.tensordot(x, w, ([1], [0]))  # n, space..., f, kernel...
    rank = x.ndim - 2
    order = [0, 1 + rank]
    for axis in range(rank):
        order += [1 + axis, 2 + rank + axis]
    out = out.transpose(order)
    out = out.reshape(*out.shape[:2], *(2 * s for s in x.shape[2:]))
    return out + b.reshape(1, -1, *[1] * rank)


def statistics(x, scale, bias, mean, variance):
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5) * scale.reshape(
        shape
    ) + bias.reshape(shape)


def spaces(x):
    return tuple(range(2, x.ndim))


CASES = {
    "conv": (lambda x: layers.conv(x, 4, 3), correlate),
    "conv_transpose": (lambda x: layers.conv_transpose(x, 3, 2, strides=2), repeated),
    "max_pool": (lambda x: layers.max_pool(x), pooled),
    "batch_norm": (lambda x: layers.batch_norm(x), statistics),
    "global_average_pool": (
        lambda x: layers.global_average_pool(x),
        lambda x: x.mean(spaces(x), keepdims=True),
    ),
    "relu": (lambda x: layers.relu(x), lambda x: np.maximum(x, 0)),
    "leaky_relu": (
        lambda x: layers.leaky_relu(x, 0.125),
        lambda x: np.where(x > 0, x, 0.125 * x),
    ),
    "sigmoid": (lambda x: layers.sigmoid(x), special.expit),
    "tanh": (lambda x: layers.tanh(x), np.tanh),
    "softmax": (lambda x: layers.softmax(x), lambda x: special.softmax(x, 1)),
    "clip": (lambda x: layers.clip(x, -0.5, 0.25), lambda x: np.clip(x, -0.5, 0.25)),
    "window": (
        lambda x: layers.window(x, level=0.25, width=1.5),
        lambda x: np.clip((x + 0.5) / 1.5, 0, 1),
    ),
    "normalise": (
        lambda x: layers.normalise(x, mean=0.5, deviation=2.0),
        lambda x: (x - 0.5) / 2,
    ),
    "concat": (lambda x: layers.concat([x, x * 2.0]), lambda x: np.concatenate([x, 2 * x], 1)),
    "add": (lambda x: layers.add([x, x, x]), lambda x: 3 * x),
    "constant": (lambda x: x + layers.constant(2.5, x.dtype), lambda x: x + 2.5),
    "dropout": (lambda x: layers.dropout(x, 0.0), lambda x: x),
    "flatten": (lambda x: layers.flatten(x), lambda x: x.reshape(len(x), -1)),
    "reshape": (lambda x: layers.reshape(x, (-1, 2)), lambda x: x.reshape(len(x), -1, 2)),
    "dense": (lambda x: layers.dense(x, 5), lambda x, w, b: x @ w.T + b),
}


def test_every_layer_has_a_case():
    assert set(CASES) | {"input"} == set(layers.__all__)


def build(name, rank, dtype="float64"):
    x = eddl.Input((3, *SPATIAL[rank]), dtype=dtype)
    return eddl.Model(x, CASES[name][0](x))


def data(rank, dtype="float64"):
    return np.random.default_rng(rank).standard_normal((2, 3, *SPATIAL[rank])).astype(dtype)


@pytest.mark.parametrize("rank", SPATIAL)
@pytest.mark.parametrize("name", CASES)
def test_numbers(name, rank):
    net, x = build(name, rank), data(rank)
    r = np.random.default_rng(9)
    net.set_weights({n: r.uniform(0.5, 1.5, w.shape) for n, w in net.weights().items()})
    expected = CASES[name][1](x, *net.weights().values())
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rank", SPATIAL)
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_weights_and_input(name, rank):
    """In training form, along one random direction of everything."""
    net, x = build(name, rank), data(rank)
    y = net.outputs[0]
    r = np.random.default_rng(4)
    weights = net.weights()
    net.set_weights({n: r.uniform(0.5, 1.5, w.shape) for n, w in weights.items()})
    head = layers.constant(r.standard_normal(net.predict(x).shape), "float64")
    squared = y * y * head
    loss = eddl.ops.apply("ReduceMean", squared, keepdims=0)
    xs = [net.inputs[0], *net.parameters]
    step = eddl.Step(net.inputs, [loss, *eddl.gradients(loss, xs)])
    _, gx, *gw = step.gradients(x)[0]
    base = net.weights()
    names = [net.names[p] for p in net.parameters]
    dx, dw = r.standard_normal(x.shape), {n: r.standard_normal(base[n].shape) for n in names}
    slope = (gx * dx).sum() + sum((g * dw[n]).sum() for n, g in zip(names, gw, strict=True))
    ends = []
    for size in (1e-6, -1e-6):
        net.set_weights({n: base[n] + size * dw[n] for n in names})
        ends.append(float(step.gradients(x + size * dx)[0][0]))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("rank", SPATIAL)
@pytest.mark.parametrize("name", CASES)
def test_files(name, rank, tmp_path):
    net, x = build(name, rank, "float32"), data(rank, "float32")
    net.save(tmp_path / "layer.onnx")
    again = eddl.load(tmp_path / "layer.onnx")
    np.testing.assert_array_equal(again.predict(x), net.predict(x))


@pytest.mark.parametrize("name", ["conv", "conv_transpose", "dense", "batch_norm"])
def test_given_names_are_kept(name):
    x = eddl.Input((3, 8))
    arguments = {"conv": (4, 3), "conv_transpose": (4, 2), "dense": (4,), "batch_norm": ()}[name]
    net = eddl.Model(x, getattr(layers, name)(x, *arguments, name="mine"))
    assert all(n.startswith("mine.") for n in net.weights())


def test_layers_of_a_kind_are_numbered():
    x = eddl.Input((3, 8))
    net = eddl.Model(x, layers.conv(layers.conv(x, 3, 3), 3, 3))
    assert list(net.weights()) == ["conv.weight", "conv.bias", "conv_2.weight", "conv_2.bias"]
