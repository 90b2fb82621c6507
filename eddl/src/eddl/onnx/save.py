"""From a model to an ONNX file: the inference graph, its states as initializers, its metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from eddl.errors import AttributeValueError, FileError, GraphError
from eddl.graph import Constant, Graph, Node, State, Value
from eddl.onnx.names import DEFAULT_OPSET, IR_VERSION, OLDEST_WRITTEN, to_onnx
from eddl.ops.table import OPSET, PRIVATE, copy_node, entry, find
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
    writer = _Writer(names, target)
    nodes = writer.nodes(graph, "constant_")
    states = [leaf for leaf in graph.leaves if isinstance(leaf, State)]
    body = helper.make_graph(
        nodes,
        model.name,
        [_info(value, names) for value in graph.inputs],
        [_info(value, names) for value in graph.outputs],
        [_tensor(s.storage.view(), names[s]) for s in states],
    )
    versions = {PRIVATE: 1}
    domains = {domain: versions.get(domain, defs.onnx_ml_opset_version())
               for domain in writer.domains}  # fmt: skip
    proto = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid(*item) for item in {"": target, **domains}.items()],
        functions=[_passing(name, target) for name in sorted(writer.functions)],
        ir_version=IR_VERSION,
        producer_name="eddl",
        producer_version=version("eddl"),
    )
    helper.set_model_props(proto, {str(k): str(v) for k, v in metadata.items()})
    return proto


def _passing(name: str, opset: int) -> onnx.FunctionProto:
    """An operator that is there in training alone, as a function that gives its input."""
    return helper.make_function(
        PRIVATE, name, ["X"], ["Y"], [helper.make_node("Identity", ["X"], ["Y"])],
        [helper.make_opsetid("", opset)], attributes=sorted(find(name, PRIVATE).attributes),
    )  # fmt: skip


def _kept(node: Node, opset: int) -> bool:
    """Whether a file can hold a node as it is: by the standard, or as a function of its own."""
    return _schema(node, opset) is not None or (
        node.domain == PRIVATE and entry(node).random == node.op
    )


def _inlined(graph: Graph, opset: int) -> Graph:
    """Operators that the file's opset lacks, private ones among them, as their bodies."""
    while not all(_kept(node, opset) for node in graph.nodes):

        def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
            outputs = copy_node(node, inputs)
            made = outputs[0].node
            if made is None or _kept(made, opset):
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


class _Writer:
    """Writes nodes under given names, and the graphs that some of them hold."""

    def __init__(self, names: dict[Value, str], opset: int) -> None:
        self.names = names
        self.opset = opset
        self.domains: set[str] = set()
        self.functions: set[str] = set()

    def nodes(self, graph: Graph, prefix: str) -> list[onnx.NodeProto]:
        """A graph's constants and nodes; its other values have names already."""
        used = {v for node in graph.nodes for v in node.inputs if v is not None}
        used.update(graph.outputs)
        constants: list[onnx.NodeProto] = []
        for value in graph.leaves:
            if isinstance(value, Constant) and value not in self.names:
                self.names[value] = f"{prefix}{len(constants)}"
                constants.append(_constant(value, self.names[value]))
        return [*constants, *(self._node(node, used) for node in graph.nodes)]

    def _node(self, node: Node, used: set[Value]) -> onnx.NodeProto:
        operator, names = entry(node), self.names
        name = names[node.outputs[0]].rsplit(":", 1)[0]
        counts = dict(node.attributes.get("captures", ()))
        own = node.inputs[: len(node.inputs) - sum(counts.values())]
        inputs = ["" if value is None else names[value] for value in own]
        while inputs and not inputs[-1]:
            inputs.pop()
        proto = helper.make_node(
            node.op,
            inputs,
            [names[value] for value in _public(node, used)],
            name=name,
            domain=node.domain,
        )
        if node.domain:
            self.domains.add(node.domain)
        if node.domain == PRIVATE:
            self.functions.add(node.op)
        schema, captured = _schema(node, self.opset), list(node.inputs[len(own) :])
        for key, value in _written_attributes(node):
            if key == "num_outputs" and len(inputs) > 1:
                continue  # the sizes say it
            if schema is not None and key not in schema.attributes:
                raise GraphError(
                    f"{name}: {node.op} with {key}={value!r} cannot be written as opset "
                    f"{self.opset}; ask for a later one"
                )
            if isinstance(value, Graph):
                start = sum(list(counts.values())[: list(counts).index(key)])
                outer = captured[start : start + counts[key]]
                value = self._subgraph(value, f"{name}/{key}", outer)
            proto.attribute.append(helper.make_attribute(key, value))
        if operator.since > self.opset:
            raise GraphError(
                f"{name}: {node.op} in the form of opset {operator.since} cannot be written as "
                f"opset {self.opset}; ask for a later one"
            )
        return proto

    def _subgraph(self, graph: Graph, name: str, outer: Sequence[Value | None]) -> onnx.GraphProto:
        """The body of a loop or branch, which reads what it captures under its outer names."""
        graph = _inlined(graph, self.opset)
        formal = graph.inputs[: len(graph.inputs) - len(outer)]
        for inner, value in zip(graph.inputs[len(formal) :], outer, strict=True):
            if value is not None:
                self.names[inner] = self.names[value]
        for index, value in enumerate(formal):
            self.names[value] = f"{name}/in{index}"
        for index, node in enumerate(graph.nodes):
            for position, value in enumerate(node.outputs):
                self.names[value] = f"{name}/{node.op}{index}:{position}"
        outside = {value for value in self.names if isinstance(value, Constant)}
        nodes = self.nodes(graph, f"{name}/constant_")
        results = []
        for index, value in enumerate(graph.outputs):
            info = _info(value, self.names)
            if value.node is None or value in graph.outputs[:index]:  # a result needs its own name
                source, info.name = info.name, f"{name}/out{index}"
                nodes.append(helper.make_node("Identity", [source], [info.name]))
            results.append(info)
        inputs = [_info(value, self.names) for value in formal]
        for value in [v for v in self.names if isinstance(v, Constant) and v not in outside]:
            del self.names[value]  # a name of this graph means nothing beside it
        return helper.make_graph(nodes, name, inputs, results)


def _public(node: Node, used: set[Value]) -> Sequence[Value]:
    """The outputs that a file shows: those of the standard, up to the last that is read."""
    operator = entry(node)
    if "num_outputs" in operator.attributes:  # Split: as many as there are
        return node.outputs
    bodies = [value for value in node.attributes.values() if isinstance(value, Graph)]
    if bodies:  # a loop or a branch: as many as its body has, but for the condition of a Loop
        return node.outputs[: len(bodies[0].outputs) - (node.op == "Loop")]
    public = node.outputs if operator.host else node.outputs[: operator.outputs]
    while len(public) > 1 and public[-1] not in used and public[-1].name is None:
        public = public[:-1]
    return public


def _is_default(default: Any, value: Any) -> bool:
    return default is not None and type(default) is type(value) and default == value


def _written_attributes(node: Node) -> Iterator[tuple[str, Any]]:
    """The attributes that differ from the standard's defaults, as ONNX holds them."""
    defaults = entry(node).attributes
    for key, value in sorted(node.attributes.items()):
        if value is None or (isinstance(value, tuple) and not value) or key == "captures":
            continue
        if isinstance(value, np.ndarray):
            yield key, numpy_helper.from_array(value)
        elif key not in ("axis", "to") and _is_default(defaults.get(key), value):
            continue
        elif isinstance(value, np.dtype):
            yield key, to_onnx(value)
        else:
            yield key, list(value) if isinstance(value, tuple) else value


def _constant(value: Constant, name: str) -> onnx.NodeProto:
    """A node, not an initializer: those are taken for parameters when a file is loaded."""
    return helper.make_node("Constant", [], [name], name=name, value=_tensor(value.data, name))


def _info(value: Value, names: Mapping[Value, str]) -> onnx.ValueInfoProto:
    if value.type.opaque:  # the reader of the file will find it out
        return onnx.ValueInfoProto(name=names[value])
    shape = [
        size if size is not None else f"{names[value].replace(':', '_')}_{axis}"
        for axis, size in enumerate(value.shape)
    ]
    return helper.make_tensor_value_info(names[value], to_onnx(value.dtype), shape)


def _tensor(array: np.ndarray[Any, Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
