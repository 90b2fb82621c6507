"""Reductions over axes, soft maxima along one, and the index of the greatest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from eddl.backends.array.backend import ArrayBackend, kernel
from eddl.backends.array.convolution import Workspace
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node
from eddl.ops.reduction import reduced_axes

_UFUNCS = {"ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "maximum", "ReduceMin": "minimum"}


@kernel(*_UFUNCS)
def reduce(backend: ArrayBackend, node: Node) -> Offer:
    """A ufunc's reduction; a mean is the sum times the share."""
    x = node.inputs[0]
    assert x is not None
    axes, shape = reduced_axes(node), x.type.sizes
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    share = 1.0 / max(math.prod(shape[i] for i in axes), 1)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        function = getattr(backend.xp, _UFUNCS[node.op])
        result = outputs[0].reshape(kept)
        mean = node.op == "ReduceMean"

        def run() -> None:
            function.reduce(inputs[0], axis=axes, keepdims=True, out=result)
            if mean:
                backend.xp.multiply(result, share, out=result, casting="unsafe")

        return run

    return Offer(_UFUNCS[node.op], bind)


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

        parts = backend.threads.split(outer)
        tasks = [partial(work, a, b) for a, b in parts]
        return lambda: backend.threads.run(tasks)

    return Offer("rows", bind, workspace=need.used, overwrites={0: (0,)})


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
