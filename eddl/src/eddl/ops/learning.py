"""What losses are built on: averages, labels as class indices, sorted order, equal sizes.

All are of the private domain and have bodies in ordinary operators. `Average` and `Labels` are
also marks: a loop that shares a batch out over micro-batches or ranks finds the total and the count
of a mean by the first, and the rule that labels must obey by the second.
"""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Node, Type, Value
from eddl.ops.elementwise import elementwise, flat, same_dtype
from eddl.ops.shapes import positive_axis, same
from eddl.ops.table import PRIVATE, REQUIRED, Call, Operator, apply, integers, make_node, register


def _average(call: Call) -> list[Type]:
    if call.type(0).rank or call.type(1).rank or call.type(0).dtype.kind != "f":
        raise call.fail("a total and a count: floating scalars")
    return [Type(same_dtype(call), ())]


def _average_body(node: Node) -> Sequence[Value]:
    """A count of 0, where every label is ignored, gives 0 and no gradient."""
    total, count = node.inputs
    assert total is not None and count is not None
    some = apply("Where", apply("Equal", count, 0.0), 1.0, count)
    return [apply("Div", total, some)]


def _paired(call: Call) -> list[Type]:
    """Equal shapes, since a target that is repeated unasked is a mistake; a constant is asked."""
    x, like, without = call.type(0), call.type(1), call.attributes["without"]
    shape = [size for axis, size in enumerate(like.shape) if axis != without]
    if x.rank != len(shape):
        raise call.fail(f"a target of {len(shape)} axes")
    what = "a target of the prediction's shape" + (" without the class axis" if without else "")
    repeats = call.constant(0) is not None
    for old, new in zip(x.shape, shape, strict=True):
        if not (repeats and old == 1):
            same(call, old, new, what=what)
    return [x.with_shape(shape)]


def _paired_body(node: Node) -> Sequence[Value]:
    return [apply("Expand", node.inputs[0], integers(node.outputs[0].type.sizes))]


def _labels(call: Call) -> list[Type]:
    x = call.type(0)
    if x.dtype.kind not in "iu":
        raise call.fail("class indices of an integral type")
    return [x]


def _labels_formula(node: Node) -> str:
    classes, ignored = node.attributes["classes"], node.attributes["ignore_label"]
    outside = f"(X < 0) | (X >= {classes})"
    if ignored is not None and 0 <= ignored < classes:
        outside += f" | (X == {ignored})"
    return f"where({outside}, {classes}, X)"


def _resize_like(call: Call) -> list[Type]:
    x, like = call.type(0), call.type(1)
    space = like.rank - 2
    if space < 1 or x.rank <= space:
        raise call.fail("a prediction [N, C, space...] and a target with as many axes of space")
    return [x.with_shape([*x.shape[: x.rank - space], *like.shape[2:]])]


def _resize_like_body(node: Node) -> Sequence[Value]:
    """Whole numbers by the nearest element, others linearly, blurred where they shrink."""
    x, sizes = node.inputs[0], node.outputs[0].type.sizes
    assert x is not None
    if x.type.sizes == sizes:
        return [apply("Identity", x)]
    how: dict[str, object] = {"mode": "linear", "antialias": 1}
    if x.dtype.kind != "f":
        how = {"mode": "nearest"}
    return [apply("Resize", x, None, None, integers(sizes), **how)]


def _sort(call: Call) -> list[Type]:
    x = call.type(0)
    positive_axis(call, call.attributes["axis"], x.rank)
    return [x, x.with_dtype("int64")]


def _sort_body(node: Node) -> Sequence[Value]:
    x, attributes = node.inputs[0], node.attributes
    assert x is not None
    size = integers([x.type.sizes[attributes["axis"]]])
    return make_node(
        "TopK", x, size, axis=attributes["axis"], largest=int(attributes["descending"])
    ).outputs


register(
    Operator(
        name="Average",
        domain=PRIVATE,
        inputs=("total", "count"),
        infer=_average,
        body=_average_body,
        float32=True,
    )
)
register(
    Operator(
        name="Paired",
        domain=PRIVATE,
        inputs=("target", "prediction"),
        infer=_paired,
        body=_paired_body,
        gradient=lambda node, g: (g, None),
        attributes={"without": None},
    )
)
elementwise(
    "Labels",
    "X",
    _labels_formula,
    flat,
    rule=_labels,
    domain=PRIVATE,
    attributes={"classes": REQUIRED, "ignore_label": None},
)
register(
    Operator(
        name="ResizeLike",
        domain=PRIVATE,
        inputs=("target", "prediction"),
        infer=_resize_like,
        body=_resize_like_body,
    )
)
register(
    Operator(
        name="Sort",
        domain=PRIVATE,
        inputs=("X",),
        infer=_sort,
        body=_sort_body,
        outputs=2,
        attributes={"axis": -1, "descending": 0},
    )
)
