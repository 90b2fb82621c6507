"""How much a node computes, against counts by hand."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.graph import Input, Type
from eddl.ops import apply
from eddl.ops.work import flops


def value(*shape):
    return Input(Type("float32", shape))


CASES = {
    "product": (lambda: value(5, 3, 4) @ value(4, 7), 2 * 5 * 3 * 7 * 4),
    "turned product": (
        lambda: apply("Product", value(5, 4, 3), value(5, 4, 7), domain="eddl", transA=1),
        2 * 5 * 3 * 7 * 4,
    ),
    "gemm": (lambda: apply("Gemm", value(4, 3), value(4, 7), transA=1), 2 * 3 * 7 * 4),
    "convolution": (
        lambda: apply("Conv", value(2, 4, 9, 9), value(6, 2, 3, 3), group=2),
        2 * (2 * 6 * 7 * 7) * (2 * 9),
    ),
    "transposed convolution": (
        lambda: apply("ConvTranspose", value(2, 4, 9, 9), value(4, 6, 2, 2), strides=(2, 2)),
        2 * (2 * 4 * 9 * 9) * (6 * 4),
    ),
    "gradient of weights": (
        lambda: apply("ConvWeightGrad", value(2, 4, 9, 9), value(2, 6, 7, 7), domain="eddl",
                      kernel_shape=(3, 3)),
        2 * (2 * 6 * 7 * 7) * (4 * 9),
    ),
    "elementwise": (lambda: apply("Exp", value(3, 5)), 15),
    "arrangement": (lambda: apply("Transpose", value(3, 5), perm=(1, 0)), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_counted_by_hand(name):
    make, expected = CASES[name]
    assert flops(make().node) == expected


def test_a_recurrence_counts_all_its_steps():
    x = eddl.Input((10, 6))
    y = layers.lstm(x, 8)
    net = eddl.Model(x, y)
    graph, _ = eddl.compiler.specialise(net.graph, {x: Type("float32", (3, 10, 6))}, evaluate)
    (node,) = (node for node in graph.nodes if node.op == "LSTM")
    assert flops(node) == 2 * 10 * 3 * 4 * 8 * (6 + 8)


def evaluate(node, inputs):
    return eddl.devices.backend("cpu:array").evaluate(node, [np.asarray(i) for i in inputs])
