"""What a model is and needs, in words: the summary and the memory plan."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl import devices
from eddl.compiler import Program, specialise
from eddl.errors import ShapeError
from eddl.graph import State, Type
from eddl.ops.work import flops
from eddl.training.shares import share_lines, sizes_of

if TYPE_CHECKING:
    from eddl.training.model import Model


@dataclass(frozen=True)
class MemoryReport:
    """Bytes of a training step.

    `states`, parameters, running statistics and counts of metrics; `optimizer`, slots, averages,
    waiting states and, with `build(accumulate=...)`, the gradients that are gathered; `transient`,
    the slabs of values that live within a step, its gradients among them; `peak`, the most of those
    alive at once, which no plan can undercut; `again`, the share of the step's work that is done
    again to hold less (`build(memory=...)`).
    """

    states: int
    optimizer: int
    transient: int
    peak: int
    again: float = 0.0

    @property
    def total(self) -> int:
        """All bytes."""
        return self.states + self.optimizer + self.transient

    def __str__(self) -> str:
        rows = {
            "parameters and statistics": self.states,
            "optimizer": self.optimizer,
            "values and gradients": self.transient,
            "total": self.total,
        }
        lines = [f"{name:<26}{size / 2**20:>10.1f} MiB" for name, size in rows.items()]
        if self.again:
            lines.append(f"{'computed again':<26}{100 * self.again:>10.1f} % of the work")
        return "\n".join(lines)


def memory_report(model: Model, shapes: Sequence[Sequence[int]], target: Any) -> MemoryReport:
    """Compile a training step for the shapes and read its plan."""
    if not shapes:
        fixed = [value.shape[1:] for value in model.inputs]
        if not all(isinstance(size, int) for sizes in fixed for size in sizes):
            raise ShapeError(
                f"memory_plan: the inputs {[v.type for v in model.inputs]} have sizes that are not "
                "fixed; expected memory_plan((batch, channels, height, width))"
            )
        shapes = [[1, *(int(s or 0) for s in sizes)] for sizes in fixed]
    types = [Type(v.dtype, shape) for v, shape in zip(model.inputs, shapes, strict=True)]
    samples = _samples(model, shapes, target)
    step = model.built().find(samples, training=True).step
    dtypes = [value.dtype for value in step.inputs[len(types) :]]
    kinds = [Type(dtype, a.shape) for dtype, a in zip(dtypes, samples, strict=True)]
    plans = [program.plan for program in step.programs(*types, *kinds).values()
             if isinstance(program, Program)]  # what trains is always compiled  # fmt: skip
    slabs = itertools.zip_longest(*(plan.slabs for plan in plans), fillvalue=0)
    states = sum(state.type.nbytes for state in {*model.states, *step.states})
    kept = sum(plan.kept for plan in plans)
    transient, peak = sum(map(max, slabs)) + kept, max(plan.peak for plan in plans)
    return MemoryReport(states, step.resident, transient, peak, plans[0].again)


def _samples(model: Model, shapes: Sequence[Sequence[int]], target: Any) -> list[Any]:
    """Arrays of the targets' shapes and types, which take no memory."""
    heads = model.built().trained
    if target is None:
        if len(heads) > 1:
            raise ShapeError(
                f"memory_plan: received no target for the outputs {[h.name for h in heads]}; "
                "expected a list of arrays or (shape, dtype), one for each"
            )
        logits = heads[0].logits.shape
        space = [*shapes[0][2:]] if len(logits) == len(shapes[0]) else [*logits[2:]]
        target = ((shapes[0][0], *space), "int64")
    given = target if isinstance(target, list) else [target]
    kinds = [t if isinstance(t, tuple) else (t.shape, t.dtype) for t in given]
    return [np.broadcast_to(np.zeros((), dtype), shape) for shape, dtype in kinds]


def summarise(model: Model, shapes: Sequence[Sequence[int]] = ()) -> str:
    """One line a node: name, operator, output type, parameters; with shapes also its arithmetic.
    Then, for these or the inputs' fixed sizes, how many calls the device makes."""
    graph, labels = model.graph, {n.label: model.node_name(n) for n in model.graph.nodes}
    if shapes:
        types = {v: Type(v.dtype, s) for v, s in zip(model.inputs, shapes, strict=True)}
        graph, _ = specialise(graph, types, devices.backend(model.device).evaluate)
    rows, counted, total = [], set[State](), 0
    for node in graph.nodes:
        fresh = [v for v in node.inputs if isinstance(v, State) and v not in counted]
        counted.update(fresh)
        count = sum(state.type.count for state in fresh if state.trainable)
        work = flops(node) if shapes else 0
        total += work
        rows.append(
            (
                labels.get(node.label, node.op),
                node.op,
                repr(node.outputs[0].type),
                f"{count:,}" if count else "",
                f"{work:,}" if work else "",
            )
        )
    head = ("name", "operator", "output", "parameters", "FLOPs" if shapes else "")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(5)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
             for row in (head, *rows)]  # fmt: skip
    frozen = sum(s.type.count for s in model.states if s.trainable and s.frozen)
    whole = sum(s.type.count for s in model.states if s.trainable)
    learned = [s for s in model.states if s.trainable]
    lines.append(f"{whole:,} parameters in {len(learned)} tensors"
                 + (f", {frozen:,} of them frozen" if frozen else ""))  # fmt: skip
    if shapes:
        lines.append(f"{total:,} FLOPs forward")
    kernels = devices.backend(model.device).name
    dynamic = [labels.get(n.label, n.op) for n in graph.nodes if n.outputs[0].type.opaque]
    how = f", node by node from {dynamic[0]} on" if dynamic else ""
    lines.append(f"device {model.device} ({kernels}){how}, memory {model.memory}")
    sizes = shapes or sizes_of(model)
    if sizes:
        lines += share_lines(model, sizes)
    return "\n".join(lines)
