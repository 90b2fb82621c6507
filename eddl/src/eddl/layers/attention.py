"""Attention: each place of a sequence looks at the places of another, or of its own."""

from __future__ import annotations

import math

import numpy as np

from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Constant, Value
from eddl.layers.build import Start, size_of, tensor
from eddl.layers.linear import dense
from eddl.layers.noise import dropout
from eddl.ops.table import apply, integers

FAR = -6e4
"""The score of a place that must not be looked at: its weight is exactly 0, and yet it is finite in
every floating type, so that a row of such places alone gives no NaN."""


def scaled_dot_product(
    query: Value,
    key: Value,
    value: Value,
    *,
    mask: Value | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout_ratio: float = 0.0,
) -> Value:
    """softmax(query key' scale) value: a mean of values, weighed by how keys fit the query.

    Parameters: `query` [N, heads, T, size], `key` [N, heads, S, size] and `value` [N, heads, S,
    width]; `mask`, booleans that broadcast to [N, heads, T, S], True where a place may be looked
    at, or numbers that are added to the scores; `causal`, whether place t sees no place behind t
    (the last of T places sees all S); `scale`, 1 / sqrt(size) when left out; `dropout_ratio`, of
    the weights. A place that may look nowhere gets 0. Returns [N, heads, T, width]. Source: Vaswani
    et al. 2017, equation 1.

    >>> import eddl
    >>> q, kv = eddl.Input((2, 5, 8)), eddl.Input((2, 7, 8))
    >>> eddl.layers.scaled_dot_product(q, kv, kv).shape
    ('batch', 2, 5, 8)
    """
    layer = "scaled_dot_product"
    if any(tensor(v, layer).rank != 4 for v in (query, key, value)):
        received = ", ".join(str(v.type) for v in (query, key, value))
        raise ShapeError(f"{layer}: received {received}, expected [N, heads, places, size] each")
    size = size_of(query, 3, layer)
    factor = 1 / math.sqrt(size) if scale is None else float(scale)
    scores = apply("MatMul", query * factor, apply("Transpose", key, perm=(0, 1, 3, 2)))
    seen: Value | None = None
    if mask is not None and tensor(mask, layer).dtype == bool:
        seen = mask
    elif mask is not None:
        if mask.dtype != scores.dtype:
            raise TypeMismatchError(
                f"{layer}: received a mask {mask.type}, expected booleans or {scores.dtype}"
            )
        scores = scores + mask
    if causal:
        below = _below(query, key)
        seen = below if seen is None else apply("And", seen, below)
    if seen is not None:
        scores = apply("Where", seen, scores, FAR)
    weights = apply("Softmax", scores, axis=-1)
    if dropout_ratio:
        weights = dropout(weights, dropout_ratio)
    y = apply("MatMul", weights, value)
    steps, places = query.shape[2], key.shape[2]
    by_order = isinstance(steps, int) and isinstance(places, int) and steps <= places
    if seen is None or (mask is None and by_order):  # each place sees one at least
        return y
    count = apply("ReduceMax", apply("Cast", seen, to=y.dtype), integers([-1]), keepdims=1)
    return apply("Where", apply("Greater", count, 0.0), y, 0.0)


def _below(query: Value, key: Value) -> Value:
    """Which places of the key lie at or before each of the query's, [T, S]."""
    steps, places = query.shape[2], key.shape[2]
    if isinstance(steps, int) and isinstance(places, int):
        return Constant(np.tri(steps, places, places - steps, dtype=bool))
    sizes = [apply("Shape", x, start=2, end=3) for x in (query, key)]
    ones = apply("Expand", np.ones((1, 1), np.float32), apply("Concat", *sizes, axis=0))
    offset = apply("Squeeze", sizes[1] - sizes[0], integers([0]))
    return apply("Cast", apply("Trilu", ones, offset, upper=0), to=np.dtype(bool))


def attention(
    query: Value,
    key: Value | None = None,
    value: Value | None = None,
    *,
    heads: int,
    size: int | None = None,
    units: int | None = None,
    mask: Value | None = None,
    causal: bool = False,
    dropout_ratio: float = 0.0,
    use_bias: bool = True,
    initializer: Start = "glorot_uniform",
    name: str | None = None,
) -> Value:
    """Multi-head attention over sequences.

    Parameters: `query` [N, T, features]; `key` [N, S, features], the query when left out (self
    attention); `value` [N, S, features], the key when left out; `heads`, how many times it looks,
    each time with other weights; `size`, of a head, the query's features over the heads when left
    out; `units`, the features it makes, the query's when left out; `mask`, True where a place of
    the key counts, [N, S], or where it may be looked at, [N, T, S]; `causal`, whether place t sees
    no place behind t; `dropout_ratio`, of the weights. With a `name`, its dense layers are
    `name_query`, `name_key`, `name_value` and `name_output`. Returns [N, T, units].
    Source: Vaswani et al. 2017, section 3.2.

    >>> import eddl
    >>> x, mask = eddl.Input((12, 32)), eddl.Input((12,), dtype="bool")
    >>> eddl.layers.attention(x, heads=4, mask=mask, causal=True).shape
    ('batch', 12, 32)
    """
    layer = "attention"
    key = query if key is None else key
    value = key if value is None else value
    if any(tensor(v, layer).rank != 3 for v in (query, key, value)):
        received = ", ".join(str(v.type) for v in (query, key, value))
        raise ShapeError(f"{layer}: received {received}, expected sequences [N, T, features]")
    features = size_of(query, 2, layer)
    if heads < 1 or (size is None and features % heads):
        raise AttributeValueError(
            f"{layer}: received heads={heads} for {features} features, expected a number that "
            "divides them, or the size of a head"
        )
    each = features // heads if size is None else size
    if mask is not None:
        if tensor(mask, layer).dtype != bool or mask.rank not in (2, 3):
            raise TypeMismatchError(
                f"{layer}: received a mask {mask.type}, expected booleans [N, S] or [N, T, S]"
            )
        mask = apply("Unsqueeze", mask, integers([1, 2] if mask.rank == 2 else [1]))

    def named(role: str) -> str | None:
        return None if name is None else f"{name}_{role}"

    def project(x: Value, role: str) -> Value:
        y = dense(x, heads * each, use_bias=use_bias, initializer=initializer, name=named(role))
        y = apply("Reshape", y, integers([0, 0, heads, each]))
        return apply("Transpose", y, perm=(0, 2, 1, 3))

    y = scaled_dot_product(
        project(query, "query"), project(key, "key"), project(value, "value"), mask=mask,
        causal=causal, dropout_ratio=dropout_ratio,
    )  # fmt: skip
    y = apply("Reshape", apply("Transpose", y, perm=(0, 2, 1, 3)), integers([0, 0, heads * each]))
    return dense(y, units or features, use_bias=use_bias, initializer=initializer,
                 name=named("output"))  # fmt: skip
