"""Arithmetic of sizes that may be unknown: shared by the type rules."""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Constant, Dim, Type, Value
from eddl.ops.table import Call, apply, integers


def known(*sizes: Dim) -> bool:
    """Whether all sizes are numbers."""
    return all(isinstance(size, int) for size in sizes)


def broadcast(call: Call, shapes: Sequence[Sequence[Dim]]) -> tuple[Dim, ...]:
    """NumPy's (and ONNX's multidirectional) broadcasting of shapes."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for position in range(-rank, 0):
        sizes = [shape[position] for shape in shapes if len(shape) >= -position]
        numbers = {size for size in sizes if isinstance(size, int) and size != 1}
        names = {size for size in sizes if not isinstance(size, int)}
        if len(numbers) > 1:
            raise call.fail("shapes that broadcast: equal sizes, or 1")
        if numbers:
            result.append(numbers.pop())
        elif names:
            result.append(names.pop() if len(names) == 1 else None)
        else:
            result.append(1)
    return tuple(result)


def same(call: Call, *sizes: Dim, what: str) -> Dim:
    """One size for several that must be equal; unknown ones fit any."""
    numbers = {size for size in sizes if isinstance(size, int)}
    if len(numbers) > 1:
        raise call.fail(what)
    if numbers:
        return numbers.pop()
    return next((size for size in sizes if size is not None), None)


def positive_axis(call: Call, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise call.fail(f"an axis in [{-rank}, {rank - 1}], received axis {axis}")
    return axis % rank


def axes_of(call: Call, index: int, rank: int) -> tuple[int, ...] | None:
    """The constant axes given as an input, counted from the front; `None` when left out."""
    if not call.given(index):
        return None
    data = call.constant(index)
    if data is None:
        raise call.fail(f"{call.operator.formal(index)} as a constant")
    return tuple(positive_axis(call, int(axis), rank) for axis in data.reshape(-1))


def node_axes(value: Value | None, rank: int) -> tuple[int, ...]:
    """The axes of a node's constant input, counted from the front; all of them when left out."""
    if value is None:
        return tuple(range(rank))
    assert isinstance(value, Constant)
    return tuple(int(axis) % rank for axis in value.data.reshape(-1)) or tuple(range(rank))


def sum_to(gradient: Value, like: Value) -> Value:
    """Undo broadcasting: sum a gradient over the axes along which `like` was repeated."""
    target, shape = like.type.sizes, gradient.type.sizes
    if target == shape:
        return gradient
    extra = len(shape) - len(target)
    axes = [*range(extra)] + [
        extra + i for i, size in enumerate(target) if size == 1 and shape[extra + i] != 1
    ]
    if axes:
        gradient = apply("ReduceSum", gradient, integers(axes), keepdims=1)
    return apply("Reshape", gradient, integers(target))


def like(call: Call, index: int = 0) -> list[Type]:
    """The rule of an operator whose output has the type of one input."""
    return [call.type(index)]
