"""What ONNX files hold, as values: inputs, tensors, constants, attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from eddl.errors import FileError, GraphError, ShapeError
from eddl.graph import Constant, Dim, Input, Opaque, Type
from eddl.onnx.names import from_onnx

Array = np.ndarray[Any, Any]


def read_input(info: onnx.ValueInfoProto) -> Input:
    """A graph's input; sequences, optionals and unknown ranks are known only in a run."""
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        return Input(Opaque(), name=info.name)
    tensor = info.type.tensor_type
    shape: list[Dim] = []
    for size in tensor.shape.dim:
        if size.HasField("dim_value"):
            if size.dim_value < 0:
                raise ShapeError(f"input {info.name!r}: received the size {size.dim_value}")
            shape.append(int(size.dim_value))
        else:
            shape.append(size.dim_param or None)
    return Input(Type(from_onnx(tensor.elem_type, f"input {info.name!r}"), shape), name=info.name)


def read_tensor(tensor: TensorProto, name: str) -> Array:
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


def read_constant(proto: onnx.NodeProto) -> Constant:
    """What a Constant node holds."""
    for attribute in proto.attribute:
        match attribute.name:
            case "value":
                return Constant(read_tensor(attribute.t, proto.name))
            case "value_float":
                return Constant(np.asarray(attribute.f, np.float32))
            case "value_floats":
                return Constant(np.asarray(attribute.floats, np.float32))
            case "value_int":
                return Constant(np.asarray(attribute.i, np.int64))
            case "value_ints":
                return Constant(np.asarray(attribute.ints, np.int64))
            case "value_string":
                return Constant(np.asarray(attribute.s.decode(), object))
            case "value_strings":
                return Constant(np.asarray([s.decode() for s in attribute.strings], object))
    raise GraphError("received a Constant without a value that eddl holds")


_READERS: Mapping[int, Callable[[Any], Any]] = {
    AttributeProto.INT: lambda a: int(a.i),
    AttributeProto.FLOAT: lambda a: float(a.f),
    AttributeProto.STRING: lambda a: a.s.decode("utf-8", "replace"),
    AttributeProto.INTS: lambda a: tuple(int(i) for i in a.ints),
    AttributeProto.FLOATS: lambda a: tuple(float(f) for f in a.floats),
    AttributeProto.STRINGS: lambda a: tuple(s.decode("utf-8", "replace") for s in a.strings),
    AttributeProto.TENSOR: lambda a: read_tensor(a.t, a.name),
    AttributeProto.TYPE_PROTO: lambda a: None,
}
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "softmax_precision"})
"""Attributes that hold the code of an element type."""


def read_attribute(attribute: AttributeProto) -> Any:
    """An attribute's value; codes of element types become types."""
    if attribute.type not in _READERS:
        raise GraphError(f"attribute {attribute.name!r} holds what eddl cannot: {attribute.type}")
    value = _READERS[attribute.type](attribute)
    if attribute.name in TYPE_ATTRIBUTES and isinstance(value, int) and value:
        return from_onnx(value, attribute.name)
    return value
