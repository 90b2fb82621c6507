"""Recurrent layers at sizes that take several spans of steps, against PyTorch's, on each backend.

In float64 with eddl's own kernels over BLAS; in float32 with oneDNN's products, against PyTorch in
float64, so that the difference is ours. Packed sequences are lengths here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import eddl
from eddl import devices, layers
from eddl.errors import EddlError
from eddl.ops import apply

from .test_layers import GRU, LSTM, RNN

torch.set_num_threads(1)
KINDS = {"rnn": (nn.RNN, RNN), "gru": (nn.GRU, GRU), "lstm": (nn.LSTM, LSTM)}
STEPS, BATCH, FEATURES, UNITS = 70, 9, 12, 20


def packed(module, x, lengths):
    sequence = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, final = module(sequence)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=STEPS)
    return y, final


@pytest.mark.parametrize("lengths", [False, True], ids=["whole", "lengths"])
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("device", "dtype", "tolerance"),
    [("cpu:array", "float64", 1e-8), ("cpu:array", "float32", 1e-5),
     ("cpu:onednn", "float32", 1e-5)],
)  # fmt: skip
def test_values_and_gradients(name, both, lengths, device, dtype, tolerance):
    try:
        devices.backend(device)
    except EddlError as error:
        pytest.skip(str(error))
    make, convert = KINDS[name]
    torch.manual_seed(0)
    r = np.random.default_rng(0)
    module = make(FEATURES, UNITS, batch_first=True, bidirectional=both).double()
    counts = r.permutation(np.linspace(1, STEPS, BATCH).astype(int))
    x = torch.from_numpy(r.standard_normal((BATCH, STEPS, FEATURES))).requires_grad_()
    y, final = packed(module, x, counts) if lengths else module(x)
    states = [s.transpose(0, 1).reshape(BATCH, -1) for s in (final if name == "lstm" else [final])]
    expected = [y, *states]
    heads = [r.standard_normal(tuple(y.shape)) for y in expected]
    sum((y * torch.from_numpy(h)).sum() for y, h in zip(expected, heads, strict=True)).backward()

    value = eddl.Input((STEPS, FEATURES), dtype=dtype)
    count = layers.constant(counts, "int64") if lengths else None
    y, final = getattr(layers, name)(value, UNITS, bidirectional=both, return_sequences=True,
                                     return_state=True, lengths=count)  # fmt: skip
    outputs = [y, *final]
    net = eddl.Model(value, outputs)
    weights = convert([p.detach().numpy() for p in module.parameters()])
    names = [net.names[p] for p in net.parameters]
    net.set_weights({n: w.astype(dtype) for n, w in zip(names, weights, strict=True)})
    parts = [
        apply("ReduceSum", y * layers.constant(head, dtype), keepdims=0)
        for y, head in zip(outputs, heads, strict=True)
    ]
    gradients = eddl.gradients(apply("Sum", *parts), [value, *net.parameters])
    found = eddl.Step([value], [*outputs, *gradients], device=device)(
        x.detach().numpy().astype(dtype)
    )
    slopes = [x.grad.numpy(), *convert([p.grad.numpy() for p in module.parameters()])]
    theirs = [*(y.detach().numpy() for y in expected), *slopes]
    for ours, wanted in zip(found, theirs, strict=True):
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(ours, wanted, rtol=tolerance, atol=tolerance * scale)
