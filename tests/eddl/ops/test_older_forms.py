"""Operators in the forms of older opsets: read, brought to today's form, compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime import InferenceSession

from eddl.onnx.backend import EddlBackend
from eddl.onnx.names import to_onnx

R = np.random.default_rng(0)


def x(*shape: int) -> np.ndarray:
    return R.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return R.uniform(0.5, 2, shape).astype(np.float32)


FORMS: list[tuple[str, int, list[np.ndarray], dict[str, Any], int]] = [
    ("Slice", 9, [x(4, 5, 6)], {"starts": [1, -3], "ends": [3, 100], "axes": [0, 2]}, 1),
    ("Slice", 9, [x(4, 5)], {"starts": [1, 0], "ends": [-1, 2]}, 1),
    ("Pad", 10, [x(3, 4)], {"pads": [1, 0, 2, 3], "value": 1.5}, 1),
    ("Pad", 7, [x(3, 4)], {"pads": [1, 0, 2, 3], "mode": "reflect"}, 1),
    ("Squeeze", 11, [x(1, 3, 1)], {"axes": [0]}, 1),
    ("Squeeze", 12, [x(1, 3, 1)], {}, 1),
    ("Unsqueeze", 11, [x(3, 4)], {"axes": [0, 2]}, 1),
    ("TopK", 9, [x(3, 5)], {"k": 2, "axis": 1}, 2),
    ("Split", 11, [x(6, 4)], {"split": [1, 3, 2]}, 3),
    ("Split", 11, [x(6, 4)], {"axis": 1}, 2),
    ("Split", 13, [x(6, 4)], {}, 3),
    ("DepthToSpace", 10, [x(1, 8, 2, 3)], {"blocksize": 2}, 1),
    ("Upsample", 7, [x(1, 2, 3, 4)], {"scales": [1.0, 1.0, 2.0, 3.0]}, 1),
    ("Upsample", 9, [x(1, 2, 3, 4), np.float32([1, 1, 2, 1.5])], {"mode": "linear"}, 1),
    ("Resize", 10, [x(1, 2, 3, 4), np.float32([1, 1, 2, 1.5])], {"mode": "linear"}, 1),
    ("Resize", 10, [x(1, 2, 3, 4), np.float32([1, 1, 2, 3])], {}, 1),
    ("Resize", 11, [x(1, 1, 3, 4), np.zeros(0, np.float32), np.float32([1, 1, 2, 2])],
     {"mode": "cubic"}, 1),
    ("Resize", 13, [x(1, 1, 3, 4), np.zeros(0, np.float32), np.float32([1, 1, 2, 2])],
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 1),
    ("BatchNormalization", 7, [x(2, 3, 4), positive(3), x(3), x(3), positive(3)],
     {"spatial": 1, "momentum": 0.8}, 1),
    ("BatchNormalization", 9, [x(2, 3, 4), positive(3), x(3), x(3), positive(3)], {}, 1),
    ("GroupNormalization", 18, [x(2, 6, 4), positive(2), x(2)], {"num_groups": 2}, 1),
    ("MaxPool", 7, [x(1, 2, 5, 5)], {"kernel_shape": [2, 2]}, 1),
    ("MaxPool", 8, [x(1, 2, 5, 5)], {"kernel_shape": [2, 2], "storage_order": 1}, 2),
    ("AveragePool", 7, [x(1, 2, 5, 5)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 1),
    ("GridSample", 16, [x(1, 2, 4, 5), R.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)],
     {"mode": "bilinear"}, 1),
    ("GridSample", 16, [x(1, 2, 4, 5), R.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)],
     {"mode": "bicubic", "padding_mode": "reflection"}, 1),
    ("RoiAlign", 10, [x(1, 2, 6, 6), np.float32([[0.3, 1.1, 4.2, 5.3]]), np.int64([0])],
     {"output_height": 2, "output_width": 3, "sampling_ratio": 2}, 1),
    ("MaxUnpool", 9, [x(1, 1, 2, 2), np.int64([5, 7, 13, 15]).reshape(1, 1, 2, 2)],
     {"kernel_shape": [2, 2], "strides": [2, 2]}, 1),
    ("Scatter", 9, [x(3, 4), np.int64([[2, 0]]), x(1, 2)], {}, 1),
    ("OneHot", 9, [np.int64([0, 2]), np.int64([3]), np.float32([0, 1])], {}, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "opset", "inputs", "attributes", "outputs"),
    FORMS,
    ids=[f"{i}-{op}-{opset}" for i, (op, opset, *_) in enumerate(FORMS)],
)
def test_an_older_form_computes_the_same(op, opset, inputs, attributes, outputs):
    names = [f"x{i}" for i in range(len(inputs))]
    results = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, names, results, **attributes)],
        op,
        [helper.make_tensor_value_info(n, to_onnx(a.dtype), a.shape)
         for n, a in zip(names, inputs, strict=True)],
        [onnx.ValueInfoProto(name=name) for name in results],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    fed = dict(zip(names, inputs, strict=True))
    expected = InferenceSession(model.SerializeToString()).run(None, fed)
    for ours, theirs in zip(EddlBackend.run_model(model, inputs), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_old_form_that_normalizes_each_position_is_refused():
    arrays = [x(2, 3, 4), positive(3), x(3), x(3), positive(3)]
    node = helper.make_node("BatchNormalization", [f"x{i}" for i in range(5)], ["y"], spatial=0)
    graph = helper.make_graph(
        [node],
        "spatial",
        [helper.make_tensor_value_info(f"x{i}", 1, a.shape) for i, a in enumerate(arrays)],
        [onnx.ValueInfoProto(name="y")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=8)
    with pytest.raises(ValueError, match=r"received spatial=0, expected 1"):
        EddlBackend.prepare(model)
