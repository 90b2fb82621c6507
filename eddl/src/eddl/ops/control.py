"""Branches, loops, sequences and optionals: the host tier, run by the evaluator.

A subgraph is a `Graph` attribute whose inputs are its formal ones, then what it captures; the
captured values are the node's last inputs, counted by `captures` in the order of the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eddl.errors import GraphError
from eddl.graph import Opaque, Type, Value
from eddl.ops.table import REQUIRED, Call, Operator, register, unknown


def _either(call: Call) -> list[Type]:
    """What the results of both branches have in common."""
    branches = (call.attributes["then_branch"], call.attributes["else_branch"])
    return [_common(a.type, b.type) for a, b in zip(*(g.outputs for g in branches), strict=True)]


def _common(a: Type, b: Type) -> Type:
    if a.opaque or b.opaque or a.dtype != b.dtype or a.rank != b.rank:
        return Opaque()
    return a.with_shape([m if m == n else None for m, n in zip(a.shape, b.shape, strict=True)])


def _repeated(call: Call) -> list[Type]:
    """States keep their types; what each step gives is stacked along the sequences' length."""
    a, body = call.attributes, call.attributes["body"]
    own = call.types[: len(call.types) - sum(count for _, count in a["captures"])]
    parts = len(own) - a["num_scan_inputs"]
    states, scanned = own[:parts], own[parts:]
    results = [value.type for value in body.outputs]
    if a["batched"] or None in own or any(t.opaque for t in results) or not scanned:
        return []
    axes = a["scan_input_axes"] or (0,)
    first = scanned[0]
    length = first.shape[axes[0]] if first is not None and first.rank else None
    found = [_common(s, r) for s, r in zip(states, results, strict=False) if s is not None]
    for i, part in enumerate(results[parts:]):
        sizes = list(part.shape)
        axis = (a["scan_output_axes"] or (0,) * len(results))[i] % (part.rank + 1)
        found.append(part.with_shape([*sizes[:axis], length, *sizes[axis:]]))
    return found


Rule = Callable[[Call], Sequence[Type]]
MANY = 1 << 16
"""Operators with as many outputs as their subgraphs have."""


def _with_batch(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Scan of opset 8 ran over each sample of a batch, and could be told the samples' lengths."""
    if inputs and inputs[0] is not None:
        raise GraphError("Scan of opset 8 with sequence lengths; expected sequences of one length")
    directions = attributes.pop("directions", ())
    return {**attributes, "batched": 1, "scan_input_directions": directions}, inputs[1:]


def _host(
    name: str,
    inputs: str,
    outputs: int = 1,
    *,
    infer: Rule = unknown,
    upgrades: Mapping[int, Callable[..., Any]] | None = None,
    **attributes: object,
) -> None:
    register(
        Operator(
            name=name,
            inputs=tuple(inputs.split()),
            infer=infer,
            outputs=outputs,
            attributes=attributes,
            host=True,
            upgrades=upgrades or {},
        )
    )


_host(
    "If",
    "cond captured*",
    MANY,
    infer=_either,
    then_branch=REQUIRED,
    else_branch=REQUIRED,
    captures=(),
)
_host("Loop", "M? cond? values*", MANY, body=REQUIRED, captures=())
_host("Scan", "values*", MANY, infer=_repeated, body=REQUIRED, num_scan_inputs=REQUIRED,
      captures=(), scan_input_axes=(), scan_output_axes=(), scan_input_directions=(),
      scan_output_directions=(), batched=0, upgrades={9: _with_batch})  # fmt: skip
_host("SequenceConstruct", "inputs*")
_host("SequenceEmpty", "", dtype=None)
_host("SequenceInsert", "sequence tensor position?")
_host("SequenceErase", "sequence position?")
_host("SequenceAt", "sequence position")
_host("SequenceLength", "sequence")
_host("SplitToSequence", "input split?", axis=0, keepdims=1)
_host("ConcatFromSequence", "sequence", axis=REQUIRED, new_axis=0)
_host("SequenceMap", "sequence values*", MANY, body=REQUIRED, captures=())
_host("Optional", "input?", type=None)
_host("OptionalHasElement", "input?")
_host("OptionalGetElement", "input")
