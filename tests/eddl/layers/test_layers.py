"""What layers refuse, what they are called, and what differs in training."""

from __future__ import annotations

import numpy as np
import pytest

import eddl
from eddl import layers

X = eddl.Input((6, 8, 8))
SEQUENCE = eddl.Input((5, 4))

REFUSED = [
    (lambda: layers.conv(SEQUENCE, 4, (3, 3)), "kernel_size"),
    (lambda: layers.conv(eddl.Input((4,)), 4, 3), "N, C and space"),
    (lambda: layers.conv(X, 4, 3, group=4), "divides both"),
    (lambda: layers.conv(X, 4, 3, padding="some"), "'same', 'valid'"),
    (lambda: layers.conv(X, 4, 3, padding=(1, 1, 1)), "pairs"),
    (lambda: layers.conv(eddl.Input((None, 8, 8)), 4, 3), "axis 1"),
    (lambda: layers.conv(np.zeros((1, 2, 3)), 4, 3), "symbolic tensor"),
    (lambda: layers.conv(X, 4, 9, padding="valid"), "as large as the kernel"),
    (lambda: layers.conv_transpose(X, 4, 3, strides=2, output_padding=2, padding=1), "less than"),
    (lambda: layers.conv_transpose(X, 4, 3, strides=2, output_padding=1), "fixes the output"),
    (lambda: layers.max_pool(X, 2, padding=2), "hold an element"),
    (lambda: layers.max_pool(X, 3, padding="same", ceil_mode=True), "rounds up"),
    (lambda: layers.max_unpool(X, X), "max_pool_with_indices"),
    (lambda: layers.lp_pool(X, p=0), "from 1 on"),
    (lambda: layers.layer_norm(X, 0), "the batch's"),
    (lambda: layers.layer_norm(eddl.Input((None,))), "known size"),
    (lambda: layers.group_norm(X, 4), "divides them"),
    (lambda: layers.softmax(X, 4), "expected one in"),
    (lambda: layers.gelu(X, "erf"), "'none' or 'tanh'"),
    (lambda: layers.add(X), "a list"),
    (lambda: layers.add([]), "at least 1"),
    (lambda: layers.subtract([X]), "at least 2"),
    (lambda: layers.add([X, SEQUENCE]), "broadcast"),
    (lambda: layers.add([X, eddl.Input((6, 8, 8), dtype="float64")]), "one element type"),
    (lambda: layers.matmul([SEQUENCE, SEQUENCE]), "last axis"),
    (lambda: layers.concat([X, eddl.Input((6, 4, 8))]), "equal sizes"),
    (lambda: layers.dropout(X, 1.0), "ratio"),
    (lambda: layers.clip(X, 1, 0), "low <= high"),
    (lambda: layers.permute(X, (0, 1, 2)), "each axis once"),
    (lambda: layers.squeeze(X, 1), "size 1"),
    (lambda: layers.tile(X, (2,)), "but the batch's"),
    (lambda: layers.slice(X, (1, 2), axes=1), "one each"),
    (lambda: layers.slice(X, 1, step=0), "another number"),
    (lambda: layers.crop(X, 4), "to be left"),
    (lambda: layers.center_crop(X, 9), "at least"),
    (lambda: layers.pad(X, 8, mode="reflect"), "at most 7"),
    (lambda: layers.pad(X, 1, mode="mirror"), "expected one of"),
    (lambda: layers.split(X, 4), "divides"),
    (lambda: layers.split(X, (1, 2)), "add up"),
    (lambda: layers.gather(X, [0.5]), "int32 or int64"),
    (lambda: layers.where(X, X, X), "boolean"),
    (lambda: layers.top_k(X, 9), "K from 0 to 8"),
    (lambda: layers.one_hot(X, 3), "integers"),
    (lambda: layers.resize(X), "one of them"),
    (lambda: layers.resize(X, scales=0), "above 0"),
    (lambda: layers.resize(X, scales=2, mode="bilinear"), "mode to be one of"),
    (lambda: layers.resize(X, scales=2, antialias=True), "antialias"),
    (lambda: layers.lstm(X, 4), "sequences"),
    (lambda: layers.lstm(eddl.Input((5, None)), 4), "known size of axis 2"),
    (lambda: layers.lstm(SEQUENCE, 0), "at least one unit"),
    (lambda: layers.rnn(SEQUENCE, 4, bidirectional=True, reverse=True), "one direction"),
    (lambda: layers.rnn(SEQUENCE, 4, activation="gelu"), "expected one of"),
    (lambda: layers.lstm(SEQUENCE, 4, initial_state=eddl.Input((4,))), "expected 2 of"),
    (lambda: layers.gru(SEQUENCE, 4, initial_state=eddl.Input((5,))), "expected 1 of"),
    (lambda: layers.gru(SEQUENCE, 4, mask=SEQUENCE), "booleans"),
    (lambda: layers.gru(SEQUENCE, 4, lengths=SEQUENCE), "whole number a sequence"),
    (lambda: layers.conv_lstm(SEQUENCE, 4, 3), "sequences"),
    (lambda: layers.conv_lstm(eddl.Input((5, 2, 8)), 4, 3, initial_state=SEQUENCE), "h and c"),
    (lambda: layers.scan(lambda a, s: ((a,), (s, s)), SEQUENCE, eddl.Input((4,))), "types that"),
    (lambda: layers.scan(lambda a, s: ((layers.dropout(a),), (s,)), SEQUENCE, eddl.Input((4,))),
     "differs in training"),
    (lambda: layers.scan(lambda a, s: ((layers.gaussian_noise(a, 1),), (s,)), SEQUENCE,
                         eddl.Input((4,))), "GaussianNoise"),
    (lambda: layers.time_distributed(layers.relu, eddl.Input((None, 4))), "known sizes"),
    (lambda: layers.embedding(SEQUENCE, 4, 4), "int32 or int64"),
    (lambda: layers.padding_mask(SEQUENCE), "integers"),
    (lambda: layers.positional_encoding(eddl.Input((None, 4))), "known size"),
    (lambda: layers.attention(SEQUENCE, heads=3), "divides them"),
    (lambda: layers.attention(X, heads=2), "sequences"),
    (lambda: layers.attention(SEQUENCE, heads=2, mask=SEQUENCE), "booleans"),
    (lambda: layers.power(2, 3), "symbolic tensor at least"),
    (lambda: layers.logical_not(X), "booleans"),
    (lambda: layers.reduce_sum(X, 4), "expected one in"),
    (lambda: layers.reduce_sum(X, 1, mask=X), "booleans"),
    (lambda: layers.reduce_sum(X, 1, mask=eddl.Input((4,), dtype=bool)), "first axes"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), REFUSED, ids=[e for _, e in REFUSED])
def test_what_cannot_be_is_refused_with_what_was_received(call, expected):
    with pytest.raises(eddl.EddlError, match=expected) as error:
        call()
    assert "received" in str(error.value)
    assert "\n" not in str(error.value)


NAMED = {
    "conv": (4, 3), "depthwise_conv": (3,), "pointwise_conv": (4,), "separable_conv": (4, 3),
    "conv_transpose": (4, 2), "dense": (4,), "batch_norm": (), "layer_norm": (), "rms_norm": (),
    "group_norm": (3,), "instance_norm": (), "prelu": (), "rnn": (4,), "gru": (4,), "lstm": (4,),
    "positional_embedding": (), "conv_lstm": (4, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_given_names_are_kept(name):
    x = eddl.Input((3, 8))
    if name == "conv_lstm":
        x = eddl.Input((4, 3, 8))
    net = eddl.Model(x, getattr(layers, name)(x, *NAMED[name], name="mine"))
    assert net.weights()
    assert all(n.startswith(("mine.", "mine_depthwise.", "mine_pointwise."))
               for n in net.weights())  # fmt: skip


def test_layers_of_a_kind_are_numbered():
    x = eddl.Input((3, 8))
    net = eddl.Model(x, layers.conv(layers.conv(x, 3, 3), 3, 3))
    assert list(net.weights()) == ["conv.weight", "conv.bias", "conv_2.weight", "conv_2.bias"]


def test_gates_begin_one_by_one():
    """Orthogonal recurrent weights, fans of one gate, and a forget gate that is open."""
    x = eddl.Input((5, 6))
    weights = eddl.Model(x, layers.lstm(x, 8, bidirectional=True)).weights()
    w, r, b = (weights[f"lstm.{role}"] for role in "WRB")
    for gate in r.reshape(8, 8, 8):
        np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-6)
    assert np.abs(w).max() <= np.sqrt(6 / (6 + 8))
    assert len(np.unique(w)) == w.size
    np.testing.assert_array_equal(b, np.tile(np.repeat([0, 0, 1, 0, 0, 0, 0, 0], 8), (2, 1)))


def test_a_sequence_of_nothing_leaves_the_state():
    x, h = eddl.Input((4, 3)), eddl.Input((5,), name="h")
    mask = layers.constant(np.asarray([[False] * 4, [True] * 4]), bool)
    y = layers.gru(x, 5, mask=mask, initial_state=h)
    r = np.random.default_rng(0)
    data, state = (r.standard_normal(s).astype("float32") for s in ((2, 4, 3), (2, 5)))
    found = eddl.Model([x, h], y).predict(data, state)
    np.testing.assert_array_equal(found[0], state[0])
    assert (found[1] != state[1]).all()


def test_equal_extremes_share_the_gradient():
    x, y = eddl.Input((3,)), eddl.Input((3,), name="y")
    top = layers.maximum([x, y, x])
    step = eddl.Step([x, y], eddl.gradients(top, [x, y]), training=False)
    gx, gy = step(np.asarray([[1, 2, 3]], "float32"), np.asarray([[1, 3, 2]], "float32"))
    np.testing.assert_allclose(gx, [[2 / 3, 0, 1]])
    np.testing.assert_allclose(gy, [[1 / 3, 1, 0]])
