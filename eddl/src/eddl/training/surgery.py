"""What one does to a network that exists: look for what hinders training, mend it, cut, freeze."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl import devices
from eddl.errors import AttributeValueError
from eddl.graph import Constant, Graph, Input, Label, Node, State, Type, Value
from eddl.ops.table import copy_node

if TYPE_CHECKING:
    from eddl.training.model import Model

WEIGHTED = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1),
            "LSTM": (1, 2, 3), "GRU": (1, 2, 3), "RNN": (1, 2, 3),
            "BatchNormalization": (1, 2, 3, 4)}  # fmt: skip
"""Where an operator reads what usually is learned."""

NORMS = ("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization")


@dataclass(frozen=True)
class Finding:
    """Something that makes a graph less trainable: what, where, and whether it can be repaired."""

    kind: str
    where: tuple[str, ...]
    text: str
    repairable: bool


def findings(model: Model) -> list[Finding]:
    """What makes a network less trainable than its author's was."""
    found = []
    nodes = model.graph.nodes
    fixed = [v for v in model.inputs if v.rank and isinstance(v.shape[0], int) and v.shape[0] > 0]
    if fixed:
        names = tuple(model.names[v] for v in fixed)
        found.append(
            Finding("fixed batch size", names, "the batch axis has a number, not a name", True)
        )
    constants = [n for n in nodes if _constant_weights(n)]
    if constants:
        found.append(
            Finding("constants", _names(model, constants),
                    "weights stand as constants, which training leaves alone", True)
        )  # fmt: skip
    quantised = [n for n in nodes if "Quantize" in n.op or n.op.startswith("QLinear")]
    if quantised:
        found.append(
            Finding("quantised", _names(model, quantised),
                    "quantised parts pass no useful gradient", False)
        )  # fmt: skip
    convolutions = [n for n in nodes if n.op == "Conv"]
    biased = [n for n in convolutions if len(n.inputs) > 2 and n.inputs[2] is not None]
    if (
        len(convolutions) > 3
        and len(biased) == len(convolutions)
        and not any(n.op in NORMS for n in nodes)
    ):
        found.append(
            Finding("batch norm folded", _names(model, biased[:3]),
                    "every convolution has a bias and nothing normalises: an exporter has probably "
                    "folded batch normalization; train with a small rate", False)
        )  # fmt: skip
    if any(n.op in ("Gemm", "MatMul") for n in nodes) and not any(n.op == "Dropout" for n in nodes):
        found.append(
            Finding("no dropout", (),
                    "no Dropout is left: exporters remove it; insert layers.dropout where it was",
                    False)
        )  # fmt: skip
    return found


def _constant_weights(node: Node) -> bool:
    return any(True for _ in _weights_without_state(node, {}))


def _weights_without_state(node: Node, memory: dict[Node, bool]) -> Iterator[tuple[int, Value]]:
    """A node's weights that stand as constants, or are computed from nothing but constants."""
    for index in WEIGHTED.get(node.op, ()):
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None and _fixed(value, memory):
            computed = value.node is not None and value.type.opaque
            if computed or (value.dtype.kind == "f" and value.rank > 0):
                yield index, value


def _fixed(value: Value, memory: dict[Node, bool]) -> bool:
    """Whether a value depends on constants alone."""
    if value.node is None:
        return isinstance(value, Constant)
    if value.node not in memory:
        inputs = [v for v in value.node.inputs if v is not None]
        memory[value.node] = bool(inputs) and all(_fixed(v, memory) for v in inputs)
    return memory[value.node]


def _names(model: Model, nodes: Sequence[Node]) -> tuple[str, ...]:
    return tuple(model.node_name(n) for n in nodes)


def repaired(model: Model) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs of the network with a free batch axis and weights that can be learned."""
    leaves: dict[Value, Value] = {}
    for value in model.inputs:
        if value.rank and isinstance(value.shape[0], int):
            leaves[value] = Input(
                Type(value.dtype, ("batch", *value.shape[1:])), name=model.names[value]
            )
    batches = {v.shape[0] for v in leaves}
    learned: dict[Value, Value] = {}
    memory: dict[Node, bool] = {}
    for node in model.graph.nodes:
        for index, value in _weights_without_state(node, memory):
            if value not in learned:
                statistic = node.op == "BatchNormalization" and index > 2
                name = f"{model.node_name(node)}.{index}"
                learned[value] = _learned(model, value, name, trainable=not statistic)

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        kept = [
            learned.get(old, new) if old is not None else None
            for old, new in zip(node.inputs, inputs, strict=True)
        ]
        if node.op == "Reshape" and _names_batch(node, batches):
            target = node.inputs[1]
            assert isinstance(target, Constant)
            kept[1] = Constant(np.concatenate([[0], target.data[1:]]).astype(np.int64))
        return copy_node(node, kept)

    graph = model.graph.transform(rewrite, leaves)
    return [leaves.get(v, v) for v in model.inputs], list(graph.outputs)


def _names_batch(node: Node, batches: set[Any]) -> bool:
    """Whether a Reshape writes the batch's old size where it could copy it (a 0 in ONNX)."""
    data, target = node.inputs[:2]
    return (
        isinstance(target, Constant)
        and target.data.size > 1
        and not node.attributes["allowzero"]
        and data is not None
        and not data.type.opaque
        and data.rank > 0
        and data.shape[0] in batches
        and int(target.data[0]) == data.shape[0]
    )


def _learned(model: Model, value: Value, name: str, *, trainable: bool) -> State:
    if isinstance(value, Constant):
        data = value.data
    else:
        (data,) = devices.backend(model.device).evaluate_graph(Graph([], [value]), [])
    state = State(
        Type(data.dtype, data.shape),
        lambda shape, dtype, generator: data,
        trainable=trainable,
        label=Label(name, name),
        role="",
    )
    state.name = value.name or name
    return state


def find_value(model: Model, name: str) -> Value:
    """The value, or the last output of the layer, of a name."""
    by_name = {model.names[v]: v for n in model.graph.nodes for v in n.outputs}
    if name in by_name:
        return by_name[name]
    of_layer = [
        n.outputs[0]
        for n in model.graph.nodes
        if model.node_name(n) == name or model.names[n.outputs[0]].split(":")[0] == name
    ]
    if not of_layer:
        some = ", ".join(dict.fromkeys(model.node_name(n) for n in model.graph.nodes[:40]))
        raise AttributeValueError(f"received the layer {name!r}, expected one of: {some}")
    return of_layer[-1]


def inputs_of(model: Model, outputs: Sequence[Value]) -> list[Value]:
    """The model's inputs that outputs depend on."""
    needed = set(Graph([], outputs).leaves)
    return [value for value in model.inputs if value in needed]


def chosen_parameters(model: Model, names: Sequence[str]) -> list[State]:
    """Parameters by name, or all of a layer (`"conv"`) or of a group (`"encoder."`)."""
    learned = [s for s in model.states if s.trainable]
    if not names:
        return learned
    found = []
    for name in names:
        matches = [
            s
            for s in learned
            if model.names[s] == name or model.names[s].startswith((f"{name}.", f"{name}/"))
            or (name.endswith((".", "/")) and model.names[s].startswith(name))
        ]  # fmt: skip
        if not matches:
            raise AttributeValueError(
                f"received {name!r}, expected the name or the beginning of one of: "
                f"{', '.join(model.names[s] for s in learned[:20])}"
            )
        found += matches
    return found
