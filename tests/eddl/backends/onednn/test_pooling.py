"""Pools and resampling on oneDNN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eddl.errors import EddlError
from eddl.ops import apply

from .oracle import ONEDNN, check, compiled, data, with_gradients


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_average_pools_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    rank = pick(1, 2, 3)
    kernel = [pick(1, 2, 3) for _ in range(rank)]
    dilations = [pick(1, 1, 2) for _ in range(rank)]
    pads = [pick(*range(k)) for k in kernel] * 2
    inputs, arrays = data((pick(1, 3), pick(1, 3, 16, 17), *[pick(3, 5, 8) for _ in range(rank)]))
    try:
        y = apply(
            "AveragePool", *inputs, kernel_shape=tuple(kernel), pads=tuple(pads),
            dilations=tuple(dilations), strides=tuple(pick(1, 2, 3) for _ in kernel),
            ceil_mode=pick(0, 1), count_include_pad=pick(0, 1),
        )  # fmt: skip
    except EddlError:
        return  # a window that does not fit
    check(inputs, with_gradients(y, inputs), arrays)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_resizing_to_any_size(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    space = [pick(1, 3, 5, 8) for _ in range(pick(1, 2, 3))]
    sizes = [n * pick(1, 2, 3) if pick(True, False) else pick(2, 4, 7) for n in space]
    inputs, arrays = data((pick(1, 3), pick(1, 3, 16, 17), *space))
    y = apply(
        "Resize", *inputs, None, None, np.array([*arrays[0].shape[:2], *sizes]),
        mode=pick("nearest", "linear", "cubic"),
        coordinate_transformation_mode=pick("half_pixel", "asymmetric", "align_corners"),
        nearest_mode=pick("round_prefer_floor", "floor", "ceil"), antialias=pick(0, 1),
    )  # fmt: skip
    check(inputs, with_gradients(y, inputs), arrays)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsampling_and_its_gradient_run_on_onednn(mode):
    inputs, arrays = data((2, 17, 5, 6))
    y = apply("Resize", *inputs, None, np.array([1, 1, 2, 2], "f4"), mode=mode)
    program = compiled(inputs, with_gradients(y, inputs), arrays, ONEDNN)
    assert not program.shares.fallbacks
    resampled = [c for c in program.plan.calls if c.nodes[0].op == "Resample"]
    assert len(resampled) == 4
    assert all(call.offer.host is None for call in resampled)
