"""Operators that pick elements by index, and those that put them back.

Every gathering has its gradient in a scattering that adds, and every scattering in gatherings, so
the two families are closed under differentiation. `Gather` is turned into `ScatterND` by moving its
axis to the front. Indices get no gradient; negative ones count from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import positive_axis, same
from eddl.ops.table import Call, Gradients, Operator, apply, integers, register, unknown

Rule = Callable[[Call], Sequence[Type]]
REDUCTIONS = ("none", "add", "mul", "max", "min")


def filled(number: float, dtype: Any, sizes: Sequence[int]) -> Value:
    """A tensor of one number."""
    return apply("Expand", Constant(np.full((1,) * len(sizes), number, dtype)), integers(sizes))


def _need(value: Value | None) -> Value:
    assert value is not None
    return value


def _turned(x: Value, perm: Iterable[int]) -> Value:
    return apply("Transpose", x, perm=tuple(int(i) for i in perm))


def _gather(call: Call) -> list[Type]:
    data, indices = call.type(0), call.type(1)
    axis = positive_axis(call, call.attributes["axis"], data.rank)
    return [data.with_shape([*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]])]


def _gather_gradient(node: Node, g: Value) -> Gradients:
    """Rows along the axis, moved to the front, are added to where they came from."""
    data, indices = map(_need, node.inputs)
    axis, rank, count = node.attributes["axis"] % data.rank, data.rank, indices.rank
    front = (*range(axis, axis + count), *range(axis), *range(axis + count, g.rank))
    order = (axis, *(i for i in range(rank) if i != axis))
    sizes = data.type.sizes
    zeros = filled(0, g.dtype, [sizes[i] for i in order])
    rows = apply("Unsqueeze", indices, integers([-1]))
    total = apply("ScatterND", zeros, rows, _turned(g, front), reduction="add")
    return (_turned(total, np.argsort(order)), None)


def _gather_elements(call: Call) -> list[Type]:
    data, indices = call.type(0), call.type(1)
    positive_axis(call, call.attributes["axis"], data.rank)
    if data.rank != indices.rank:
        raise call.fail("data and indices of one rank")
    return [data.with_shape(indices.shape)]


def _gather_elements_gradient(node: Node, g: Value) -> Gradients:
    data, indices = map(_need, node.inputs)
    zeros = filled(0, g.dtype, data.type.sizes)
    return (
        apply("ScatterElements", zeros, indices, g, axis=node.attributes["axis"], reduction="add"),
        None,
    )


def _depth(call: Call, indices: Type) -> int:
    depth = indices.shape[-1] if indices.rank else None
    if not isinstance(depth, int):
        raise call.fail("indices whose last axis has a known size")
    return depth


def _gather_nd(call: Call) -> list[Type]:
    data, indices, batch = call.type(0), call.type(1), call.attributes["batch_dims"]
    depth = _depth(call, indices)
    if not 0 <= batch < min(data.rank, indices.rank) or batch + depth > data.rank:
        raise call.fail(f"batch_dims {batch} and indices that name axes of data")
    for a, b in zip(data.shape[:batch], indices.shape[:batch], strict=True):
        same(call, a, b, what="equal sizes along the batch axes")
    return [data.with_shape([*indices.shape[:-1], *data.shape[batch + depth :]])]


def full_indices(indices: Value, batch: int) -> Value:
    """The indices of a GatherND with the positions along its batch axes before them."""
    sizes = indices.type.sizes
    if not batch:
        return indices
    grid = np.moveaxis(np.indices(sizes[:batch]), 0, -1)
    grid = grid.reshape(*sizes[:batch], *[1] * (len(sizes) - 1 - batch), batch)
    grid = np.broadcast_to(grid, (*sizes[:-1], batch)).astype(indices.dtype)
    return apply("Concat", np.ascontiguousarray(grid), indices, axis=-1)


def _gather_nd_gradient(node: Node, g: Value) -> Gradients:
    data, indices = map(_need, node.inputs)
    zeros = filled(0, g.dtype, data.type.sizes)
    places = full_indices(indices, node.attributes["batch_dims"])
    return (apply("ScatterND", zeros, places, g, reduction="add"), None)


def _reduction(call: Call) -> None:
    received = call.attributes["reduction"]
    if received not in REDUCTIONS:
        raise call.fail(f"reduction to be one of {REDUCTIONS}; received {received!r}")


def _scatter_elements(call: Call) -> list[Type]:
    data, indices, updates = call.type(0), call.type(1), call.type(2)
    positive_axis(call, call.attributes["axis"], data.rank)
    if not data.rank == indices.rank == updates.rank or data.dtype != updates.dtype:
        raise call.fail("data, indices and updates of one rank, data and updates of one type")
    for a, b in zip(indices.shape, updates.shape, strict=True):
        same(call, a, b, what="indices and updates of one shape")
    _reduction(call)
    return [data]


def _scatter_nd(call: Call) -> list[Type]:
    data, indices, updates = call.type(0), call.type(1), call.type(2)
    depth = _depth(call, indices)
    wanted = (*indices.shape[:-1], *data.shape[depth:])
    if depth > data.rank or len(wanted) != updates.rank or data.dtype != updates.dtype:
        raise call.fail("updates of data's type, shaped indices.shape[:-1] + data.shape[depth:]")
    for a, b in zip(wanted, updates.shape, strict=True):
        same(call, a, b, what="updates shaped indices.shape[:-1] + data.shape[depth:]")
    _reduction(call)
    return [data]


def _scatter_gradient(node: Node, g: Value) -> Gradients:
    """By reduction; `mul` leaves out each factor in turn, so that factors of 0 are right too."""
    data, indices, updates = map(_need, node.inputs)
    reduction, y = node.attributes["reduction"], node.outputs[0]
    options = {"axis": node.attributes["axis"]} if node.op == "ScatterElements" else {}
    reading = "GatherElements" if node.op == "ScatterElements" else "GatherND"

    def at(value: Value) -> Value:
        return apply(reading, value, indices, **options)

    def put(target: Value, values: Value, how: str) -> Value:
        return apply(node.op, target, indices, values, reduction=how, **options)

    def number(value: Value) -> Value:
        return apply("Cast", value, to=g.dtype)

    if reduction == "add":
        return (g, None, at(g))
    if reduction == "none":
        return (put(g, filled(0, g.dtype, updates.type.sizes), "none"), None, at(g))
    if reduction == "mul":
        none = apply("Equal", updates, np.zeros((), g.dtype))
        factors = apply("Where", none, np.ones((), g.dtype), updates)
        zeros = put(filled(0, g.dtype, data.type.sizes), number(none), "add")
        product = put(filled(1, g.dtype, data.type.sizes), factors, "mul")
        others = apply("Equal", at(zeros), number(none))
        share = apply("Where", others, at(g * data * product) / factors, np.zeros((), g.dtype))
        whole = apply("Equal", zeros, np.zeros((), g.dtype))
        return (apply("Where", whole, g * product, np.zeros((), g.dtype)), None, share)
    mine, theirs = number(apply("Equal", data, y)), number(apply("Equal", updates, at(y)))
    flow = g / put(mine, theirs, "add")
    return (flow * mine, None, at(flow) * theirs)


def _scatter_body(node: Node) -> Sequence[Value]:
    return [apply("ScatterElements", *node.inputs, axis=node.attributes["axis"])]


def _tensor_scatter(call: Call) -> list[Type]:
    cache, update = call.type(0), call.type(1)
    axis = positive_axis(call, call.attributes["axis"], cache.rank)
    if axis == 0 or cache.rank != update.rank or cache.dtype != update.dtype:
        raise call.fail("past_cache and update of one rank and type, and an axis that is not 0")
    if call.attributes["mode"] not in ("linear", "circular"):
        raise call.fail(f"mode linear or circular; received {call.attributes['mode']!r}")
    return [cache]


def _tensor_scatter_body(node: Node) -> Sequence[Value]:
    """Positions along the axis, moved next to the batch, then a ScatterND."""
    cache, update, write = (*node.inputs, None)[:3]
    cache, update = _need(cache), _need(update)
    axis = node.attributes["axis"] % cache.rank
    batch, length, count = cache.type.sizes[0], cache.type.sizes[axis], update.type.sizes[axis]
    steps = np.arange(count)[None, :].repeat(batch, 0)
    positions: Value = Constant(steps)
    if write is not None:
        start = apply("Cast", apply("Unsqueeze", write, integers([1])), to=np.dtype("int64"))
        positions = apply("Add", start, steps)
    if node.attributes["mode"] == "circular":
        positions = positions - (positions / length) * length
    places = full_indices(apply("Unsqueeze", positions, integers([2])), 1)
    order = (0, axis, *(i for i in range(1, cache.rank) if i != axis))
    put = apply("ScatterND", _turned(cache, order), places, _turned(update, order))
    return [_turned(put, np.argsort(order))]


def _reverse_sequence(call: Call) -> list[Type]:
    data, lengths = call.type(0), call.type(1)
    axes = (call.attributes["batch_axis"], call.attributes["time_axis"])
    if sorted(axes) != [0, 1] or data.rank < 2 or lengths.rank != 1:
        raise call.fail(f"batch_axis and time_axis to be 0 and 1; received {axes}")
    same(call, data.shape[axes[0]], lengths.shape[0], what="one length a sequence")
    return [data]


def _reverse_sequence_body(node: Node) -> Sequence[Value]:
    """Step t of a sequence of length n is step n - 1 - t of the input, where t < n."""
    x, lengths = map(_need, node.inputs)
    order = (node.attributes["batch_axis"], node.attributes["time_axis"], *range(2, x.rank))
    steps = np.arange(x.type.sizes[order[1]])[None, :]
    count = apply("Cast", apply("Unsqueeze", lengths, integers([1])), to=np.dtype("int64"))
    places = apply("Where", apply("Less", steps, count), count - 1 - Constant(steps), steps)
    picked = apply(
        "GatherND", _turned(x, order), apply("Unsqueeze", places, integers([2])), batch_dims=1
    )
    return [_turned(picked, np.argsort(order))]


def _top_k(call: Call) -> list[Type]:
    data, k = call.type(0), call.constant(1)
    axis = positive_axis(call, call.attributes["axis"], data.rank)
    size: Dim = None if k is None else int(k.reshape(-1)[0])
    limit = data.shape[axis]
    if isinstance(size, int) and (size < 0 or (isinstance(limit, int) and size > limit)):
        raise call.fail(f"K from 0 to {limit}, received {size}")
    values = data.with_shape([*data.shape[:axis], size, *data.shape[axis + 1 :]])
    return [values, values.with_dtype("int64")]


def _top_k_gradient(node: Node, g: Value, _: Value | None) -> Gradients:
    x = _need(node.inputs[0])
    zeros = filled(0, g.dtype, x.type.sizes)
    axis = node.attributes["axis"]
    placed = apply("ScatterElements", zeros, node.outputs[1], g, axis=axis, reduction="add")
    return (placed, None)


def _k_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    k = attributes.pop("k", None)
    return attributes, inputs if k is None else [inputs[0], integers([k])]


_k_to_input.reads = ("k",)  # type: ignore[attr-defined]


def _one_hot(call: Call) -> list[Type]:
    indices, depth = call.type(0), call.constant(1)
    axis = positive_axis(call, call.attributes["axis"], indices.rank + 1)
    size = None if depth is None else int(depth.reshape(-1)[0])
    return [Type(call.type(2).dtype, [*indices.shape[:axis], size, *indices.shape[axis:]])]


def _add(name: str, inputs: str, infer: Rule, **fields: Any) -> None:
    register(Operator(name=name, inputs=tuple(inputs.split()), infer=infer, **fields))


_add("Gather", "data indices", _gather, since=13, gradient=_gather_gradient,
     attributes={"axis": 0})  # fmt: skip
_add("GatherElements", "data indices", _gather_elements, since=13,
     gradient=_gather_elements_gradient, attributes={"axis": 0})  # fmt: skip
_add("GatherND", "data indices", _gather_nd, since=13, gradient=_gather_nd_gradient,
     attributes={"batch_dims": 0})  # fmt: skip
_add("ScatterElements", "data indices updates", _scatter_elements, since=18,
     gradient=_scatter_gradient, attributes={"axis": 0, "reduction": "none"})  # fmt: skip
_add("ScatterND", "data indices updates", _scatter_nd, since=18, gradient=_scatter_gradient,
     attributes={"reduction": "none"})  # fmt: skip
_add("Scatter", "data indices updates", lambda call: [call.type(0)], since=9, body=_scatter_body,
     attributes={"axis": 0})  # fmt: skip
_add("TensorScatter", "past_cache update write_indices?", _tensor_scatter, since=24,
     body=_tensor_scatter_body, attributes={"axis": -2, "mode": "linear"})  # fmt: skip
_add("ReverseSequence", "input sequence_lens", _reverse_sequence, since=10,
     body=_reverse_sequence_body, attributes={"batch_axis": 1, "time_axis": 0})  # fmt: skip
_add("TopK", "X K", _top_k, since=11, outputs=2, gradient=_top_k_gradient, constant_inputs=(1,),
     attributes={"axis": -1, "largest": 1, "sorted": 1}, upgrades={10: _k_to_input})  # fmt: skip
_add("OneHot", "indices depth values", _one_hot, since=11, attributes={"axis": -1},
     constant_inputs=(1, 2))  # fmt: skip
_add("Compress", "input condition", unknown, since=9, host=True, attributes={"axis": None})
_add("NonZero", "X", unknown, since=13, host=True)
_add("Unique", "X", unknown, since=11, outputs=4, host=True,
     attributes={"axis": None, "sorted": 1})  # fmt: skip
