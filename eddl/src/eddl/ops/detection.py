"""What detectors need: the boxes that do not overlap, and regions pooled to one size."""

from __future__ import annotations

import math

import numpy as np

from eddl.graph import Node, Type, Value
from eddl.ops.indexing import filled
from eddl.ops.table import REQUIRED, Call, Gradients, Operator, apply, integers, register, unknown


def _max_roi_pool(call: Call) -> list[Type]:
    """The pooled type, and (saved) each greatest element's flat position, -1 in empty bins."""
    x, rois, pooled = call.type(0), call.type(1), call.attributes["pooled_shape"]
    if x.rank != 4 or rois.rank != 2 or rois.shape[1] not in (5, None) or len(pooled) != 2:
        raise call.fail("X [N, C, H, W], rois [R, 5] and a pooled_shape of 2 numbers")
    found = x.with_shape([rois.shape[0], x.shape[1], *pooled])
    return [found, found.with_dtype("int64")]


def _max_roi_pool_gradient(node: Node, g: Value, *_: Value | None) -> Gradients:
    """Regions get no gradient: their corners are rounded."""
    x, chosen = node.inputs[0], node.outputs[1]
    assert x is not None
    count = math.prod(x.type.sizes)
    empty = apply("Less", chosen, 0)
    flow = apply("Where", empty, np.zeros((), g.dtype), g)
    places = apply("Where", empty, 0, chosen)
    flat = (apply("Reshape", value, integers([-1])) for value in (places, flow))
    total = apply("ScatterElements", filled(0, g.dtype, [count]), *flat, reduction="add")
    return (apply("Reshape", total, integers(x.type.sizes)), None)


register(
    Operator(
        name="NonMaxSuppression",
        inputs=(
            "boxes",
            "scores",
            "max_output_boxes_per_class?",
            "iou_threshold?",
            "score_threshold?",
        ),
        infer=unknown,
        host=True,
        attributes={"center_point_box": 0},
        since=11,
    )
)
register(
    Operator(
        name="MaxRoiPool",
        inputs=("X", "rois"),
        infer=_max_roi_pool,
        gradient=_max_roi_pool_gradient,
        attributes={"pooled_shape": REQUIRED, "spatial_scale": 1.0},
    )
)
