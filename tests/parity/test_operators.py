"""Gradients of operators, one by one, against PyTorch's in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as f

import eddl
from eddl.ops import apply, make_node

torch.set_num_threads(1)
R = np.random.default_rng(0)


def normal(*shape):
    return R.standard_normal(shape)


def ints(*values):
    return np.asarray(values, np.int64)


PAIR = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
GRID = np.clip(normal(2, 5, 4, 2) * 0.5, -1.3, 1.3)
CASES = {
    "Relu": ([normal(3, 4)], {}, torch.relu),
    "LeakyRelu": ([normal(3, 4)], {"alpha": 0.125}, lambda x: f.leaky_relu(x, 0.125)),
    "Elu": ([normal(3, 4)], {"alpha": 1.5}, lambda x: f.elu(x, 1.5)),
    "Selu": ([normal(3, 4)], {}, f.selu),
    "Gelu": ([normal(3, 4)], {}, f.gelu),
    "Mish": ([normal(3, 4)], {}, f.mish),
    "HardSwish": ([normal(3, 4)], {}, f.hardswish),
    "Softplus": ([normal(3, 4)], {}, f.softplus),
    "Erf": ([normal(3, 4)], {}, torch.erf),
    "Sigmoid": ([normal(3, 4)], {}, torch.sigmoid),
    "Tanh": ([normal(3, 4)], {}, torch.tanh),
    "Atan": ([normal(3, 4)], {}, torch.atan),
    "Pow": ([abs(normal(3, 4)) + 0.5, normal(4)], {}, torch.pow),
    "Div": ([normal(3, 4), abs(normal(4)) + 0.5], {}, torch.div),
    "MatMul": ([normal(2, 3, 4), normal(4, 5)], {}, torch.matmul),
    "Softmax": ([normal(2, 5, 3)], {"axis": 1}, lambda x: x.softmax(1)),
    "LogSoftmax": ([normal(2, 5, 3)], {"axis": 1}, lambda x: x.log_softmax(1)),
    "ReduceLogSumExp": ([normal(2, 5)], {}, lambda x: x.logsumexp((0, 1), keepdim=True)),
    "ReduceProd": ([normal(4)], {}, lambda x: x.prod(0, keepdim=True)),
    "CumSum": ([normal(2, 5), np.asarray(1)], {}, lambda x: x.cumsum(1)),
    "Conv": (
        [normal(2, 3, 7, 6), normal(4, 3, 3, 3), normal(4)], {**PAIR, "strides": (2, 1)},
        lambda x, w, b: f.conv2d(x, w, b, stride=(2, 1), padding=1)),
    "ConvTranspose": (
        [normal(2, 3, 4, 5), normal(3, 4, 3, 3), normal(4)], {**PAIR, "strides": (2, 2)},
        lambda x, w, b: f.conv_transpose2d(x, w, b, stride=2, padding=1)),
    "MaxPool": (
        [normal(2, 3, 8, 7)], {**PAIR, "strides": (2, 2)},
        lambda x: f.max_pool2d(x, 3, 2, 1)),
    "AveragePool": (
        [normal(2, 3, 8, 7)], {**PAIR, "strides": (2, 2), "count_include_pad": 1},
        lambda x: f.avg_pool2d(x, 3, 2, 1)),
    "LpPool": (
        [abs(normal(2, 3, 8))], {"kernel_shape": (2,), "strides": (2,), "p": 2},
        lambda x: f.lp_pool1d(x, 2, 2, 2)),
    "BatchNormalization": (
        [normal(4, 3, 5), normal(3), normal(3), np.zeros(3), np.ones(3)], {"training_mode": 1},
        lambda x, s, b, m, v: f.batch_norm(x, m.detach().clone(), v.detach().clone(), s, b, True)),
    "LayerNormalization": (
        [normal(4, 6), normal(6), normal(6)], {}, lambda x, s, b: f.layer_norm(x, (6,), s, b)),
    "GroupNormalization": (
        [normal(2, 6, 5), normal(6), normal(6)], {"num_groups": 3},
        lambda x, s, b: f.group_norm(x, 3, s, b)),
    "InstanceNormalization": (
        [normal(2, 3, 7), normal(3), normal(3)], {},
        lambda x, s, b: f.instance_norm(x, weight=s, bias=b)),
    "LRN": ([normal(2, 7, 4)], {"size": 3, "alpha": 0.5}, lambda x: f.local_response_norm(
        x, 3, 0.5)),
    "Gather": ([normal(5, 3), ints(1, 4, 1)], {}, lambda x: x[[1, 4, 1]]),
    "GatherElements": (
        [normal(3, 3), np.asarray([[0, 2, 1], [1, 1, 0]])], {"axis": 0},
        lambda x: torch.gather(x, 0, torch.tensor([[0, 2, 1], [1, 1, 0]]))),
    "ScatterElements": (
        [normal(3, 3), np.asarray([[0, 2, 1]]), normal(1, 3)], {"reduction": "add"},
        lambda x, u: x.scatter_add(0, torch.tensor([[0, 2, 1]]), u)),
    "Pad": (
        [normal(1, 2, 4, 5), ints(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": "reflect"},
        lambda x: f.pad(x, (2, 1, 1, 2), mode="reflect")),
    "Resize": (
        [normal(1, 2, 4, 5), np.asarray([]), np.asarray([]), ints(1, 2, 7, 3)],
        {"mode": "linear"},
        lambda x: f.interpolate(x, (7, 3), mode="bilinear")),
    "GridSample": (
        [normal(2, 3, 6, 5), GRID], {"mode": "linear"},
        lambda x, g: f.grid_sample(x, g, align_corners=False)),
    "Einsum": (
        [normal(2, 3, 4), normal(2, 4, 5)], {"equation": "bij,bjk->ik"},
        lambda a, b: torch.einsum("bij,bjk->ik", a, b)),
}  # fmt: skip


@pytest.mark.parametrize("op", CASES)
def test_values_and_gradients(op):
    arrays, attributes, theirs = CASES[op]
    tensors = [
        torch.tensor(a, requires_grad=True) for a in arrays if a.dtype.kind == "f" and a.size
    ]
    values = []
    for array in arrays:
        if array.dtype.kind == "f" and array.size:
            values.append(eddl.graph.Input(eddl.graph.Type(array.dtype, array.shape)))
        else:
            values.append(array if array.size else None)
    y = make_node(op, *values, **attributes).outputs[0]
    weight = R.standard_normal(y.type.sizes)
    loss = apply("ReduceSum", y * eddl.layers.constant(weight, "float64"), keepdims=0)
    inputs = [v for v in values if isinstance(v, eddl.graph.Value)]
    step = eddl.Step(inputs, [y, *eddl.gradients(loss, inputs)], training=False)
    found, *gradients = step(*(t.detach().numpy() for t in tensors))
    expected = theirs(*tensors)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    (expected * torch.from_numpy(weight)).sum().backward()
    for tensor, gradient in zip(tensors, gradients, strict=True):
        if tensor.grad is not None:
            np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-5, atol=1e-6)
