"""Einsum: sums of products over named axes; its gradients are Einsums, too."""

from __future__ import annotations

import re
import string
from collections import Counter

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import sum_to
from eddl.ops.table import REQUIRED, Call, Gradients, Operator, apply, register

_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")


def explicit(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """The terms with a letter for every axis, also those of an ellipsis, and the output's term.

    `ValueError` says what is wrong with the equation.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"{len(terms)} terms for {len(ranks)} inputs")
    for term in (*terms, right):
        if not _TERM.fullmatch(term):
            raise ValueError(f"the term {term!r}")
    free = [c for c in string.ascii_letters if c not in equation]
    wide = [rank - len(t) + 3 if "..." in t else 0 for t, rank in zip(terms, ranks, strict=True)]
    if max(wide, default=0) > len(free) or min(wide, default=0) < 0:
        raise ValueError("terms longer than their inputs' ranks")
    letters = "".join(free[: max(wide, default=0)])
    full = [
        term.replace("...", letters[len(letters) - count :])
        for term, count in zip(terms, wide, strict=True)
    ]
    if arrow:
        result = right.replace("...", letters)
    else:
        counts = Counter(c for term in terms for c in term if c != ".")
        result = letters + "".join(sorted(c for c, count in counts.items() if count == 1))
    for term, rank in zip(full, ranks, strict=True):
        if len(term) != rank:
            raise ValueError(f"the term {term!r} for an input of {rank} axes")
    if len(set(result)) < len(result) or not set(result) <= set("".join(full)):
        raise ValueError(f"the output's term {result!r}")
    return full, result


def terms_of(node: Node) -> tuple[list[str], str]:
    """As `explicit`, of a node."""
    ranks = [value.rank for value in node.inputs if value is not None]
    return explicit(node.attributes["equation"], ranks)


def _einsum(call: Call) -> list[Type]:
    types = [call.type(i) for i in range(len(call.types))]
    equation = call.attributes["equation"]
    if len({t.dtype for t in types}) > 1:
        raise call.fail("inputs of one element type")
    try:
        terms, result = explicit(equation, [t.rank for t in types])
    except ValueError as error:
        raise call.fail(
            f"an equation that fits the inputs; received {equation!r}, with {error}"
        ) from None
    sizes: dict[str, Dim] = {}
    for term, type in zip(terms, types, strict=True):
        for letter, size in zip(term, type.shape, strict=True):
            known = sizes.setdefault(letter, size)
            if known == 1 or not isinstance(known, int):
                sizes[letter] = size if size != 1 else known
            elif isinstance(size, int) and size not in (1, known):
                raise call.fail(f"one size along {letter!r} of {equation!r}")
    return [types[0].with_shape([sizes[letter] for letter in result])]


def _gradient(node: Node, g: Value) -> Gradients:
    """One input's gradient: the others and g summed over what the input lacks.

    An axis that only the input has is one along which the gradient repeats; a letter it has twice
    stands for a diagonal, so its second place becomes another letter, tied by an identity matrix.
    """
    terms, result = terms_of(node)
    inputs = [value for value in node.inputs if value is not None]
    found = []
    for index, (x, term) in enumerate(zip(inputs, terms, strict=True)):
        operands = [g, *(v for i, v in enumerate(inputs) if i != index)]
        names = [result, *(t for i, t in enumerate(terms) if i != index)]
        free = [c for c in string.ascii_letters if c not in "".join([*terms, result])]
        target = ""
        for letter, size in zip(term, x.type.sizes, strict=True):
            if letter in target:
                target += free.pop()
                operands.append(Constant(np.eye(size, dtype=x.dtype)))
                names.append(letter + target[-1])
            else:
                target += letter
                if not any(letter in name for name in names):
                    operands.append(Constant(np.ones(size, x.dtype)))
                    names.append(letter)
        full = apply("Einsum", *operands, equation=f"{','.join(names)}->{target}")
        found.append(sum_to(full, x))
    return found


register(
    Operator(
        name="Einsum",
        inputs=("Inputs*",),
        infer=_einsum,
        gradient=_gradient,
        attributes={"equation": REQUIRED},
        since=12,
    )
)
