"""eddl: deep learning whose language is ONNX.

Define a network with `eddl.layers`, or load one; train it; save it again as ONNX. See `Model`.
"""

from typing import TYPE_CHECKING, Any

from eddl import (
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    schedules,
    training,
    zoo,
)
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
from eddl.optimizers import (
    LAMB,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    AMSGrad,
    Nadam,
    RMSprop,
)
from eddl.schedules import (
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    StepDecay,
    WarmUp,
)
from eddl.tensors import Tensor
from eddl.training.callbacks import (
    BestCheckpoint,
    Callback,
    EarlyStopping,
    PeriodicCheckpoint,
)
from eddl.training.decoding import decode
from eddl.training.loggers import CSVLogger, JSONLinesLogger, TensorBoard
from eddl.training.model import Model
from eddl.training.repeat import Repeated, repeat
from eddl.training.state import Rules
from eddl.training.step import Step

if TYPE_CHECKING:
    from eddl.onnx.load import load

__all__ = [
    "LAMB",
    "SGD",
    "AMSGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AttributeValueError",
    "BestCheckpoint",
    "CSVLogger",
    "Callback",
    "Cosine",
    "DeviceError",
    "EarlyStopping",
    "EddlError",
    "Exponential",
    "FileError",
    "GradientError",
    "GraphError",
    "Input",
    "JSONLinesLogger",
    "MemoryLimitError",
    "Model",
    "MultiStep",
    "Nadam",
    "OneCycle",
    "PeriodicCheckpoint",
    "Plateau",
    "Polynomial",
    "RMSprop",
    "Repeated",
    "Rules",
    "ShapeError",
    "StateError",
    "Step",
    "StepDecay",
    "Tensor",
    "TensorBoard",
    "TypeMismatchError",
    "WarmUp",
    "constraints",
    "decode",
    "gradients",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "repeat",
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
