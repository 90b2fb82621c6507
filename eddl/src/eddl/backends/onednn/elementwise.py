"""Elementwise formulas of exact operations, compiled to chains of oneDNN's binary primitive.

A chain is a binary operation and those that follow it on its result, which oneDNN turns into one
loop of vector code, and shares among its threads. Where a formula joins two results, one of them
waits in a temporary as long as a block; blocks go through all chains while they are in the cache,
and our threads share them. A choice by one flag between the formula and an input, as optimizers
make it where a gradient is not finite, is made before. Only operations that every processor rounds
alike are compiled (+, -, *, /, negation, square root), so that the results are those of the array
backend to the bit; other formulas are left to it.

All chains of an optimizer over one block, and then over the next, were no faster: calls that
alternate between two of our threads wait for Python's lock, and even without it (the blocks of each
thread run by a loop in C) Adam took 1.27 ms for three million parameters and chain by chain 1.48.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import alike
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend
from eddl.backends.onednn.handles import Array, Descriptor, describe, single
from eddl.backends.onednn.kernels import Kernel, Operations, attributes, rectified
from eddl.backends.onednn.library import AFTERWARDS, DST, FLOATS, SRC, Refused
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Constant, Node
from eddl.ops.table import entry

ADD, MULTIPLY, DIVIDE, SUBTRACT, GREATER = 0x1FFF0, 0x1FFF1, 0x1FFF4, 0x1FFF5, 0x1FFF7
SQUARE_ROOT, RECTIFIER, POWER = 0x25, 0x20, 0x30
OPERATIONS = {ast.Add: ADD, ast.Sub: SUBTRACT, ast.Mult: MULTIPLY, ast.Div: DIVIDE}
NUMBERS = {POWER: (1, -1)}
"""What eltwise operations are given: a power is alpha * x^beta, a division where beta is -1."""
SECOND = 2
BLOCK = 1 << 17
"""Elements of a block: they fit the cache, and their kernels take longer than calling them."""
MOST_BLOCKS = 256
FEWEST = 1 << 14
"""Elements below which calling oneDNN costs more than it saves."""

Operand = tuple[str, Any]
"""("input", index), ("number", value) or ("temporary", index)."""


@dataclass
class Chain:
    """`first` joins two operands; each of `rest` is an operation with an operand, or a root."""

    first: tuple[int, Operand, Operand]
    rest: list[tuple[int, Operand | None]] = field(default_factory=list)


class Compiler:
    """Chains for a formula; `scalars` are the inputs of one element; `rectifies` takes rectifiers.

    What a rectifier lets through of a gradient is multiplied by 0 or 1. A choice in any other
    formula is none of this kind: it may be there to hide what is not finite."""

    def __init__(self, node: Node, scalars: set[int], *, rectifies: bool = False) -> None:
        self._rectifies = rectifies
        operator = entry(node)
        assert operator.formula is not None
        text = operator.formula if isinstance(operator.formula, str) else operator.formula(node)
        count = len(node.inputs)
        names = [f"X{i}" if operator.variadic else operator.formal(i) for i in range(count)]
        self._names = dict(zip(names, range(count), strict=True))
        self._numbers = {
            k: float(v) for k, v in node.attributes.items() if isinstance(v, (int, float))
        }
        self._scalars = scalars
        self._zeros = {
            name
            for name, v in zip(names, node.inputs, strict=True)
            if isinstance(v, Constant) and v.type.count == 1 and not v.data.any()
        }
        self.chains: list[Chain] = []
        self.temporaries = 0
        self.choice: tuple[int, int] | None = None
        tree = ast.parse(text, mode="eval").body
        match tree:
            case ast.Call(
                func=ast.Name(id="where"), args=[ast.Name(id=flag), chosen, ast.Name(id=other)]
            ) if flag in self._names and other in self._names:
                self.choice = self._names[flag], self._names[other]
                tree = chosen
        last = self._visit(tree)
        if not isinstance(last, Chain):
            raise Refused("a copy")
        self.chains.append(last)

    def _visit(self, tree: ast.AST) -> Chain | Operand:
        match tree:
            case ast.Constant(value=int() | float() as value):
                return ("number", float(value))
            case ast.Name(id=name) if name in self._names:
                return ("input", self._names[name])
            case ast.Name(id=name) if name in self._numbers:
                return ("number", self._numbers[name])
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                found = self._visit(inner)
                if isinstance(found, tuple) and found[0] == "number":
                    return ("number", -found[1])
                return self._join(MULTIPLY, found, ("number", -1.0))
            case ast.Call(func=ast.Name(id="sqrt"), args=[inner]):
                return self._afterwards(SQUARE_ROOT, inner)
            case ast.Call(func=ast.Name(id="maximum"), args=[inner, other]) if self._zero(other):
                return self._afterwards(RECTIFIER, inner)
            case ast.Call(func=ast.Name(id="passed"), args=[left, inner]):
                passed = self._join(GREATER, self._visit(left), ("number", 0.0))
                return self._join(MULTIPLY, self._visit(inner), passed)
            case ast.BinOp(left=ast.Constant(value=1), op=ast.Div(), right=inner):
                return self._afterwards(POWER, inner)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
                return self._join(OPERATIONS[type(op)], self._visit(left), self._visit(right))
        raise Refused("a formula with more than exact arithmetic")

    def _zero(self, tree: ast.AST) -> bool:
        """Whether it is the zero of a rectifier that may be taken."""
        match tree:
            case ast.Constant(value=0):
                return self._rectifies
            case ast.Name(id=name):
                return self._rectifies and name in self._zeros
        return False

    def _afterwards(self, operation: int, tree: ast.AST) -> Chain:
        found = self._visit(tree)
        if isinstance(found, tuple):
            found = self._join(MULTIPLY, found, ("number", 1.0))
        found.rest.append((operation, None))
        return found

    def _join(self, operation: int, left: Chain | Operand, right: Chain | Operand) -> Chain:
        if isinstance(left, Chain):
            left.rest.append((operation, self._kept(right)))
            return left
        if isinstance(right, Chain) and operation != DIVIDE:
            if operation == SUBTRACT:  # a - b is -b + a, to the bit
                right.rest.append((MULTIPLY, ("number", -1.0)))
                operation = ADD
            right.rest.append((operation, left))
            return right
        right = self._kept(right)
        if self._small(left):
            if self._small(right) or operation == DIVIDE:
                raise Refused("a first operand of one element")
            if operation == SUBTRACT:
                return Chain((MULTIPLY, right, ("number", -1.0)), [(ADD, left)])
            left, right = right, left
        return Chain((operation, left, right))

    def _kept(self, found: Chain | Operand) -> Operand:
        if not isinstance(found, Chain):
            return found
        self.chains.append(found)
        self.temporaries += 1
        return ("temporary", self.temporaries - 1)

    def _small(self, operand: Operand) -> bool:
        return operand[0] == "number" or (operand[0] == "input" and operand[1] in self._scalars)


def offer_chains(backend: OneDnnBackend, node: Node) -> Offer:
    """The offer for a formula; `Refused` where it has to be left to the array backend."""
    output = node.outputs[0].type
    values = [value for value in node.inputs if value is not None]
    if len(values) < len(node.inputs) or output.count < FEWEST:
        raise Refused("too small a result")
    scalars = {i for i, value in enumerate(values) if value.type.count == 1}
    if any(v.type.sizes != output.sizes for i, v in enumerate(values) if i not in scalars):
        raise Refused("operands to be broadcast")
    half = output.dtype.name == "bfloat16"
    compiler = Compiler(node, scalars, rectifies=half)
    flags = set() if compiler.choice is None else {compiler.choice[0]}
    numbers = [v for i, v in enumerate(values) if i not in flags]
    if any(value.dtype != output.dtype for value in numbers) or output.dtype.name not in FLOATS:
        raise Refused("types that oneDNN does not compute")
    if flags - scalars or (compiler.choice and compiler.choice[1] in scalars):
        raise Refused("a choice for each element")
    block = output.count
    if compiler.temporaries:
        block = _block(output.count, backend.threads.count)
    sizes = {min(block, output.count), output.count % block} - {0}
    if half and any(c.first[0] != GREATER or c.rest for c in compiler.chains[:-1]):
        raise Refused("a temporary that would be rounded")
    kernels = {size: [_kernel(backend, c, scalars, size, output.dtype.name)
                      for c in compiler.chains]
               for size in sizes}  # fmt: skip
    threads, temporaries = backend.threads.count, compiler.temporaries
    scratch = max(k.scratch for made in kernels.values() for k in made)
    count = Workspace()

    def plan(space: Workspace) -> list[tuple[list[Any], Any]]:
        return [
            ([space.take((block,), output.dtype) for _ in range(temporaries)],
             space.take((scratch,), np.uint8))
            for _ in range(threads)
        ]  # fmt: skip

    plan(count)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        flat = [flattened(x) for x in inputs]
        result = flattened(outputs[0])
        places = plan(Workspace(workspace))
        starts = range(0, result.size, block)
        tasks = []
        for thread, (first, last) in enumerate(backend.threads.split(len(starts))):
            kept, spare = places[thread]
            calls = []
            for start in starts[first:last]:
                target = result[start : start + block]
                parts = [x if x.size == 1 else x[start : start + block] for x in flat]
                for number, chain in enumerate(compiler.chains):
                    end = number == len(compiler.chains) - 1
                    goal = target if end else kept[number][: target.size]
                    arrays = {"input": parts, "temporary": [k[: target.size] for k in kept]}
                    made = kernels[target.size][number]
                    calls.append(_bound(backend, made, chain, arrays, goal, spare))
            tasks.append(in_turn(calls))
        run = tasks[0] if len(tasks) == 1 else partial(backend.threads.run, tasks)
        if compiler.choice is None:
            return run
        flag, other = inputs[compiler.choice[0]], flat[compiler.choice[1]]
        same = other.ctypes.data == result.ctypes.data

        def chosen() -> None:
            if flag.all():
                run()
            elif not same:
                np.copyto(result, other)

        return chosen

    wide = tuple(i for i in range(len(values)) if i not in scalars)
    return Offer("chains", bind, workspace=count.used, overwrites={0: wide},
                 arrangements=alike(node))  # fmt: skip


def _block(count: int, threads: int) -> int:
    """The elements of a block, of which each thread has as many."""
    blocks = min(-(-count // BLOCK), MOST_BLOCKS)
    if count >= 2 * FEWEST * threads:
        blocks = -(-blocks // threads) * threads
    return -(-count // (16 * blocks)) * 16


def flattened(x: Array) -> Array:
    """The elements in the order of memory; all operands of one formula lie alike."""
    if not x.flags.c_contiguous:
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        if x.transpose(order).flags.c_contiguous:
            x = x.transpose(order)
    return np.ascontiguousarray(x).reshape(-1)


def _kernel(
    backend: OneDnnBackend, chain: Chain, scalars: set[int], size: int, dtype: str
) -> Kernel:
    library = backend.library
    whole = describe(library, [size], [1], dtype)

    def descriptor(operand: Operand) -> Descriptor:
        kind, index = operand
        if kind == "number":
            return describe(library, [1], [1])
        small = kind == "input" and index in scalars
        return describe(library, [1], [1], dtype) if small else whole

    def append(rectify: Callable[[Operations, int], None], operations: Operations) -> None:
        for operation, operand in chain.rest:
            if operation == RECTIFIER:
                rectify(operations, 1)
            elif operand is None:
                numbers = NUMBERS.get(operation, (0, 0))
                operations.append("eltwise", operation,
                             *map(single, numbers))  # fmt: skip
            else:
                operations.append("binary", operation, descriptor(operand))

    operation, left, right = chain.first
    return rectified(lambda way: Kernel(
        library, "binary", library.engine, operation, descriptor(left), descriptor(right), whole,
        attributes(library, partial(append, way)),
    ))  # fmt: skip


def _bound(
    backend: OneDnnBackend,
    made: Kernel,
    chain: Chain,
    arrays: dict[str, list[Array]],
    goal: Array,
    spare: Array | None,
) -> Thunk:
    def given(operand: Operand) -> tuple[Descriptor, Array]:
        kind, index = operand
        array = np.full(1, index, np.float32) if kind == "number" else arrays[kind][index]
        return describe(backend.library, [array.size], [1], array.dtype.name), array

    _, left, right = chain.first
    arguments = {SRC: given(left), SECOND: given(right)}
    for position, (_, operand) in enumerate(chain.rest):
        if operand is not None:
            arguments[AFTERWARDS * (position + 1) | SECOND] = given(operand)
    arguments[DST] = describe(backend.library, [goal.size], [1], goal.dtype.name), goal
    return made.bind(arguments, spare)
