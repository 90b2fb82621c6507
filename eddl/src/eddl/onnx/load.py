"""From an ONNX file to a model: names, metadata and weights kept, everything checked first.

A floating initializer of rank one or more becomes a parameter, unless it stands where an operator
keeps a running statistic; every other initializer is a constant. External data is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, numpy_helper

from eddl.errors import EddlError, FileError, GraphError, ShapeError
from eddl.graph import Constant, Dim, Input, Label, Node, State, Type, Value
from eddl.onnx.names import OLDEST_OPSET, from_onnx
from eddl.ops.table import OPSET, REQUIRED, Operator, find, infer
from eddl.training.model import Model

Array = np.ndarray[Any, Any]
STATE_SLOTS = {"BatchNormalization": (3, 4)}
"""Inputs that hold running statistics, not parameters."""


def load(source: str | Path | bytes) -> Model:
    """Read an ONNX network, ready to run, to train on and to save again.

    Parameters: `source`, a path or the bytes of a file. Returns a `Model` with the file's names,
    weights and metadata. Raises `FileError` for what is no ONNX file, and `GraphError`,
    `ShapeError` or `TypeMismatchError`, naming the node, for a graph that eddl cannot hold.

    >>> import eddl, tempfile, pathlib
    >>> x = eddl.Input((4,))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.onnx"
    >>> eddl.Model(x, eddl.layers.dense(x, 3)).save(path)
    >>> eddl.load(path).outputs[0].shape
    ('batch', 3)
    """
    what = "the bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        content = source
    else:
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise FileError(
                f"{source}: cannot be read ({error.strerror}); expected an ONNX file"
            ) from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise FileError(f"{what}: not an ONNX file ({error}); expected a ModelProto") from error
    if not proto.graph.node and not proto.graph.output:
        raise FileError(f"{what}: holds no graph; expected an ONNX model with nodes")
    opset = _opset(proto, what)
    return _Reader(proto, opset).model()


def _opset(proto: onnx.ModelProto, what: str) -> int:
    domains = {item.domain: item.version for item in proto.opset_import}
    opset = int(domains.get("", domains.get("ai.onnx", 0)))
    if not OLDEST_OPSET <= opset <= OPSET:
        raise FileError(
            f"{what}: received opset {opset}, expected {OLDEST_OPSET} to {OPSET}; convert the file "
            "with onnx.version_converter"
        )
    return opset


class _Reader:
    """Builds values node by node; every error names the node."""

    def __init__(self, proto: onnx.ModelProto, opset: int) -> None:
        self.proto = proto
        self.opset = opset
        self.values: dict[str, Value] = {}
        self.initializers: dict[str, Array] = {}
        self.slots = {
            node.input[i]
            for node in proto.graph.node
            for i in STATE_SLOTS.get(node.op_type, ())
            if i < len(node.input)
        }

    def model(self) -> Model:
        graph = self.proto.graph
        if graph.sparse_initializer:
            raise GraphError("the file holds sparse initializers; expected dense ones")
        for tensor in graph.initializer:
            self.values[tensor.name] = self._leaf(tensor.name, _array(tensor, tensor.name))
        inputs = [self._input(info) for info in graph.input if info.name not in self.values]
        for index, node in enumerate(graph.node):
            name = node.name or f"{node.op_type} (node {index})"
            try:
                self._node(node, name)
            except EddlError as error:
                if str(error).startswith("node "):
                    raise
                raise type(error)(f"node {name!r}: {error}") from error
        outputs = [self._known(info.name, "the graph's outputs") for info in graph.output]
        if not outputs:
            raise GraphError("the graph has no outputs; expected at least one")
        metadata = {item.key: item.value for item in self.proto.metadata_props}
        return Model(inputs, outputs, name=graph.name or "model", metadata=metadata)

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

    def _input(self, info: onnx.ValueInfoProto) -> Value:
        if not info.type.HasField("tensor_type"):
            raise GraphError(f"input {info.name!r} is not a tensor; expected tensors")
        tensor = info.type.tensor_type
        if not tensor.HasField("shape"):
            raise ShapeError(f"input {info.name!r} has no shape; expected a known rank")
        shape: list[Dim] = []
        for size in tensor.shape.dim:
            if size.HasField("dim_value"):
                if size.dim_value < 0:
                    raise ShapeError(f"input {info.name!r}: received the size {size.dim_value}")
                shape.append(int(size.dim_value))
            else:
                shape.append(size.dim_param or None)
        value = Input(Type(from_onnx(tensor.elem_type, f"input {info.name!r}"), shape),
                      name=info.name)  # fmt: skip
        self.values[info.name] = value
        return value

    def _known(self, name: str, where: str) -> Value:
        if name not in self.values:
            raise GraphError(
                f"{where} read {name!r}, which nothing before it makes; expected nodes in order "
                "and every name defined"
            )
        return self.values[name]

    def _node(self, proto: onnx.NodeProto, name: str) -> None:
        if proto.domain not in ("", "ai.onnx"):
            raise GraphError(
                f"received operator {proto.op_type} of domain {proto.domain!r}, expected the "
                "standard's (ai.onnx)"
            )
        inputs = [self._known(i, f"node {name!r}") if i else None for i in proto.input]
        if proto.op_type == "Constant":
            self._define(proto, [self._constant(proto)])
            return
        operator = find(proto.op_type)
        attributes = _attributes(proto, operator)
        for version in sorted(operator.upgrades):
            if self.opset < version:
                attributes, inputs = operator.upgrades[version](attributes, inputs)
        complete = {**operator.attributes, **attributes}
        missing = [key for key, value in complete.items() if value is REQUIRED]
        if missing:
            raise GraphError(f"the attributes {missing} are required and missing")
        limit = None if operator.variadic else len(operator.inputs)
        if limit is not None and len(inputs) > limit:
            raise GraphError(f"received {len(inputs)} inputs, expected at most {limit}")
        if len(proto.output) > operator.outputs:
            raise GraphError(
                f"received {len(proto.output)} outputs, expected at most {operator.outputs}"
            )
        types = infer(operator, inputs, complete)
        made = Node(proto.op_type, inputs, types, complete, label=Label(proto.op_type,
                    proto.name or None))  # fmt: skip
        self._define(proto, made.outputs)

    def _define(self, proto: onnx.NodeProto, values: Sequence[Value]) -> None:
        for name, value in zip(proto.output, values, strict=False):
            if not name:
                continue
            if name in self.values:
                raise GraphError(f"defines {name!r}, which is defined already")
            value.name = name
            self.values[name] = value

    def _constant(self, proto: onnx.NodeProto) -> Value:
        for attribute in proto.attribute:
            match attribute.name:
                case "value":
                    return Constant(_array(attribute.t, proto.name))
                case "value_float":
                    return Constant(np.asarray(attribute.f, np.float32))
                case "value_floats":
                    return Constant(np.asarray(attribute.floats, np.float32))
                case "value_int":
                    return Constant(np.asarray(attribute.i, np.int64))
                case "value_ints":
                    return Constant(np.asarray(attribute.ints, np.int64))
        raise GraphError("received a Constant without a numeric value")


def _array(tensor: TensorProto, name: str) -> Array:
    """A tensor's content, its size checked against the bytes that are there."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise FileError(f"tensor {name!r} keeps its data outside the file, which is refused")
    from_onnx(tensor.data_type, f"tensor {name!r}")
    try:
        return np.array(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise FileError(
            f"tensor {name!r} of shape {list(tensor.dims)} cannot be read: {error}"
        ) from error


def _attributes(proto: onnx.NodeProto, operator: Operator) -> dict[str, Any]:
    """Attribute values as Python ones, of the kind the table's defaults have."""
    readers: Mapping[int, Callable[[Any], Any]] = {
        AttributeProto.INT: lambda a: int(a.i),
        AttributeProto.FLOAT: lambda a: float(a.f),
        AttributeProto.STRING: lambda a: a.s.decode("utf-8", "replace"),
        AttributeProto.INTS: lambda a: tuple(int(i) for i in a.ints),
        AttributeProto.FLOATS: lambda a: tuple(float(f) for f in a.floats),
    }
    found = {}
    upgraded = {name for fn in operator.upgrades.values() for name in getattr(fn, "reads", ())}
    for attribute in proto.attribute:
        if attribute.name not in operator.attributes and attribute.name not in upgraded:
            raise GraphError(
                f"received the attribute {attribute.name!r}, expected some of "
                f"{sorted(operator.attributes)}"
            )
        if attribute.type not in readers:
            raise GraphError(f"attribute {attribute.name!r} holds a tensor or graph; expected none")
        value = readers[attribute.type](attribute)
        if attribute.name == "to":
            value = from_onnx(value, "Cast")
        found[attribute.name] = value
    return found
