"""Reductions over axes, soft maxima along one, and the index of the greatest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Constant, Node, Value
from eddl.ops.reduction import reduced_axes

PARTS = 4
"""Into how many parts a large reduction is cut, whatever the number of threads."""

ROWS = 16
"""Neighbouring rows that are reduced as one long one."""

WIDEST = 1 << 12
"""Elements of a row up to which that is done: longer ones fill the cache by themselves."""

LARGE = 1 << 18
"""Elements from which a reduction is cut: below, waking threads takes longer than it saves."""

SMALL = 1 << 15
"""Elements below which exponentials are computed on one thread."""

_UFUNCS = {"ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "maximum", "ReduceMin": "minimum",
           "ReduceProd": "multiply"}  # fmt: skip


def _neutral(op: str, dtype: Any) -> Any:
    """What a reduction of nothing gives, where the ufunc does not know it."""
    if op not in ("ReduceMax", "ReduceMin"):
        return None
    greatest = op == "ReduceMin"
    if dtype.kind == "b":
        return greatest
    if dtype.kind in "iu":
        return np.iinfo(dtype).max if greatest else np.iinfo(dtype).min
    return np.inf if greatest else -np.inf


@kernel(*_UFUNCS)
def reduce(backend: ArrayBackend, node: Node) -> Offer:
    """A ufunc's reduction; a mean is the sum times the share."""
    x = node.inputs[0]
    assert x is not None
    axes, shape = reduced_axes(node), x.type.sizes
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    count = math.prod(shape[i] for i in axes)
    share = 1.0 / max(count, 1)
    nothing = _neutral(node.op, x.dtype) if not count else None
    wide = x.dtype.kind not in "fiub"  # bfloat16 sums in float32
    cut = next((axis for axis in axes if shape[axis] >= 4 * PARTS), None)
    need = Workspace()
    rows = x.type.count // max(count, 1) <= WIDEST
    if cut is not None and x.type.count >= LARGE and not wide:
        need.take((PARTS, *kept), x.dtype)
        if rows:
            need.take((PARTS, ROWS, x.type.count // count), x.dtype)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp
        function = getattr(xp, _UFUNCS[node.op])
        result = outputs[0].reshape(kept)
        mean = node.op == "ReduceMean"
        if nothing is not None:
            return lambda: result.fill(nothing)
        if wide:

            def widened() -> None:
                total = function.reduce(inputs[0].astype("float32"), axis=axes, keepdims=True)
                xp.copyto(result, total * share if mean else total, casting="unsafe")

            return widened

        def finish() -> None:
            if mean:
                xp.multiply(result, share, out=result, casting="unsafe")

        if workspace is None or cut is None:
            whole = partial(function.reduce, inputs[0], axis=axes, keepdims=True, out=result)
            return in_turn([whole, finish])
        space = Workspace(workspace)
        sums = space.take((PARTS, *kept), x.dtype)
        lines = _lines(inputs[0], axes) if rows else None
        if lines is not None:
            wide_sums = space.take((PARTS, ROWS, lines.shape[-1]), x.dtype)

            def by_rows(part: int) -> None:
                function.reduce(lines[part], axis=0, out=wide_sums[part])
                function.reduce(wide_sums[part], axis=0, out=sums[part].reshape(-1))

            many = backend.threads.share([partial(by_rows, part) for part in range(PARTS)])
            return in_turn([many, partial(function.reduce, sums, axis=0, out=result), finish])
        bounds = [shape[cut] * i // PARTS for i in range(PARTS + 1)]
        tasks = []
        for part, (start, stop) in enumerate(itertools.pairwise(bounds)):
            source = inputs[0][(slice(None),) * cut + (slice(start, stop),)]
            tasks.append(partial(function.reduce, source, axis=axes, keepdims=True, out=sums[part]))
        parts = backend.threads.share(tasks)
        return in_turn([parts, partial(function.reduce, sums, axis=0, out=result), finish])

    keeps = node.attributes["keepdims"]
    arrangements = _from_any(node, x) if not keeps or math.prod(kept[2:]) == 1 else ()
    return Offer(_UFUNCS[node.op], bind, workspace=need.used, arrangements=arrangements)


def _lines(x: Any, axes: Sequence[int]) -> Any:
    """An array with its channels innermost, all else to be reduced: [parts, ..., rows, channels].

    Summing many channels' worth of numbers at once is faster than a few channels'.
    """
    last = x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x
    rest = [axis for axis in range(x.ndim) if axis != 1]
    rows = x.size // x.shape[1] if x.ndim > 2 else 0
    if list(axes) != rest or x.flags.c_contiguous or not last.flags.c_contiguous:
        return None
    return None if rows % (PARTS * ROWS) else last.reshape(PARTS, -1, ROWS, x.shape[1])


def _from_any(node: Node, x: Value) -> tuple[Arrangement, ...]:
    """The input as it lies, the result plain."""
    if not 3 <= x.rank <= 5:
        return ()
    rest = (PLAIN,) * (len(node.inputs) - 1)
    return tuple(Arrangement((layout, *rest), (PLAIN,)) for layout in (PLAIN, CHANNELS_LAST))


@kernel("Softmax", "LogSoftmax")
def softmax(backend: ArrayBackend, node: Node) -> Offer:
    """exp(x - max) over its sum, or the logarithm of that, along one axis."""
    x = node.inputs[0]
    assert x is not None
    shape = x.type.sizes
    axis = node.attributes["axis"] % len(shape)
    outer, size, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    logarithm = node.op == "LogSoftmax"
    need = Workspace()

    def plan(space: Workspace) -> tuple[Any, Any]:
        extra = space.take((outer, size, inner), x.dtype) if logarithm else None
        return space.take((outer, 1, inner), x.dtype), extra

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp
        source, result = (a.reshape(outer, size, inner) for a in (inputs[0], outputs[0]))
        column, extra = plan(Workspace(workspace))

        def work(start: int, stop: int) -> None:
            data, out, line = source[start:stop], result[start:stop], column[start:stop]
            xp.maximum.reduce(data, axis=1, keepdims=True, out=line)
            xp.subtract(data, line, out=out)
            if logarithm:
                powers = extra[start:stop]
                xp.exp(out, out=powers)
                xp.add.reduce(powers, axis=1, keepdims=True, out=line)
                xp.log(line, out=line)
                xp.subtract(out, line, out=out)
            else:
                xp.exp(out, out=out)
                xp.add.reduce(out, axis=1, keepdims=True, out=line)
                xp.divide(out, line, out=out)

        parts = backend.threads.split(outer) if x.type.count >= SMALL else [(0, outer)]
        tasks = [partial(work, a, b) for a, b in parts]
        return lambda: backend.threads.run(tasks)

    return Offer("rows", bind, workspace=need.used, overwrites={0: (0,)})


@kernel("CumSum", "CumProd")
def cumulative(backend: ArrayBackend, node: Node) -> Offer:
    """Running sums or products; exclusive ones start with the neutral element."""
    x, given = node.inputs[:2]
    assert x is not None and isinstance(given, Constant)
    axis = int(given.data.reshape(-1)[0]) % x.rank
    ufunc, neutral = ("add", 0) if node.op == "CumSum" else ("multiply", 1)
    exclusive, reverse = node.attributes["exclusive"], node.attributes["reverse"]

    def along(part: slice) -> tuple[slice, ...]:
        return (*(slice(None),) * axis, part)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        accumulate = getattr(backend.xp, ufunc).accumulate
        data, result = inputs[0], outputs[0]
        if reverse:
            data, result = (a[along(slice(None, None, -1))] for a in (data, result))
        if not exclusive:
            return lambda: accumulate(data, axis=axis, out=result)
        first, rest = result[along(slice(0, 1))], result[along(slice(1, None))]
        before = data[along(slice(0, -1))]

        def run() -> None:
            backend.xp.copyto(first, neutral)
            accumulate(before, axis=axis, out=rest)

        return run

    return Offer(ufunc, bind)


@kernel("ArgMax", "ArgMin")
def arg_extreme(backend: ArrayBackend, node: Node) -> Offer:
    """The index of the first (or last) extreme along an axis."""
    x = node.inputs[0]
    assert x is not None
    axis = node.attributes["axis"] % x.rank
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.type.sizes))

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp
        function = xp.argmax if node.op == "ArgMax" else xp.argmin
        result = outputs[0].reshape(shape)
        if not node.attributes["select_last_index"]:
            return lambda: function(inputs[0], axis=axis, keepdims=True, out=result)

        def run() -> None:
            function(xp.flip(inputs[0], axis), axis=axis, keepdims=True, out=result)
            xp.subtract(x.type.sizes[axis] - 1, result, out=result)

        return run

    return Offer(node.op.lower(), bind)
