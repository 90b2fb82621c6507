"""Classic machine learning (ai.onnx.ml) and the optimizers that ONNX holds as operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.graph import Node, Type, Value
from eddl.ops.elementwise import elementwise
from eddl.ops.table import REQUIRED, Call, Operator, apply, integers, register

ML = "ai.onnx.ml"
TRAINING = "ai.onnx.preview.training"


def _extracted(call: Call) -> list[Type]:
    x, places = call.type(0), call.type(1)
    count: Any = 1
    for size in places.shape:
        count = count * size if isinstance(size, int) and isinstance(count, int) else None
    return [x.with_shape([*(x.shape[:-1] or (1,)), count])]


def _extracted_body(node: Node) -> Sequence[Value]:
    x, places = node.inputs
    assert x is not None and places is not None
    picked = apply("Gather", x, apply("Reshape", places, integers([-1])), axis=x.rank - 1)
    return [apply("Reshape", picked, integers(node.outputs[0].type.sizes))]


def _host(name: str, inputs: str, domain: str, **attributes: Any) -> None:
    register(
        Operator(
            name=name,
            domain=domain,
            inputs=tuple(inputs.split()),
            infer=lambda call: [],
            attributes=attributes,
            host=True,
        )
    )


elementwise("Binarizer", "X", "where(X > threshold, 1, 0)", lambda node, g: (None,), domain=ML,
            attributes={"threshold": 0.0})  # fmt: skip
register(
    Operator(
        name="ArrayFeatureExtractor",
        domain=ML,
        inputs=("X", "Y"),
        infer=_extracted,
        body=_extracted_body,
    )
)
_host("LabelEncoder", "X", ML, keys_floats=(), keys_int64s=(), keys_strings=(), keys_tensor=None,
      values_floats=(), values_int64s=(), values_strings=(), values_tensor=None,
      default_float=-0.0, default_int64=-1, default_string="_Unused",
      default_tensor=None)  # fmt: skip
_host("TreeEnsemble", "X", ML, aggregate_function=1, leaf_targetids=REQUIRED,
      leaf_weights=REQUIRED, membership_values=None, n_targets=1, nodes_falseleafs=REQUIRED,
      nodes_falsenodeids=REQUIRED, nodes_featureids=REQUIRED, nodes_hitrates=None,
      nodes_missing_value_tracks_true=(), nodes_modes=REQUIRED, nodes_splits=REQUIRED,
      nodes_trueleafs=REQUIRED, nodes_truenodeids=REQUIRED, post_transform=0,
      tree_roots=REQUIRED)  # fmt: skip
_host("Adagrad", "R T inputs*", TRAINING, decay_factor=0.0, epsilon=float(np.float32(1e-6)),
      norm_coefficient=0.0)  # fmt: skip
_host("Adam", "R T inputs*", TRAINING, alpha=float(np.float32(0.9)),
      beta=float(np.float32(0.999)), epsilon=float(np.float32(1e-6)), norm_coefficient=0.0,
      norm_coefficient_post=0.0)  # fmt: skip
_host("Momentum", "R T inputs*", TRAINING, alpha=REQUIRED, beta=REQUIRED, mode=REQUIRED,
      norm_coefficient=REQUIRED)  # fmt: skip
