"""Elementwise chains become one operator: each pass over memory does all the arithmetic it can.

A value that one elementwise node makes and one other, of the same shape, reads is not stored: its
formula is put into its reader's. The operations and their order stay, so the bits do, too.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache

from eddl.graph import Graph, Node, Value
from eddl.ops.bits import floating
from eddl.ops.table import PRIVATE, copy_node, entry, make_node

LONGEST = 400
"""Characters of a formula: beyond it a chain is cut, to keep its registers in the cache."""


def fuse(graph: Graph, apart: Set[Node] = frozenset()) -> Graph:
    """Merge elementwise nodes into those that read them alone, but for those to be kept apart."""
    readers: dict[Value, int] = {}
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None:
                readers[value] = readers.get(value, 0) + 1
    for value in (*graph.outputs, *graph.updates.values()):
        readers[value] = readers.get(value, 0) + 2  # an end is never merged away

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        alone = [
            old is not None
            and readers[old] == 1
            and old.node not in apart
            and _fits(old.node, node)
            for old in node.inputs
        ]
        if node in apart or not _elementwise(node) or not any(alone):
            return copy_node(node, inputs)
        names: dict[Value, str] = {}
        whole = _formula(node)
        swaps: dict[str, ast.expr] = {}
        for name, value, inner in zip(_names(node), inputs, alone, strict=True):
            if value is None:
                continue
            if inner and value.node is not None:
                parts: dict[str, ast.expr] = {
                    n: ast.Name(names.setdefault(v, f"X{len(names)}"))
                    for n, v in zip(_names(value.node), value.node.inputs, strict=True)
                    if v is not None
                }
                swaps[name] = _swapped(_formula(value.node), parts)
            else:
                swaps[name] = ast.Name(names.setdefault(value, f"X{len(names)}"))
        formula = ast.unparse(_swapped(whole, swaps))
        if len(formula) > LONGEST:
            return copy_node(node, inputs)
        made = make_node("Fused", *names, domain=PRIVATE, formula=formula,
                         dtype=node.outputs[0].dtype, label=node.label)  # fmt: skip
        return made.outputs

    return graph.transform(rewrite)


def _swapped(tree: ast.expr, parts: Mapping[str, ast.expr]) -> ast.expr:
    """A copy of a formula with expressions in place of names; a function's name is no value's."""
    match tree:
        case ast.Name(id=name):
            return parts.get(name, tree)
        case ast.BinOp(left=left, op=op, right=right):
            return ast.BinOp(_swapped(left, parts), op, _swapped(right, parts))
        case ast.UnaryOp(op=op, operand=operand):
            return ast.UnaryOp(op, _swapped(operand, parts))
        case ast.Compare(left=left, ops=ops, comparators=others):
            return ast.Compare(_swapped(left, parts), ops, [_swapped(o, parts) for o in others])
        case ast.Call(func=function, args=arguments):
            return ast.Call(function, [_swapped(a, parts) for a in arguments], [])
    return tree


@lru_cache(maxsize=1024)
def _parsed(text: str) -> ast.expr:
    """A formula as a tree, which is never changed."""
    return ast.parse(text, mode="eval").body


def _elementwise(node: Node) -> bool:
    """Whether a node is arithmetic of one floating type, or comparisons of it."""
    if entry(node).formula is None or node.op == "Cast":
        return False
    types = [v.dtype for v in (*node.inputs, *node.outputs[:1]) if v is not None]
    floats = {dtype for dtype in types if dtype.kind != "b"}
    return len(floats) <= 1 and all(dtype.kind == "b" or floating(dtype) for dtype in types)


def _fits(producer: Node | None, reader: Node) -> bool:
    """Whether a node's formula may move into its reader's."""
    if producer is None or not _elementwise(producer):
        return False
    same = producer.outputs[0].shape == reader.outputs[0].shape
    kinds = {v.dtype for n in (producer, reader) for v in (*n.inputs, *n.outputs[:1])
             if v is not None and v.dtype.kind != "b"}  # fmt: skip
    return same and len(kinds) <= 1


def _names(node: Node) -> list[str]:
    operator = entry(node)
    if operator.variadic:
        return [f"X{i}" for i in range(len(node.inputs))]
    return [operator.formal(i) for i in range(len(node.inputs))]


def _formula(node: Node) -> ast.expr:
    """A node's formula as a tree, its attributes as numbers."""
    formula = entry(node).formula
    text = formula(node) if callable(formula) else formula
    numbers: dict[str, ast.expr] = {
        key: ast.Constant(value)
        for key, value in node.attributes.items()
        if isinstance(value, (int, float))
    }
    return _swapped(_parsed(str(text)), numbers)
