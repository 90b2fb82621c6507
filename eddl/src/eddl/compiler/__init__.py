"""From a graph to a program, in one order for every backend.

specialise, fold, split, join, differentiate, simplify, lower, join products, turn products, fuse,
select kernels, arrange layouts, prepare, schedule, recompute, plan memory, bind: each a small
function in a file of its own. This room knows operators and graphs and no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eddl.compiler.arrange import arrange
from eddl.compiler.differentiate import check_differentiable, differentiate
from eddl.compiler.fallback import Fallback, Shares, inlined_work
from eddl.compiler.fold import fold
from eddl.compiler.fuse import fuse
from eddl.compiler.join import join
from eddl.compiler.keep import keep_matrices
from eddl.compiler.modes import training_form
from eddl.compiler.plan import Plan, lives, plan_memory
from eddl.compiler.precision import lower_precision
from eddl.compiler.prepare import separate, written
from eddl.compiler.products import join_products
from eddl.compiler.program import Evaluation, Program, Slabs, copied
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
from eddl.compiler.recompute import Budget, recompute
from eddl.compiler.schedule import schedule
from eddl.compiler.select import lower, select
from eddl.compiler.simplify import simplify
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
    "Budget",
    "Call",
    "Evaluation",
    "Fallback",
    "Layout",
    "Offer",
    "Pattern",
    "Plan",
    "Program",
    "Shares",
    "Slabs",
    "arrange",
    "check_differentiable",
    "compile_graph",
    "copied",
    "differentiate",
    "fold",
    "fuse",
    "join",
    "join_products",
    "keep_matrices",
    "lives",
    "lower",
    "lower_precision",
    "plan_memory",
    "recompute",
    "schedule",
    "select",
    "simplify",
    "specialise",
    "split",
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
    bound: Mapping[Value, tuple[Value, Any]] | None = None,
    precision: str = "float32",
    memory: str | Budget = "fast",
    poison: bool = False,
) -> Program | Evaluation:
    """Compile a graph for inputs of static `types`.

    A graph that only infers and whose shapes depend on data is not compiled but evaluated.

    `memory_of` gives the device array of a state. `bound` maps outputs to an outside value and its
    device array, into which the program writes them. `precision` is what products compute in,
    `memory` how much is kept: "fast", "low" or a budget.
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
    whole = join_products(simplify(differentiate(join(static))))
    if precision != "float32":
        whole = simplify(lower_precision(whole, np.dtype(precision), backend))
    whole = simplify(join_products(simplify(lower(whole, backend))))
    whole = turn_products(whole, backend)
    if infers:
        whole = keep_matrices(whole)
    apart = {node for node in whole.nodes if backend.apart(node)}
    final = fuse(whole, apart | sums(whole) if backend.accumulates else apart)
    targets: dict[Value, Value] = {}
    outside: dict[Value, Any] = {}
    outputs = list(final.outputs)
    for index, old in enumerate(graph.outputs):
        if bound and old in bound:
            if outputs[index] in targets or outputs.index(outputs[index]) != index:
                outputs[index] = apply("Identity", outputs[index])  # written to two places
            place, array = bound[old]
            targets[outputs[index]] = place
            outside[place] = array
    final = Graph(final.inputs, outputs, final.updates)
    for leaf in final.leaves:
        if isinstance(leaf, State):
            outside[leaf] = memory_of(leaf)
    arranged, calls, layouts = arrange(final, select(final, backend), backend)
    targets = {
        new: targets[old]
        for old, new in zip(final.outputs, arranged.outputs, strict=True)
        if old in targets
    }
    final = arranged
    before, calls, kept = separate(final, calls) if infers else ([], calls, [])

    def living(order: Sequence[Call], lying: Mapping[Value, Layout]) -> Plan:
        return lives(final, order, layouts=lying, kept=kept, bound=targets)

    calls = schedule(calls, lambda order: living(order, layouts))

    def planned(again: Sequence[Call], lying: Mapping[Value, Layout]) -> Plan:
        return plan_memory(
            final,
            again,
            layouts=lying,
            kept=kept,
            bound=targets,
            alignment=backend.alignment,
            max_slab=backend.max_slab,
        )

    keeps = infers and memory == "fast"
    plan = planned(calls, layouts) if keeps else recompute(calls, layouts, living, planned, memory)
    return Program(
        final,
        plan,
        backend,
        slabs,
        outside=outside,
        bound=targets,
        before=before,
        kept=kept,
        inlined=inlined,
        poison=poison,
    )
