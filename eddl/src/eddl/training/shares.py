"""Which calls the device makes and which fall back on the host: in words, and refused.

What counts as a fallback is said in `eddl.compiler.fallback`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eddl.compiler import Evaluation, Fallback, Program
from eddl.errors import AttributeValueError, DeviceError, ShapeError, TypeMismatchError
from eddl.graph import Graph, Label, Type
from eddl.training.names import assign_names

if TYPE_CHECKING:
    from eddl.training.model import Model

MOST = 8
"""Fallbacks that are named one by one."""


def layer_names(graph: Graph) -> dict[Label, str]:
    """What the layers of a graph are called."""
    names = assign_names(graph)
    return {node.label: names[node.outputs[0]].rsplit(":", 1)[0] for node in graph.nodes}


def in_words(fallback: Fallback, names: dict[Label, str]) -> str:
    """A fallback: the layer, its operator and what it reads, and the reason."""
    node = fallback.node
    name = names.get(node.label, node.label.given or "")
    read = next((value.type for value in node.inputs if value is not None), None)
    return f"{name + ': ' if name else ''}{node.op} of {read}: {fallback.reason}"


def refuse_fallbacks(program: Program | Evaluation, graph: Graph, device: str) -> None:
    """`DeviceError` where a program makes calls on the host that are the device's work."""
    found = program.shares.fallbacks
    if not found:
        return
    names = layer_names(graph)
    rows = [in_words(fallback, names) for fallback in found[:MOST]]
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    raise DeviceError(
        f"received fallback=False, and {device} would leave {len(found)} of its calls to the host: "
        f"{'; '.join(rows)}{more}. Build with fallback=True, or replace these layers"
    )


def sizes_of(model: Model) -> list[tuple[int, ...]] | None:
    """The inputs' shapes for one sample, where they are fixed."""
    fixed = [value.shape[1:] for value in model.inputs]
    if not all(isinstance(size, int) for sizes in fixed for size in sizes):
        return None
    return [(1, *(size for size in sizes if isinstance(size, int))) for sizes in fixed]


def programs(model: Model, shapes: Sequence[Sequence[int]]) -> dict[str, Program | Evaluation]:
    """The compiled programs of a model for inputs of these shapes: the one that infers and, where
    the model is built and a target for its losses can be guessed, those of a training step."""
    types = [Type(v.dtype, shape) for v, shape in zip(model.inputs, shapes, strict=True)]
    found = {"inference": model.inference.program(*types)}
    if model.is_built and isinstance(found["inference"], Program):
        found |= _training(model, types, [v.type for v in found["inference"].graph.outputs])
    return found


def _training(
    model: Model, inputs: Sequence[Type], outputs: Sequence[Type]
) -> dict[str, Program | Evaluation]:
    """The programs of a step whose targets are class indices or, where the losses take none,
    numbers of the outputs' shapes."""
    setup = model.built()
    places = [[head.name for head in model.heads].index(head.name) for head in setup.trained]
    for integral in (True, False):
        targets = [
            Type("int64", (outputs[i].sizes[0], *outputs[i].sizes[2:])) if integral else outputs[i]
            for i in places
        ]
        samples = [np.broadcast_to(np.zeros((), t.dtype), t.sizes) for t in targets]
        try:
            step = setup.find(samples, training=True).step
            return step.programs(*inputs, *targets)
        except (AttributeValueError, ShapeError, TypeMismatchError):
            continue
    return {}


def share_lines(model: Model, shapes: Sequence[Sequence[int]]) -> list[str]:
    """What `summary` says of devices: how many calls each makes, and every fallback."""
    names = layer_names(model.graph)
    lines = []
    for kind, program in programs(model, shapes).items():
        found = program.shares
        unit = "nodes" if isinstance(program, Evaluation) else "calls"
        counts = f"{found.device} {unit} on {program.backend.name}"
        counts += f", {found.host} on the host" if found.host else ""
        count = len(found.fallbacks)
        fallen = f"{count} fallback{'s' if count > 1 else ''}" if count else "no fallbacks"
        lines.append(f"{kind}: {counts}; {fallen}")
        lines += [f"  {in_words(fallback, names)}" for fallback in found.fallbacks]
    return lines
