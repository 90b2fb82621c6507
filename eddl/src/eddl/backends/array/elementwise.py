"""Elementwise operators: a formula becomes ufunc calls over cache-sized chunks.

The result goes to the output, intermediate values to chunk-sized registers of the workspace, so a
formula of any length passes over memory once.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, alike
from eddl.backends.array.special import erf
from eddl.compiler.protocol import Offer, Thunk
from eddl.errors import GraphError
from eddl.graph import Constant, Node
from eddl.ops.elementwise import FUNCTIONS
from eddl.ops.table import entry

CHUNK = 1 << 16
"""Elements in a chunk: some of them fit a core's second-level cache. Threads hand over the lock of
Python between the calls of a chunk, so that smaller ones take longer on two threads than on one."""

_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide",
           ast.BitAnd: "logical_and", ast.BitOr: "logical_or"}  # fmt: skip
_COMPARE = {ast.Eq: "equal", ast.NotEq: "not_equal", ast.Gt: "greater", ast.GtE: "greater_equal",
            ast.Lt: "less", ast.LtE: "less_equal"}  # fmt: skip
_UNARY = {ast.USub: "negative", ast.Invert: "logical_not"}
_HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_NAMES = {"abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin",
          "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh", "bit_and": "bitwise_and",
          "bit_not": "invert", "bit_or": "bitwise_or", "bit_xor": "bitwise_xor",
          "modulo": "remainder", "round": "rint", "shift_left": "left_shift",
          "shift_right": "right_shift", "truncated_modulo": "fmod"}  # fmt: skip

TINY = 1 << 10
"""Elements for which a temporary costs less than doing without."""

FEWEST = 1 << 19
"""Elements times steps of a formula below which another thread costs more than it saves."""

Operand = tuple[str, Any]
"""("input", index), ("register", index) or ("number", value)."""


@dataclass(frozen=True)
class Step:
    """One ufunc call: its operands and the register it writes (`None`: the output)."""

    function: str
    operands: tuple[Operand, ...]
    register: int | None


@lru_cache(maxsize=1024)
def parse(formula: str, names: tuple[str, ...], attributes: tuple[tuple[str, float], ...]
          ) -> tuple[Step, ...]:  # fmt: skip
    """Translate a formula into steps, registers reused as soon as they are free."""
    numbers = dict(attributes)
    steps: list[Step] = []
    free: list[int] = []
    count = 0

    def register() -> int:
        nonlocal count
        if free:
            return free.pop()
        count += 1
        return count - 1

    def visit(tree: ast.AST) -> Operand:
        match tree:
            case ast.Constant(value=int() | float() as value):
                return ("number", value)
            case ast.Name(id=name) if name in names:
                return ("input", names.index(name))
            case ast.Name(id=name) if name in numbers:
                return ("number", numbers[name])
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return ("number", -value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id=name)) if name in numbers:
                return ("number", -numbers[name])
            case ast.UnaryOp(op=op, operand=inner):
                return emit(_UNARY[type(op)], [inner])
            case ast.BinOp(left=left, op=op, right=right):
                return emit(_BINARY[type(op)], [left, right])
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return emit(_COMPARE[type(op)], [left, right])
            case ast.Call(func=ast.Name(id="passed"), args=[passing, inner]):
                above = ast.Compare(passing, [ast.Gt()], [ast.Constant(0)])
                return emit("where", [above, inner, ast.Constant(0)])
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS:
                return emit(_NAMES.get(name, name), arguments)
        raise GraphError(f"the formula {formula!r} holds {ast.dump(tree)}, which no backend knows")

    def emit(function: str, parts: Sequence[ast.AST]) -> Operand:
        operands = tuple(visit(part) for part in parts)
        target = register()  # never an operand's own: their types may differ
        steps.append(Step(function, operands, target))
        free.extend(index for kind, index in operands if kind == "register")
        return ("register", target)

    kind, index = visit(ast.parse(formula, mode="eval").body)
    if kind == "register":
        last = steps.pop()
        steps.append(Step(last.function, last.operands, None))
    else:
        steps.append(Step("copy", ((kind, index),), None))
    return tuple(steps)


def offer_formula(backend: ArrayBackend, node: Node) -> Offer | None:
    """The offer for any operator that has a formula."""
    operator = entry(node)
    assert operator.formula is not None
    formula = operator.formula if isinstance(operator.formula, str) else operator.formula(node)
    names = tuple(operator.formal(i) for i in range(len(node.inputs)))
    names = tuple(f"X{i}" for i in range(len(names))) if operator.variadic else names
    numbers = tuple((k, v) for k, v in node.attributes.items() if isinstance(v, (int, float)))
    steps = parse(formula, names, numbers)
    types = [None if v is None else v.dtype for v in node.inputs]
    steps = _widened(_zeros_as_numbers(steps, node), types)
    registers = _register_types(backend, steps, types)
    output = node.outputs[0].type
    size = min(output.count, CHUNK)
    row = sum(_padded(size * dtype.itemsize) for dtype in registers)
    shapes = [None if v is None else v.type.sizes for v in node.inputs]
    same = tuple(
        i
        for i, (shape, dtype) in enumerate(zip(shapes, types, strict=True))
        if shape == output.sizes and dtype == output.dtype
    )

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        arrays = [x for x in inputs if x is not None]
        positions = {i: n for n, i in enumerate(i for i, x in enumerate(inputs) if x is not None)}
        chunks = list(_chunks(arrays, outputs[0]))
        few = output.count * len(steps) < FEWEST
        parts = [(0, len(chunks))] if few else backend.threads.split(len(chunks))
        tasks = []
        for thread, (start, stop) in enumerate(parts):
            scratch = None if not row else workspace[thread * row : (thread + 1) * row]
            run = [
                call
                for ins, out in chunks[start:stop]
                for call in _chunk_calls(backend, steps, registers, ins, positions, out, scratch)
            ]
            tasks.append(_in_turn(run))
        if len(tasks) == 1:
            return tasks[0]
        return lambda: backend.threads.run(tasks)

    return Offer(
        operator.name,
        bind,
        workspace=row * backend.threads.count,
        overwrites={0: same},
        arrangements=alike(node),
    )


def _zeros_as_numbers(steps: tuple[Step, ...], node: Node) -> tuple[Step, ...]:
    """A choice between an array and a constant 0 says so: a value that happens to be 0 when the
    calls are bound need not be 0 when they run."""
    zeros = {
        ("input", i)
        for i, v in enumerate(node.inputs)
        if isinstance(v, Constant) and v.data.size == 1 and v.dtype.kind == "f"
        and not v.data.any() and not np.signbit(v.data).any()
    }  # fmt: skip
    return tuple(
        Step(step.function, (*step.operands[:2], ("number", 0)), step.register)
        if step.function == "where" and step.operands[2] in zeros
        else step
        for step in steps
    )


def _widened(steps: tuple[Step, ...], types: Sequence[Any]) -> tuple[Step, ...]:
    """Half precision computes in float32 and is rounded once, where there is more than one step."""
    half = [i for i, dtype in enumerate(types) if dtype in _HALF]
    if len(steps) < 2 or not half:
        return steps
    count = 1 + max(step.register for step in steps if step.register is not None)
    wide = {("input", i): ("register", count + n) for n, i in enumerate(half)}
    return (
        *(Step("widen", (source,), target[1]) for source, target in wide.items()),
        *(
            Step(step.function, tuple(wide.get(o, o) for o in step.operands), step.register)
            for step in steps
        ),
    )


def _in_turn(calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]) -> Thunk:
    if len(calls) == 1:
        function, arguments = calls[0]
        return lambda: function(*arguments)

    def run() -> None:
        for function, arguments in calls:
            function(*arguments)

    return run


def _padded(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def _register_types(
    backend: ArrayBackend, steps: Sequence[Step], types: Sequence[Any]
) -> list[np.dtype[Any]]:
    """The element type of each register; one that changes type within a formula takes the widest.

    Found by running the formula over arrays of one element.
    """
    held: dict[int, Any] = {}
    found: dict[int, np.dtype[Any]] = {}
    with np.errstate(all="ignore"):
        for step in steps:
            values = [
                np.ones(1, types[index])
                if kind == "input"
                else (held[index] if kind == "register" else index)
                for kind, index in step.operands
            ]
            result = _sample(step.function, values)
            if step.register is not None:
                held[step.register] = np.asarray(result)
                old = found.get(step.register)
                new = held[step.register].dtype
                found[step.register] = new if old is None or old.itemsize < new.itemsize else old
    return [found[i] for i in range(len(found))]


def _chunks(inputs: Sequence[Array], output: Array) -> Iterator[tuple[list[Array], Array]]:
    """Matching pieces of all arrays, in the order of the output's memory: flat where nothing is
    broadcast, else along leading axes."""
    if not output.flags.c_contiguous:
        order = sorted(range(output.ndim), key=lambda axis: -output.strides[axis])
        turned = [
            x if x.size == 1 else x.reshape((1,) * (output.ndim - x.ndim) + x.shape) for x in inputs
        ]
        inputs = [x if x.size == 1 else x.transpose(order) for x in turned]
        output = output.transpose(order)
    flat = output.flags.c_contiguous and all(
        x.size == 1 or (x.shape == output.shape and x.flags.c_contiguous) for x in inputs
    )
    if flat:
        result = output.reshape(-1)
        rows = [x.reshape(()) if x.size == 1 and output.size > 1 else x.reshape(-1) for x in inputs]
        for start in range(0, result.size, CHUNK):
            piece = slice(start, start + CHUNK)
            yield [x if x.ndim == 0 else x[piece] for x in rows], result[piece]
        return
    wide = [np.broadcast_to(x, output.shape) if x.size != 1 else x.reshape(()) for x in inputs]
    for index in _blocks(output.shape, CHUNK):
        yield [x if x.ndim == 0 else x[index] for x in wide], output[index]


def _blocks(shape: Sequence[int], limit: int) -> Iterator[tuple[Any, ...]]:
    """Index tuples over leading axes that cut an array into blocks of at most `limit` elements."""
    inner = math.prod(shape[1:])
    if not shape or shape[0] * inner <= limit:
        yield (slice(None),) if shape else ()
        return
    if inner <= limit:
        step = max(limit // max(inner, 1), 1)
        for start in range(0, shape[0], step):
            yield (slice(start, start + step),)
        return
    for i in range(shape[0]):
        for rest in _blocks(shape[1:], limit):
            yield (i, *rest)


def _chunk_calls(
    backend: ArrayBackend,
    steps: Sequence[Step],
    types: Sequence[np.dtype[Any]],
    inputs: Sequence[Array],
    positions: dict[int, int],
    output: Array,
    scratch: Array | None,
) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
    memory: list[Array] = []
    offset = 0
    for dtype in types:
        assert scratch is not None
        nbytes = output.size * dtype.itemsize
        memory.append(scratch[offset : offset + nbytes])
        offset += _padded(min(nbytes, CHUNK * dtype.itemsize))
    held: dict[int, Array] = {}
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
    xp = backend.xp
    for step in steps:
        operands = [
            inputs[positions[index]]
            if kind == "input"
            else (held[index] if kind == "register" else index)
            for kind, index in step.operands
        ]
        if step.register is None:
            target = output
        else:
            dtype = _result_type(step, operands)
            target = memory[step.register][: output.size * dtype.itemsize]
            target = target.view(dtype).reshape(output.shape)
            held[step.register] = target
        calls.append(_call(xp, step.function, operands, target))
    return calls


def _result_type(step: Step, operands: Sequence[Any]) -> np.dtype[Any]:
    samples = [np.ones(1, x.dtype) if isinstance(x, np.ndarray) else x for x in operands]
    with np.errstate(all="ignore"):
        return np.asarray(_sample(step.function, samples)).dtype


def _sample(function: str, values: Sequence[Any]) -> Any:
    """A function of one-element arrays, for the type of its result."""
    if function in ("copy", "erf", "truncated"):
        return values[0]
    if function == "widen":
        return values[0].astype(np.float32)
    return getattr(np, function)(*values)


def _call(
    xp: Any, function: str, operands: Sequence[Any], out: Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if function in ("copy", "widen"):
        return xp.copyto, (out, operands[0], "unsafe")
    if function == "where" and _or_zero(operands, out):
        # Many times faster than masked copies: bit patterns as integers.
        condition, x, _ = operands
        return xp.multiply, (_pattern(x, out), condition, _pattern(out, out))
    if function == "where":
        return _choice(xp, operands, out)
    if function == "truncated":
        return _truncated, (xp, *operands, out)
    if function == "erf":
        return erf, (xp, *operands, out)
    ufunc = getattr(xp, function)
    if out.dtype.kind == "b":
        return ufunc, (*operands, out)
    return _cast_call(xp, ufunc, operands, out)


def _cast_call(
    xp: Any, ufunc: Any, operands: Sequence[Any], out: Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    types = {x.dtype for x in operands if isinstance(x, np.ndarray)}
    if types == {out.dtype} and out.dtype.kind == "f" and ufunc not in (xp.maximum, xp.minimum):
        return ufunc, (*operands, out)  # those two want the output by its name

    def run(*arguments: Any) -> None:
        ufunc(*arguments[:-1], out=arguments[-1], casting="unsafe")  # Pow takes the base's type

    return run, (*operands, out)


def _choice(
    xp: Any, operands: Sequence[Any], out: Array
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """`out = condition ? x : y`, where `out` may be the memory of x or of y."""
    condition, x, y = operands
    if out.size < TINY:
        return _chosen, (xp, condition, x, y, out)
    over_y = isinstance(y, np.ndarray) and y.shape == out.shape and _same_memory(y, out)
    patterns = [_pattern(value, out) for value in (x, y)]
    if condition.shape == out.shape and all(pattern is not None for pattern in patterns):
        ordered = reversed(patterns) if over_y else patterns
        return _mixed, (xp, condition, *ordered, _pattern(out, out), over_y)
    if isinstance(x, np.ndarray) and x.shape == out.shape and _same_memory(x, out):
        return _masked, (xp, condition, y, out)
    return _both, (xp, condition, x, None if over_y else y, out)


def _chosen(xp: Any, condition: Array, x: Any, y: Any, out: Array) -> None:
    xp.copyto(out, xp.where(condition, x, y), "unsafe")


def _mixed(xp: Any, condition: Array, first: Any, second: Any, target: Array, turned: bool) -> None:
    """Many times faster than masked copies: the second one, and what the first differs from it in
    where that is chosen."""
    chosen = xp.logical_not(condition) if turned else condition
    xp.bitwise_xor(first, second, out=target)
    xp.multiply(target, chosen, out=target)
    xp.bitwise_xor(target, second, out=target)


def _masked(xp: Any, condition: Array, y: Any, out: Array) -> None:
    xp.copyto(out, y, where=xp.logical_not(condition))


def _both(xp: Any, condition: Array, x: Any, y: Any, out: Array) -> None:
    if y is not None:
        xp.copyto(out, y)
    xp.copyto(out, x, where=condition)


def _pattern(value: Any, like: Array) -> Any:
    """Numbers as whole numbers of the same bits; `None` for those of another type."""
    if like.dtype.kind not in "fiu":
        return None
    if not isinstance(value, np.ndarray):
        value = np.asarray(value, like.dtype)
    return value.view(f"u{like.dtype.itemsize}") if value.dtype == like.dtype else None


def _or_zero(operands: Sequence[Any], out: Array) -> bool:
    """Whether a `where` chooses between an array and zero, as gradients of kinks do."""
    condition, x, y = operands
    return (
        isinstance(x, np.ndarray)
        and x.dtype == out.dtype
        and x.shape == condition.shape == out.shape
        and out.dtype.itemsize in (4, 8)
        and isinstance(y, int)
        and y == 0
    )


def _same_memory(a: Array, b: Array) -> bool:
    """Of arrays of one shape; the strides of axes of size 1 say nothing."""
    steps = [pair for size, *pair in zip(a.shape, a.strides, b.strides, strict=True) if size > 1]
    return bool(a.ctypes.data == b.ctypes.data) and all(first == last for first, last in steps)


def _truncated(xp: Any, a: Array, b: Array, out: Array) -> None:
    """Integer division towards zero."""
    quotient = xp.floor_divide(a, b)
    inexact = xp.logical_and(xp.multiply(quotient, b) != a, (a < 0) != (b < 0))
    xp.add(quotient, inexact, out=out, casting="unsafe")
