"""Splitting an axis, repeating along it, and trading depth for space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.indexing import filled
from eddl.ops.shapes import positive_axis
from eddl.ops.table import REQUIRED, Call, Gradients, Operator, apply, integers, register


def _need(value: Value | None) -> Value:
    assert value is not None
    return value


def _split(call: Call) -> list[Type]:
    """As many outputs as parts: those of `split`, or `num_outputs`, the last one smaller."""
    data, given, count = call.type(0), call.constant(1), call.attributes["num_outputs"]
    axis = positive_axis(call, call.attributes["axis"], data.rank)
    size = data.shape[axis]
    if call.given(1) and given is None:
        raise call.fail("split as a constant")
    parts: list[Dim]
    if given is not None:
        numbers = [int(n) for n in given.reshape(-1)]
        if min(numbers, default=0) < 0 or (isinstance(size, int) and sum(numbers) != size):
            raise call.fail(f"split {numbers} to add up to {size}")
        parts = [*numbers]
    elif not count or count < 1:
        raise call.fail("split, or num_outputs of at least 1")
    elif isinstance(size, int):
        each = -(-size // count)
        parts = [min(each, max(size - i * each, 0)) for i in range(count)]
    else:
        parts = [None] * count
    return [data.with_shape([*data.shape[:axis], n, *data.shape[axis + 1 :]]) for n in parts]


def _split_body(node: Node) -> Sequence[Value]:
    x = _need(node.inputs[0])
    axis, start, parts = node.attributes["axis"] % x.rank, 0, []
    for output in node.outputs:
        stop = start + output.type.sizes[axis]
        parts.append(apply("Slice", x, integers([start]), integers([stop]), integers([axis])))
        start = stop
    return parts


def _split_gradient(node: Node, *flowing: Value | None) -> Gradients:
    """The parts' gradients side by side, zeros for parts that nothing needs."""
    axis = node.attributes["axis"]
    parts = [
        filled(0, output.dtype, output.type.sizes) if g is None else g
        for output, g in zip(node.outputs, flowing, strict=True)
    ]
    return (apply("Concat", *parts, axis=axis), None)[: len(node.inputs)]


def _tile(call: Call) -> list[Type]:
    data, repeats = call.type(0), call.constant(1)
    if repeats is None:
        return [data.with_shape([None] * data.rank)]
    if repeats.size != data.rank or min(repeats, default=0) < 0:
        raise call.fail(f"{data.rank} repeats of at least 0; received {repeats.tolist()}")
    return [
        data.with_shape(
            [n * int(r) if isinstance(n, int) else n if r == 1 else None
             for n, r in zip(data.shape, repeats, strict=True)]
        )
    ]  # fmt: skip


def _tile_body(node: Node) -> Sequence[Value]:
    """Each axis [n] becomes [1, n], is repeated to [r, n] and joined to [r * n]."""
    x, sizes = _need(node.inputs[0]), _need(node.inputs[0]).type.sizes
    assert isinstance(node.inputs[1], Constant)
    pairs = list(zip(node.inputs[1].data.tolist(), sizes, strict=True))
    apart = apply("Reshape", x, integers([s for n in sizes for s in (1, n)]), allowzero=1)
    spread = apply("Expand", apart, integers([s for pair in pairs for s in pair]))
    return [apply("Reshape", spread, integers([r * n for r, n in pairs]), allowzero=1)]


def _blocks(call: Call) -> list[Type]:
    """The type of DepthToSpace (or of SpaceToDepth, with the factors turned round)."""
    x, size, mode = call.type(0), call.attributes["blocksize"], call.attributes["mode"]
    deep = call.operator.name == "DepthToSpace"
    if x.rank != 4 or size < 1 or mode not in ("DCR", "CRD"):
        raise call.fail(f"4 axes, blocksize above 0, mode DCR or CRD; received {size}, {mode!r}")
    shape = [x.shape[0]]
    for axis, factor in ((1, size * size), (2, size), (3, size)):
        old = x.shape[axis]
        divided = (axis == 1) == deep
        if isinstance(old, int) and divided and old % factor:
            raise call.fail(f"a size that {factor} divides along axis {axis}")
        new = old if not isinstance(old, int) else old // factor if divided else old * factor
        shape.append(new if isinstance(old, int) else None)
    return [x.with_shape(shape)]


def _depth_to_space_body(node: Node) -> Sequence[Value]:
    """Source: the ONNX operator specification of DepthToSpace."""
    x, size = _need(node.inputs[0]), node.attributes["blocksize"]
    n, c, h, w = x.type.sizes
    if node.attributes["mode"] == "DCR":
        apart, perm = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        apart, perm = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    turned = apply("Transpose", apply("Reshape", x, integers(apart), allowzero=1), perm=perm)
    return [apply("Reshape", turned, integers(node.outputs[0].type.sizes), allowzero=1)]


def _space_to_depth_body(node: Node) -> Sequence[Value]:
    """The inverse of DepthToSpace."""
    x, size = _need(node.inputs[0]), node.attributes["blocksize"]
    n, c, h, w = x.type.sizes
    apart = apply("Reshape", x, integers((n, c, h // size, size, w // size, size)), allowzero=1)
    perm = (0, 3, 5, 1, 2, 4) if node.attributes["mode"] == "DCR" else (0, 1, 3, 5, 2, 4)
    turned = apply("Transpose", apart, perm=perm)
    return [apply("Reshape", turned, integers(node.outputs[0].type.sizes), allowzero=1)]


def _split_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    split = attributes.pop("split", None)
    return attributes, inputs if split is None else [inputs[0], integers(split)]


_split_to_input.reads = ("split",)  # type: ignore[attr-defined]


def _add(name: str, inputs: tuple[str, ...], infer: Any, body: Any, **fields: Any) -> None:
    register(Operator(name=name, inputs=inputs, infer=infer, body=body, **fields))


_add("Split", ("input", "split?"), _split, _split_body, since=18, constant_inputs=(1,),
     gradient=_split_gradient, any_output=True,
     attributes={"axis": 0, "num_outputs": None}, upgrades={13: _split_to_input})  # fmt: skip
_add("Tile", ("input", "repeats"), _tile, _tile_body, since=13, constant_inputs=(1,))
for _name, _body in (
    ("DepthToSpace", _depth_to_space_body),
    ("SpaceToDepth", _space_to_depth_body),
):
    _add(_name, ("input",), _blocks, _body, since=13,
         attributes={"blocksize": REQUIRED, "mode": "DCR"})  # fmt: skip
