"""From ONNX's graphs to ours: scopes and captured values, functions inlined, every error named.

A subgraph (the body of a Loop, the branches of an If) becomes a `Graph` attribute that leans on
nothing outside: what it captures is passed in by further inputs of its node, counted by the
attribute `captures`. Operators that the table lacks and that ONNX defines by a function, and a
model's own functions, are replaced by the function's nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, defs, helper

from eddl import devices
from eddl.errors import EddlError, GraphError, ShapeError
from eddl.graph import Constant, Graph, Input, Label, Node, Opaque, State, Type, Value
from eddl.onnx.legacy import modernised
from eddl.onnx.names import to_onnx
from eddl.onnx.values import read_attribute, read_constant, read_input, read_tensor
from eddl.ops.table import OPSET, PRIVATE, REQUIRED, TABLE, Operator, entry, find, infer

Array = np.ndarray[Any, Any]
STATE_SLOTS = {"BatchNormalization": (3, 4)}
"""Inputs that hold running statistics, not parameters."""

FOLD_LIMIT = 1 << 12
"""Elements of a constant that is computed while reading; larger ones wait for the compiler."""

DEPTH = 32
"""Subgraphs and functions nested deeper than this are refused."""


MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a file can make a rule stumble over: missing inputs, empty attributes, names that are no
text. Rules check what users get wrong; this catches what only a damaged file holds."""


def malformed(where: str, error: BaseException) -> GraphError:
    """The error for a part of a file that is damaged in a way no rule foresees."""
    return GraphError(f"{where} is not well formed ({type(error).__name__}: {error})")


class Scope:
    """Names and what they stand for, within a graph and those around it."""

    def __init__(self, opset: int, parent: Scope | None = None, depth: int = 0) -> None:
        if depth > DEPTH:
            raise GraphError(f"graphs or functions are nested more than {DEPTH} deep")
        self.opset = opset
        self.parent = parent
        self.depth = depth
        self.values: dict[str, Value] = {}
        self.captured: dict[str, Input] = {}

    def find(self, name: str) -> Value | None:
        """What a name stands for; one from outside becomes a further input."""
        if name in self.values:
            return self.values[name]
        if self.parent is None:
            return None
        outer = self.parent.find(name)
        if outer is None:
            return None
        if isinstance(outer, Constant):
            return outer
        if name not in self.captured:
            self.captured[name] = Input(outer.type, name=name)
        return self.captured[name]


class Reader:
    """Reads the graphs of one model."""

    def __init__(self, proto: onnx.ModelProto, opset: int) -> None:
        self.proto = proto
        self.opset = opset
        self.functions = {(f.domain, f.name): f for f in proto.functions}
        self.slots = {
            node.input[i]
            for node in proto.graph.node
            for i in STATE_SLOTS.get(node.op_type, ())
            if i < len(node.input)
        }

    def main(self) -> tuple[list[Value], list[Value]]:
        """The inputs and outputs of the model's graph."""
        graph, scope = self.proto.graph, Scope(self.opset)
        inputs, outputs = self._graph(graph, scope, trainable=True)
        for value, info in zip(outputs, graph.output, strict=True):
            if value.type.opaque:  # what the file declares of a result that a run will tell
                value.type = read_input(info).type
        return inputs, outputs

    def _graph(
        self, graph: onnx.GraphProto, scope: Scope, *, trainable: bool = False
    ) -> tuple[list[Value], list[Value]]:
        if graph.sparse_initializer:
            raise GraphError("the file holds sparse initializers; expected dense ones")
        for tensor in graph.initializer:
            data = read_tensor(tensor, tensor.name)
            scope.values[tensor.name] = (
                self._leaf(tensor.name, data) if trainable else Constant(data, tensor.name)
            )
        inputs = [read_input(info) for info in graph.input if info.name not in scope.values]
        scope.values.update((str(value.name), value) for value in inputs)
        for index, node in enumerate(graph.node):
            self._named(node, node.name or f"{node.op_type} (node {index})", scope)
        outputs = [self._known(info.name, "the graph's outputs", scope) for info in graph.output]
        if not outputs:
            raise GraphError("a graph has no outputs; expected at least one")
        return [*inputs], outputs

    def _named(self, node: onnx.NodeProto, name: str, scope: Scope) -> None:
        try:
            self._node(node, name, scope)
        except EddlError as error:
            if str(error).startswith("node "):
                raise
            raise type(error)(f"node {name!r}: {error}") from error
        except MALFORMED as error:
            raise malformed(f"node {name!r}", error) from error

    def _leaf(self, name: str, data: Array) -> Value:
        if data.dtype.kind != "f" or data.ndim == 0:
            return Constant(data, name)
        state = State(
            Type(data.dtype, data.shape),
            lambda shape, dtype, generator: data,
            trainable=name not in self.slots,
            label=Label(name, name),
            role="",
        )
        state.name = name
        return state

    def _known(self, name: str, where: str, scope: Scope) -> Value:
        value = scope.find(name)
        if value is None:
            raise GraphError(
                f"{where} read {name!r}, which nothing before it makes; expected nodes in order "
                "and every name defined"
            )
        return value

    def _node(self, proto: onnx.NodeProto, name: str, scope: Scope) -> None:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        inputs = [self._known(i, f"node {name!r}", scope) if i else None for i in proto.input]
        if (domain, proto.op_type) == ("", "Constant"):
            _define(proto, [read_constant(proto)], scope)
            return
        if (domain, proto.op_type) == ("ai.onnx.preview.training", "Gradient"):
            _define(proto, self._gradient(proto, name, scope), scope)
            return
        local = self.functions.get((proto.domain, proto.op_type))
        operator = TABLE.get((domain, proto.op_type))
        if local is not None and not (operator is not None and operator.random == operator.name):
            self._inline(local, proto, inputs, scope)
            return
        if operator is None:
            function, defaults = _function(proto, domain, inputs, scope.opset)
            self._inline(function, proto, inputs, scope, defaults)
            return
        attributes, captured = self._attributes(proto, operator, scope)
        inputs = [*inputs, *captured]
        if scope.opset < 7:
            attributes, inputs = modernised(proto.op_type, attributes, inputs)
        for version in sorted(operator.upgrades):
            if scope.opset < version:
                attributes, inputs = operator.upgrades[version](attributes, inputs)
        if "num_outputs" in operator.attributes and all(v is None for v in inputs[1:]):
            attributes.setdefault("num_outputs", len(proto.output))
        complete = {**operator.attributes, **attributes}
        _check(operator, proto, inputs, attributes, complete)
        try:
            types = infer(operator, inputs, complete)
        except ShapeError:
            if scope.parent is None:
                raise
            types = []  # a branch that is never taken may not fit; a run will tell
        types += [Opaque()] * (len(proto.output) - len(types))
        label = Label(proto.op_type, proto.name or None)
        made = Node(proto.op_type, inputs, types, complete, domain=domain, label=label)
        folded = _folded(made) if operator.outputs == 1 else None
        _define(proto, made.outputs if folded is None else [folded], scope)

    def _gradient(self, proto: onnx.NodeProto, name: str, scope: Scope) -> Sequence[Value]:
        """ONNX's own derivative: of the value named `y` by those named `xs`."""
        named = {a.name: read_attribute(a) for a in proto.attribute}
        values = [
            self._known(n, f"node {name!r}", scope) for n in (named["y"], *named.get("xs", ()))
        ]
        operator = find("Gradients", PRIVATE)
        types = infer(operator, values, {})
        return Node("Gradients", values, types, {}, domain=PRIVATE).outputs

    def _attributes(
        self, proto: onnx.NodeProto, operator: Operator, scope: Scope
    ) -> tuple[dict[str, Any], list[Value]]:
        """Attribute values as Python ones; what subgraphs capture, as further inputs."""
        found: dict[str, Any] = {}
        captured: list[Value] = []
        counts = []
        expected = _attribute_types(operator.name, operator.domain)
        for attribute in proto.attribute:
            if expected.get(attribute.name, attribute.type) != attribute.type:
                kinds = AttributeProto.AttributeType
                raise GraphError(
                    f"attribute {attribute.name!r}: received {kinds.Name(attribute.type)}, "
                    f"expected {kinds.Name(expected[attribute.name])}"
                )
            if attribute.type == AttributeProto.GRAPH:
                inner = Scope(scope.opset, scope, scope.depth + 1)
                inputs, outputs = self._graph(attribute.g, inner)
                found[attribute.name] = Graph([*inputs, *inner.captured.values()], outputs)
                counts.append((attribute.name, len(inner.captured)))
                outer = [scope.find(name) for name in inner.captured]
                captured += [value for value in outer if value is not None]
            else:
                found[attribute.name] = read_attribute(attribute)
        if counts:
            found["captures"] = tuple(counts)
            missing = len(operator.inputs) - len(proto.input)
            if not operator.variadic and missing > 0:
                captured = [*[None] * missing, *captured]  # type: ignore[list-item]
        return found, captured

    def _inline(
        self,
        function: onnx.FunctionProto,
        call: onnx.NodeProto,
        inputs: Sequence[Value | None],
        scope: Scope,
        defaults: Sequence[AttributeProto] = (),
    ) -> None:
        """Put a function's nodes in place of its call."""
        versions = {item.domain: item.version for item in function.opset_import}
        inner = Scope(int(versions.get("", scope.opset)), None, scope.depth + 1)
        inner.values.update(
            (name, value)
            for name, value in zip(function.input, inputs, strict=False)
            if value is not None
        )
        given = {attribute.name: attribute for attribute in call.attribute}
        given = {**{a.name: a for a in (*defaults, *function.attribute_proto)}, **given}
        absent = set(function.input) - set(inner.values)
        for index, original in enumerate(function.node):
            node = onnx.NodeProto()
            node.CopyFrom(original)
            _substitute(node, given)
            for position, read in enumerate(node.input):
                if read in absent:
                    node.input[position] = ""
            self._named(node, f"{call.op_type}/{node.op_type} (node {index})", inner)
        for name, out in zip(call.output, function.output, strict=False):
            if name:
                value = self._known(out, f"function {function.name!r}", inner)
                if name in scope.values:
                    raise GraphError(f"defines {name!r}, which is defined already")
                scope.values[name] = value


@cache
def _attribute_types(name: str, domain: str) -> dict[str, int]:
    """The kinds of value an operator's attributes hold, as ONNX declares them."""
    try:
        schema = defs.get_schema(name, OPSET, domain)
    except defs.SchemaError:
        return {}
    return {key: int(a.type.value) for key, a in schema.attributes.items()}


def _substitute(node: onnx.NodeProto, given: Mapping[str, AttributeProto]) -> None:
    """Attributes that refer to those of the function's call take their values, or go."""
    kept = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            source = given.get(attribute.ref_attr_name)
            if source is None:
                continue
            copy = AttributeProto()
            copy.CopyFrom(source)
            copy.name = attribute.name
            kept.append(copy)
        else:
            if attribute.type == AttributeProto.GRAPH:
                for inner in attribute.g.node:
                    _substitute(inner, given)
            kept.append(attribute)
    copies = [AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node.attribute[:]
    node.attribute.extend(copies)


def _folded(node: Node) -> Constant | None:
    """The result of a small node over constants: shapes that exporters compute step by step."""
    known = _known_size(node)
    if known is not None:
        return known
    inputs = [value for value in node.inputs if value is not None]
    result = node.outputs[0].type
    if (
        not inputs
        or entry(node).host
        or not all(isinstance(value, Constant) for value in inputs)
        or not result.static
        or result.count > FOLD_LIMIT
    ):
        return None
    data = [value.data if isinstance(value, Constant) else None for value in node.inputs]
    (found,) = devices.backend("cpu").evaluate(node, data)[:1]
    return Constant(found) if isinstance(found, np.ndarray) else None


def _known_size(node: Node) -> Constant | None:
    """`Gather(Shape(x), i)` where those sizes of x are numbers, even if its batch's is not."""
    if node.op != "Gather" or node.domain:
        return None
    shape, index = node.inputs
    if shape is None or shape.node is None or shape.node.op != "Shape":
        return None
    of = shape.node.inputs[0]
    if of is None or of.type.opaque or not isinstance(index, Constant):
        return None
    sizes = of.shape[shape.node.attributes["start"] : shape.node.attributes["end"]]
    try:
        chosen = np.asarray(sizes, object)[index.data]
    except IndexError:
        return None
    flat = np.asarray(chosen, object).reshape(-1)
    if not all(isinstance(size, int) for size in flat):
        return None
    return Constant(np.asarray(chosen, np.int64))


def _function(
    proto: onnx.NodeProto, domain: str, inputs: Sequence[Value | None], opset: int
) -> tuple[onnx.FunctionProto, list[AttributeProto]]:
    """The function by which ONNX defines an operator, and its attributes' defaults."""
    try:
        schema = defs.get_schema(proto.op_type, min(opset, OPSET), domain)
    except (defs.SchemaError, TypeError):  # TypeError: a name that is no text
        raise GraphError(
            f"received operator {proto.op_type} of domain {domain or 'ai.onnx'!r}, which eddl's "
            f"table of {len(TABLE)} does not hold and ONNX does not define"
        ) from None
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.name]
    if schema.has_function:
        return schema.function_body, defaults
    if schema.has_context_dependent_function and all(
        v is None or not v.type.opaque for v in inputs
    ):
        types = [
            helper.make_tensor_type_proto(
                to_onnx(v.dtype), [s if isinstance(s, int) else None for s in v.shape]
            ).SerializeToString()
            if v is not None
            else onnx.TypeProto().SerializeToString()
            for v in inputs
        ]
        try:
            content = schema.get_context_dependent_function(proto.SerializeToString(), types)
            return onnx.FunctionProto.FromString(content), defaults
        except (RuntimeError, TypeError, DecodeError) as error:
            raise GraphError(f"{proto.op_type} cannot be expanded into its function") from error
    raise GraphError(
        f"received operator {proto.op_type}, which eddl's table of {len(TABLE)} does not hold"
    )


def _check(
    operator: Operator,
    proto: onnx.NodeProto,
    inputs: Sequence[Value | None],
    attributes: Mapping[str, Any],
    complete: Mapping[str, Any],
) -> None:
    unknown = set(attributes) - set(operator.attributes)
    if unknown:
        raise GraphError(
            f"received the attributes {sorted(unknown)}, expected some of "
            f"{sorted(operator.attributes)}"
        )
    missing = [key for key, value in complete.items() if value is REQUIRED]
    if missing:
        raise GraphError(f"the attributes {missing} are required and missing")
    if not operator.variadic and len(inputs) > len(operator.inputs) and not operator.host:
        raise GraphError(f"received {len(inputs)} inputs, expected at most {len(operator.inputs)}")
    repeated = "num_outputs" in operator.attributes  # as many outputs as the node names
    if len(proto.output) > operator.outputs and not operator.host and not repeated:
        raise GraphError(
            f"received {len(proto.output)} outputs, expected at most {operator.outputs}"
        )


def _define(proto: onnx.NodeProto, values: Sequence[Value], scope: Scope) -> None:
    for name, value in zip(proto.output, values, strict=False):
        if not name:
            continue
        if name in scope.values:
            raise GraphError(f"defines {name!r}, which is defined already")
        if value.name is None:
            value.name = name
        scope.values[name] = value
