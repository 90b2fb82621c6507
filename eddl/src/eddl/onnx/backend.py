"""ONNX's standard backend interface, for its test suite and for whoever speaks it.

Models run in the evaluator, node by node, which is the reference for every other device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from eddl import devices
from eddl.errors import EddlError
from eddl.graph import Graph
from eddl.onnx.load import to_model
from eddl.training.step import Step


class EddlRep(BackendRep):  # type: ignore[misc]
    """A prepared model."""

    def __init__(self, model: onnx.ModelProto, device: str) -> None:
        self.model = to_model(model)
        self.backend = devices.backend(device)

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        """The outputs for inputs in order, or by name."""
        if isinstance(inputs, dict):
            inputs = [inputs[str(value.name)] for value in self.model.inputs]
        graph = Graph(self.model.inputs, self.model.outputs)
        if any(node.op == "Gradients" for node in graph.nodes):
            return tuple(Step(self.model.inputs, self.model.outputs, training=False)(*inputs))
        return tuple(self.backend.evaluate_graph(graph, list(inputs)))


class EddlBackend(Backend):  # type: ignore[misc]
    """`prepare`, `run_model`, `run_node`, `is_compatible` and `supports_device`."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> bool:
        """Whether every operator of a model is held."""
        try:
            cls.prepare(model, device)
        except EddlError:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> EddlRep:
        """Read a model for a device."""
        return EddlRep(model, device.lower())

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays."""
        names = [name for name in node.input if name]
        arrays = [np.asarray(x) for x in inputs]
        graph = helper.make_graph(
            [node],
            "node",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape
                )
                for name, x in zip(names, arrays, strict=True)
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        model = helper.make_model(graph)
        return cls.prepare(model, device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is such a device."""
        try:
            devices.backend(device.lower().split(":")[0])
        except EddlError:
            return False
        return True


prepare = EddlBackend.prepare
run_model = EddlBackend.run_model
run_node = EddlBackend.run_node
is_compatible = EddlBackend.is_compatible
supports_device = EddlBackend.supports_device
