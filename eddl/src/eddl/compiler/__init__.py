"""From a graph to a program, in one order for every backend.

specialise, fold, split, rectify, differentiate, simplify, merge products, bound squares, lower,
turn products, fuse, select kernels, arrange layouts, prepare, hand over, schedule, recompute, plan
memory, bind: each a small function in a file of its own. This room knows operators and graphs and
no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eddl.compiler.arrange import arrange
from eddl.compiler.bound import bound_squares
from eddl.compiler.defer import undertake
from eddl.compiler.differentiate import check_differentiable, differentiate
from eddl.compiler.fallback import Fallback, Shares, inlined_work
from eddl.compiler.fold import fold
from eddl.compiler.fuse import fuse
from eddl.compiler.handover import Found, Handover
from eddl.compiler.keep import is_kept, keep_weights
from eddl.compiler.merge import merge_products
from eddl.compiler.modes import training_form
from eddl.compiler.plan import Plan, lives, plan_memory
from eddl.compiler.precision import lower_precision
from eddl.compiler.prepare import separate, written
from eddl.compiler.program import Evaluation, Program, copied
from eddl.compiler.protocol import (
    CHANNELS_LAST,
    PLAIN,
    Arrangement,
    Backend,
    Call,
    Layout,
    Offer,
    Pattern,
)
from eddl.compiler.recompute import fits, recompute, too_little
from eddl.compiler.rectify import rectify
from eddl.compiler.schedule import schedule
from eddl.compiler.select import lower, select
from eddl.compiler.simplify import simplify
from eddl.compiler.slabs import Slabs
from eddl.compiler.specialise import specialise
from eddl.compiler.split import split, sums
from eddl.compiler.turn import turn_products
from eddl.errors import DynamicError
from eddl.graph import Graph, State, Type, Value
from eddl.ops.table import apply

__all__ = [
    "CHANNELS_LAST",
    "PLAIN",
    "Arrangement",
    "Backend",
    "Call",
    "Evaluation",
    "Fallback",
    "Found",
    "Handover",
    "Layout",
    "Offer",
    "Pattern",
    "Plan",
    "Program",
    "Shares",
    "Slabs",
    "arrange",
    "bound_squares",
    "check_differentiable",
    "compile_graph",
    "copied",
    "differentiate",
    "fold",
    "fuse",
    "is_kept",
    "keep_weights",
    "lives",
    "lower",
    "lower_precision",
    "merge_products",
    "plan_memory",
    "recompute",
    "rectify",
    "schedule",
    "select",
    "simplify",
    "specialise",
    "split",
    "too_little",
    "training_form",
    "turn_products",
    "written",
]


def compile_graph(
    graph: Graph,
    types: Mapping[Value, Type],
    backend: Backend,
    slabs: Slabs,
    *,
    memory_of: Callable[[State], Any],
    left: Handover | None = None,
    found: Found | None = None,
    precision: str = "float32",
    memory: str | int = "fast",
    taken: int = 0,
    poison: bool = False,
) -> Program | Evaluation:
    """Compile a graph for inputs of static `types`.

    A graph that only infers and whose shapes depend on data is not compiled but evaluated.

    `memory_of` gives the device array of a state. `left` says which outputs the program leaves in
    the slabs for another one, `found` which leaves another one left there for it. `precision` is
    what products compute in, `memory` how much is kept: "fast", "low" or a budget of bytes, of
    which `taken` are those of what outlives the program.
    """
    try:
        static, _ = specialise(graph, types, backend.evaluate)
    except DynamicError:
        if graph.updates or any(node.op == "Gradients" for node in graph.nodes):
            raise
        return Evaluation(graph, backend)
    infers = not graph.updates and not any(node.op == "Gradients" for node in static.nodes)
    if infers:
        static = fold(static, pointwise=backend.accumulates)
    if backend.accumulates:
        static = split(static)
    inlined = inlined_work(static, backend)
    whole = merge_products(simplify(differentiate(rectify(static))))
    if precision != "float32":
        whole = simplify(lower_precision(whole, np.dtype(precision), backend))
    whole, bounded = bound_squares(whole)
    whole = simplify(merge_products(simplify(lower(whole, backend))))
    whole = turn_products(whole, backend)
    if infers:
        whole = keep_weights(whole, backend)
    apart = {node for node in whole.nodes if backend.apart(node)}
    final = fuse(whole, apart | sums(whole) if backend.accumulates else apart)
    outputs = list(final.outputs)
    for index in left.places if left is not None else ():
        if outputs.index(outputs[index]) != index:
            outputs[index] = apply("Identity", outputs[index])  # it lies in two places
    final = Graph(final.inputs, outputs, final.updates)
    lent = found.numbers if found is not None else {}
    outside: dict[Value, Any] = {leaf: memory_of(leaf) for leaf in final.leaves
                                 if isinstance(leaf, State) and leaf not in lent}  # fmt: skip
    final, calls, layouts = arrange(final, select(final, backend), backend)
    before, calls, kept = separate(final, calls) if infers else ([], calls, [])
    places: dict[Value, int] = {}

    def living(order: Sequence[Call], lying: Mapping[Value, Layout]) -> Plan:
        return lives(final, order, layouts=lying, kept=kept, places=places)

    if left is not None:
        ends = final.outputs
        left = replace(left, bounded=sorted(bounded & left.places.keys()))
        if left.defers and left.bounded and not fits(calls, layouts, living, memory, taken):
            left, final, calls = left.deferred(final, calls, layouts, backend.alignment)
        places = {**{ends[i]: offset for i, offset in left.places.items()}, **left.operands}
    if found is not None:
        calls, more = undertake(calls, found.tails)
        layouts, places = {**layouts, **more}, {**places, **found.places}
    calls = schedule(calls, lambda order: living(order, layouts))

    def planned(again: Sequence[Call], lying: Mapping[Value, Layout]) -> Plan:
        return plan_memory(
            final,
            again,
            layouts=lying,
            kept=kept,
            places=places,
            alignment=backend.alignment,
            max_slab=backend.max_slab,
        )

    keeps = infers and memory == "fast"
    if keeps:
        plan = planned(calls, layouts)
    else:
        plan = recompute(calls, layouts, living, planned, memory, taken)
    return Program(
        final,
        plan,
        backend,
        slabs,
        outside=outside,
        left=left,
        found=None if found is None else found.left,
        before=before,
        kept=kept,
        inlined=inlined,
        poison=poison,
    )
