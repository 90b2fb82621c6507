"""Layers against PyTorch's in float64: values, and gradients of inputs and parameters.

Its hardsigmoid, and its celu for most alphas, have gradients of float32 digits; the contract tests
hold ours to closed forms.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as f

import eddl
from eddl import layers
from eddl.ops import apply

torch.set_num_threads(1)


def blocks(array, order):
    """The gates of a PyTorch matrix in ONNX's order."""
    parts = np.split(array, len(order))
    return np.concatenate([parts[i] for i in order])


def gates(order):
    """W, R and B as ONNX holds them, of a recurrent module's parameters (or their gradients)."""

    def convert(tensors):
        found = [[], [], []]
        for i in range(0, len(tensors), 4):
            w, r, wb, rb = (blocks(t, order) for t in tensors[i : i + 4])
            found[0].append(w)
            found[1].append(r)
            found[2].append(np.concatenate([wb, rb]))
        return [np.stack(part) for part in found]

    return convert


LSTM, GRU, RNN = gates([0, 3, 1, 2]), gates([1, 0, 2]), gates([0])


def attention_parts(tensors):
    inner, bias, out, out_bias = tensors
    parts = zip(np.split(inner, 3), np.split(bias, 3), strict=True)
    return [*(a for pair in parts for a in pair), out, out_bias]


def conv(rank, **options):
    """A convolution by PyTorch's names."""
    module = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[rank]
    return module(4, 6, 3, **options)


def transposed(rank, **options):
    module = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[rank]
    return module(4, 6, 3, **options)


SPACES = {1: (9,), 2: (9, 8), 3: (7, 6, 8)}
CASES = {}


def case(name, build, module, *shapes, convert=list, call=None):
    """`call(module, *inputs)` gives one tensor or several."""
    assert name not in CASES
    CASES[name] = (build, module, shapes, convert, call or (lambda m, *xs: m(*xs)))


for rank, space in SPACES.items():
    x = (2, 4, *space)
    case(
        f"conv{rank}",
        lambda x: layers.conv(x, 6, 3, strides=2, padding=1, group=2),
        lambda rank=rank: conv(rank, stride=2, padding=1, groups=2),
        x,
    )
    case(
        f"dilated{rank}",
        lambda x: layers.conv(x, 6, 3, dilations=2, padding="same"),
        lambda rank=rank: conv(rank, dilation=2, padding="same"),
        x,
    )
    case(
        f"transposed{rank}",
        lambda x: layers.conv_transpose(
            x, 6, 3, strides=2, padding=1, output_padding=1, group=2, dilations=2
        ),
        lambda rank=rank: transposed(
            rank, stride=2, padding=1, output_padding=1, groups=2, dilation=2
        ),
        x,
    )
    pools = {
        1: (nn.MaxPool1d, nn.AvgPool1d, nn.LPPool1d, nn.MaxUnpool1d, nn.InstanceNorm1d),
        2: (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.MaxUnpool2d, nn.InstanceNorm2d),
        3: (nn.MaxPool3d, nn.AvgPool3d, nn.LPPool3d, nn.MaxUnpool3d, nn.InstanceNorm3d),
    }[rank]
    case(
        f"max_pool{rank}",
        lambda x: layers.max_pool(x, 3, strides=2, padding=1, ceil_mode=True),
        lambda p=pools: p[0](3, 2, 1, ceil_mode=True),
        x,
    )
    case(
        f"average_pool{rank}",
        lambda x: layers.average_pool(x, 3, strides=2, padding=1, count_padding=True),
        lambda p=pools: p[1](3, 2, 1),
        x,
    )
    case(f"lp_pool{rank}", lambda x: layers.lp_pool(x), lambda p=pools: p[2](2, 2), x)
    case(
        f"max_unpool{rank}",
        lambda x: layers.max_unpool(*layers.max_pool_with_indices(x), like=x),
        lambda p=pools: nn.ModuleList([p[0](2, return_indices=True), p[3](2)]),
        x,
        call=lambda m, x: m[1](*m[0](x), output_size=x.shape),
    )
    case(
        f"instance_norm{rank}",
        lambda x: layers.instance_norm(x),
        lambda p=pools: p[4](4, affine=True),
        x,
    )
    case(f"group_norm{rank}", lambda x: layers.group_norm(x, 2), lambda: nn.GroupNorm(2, 4), x)
    case(
        f"local_response_norm{rank}",
        lambda x: layers.local_response_norm(x, 3, alpha=0.5),
        lambda: nn.LocalResponseNorm(3, 0.5),
        x,
    )
    case(
        f"prelu{rank}",
        lambda x: layers.prelu(x),
        lambda: nn.PReLU(4),
        x,
        convert=lambda t, rank=rank: [t[0].reshape(-1, *[1] * rank)],
    )
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
    case(
        f"resize{rank}",
        lambda x: layers.resize(x, scales=1.75, mode="linear"),
        nn.Identity,
        x,
        call=lambda m, x, mode=mode: f.interpolate(
            x, scale_factor=1.75, mode=mode, recompute_scale_factor=False
        ),
    )
    case(
        f"corners{rank}",
        lambda x: layers.resize(
            x, sizes=13, mode="linear", coordinate_transformation_mode="align_corners"
        ),
        nn.Identity,
        x,
        call=lambda m, x, mode=mode, rank=rank: f.interpolate(
            x, (13,) * rank, mode=mode, align_corners=True
        ),
    )
    if rank > 1:
        case(f"affine{rank}", lambda x, m: layers.affine_transform(x, m, padding_mode="border"),
             nn.Identity, x, (2, rank, rank + 1),
             call=lambda m, x, t: f.grid_sample(
                 x, f.affine_grid(t, list(x.shape), align_corners=False), padding_mode="border",
                 align_corners=False))  # fmt: skip

case(
    "depthwise",
    lambda x: layers.depthwise_conv(x, 3, multiplier=2),
    lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4),
    (2, 4, 6, 5),
)
case(
    "cubic",
    lambda x: layers.resize(x, sizes=11, mode="cubic"),
    nn.Identity,
    (2, 3, 7, 6),
    call=lambda m, x: f.interpolate(x, (11, 11), mode="bicubic"),
)
case(
    "antialias",
    lambda x: layers.resize(x, sizes=4, mode="linear", antialias=True, exclude_outside=True),
    nn.Identity,
    (2, 3, 9, 8),
    call=lambda m, x: f.interpolate(x, (4, 4), mode="bilinear", antialias=True),
)
case("dense", lambda x: layers.dense(x, 5), lambda: nn.Linear(4, 5), (2, 3, 4))
case("layer_norm", lambda x: layers.layer_norm(x, -2), lambda: nn.LayerNorm((3, 4)), (2, 3, 4))
case(
    "rms_norm",
    lambda x: layers.rms_norm(x, epsilon=1e-5),
    lambda: nn.RMSNorm(4, eps=1e-5),
    (2, 3, 4),
)
case("batch_norm", lambda x: layers.batch_norm(x), lambda: nn.BatchNorm2d(4), (3, 4, 5, 6))
case(
    "lp_normalise",
    lambda x: layers.lp_normalise(x),
    nn.Identity,
    (3, 4, 5),
    call=lambda m, x: f.normalize(x),
)

for name, ours, theirs in (
    ("elu", lambda x: layers.elu(x, 0.7), lambda x: f.elu(x, 0.7)),
    ("celu", lambda x: layers.celu(x, 0.5), lambda x: f.celu(x, 0.5)),
    ("gelu", layers.gelu, f.gelu),
    ("gelu tanh", lambda x: layers.gelu(x, "tanh"), lambda x: f.gelu(x, approximate="tanh")),
    ("swish", layers.swish, f.silu),
    ("mish", layers.mish, f.mish),
    ("hard_swish", layers.hard_swish, f.hardswish),
    ("softplus", layers.softplus, f.softplus),
    ("softsign", layers.softsign, f.softsign),
    ("relu6", lambda x: layers.relu6(x * 4.0), lambda x: f.relu6(4 * x)),
    ("soft shrink", lambda x: layers.shrink(x, 0.5, 0.5), f.softshrink),
    ("hard shrink", lambda x: layers.shrink(x, 0.5), f.hardshrink),
    ("threshold", lambda x: layers.thresholded_relu(x, 0.2), lambda x: f.threshold(x, 0.2, 0.0)),
    ("log_softmax", layers.log_softmax, lambda x: f.log_softmax(x, 1)),
    ("softmax", layers.softmax, lambda x: f.softmax(x, 1)),
):
    case(name, ours, nn.Identity, (3, 4, 5), call=lambda m, x, theirs=theirs: theirs(x))

for name, module, convert, count in (
    ("rnn", nn.RNN, RNN, 1), ("gru", nn.GRU, GRU, 1), ("lstm", nn.LSTM, LSTM, 2)
):  # fmt: skip

    def whole(x, *state, name=name, both=False):
        layer = getattr(layers, name)
        y, final = layer(x, 5, return_sequences=True, return_state=True, bidirectional=both,
                         initial_state=state or None)  # fmt: skip
        return [y, *final]

    def theirs(m, x, *state, count=count):
        wide = 2 if m.bidirectional else 1
        split = [s.reshape(len(x), wide, 5).transpose(0, 1).contiguous() for s in state]
        y, final = m(x, None if not split else split[0] if count == 1 else tuple(split))
        final = [final] if count == 1 else final
        return [y, *(s.transpose(0, 1).reshape(len(x), -1) for s in final)]

    case(
        name,
        whole,
        lambda module=module: module(3, 5, batch_first=True),
        (4, 6, 3),
        convert=convert,
        call=theirs,
    )
    case(
        f"{name} both",
        lambda x, *s, whole=whole: whole(x, *s, both=True),
        lambda module=module: module(3, 5, batch_first=True, bidirectional=True),
        (4, 6, 3),
        *((4, 10),) * count,
        convert=convert,
        call=theirs,
    )

LENGTHS = np.asarray([6, 2, 4, 1])


def packed(m, x):
    sequence = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y, (h, _) = m(sequence)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    return [y, h.transpose(0, 1).reshape(len(x), -1)]


def by_lengths(x, how):
    value = layers.constant(LENGTHS, "int64")
    how = {"lengths": value} if how == "lengths" else {"mask": layers.length_mask(value, 6)}
    y, (h, _) = layers.lstm(x, 5, bidirectional=True, return_sequences=True, return_state=True,
                            **how)  # fmt: skip
    return [y, h]


for how in ("lengths", "mask"):
    case(
        f"lstm {how}",
        lambda x, how=how: by_lengths(x, how),
        lambda: nn.LSTM(3, 5, batch_first=True, bidirectional=True),
        (4, 6, 3),
        convert=LSTM,
        call=packed,
    )

HIDDEN = np.arange(6)[None] >= LENGTHS[:, None]  # PyTorch's masks say what does not count
LATER = ~np.tri(6, dtype=bool)
case(
    "attention",
    lambda x: layers.attention(x, heads=2, mask=layers.constant(~HIDDEN, bool), causal=True),
    lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    (4, 6, 8),
    convert=attention_parts,
    call=lambda m, x: m(
        x,
        x,
        x,
        key_padding_mask=torch.tensor(HIDDEN),
        attn_mask=torch.tensor(LATER),
        need_weights=False,
    )[0],
)
case(
    "attention across",
    lambda q, k, v: layers.attention(q, k, v, heads=4),
    lambda: nn.MultiheadAttention(8, 4, batch_first=True),
    (2, 3, 8),
    (2, 5, 8),
    (2, 5, 8),
    convert=attention_parts,
    call=lambda m, q, k, v: m(q, k, v, need_weights=False)[0],
)
case(
    "scaled_dot_product",
    lambda q, k, v: layers.scaled_dot_product(q, k, v, scale=0.3),
    nn.Identity,
    (2, 2, 3, 4),
    (2, 2, 5, 4),
    (2, 2, 5, 6),
    call=lambda m, q, k, v: f.scaled_dot_product_attention(q, k, v, scale=0.3),
)


def listed(outputs):
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    build, make, shapes, convert, call = CASES[name]
    torch.manual_seed(0)
    r = np.random.default_rng(0)
    module = make().double()
    for parameter in module.parameters():
        parameter.data = torch.from_numpy(r.uniform(-0.7, 0.9, parameter.shape))
    tensors = [torch.from_numpy(r.standard_normal(s)).requires_grad_() for s in shapes]
    expected = listed(call(module, *tensors))
    heads = [r.standard_normal(y.shape) for y in expected]
    sum((y * torch.from_numpy(h)).sum() for y, h in zip(expected, heads, strict=True)).backward()

    values = [eddl.Input(s[1:], dtype="float64", name=f"x{i}") for i, s in enumerate(shapes)]
    outputs = listed(build(*values))
    net = eddl.Model(values, outputs)
    weights = convert([p.detach().numpy() for p in module.parameters()])
    names = [net.names[p] for p in net.parameters]
    net.set_weights(dict(zip(names, weights, strict=True)))
    loss = None
    for y, head in zip(outputs, heads, strict=True):
        part = apply("ReduceSum", y * layers.constant(head, "float64"), keepdims=0)
        loss = part if loss is None else loss + part
    step = eddl.Step(values, [*outputs, *eddl.gradients(loss, [*values, *net.parameters])])
    found = step(*(t.detach().numpy() for t in tensors))
    slopes = [t.grad.numpy() for t in tensors]
    slopes += convert([p.grad.numpy() for p in module.parameters()])
    theirs = [*(y.detach().numpy() for y in expected), *slopes]
    for ours, wanted in zip(found, theirs, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-8, atol=1e-9)
