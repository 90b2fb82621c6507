"""From a model to an ONNX file: the inference graph, its states as initializers, its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from eddl.errors import AttributeValueError, FileError, GraphError
from eddl.graph import Constant, Graph, Node, State, Value
from eddl.onnx.names import DEFAULT_OPSET, IR_VERSION, OLDEST_WRITTEN, to_onnx
from eddl.ops.table import OPSET, PRIVATE, copy_node, entry
from eddl.training.checkpoint import write_atomically
from eddl.training.names import assign_names

if TYPE_CHECKING:
    from eddl.training.model import Model


def save_model(
    model: Model, path: str | Path, *, metadata: Mapping[str, str], opset: int | None = None
) -> None:
    """`Model.save`."""
    if not Path(path).parent.is_dir():
        raise FileError(f"{path}: the folder does not exist; expected an existing one")
    write_atomically(path, to_proto(model, metadata=metadata, opset=opset).SerializeToString())


def to_proto(
    model: Model, *, metadata: Mapping[str, str], opset: int | None = None
) -> onnx.ModelProto:
    """The ONNX model of a network: its predictions, with the softmax that the loss implies."""
    target = opset or DEFAULT_OPSET
    if not OLDEST_WRITTEN <= target <= OPSET:
        raise AttributeValueError(
            f"received opset={opset}, expected a number from {OLDEST_WRITTEN} to {OPSET}"
        )
    graph = _inlined(Graph(model.inputs, model.predictions), target)
    names: dict[Value, str] = assign_names(graph)
    names.update((state, model.names[state]) for state in model.states)
    names.update(_output_names(graph, names))
    used = {v for node in graph.nodes for v in node.inputs if v is not None} | {*graph.outputs}
    constants: dict[Constant, str] = {}
    for node in graph.nodes:
        for value in node.inputs:
            if isinstance(value, Constant) and value not in constants:
                constants[value] = f"constant_{len(constants)}"
    names.update((value, name) for value, name in constants.items())
    states = [leaf for leaf in graph.leaves if isinstance(leaf, State)]
    body = helper.make_graph(
        [_constant(c, names[c]) for c in constants]
        + [_node(node, names, used, target) for node in graph.nodes],
        model.name,
        [_info(value, names) for value in graph.inputs],
        [_info(value, names) for value in graph.outputs],
        [_tensor(s.storage.view(), names[s]) for s in states],
    )
    from importlib.metadata import version

    proto = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", target)],
        ir_version=IR_VERSION,
        producer_name="eddl",
        producer_version=version("eddl"),
    )
    helper.set_model_props(proto, {str(k): str(v) for k, v in metadata.items()})
    return proto


def _inlined(graph: Graph, opset: int) -> Graph:
    """Operators that the file's opset lacks, private ones among them, as their bodies."""
    while any(_schema(node, opset) is None for node in graph.nodes):

        def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
            outputs = copy_node(node, inputs)
            made = outputs[0].node
            if made is None or _schema(made, opset) is not None:
                return outputs
            body = entry(made).body
            if body is None or not all(v.type.static for v in made.inputs if v is not None):
                raise GraphError(
                    f"{made.op} of domain {made.domain!r} cannot be written as opset {opset}: it "
                    "has no form in its operators for sizes that are not fixed"
                )
            return body(made)

        graph = graph.transform(rewrite)
    return graph


def _schema(node: Node, opset: int) -> Any:
    """What ONNX says of a node's operator in an opset; `None` where there is none."""
    if node.domain == PRIVATE:
        return None
    try:
        schema = defs.get_schema(node.op, opset if not node.domain else OPSET, node.domain)
    except defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def _output_names(graph: Graph, names: Mapping[Value, str]) -> dict[Value, str]:
    """Outputs keep a name from a file; others are called output, output_2, ..."""
    taken, found = set(names.values()), {}
    for value in graph.outputs:
        if value.name or value.node is None or value in found:
            continue
        number, name = 1, "output"
        while name in taken:
            number += 1
            name = f"output_{number}"
        taken.add(name)
        found[value] = name
    return found


def _node(node: Node, names: Mapping[Value, str], used: set[Value], opset: int) -> onnx.NodeProto:
    operator, name = entry(node), names[node.outputs[0]].rsplit(":", 1)[0]
    inputs = ["" if value is None else names[value] for value in node.inputs]
    while inputs and not inputs[-1]:
        inputs.pop()
    counted = "num_outputs" in operator.attributes  # Split: as many as there are
    public = node.outputs if counted else node.outputs[: operator.outputs]
    while len(public) > 1 and not counted and public[-1] not in used and public[-1].name is None:
        public = public[:-1]
    proto = helper.make_node(
        node.op, inputs, [names[value] for value in public], name=name, domain=node.domain
    )
    schema = _schema(node, opset)
    for key, value in sorted(node.attributes.items()):
        if value is None or (isinstance(value, tuple) and not value) or key == "captures":
            continue
        if key == "num_outputs" and len(inputs) > 1:
            continue  # the sizes say it
        same = not isinstance(value, np.ndarray) and operator.attributes.get(key) == value
        if same and key not in ("axis", "to"):
            continue
        if key not in schema.attributes:
            raise GraphError(
                f"{name}: {node.op} with {key}={value!r} cannot be written as opset {opset}; ask "
                "for a later one"
            )
        if isinstance(value, Graph):
            raise GraphError(f"{name}: {node.op} holds a graph, which cannot be written yet")
        if isinstance(value, np.dtype):
            value = to_onnx(value)
        elif isinstance(value, np.ndarray):
            value = numpy_helper.from_array(value)
        elif isinstance(value, tuple):
            value = list(value)
        proto.attribute.append(helper.make_attribute(key, value))
    if operator.since > opset:
        raise GraphError(
            f"{name}: {node.op} in the form of opset {operator.since} cannot be written as opset "
            f"{opset}; ask for a later one"
        )
    return proto


def _constant(value: Constant, name: str) -> onnx.NodeProto:
    """A node, not an initializer: those are taken for parameters when a file is loaded."""
    return helper.make_node("Constant", [], [name], name=name, value=_tensor(value.data, name))


def _info(value: Value, names: Mapping[Value, str]) -> onnx.ValueInfoProto:
    shape = [
        size if size is not None else f"{names[value].replace(':', '_')}_{axis}"
        for axis, size in enumerate(value.shape)
    ]
    return helper.make_tensor_value_info(names[value], to_onnx(value.dtype), shape)


def _tensor(array: np.ndarray[Any, Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
