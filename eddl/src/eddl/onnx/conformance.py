"""The score in ONNX's backend test suite: a small certificate, for each device.

The suite comes with the `onnx` package. A case passes when every output has the expected type and
shape and lies within the suite's own tolerance (relative 1e-3, absolute 1e-7 unless it says more).
"""

from __future__ import annotations

import glob
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")


@dataclass
class Certificate:
    """What passed, by kind, and why the rest did not."""

    device: str
    passed: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The certificate as plain objects."""
        from importlib.metadata import version

        return {
            "schema": "eddl/conformance/v1",
            "device": self.device,
            "versions": {name: version(name) for name in ("eddl", "onnx", "numpy")},
            "passed": self.passed,
            "total": self.total,
            "failed": self.failed,
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        rows = [f"{kind:<20}{self.passed[kind]:>6} of {self.total[kind]:>5}" for kind in self.total]
        whole = f"{'all':<20}{sum(self.passed.values()):>6} of {sum(self.total.values()):>5}"
        return "\n".join([f"ONNX {onnx.__version__} backend tests on {self.device}", *rows, whole])


@dataclass(frozen=True)
class Case:
    """One test: a model, and inputs with expected outputs."""

    name: str
    kind: str
    model: onnx.ModelProto
    sets: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def cases(kinds: tuple[str, ...] = KINDS) -> Iterator[Case]:
    """The suite's cases; those that would have to be downloaded are none of these kinds."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite divides by zero on purpose
        found = [(kind, case) for kind in kinds for case in load_model_tests(kind=kind)]
    for kind, case in found:
        if case.model is not None:
            label = kind if kind != "node" else _node_kind(case.name)
            yield Case(case.name, label, case.model, list(case.data_sets), case.rtol, case.atol)
        elif case.model_dir is None:
            yield _light(kind, case)
        else:
            yield _from_files(kind, case)


def _node_kind(name: str) -> str:
    return "node, expanded" if "_expanded" in name else "node, plain"


def _light(kind: str, case: Any) -> Case:
    """A whole network whose weights are made by constant nodes; its input counts from 0 to 1."""
    path = os.path.join(os.path.dirname(os.path.dirname(onnx.__file__)), case.url)
    model = onnx.load(path)
    given = {i.name for i in model.graph.initializer}
    inputs = []
    for info in model.graph.input:
        if info.name not in given:
            shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
    prefix = os.path.splitext(path)[0]
    outputs = []
    for index in range(len(model.graph.output)):
        with open(f"{prefix}_output_{index}.pb", "rb") as file:
            outputs.append(numpy_helper.to_array(onnx.TensorProto.FromString(file.read())))
    return Case(case.name, kind, model, [(inputs, outputs)], case.rtol, case.atol)


def _from_files(kind: str, case: Any) -> Case:
    model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
    types = {i.name: i.type for i in (*model.graph.input, *model.graph.output)}
    given = {i.name for i in model.graph.initializer}
    inputs = [i.name for i in model.graph.input if i.name not in given]
    outputs = [o.name for o in model.graph.output]
    sets = [
        (
            _values(folder, "input", [types[n] for n in inputs]),
            _values(folder, "output", [types[n] for n in outputs]),
        )
        for folder in sorted(glob.glob(os.path.join(case.model_dir, "test_data_set*")))
    ]
    label = kind if kind != "node" else _node_kind(case.name)
    return Case(case.name, label, model, sets, case.rtol, case.atol)


def _values(folder: str, what: str, types: list[onnx.TypeProto]) -> list[Any]:
    found = []
    for index in range(len(glob.glob(os.path.join(folder, f"{what}_*.pb")))):
        with open(os.path.join(folder, f"{what}_{index}.pb"), "rb") as file:
            content = file.read()
        if types[index].HasField("sequence_type"):
            found.append(numpy_helper.to_list(onnx.SequenceProto.FromString(content)))
        elif types[index].HasField("optional_type"):
            found.append(numpy_helper.to_optional(onnx.OptionalProto.FromString(content)))
        else:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(content)))
    return found


def run_case(case: Case, device: str = "cpu") -> None:
    """Run one case; an exception says what is wrong with it."""
    from onnx.backend.test.runner import Runner

    from eddl.onnx.backend import EddlBackend

    prepared = EddlBackend.prepare(case.model, device)
    for inputs, outputs in case.sets:
        found = list(prepared.run([_array(x) for x in inputs]))
        expected = [_array(x) for x in outputs]
        for ours, theirs in zip(found, expected, strict=True):
            if isinstance(theirs, list):  # the suite's comparison stumbles over nested sequences
                assert isinstance(ours, list) and len(ours) == len(theirs)
                Runner.assert_similar_outputs(theirs, ours, case.rtol, case.atol)
            else:
                Runner.assert_similar_outputs([theirs], [ours], case.rtol, case.atol)


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (int, float, np.generic)) else value


def certify(
    device: str = "cpu",
    kinds: tuple[str, ...] = KINDS,
    progress: Callable[[Case], object] = lambda case: None,
) -> Certificate:
    """Run the suite on a device."""
    certificate, began = Certificate(device), time.perf_counter()
    for case in cases(kinds):
        progress(case)
        certificate.total[case.kind] = certificate.total.get(case.kind, 0) + 1
        certificate.passed.setdefault(case.kind, 0)
        try:
            run_case(case, device)
        except Exception as error:  # whatever a case does, it has failed, and the next one runs
            text = str(error).strip().split("\n")[0]
            certificate.failed[case.name] = f"{type(error).__name__}: {text}"[:200]
        else:
            certificate.passed[case.kind] += 1
    certificate.seconds = time.perf_counter() - began
    return certificate
