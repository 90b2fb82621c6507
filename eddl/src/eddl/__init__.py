"""eddl: deep learning whose language is ONNX.

Define a network with `eddl.layers`, or load one; train it; save it again as ONNX. See `Model`.
"""

from typing import TYPE_CHECKING, Any

from eddl import initializers, layers, losses, metrics, optimizers, schedules, training, zoo
from eddl.errors import (
    AttributeValueError,
    DeviceError,
    EddlError,
    FileError,
    GradientError,
    GraphError,
    MemoryLimitError,
    ShapeError,
    StateError,
    TypeMismatchError,
)
from eddl.layers import input as Input
from eddl.ops.differentiation import gradients
from eddl.optimizers import SGD, Adam
from eddl.schedules import OneCycle
from eddl.tensors import Tensor
from eddl.training.model import Model
from eddl.training.step import Step

if TYPE_CHECKING:
    from eddl.onnx.load import load

__all__ = [
    "SGD",
    "Adam",
    "AttributeValueError",
    "DeviceError",
    "EddlError",
    "FileError",
    "GradientError",
    "GraphError",
    "Input",
    "MemoryLimitError",
    "Model",
    "OneCycle",
    "ShapeError",
    "StateError",
    "Step",
    "Tensor",
    "TypeMismatchError",
    "gradients",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    "zoo",
]


def _write_onnx(*arguments: Any, **options: Any) -> None:
    from eddl.onnx.save import save_model

    save_model(*arguments, **options)


training.model.write_file = _write_onnx


def __getattr__(name: str) -> Any:
    if name == "load":  # the onnx package is imported only where it is needed
        from eddl.onnx.load import load

        return load
    raise AttributeError(f"module 'eddl' has no attribute {name!r}")
