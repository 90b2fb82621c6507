"""Sampling between grid points: GridSample, deformable convolution, aligned regions, Col2Im.

`sample` reads rows of channels at places given as values, so that gradients flow to the data and to
the places alike; the operators built on it are bodies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import GradientError
from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import same
from eddl.ops.table import PRIVATE, REQUIRED, Call, Gradients, Operator, apply, integers, register
from eddl.ops.windows import check_windows, over, spatial, transposed

_TAPS = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}
_PADDINGS = ("zeros", "border", "reflection")


def _need(value: Value | None) -> Value:
    assert value is not None
    return value


def _wide(x: Value) -> Value:
    """In float32, unless it is float64."""
    return x if x.dtype in (np.float32, np.float64) else apply("Cast", x, to=np.dtype("float32"))


def _clip(x: Value, low: float, high: float) -> Value:
    return apply("Clip", x, np.asarray(low, x.dtype), np.asarray(high, x.dtype))


def _reflected(x: Value, low: float, high: float) -> Value:
    """A triangle wave of slope 1 and -1 between the borders."""
    width = high - low
    if not width:
        return x * 0.0 + low
    turns = (x - low) / (2 * width)
    along = (turns - apply("Floor", turns)) * (2 * width)
    return (low + width) - apply("Abs", along - width)


def _bounded(x: Value, size: int, padding: str, borders: tuple[float, float]) -> Value:
    """Places outside the borders brought inside, as the padding mode has it."""
    if padding == "zeros":
        return x
    low, high = borders
    inside = _clip(x, 0, size - 1) if padding == "border" else _reflected(x, low, high)
    beyond = apply("Or", apply("Less", x, low), apply("Greater", x, high))
    return apply("Where", beyond, inside, x)


def _weights(part: Value, mode: str) -> list[Value | None]:
    """The weight of each tap; `part` is how far behind its floor a place lies.

    Source: for cubic, Keys 1981, equation 15, with -1/2 replaced by -3/4.
    """
    if mode == "nearest":
        return [None]
    if mode == "linear":
        return [1.0 - part, part]
    a = -0.75

    def near(d: Value) -> Value:
        return ((a + 2) * d - (a + 3)) * d * d + 1.0

    def far(d: Value) -> Value:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    rest = 1.0 - part
    return [far(part + 1.0), near(part), near(rest), far(rest + 1.0)]


def _axis_taps(
    x: Value, size: int, mode: str, padding: str, borders: tuple[float, float]
) -> list[tuple[Value, Value | None, Value | None]]:
    """For each tap along an axis: its index, its weight, and where it lies inside the data."""
    x = apply("Round", x) if mode == "nearest" else x
    if mode != "cubic":  # whose taps alone are brought inside, as in PyTorch and onnxruntime
        x = _bounded(x, size, padding, borders)
    base = apply("Floor", x)
    found = []
    for offset, weight in zip(_TAPS[mode], _weights(x - base, mode), strict=True):
        place, inside = base + float(offset), None
        if padding == "zeros":
            above = apply("GreaterOrEqual", place, np.zeros((), x.dtype))
            inside = apply("And", above, apply("LessOrEqual", place, float(size - 1)))
        elif padding == "reflection":
            place = apply("Floor", _reflected(place, *borders) + 0.5)
        index = apply("Cast", _clip(place, 0, size - 1), to=np.dtype("int64"))
        found.append((index, weight, inside))
    return found


def sample(
    x: Value,
    places: Sequence[Value],
    *,
    mode: str = "linear",
    padding: str = "zeros",
    borders: Sequence[tuple[float, float]] = (),
) -> Value:
    """Read [N, C, space...] at places [N, ...], one value an axis: [N, ..., C].

    Places count elements. `borders` is where, along each axis, the padding begins.
    """
    sizes = x.type.sizes
    space = sizes[2:]
    rows = apply("Reshape", x, integers([sizes[0], sizes[1], math.prod(space)]), allowzero=1)
    rows = apply("Transpose", rows, perm=(0, 2, 1))
    borders = borders or [(0.0, n - 1.0) for n in space]
    axes = [
        _axis_taps(place, size, mode, padding, border)
        for place, size, border in zip(places, space, borders, strict=True)
    ]
    total: Value | None = None
    last = integers([-1])
    for taps in itertools.product(*axes):
        index, weight, inside = taps[0]
        for (more, factor, within), size in zip(taps[1:], space[1:], strict=True):
            index = index * size + more
            weight = factor if weight is None or factor is None else weight * factor
            inside = within if inside is None else apply("And", inside, _need(within))
        picked = apply("GatherND", rows, apply("Unsqueeze", index, last), batch_dims=1)
        if inside is not None:
            within = apply("Unsqueeze", inside, last)
            picked = apply("Where", within, picked, np.zeros((), picked.dtype))
        if weight is not None:
            if weight.dtype != x.dtype:
                weight = apply("Cast", weight, to=x.dtype)
            picked = picked * apply("Unsqueeze", weight, last)
        total = picked if total is None else total + picked
    return _need(total)


def _channels_first(y: Value) -> Value:
    return apply("Transpose", y, perm=(0, y.rank - 1, *range(1, y.rank - 1)))


def _grid_sample(call: Call) -> list[Type]:
    x, grid = call.type(0), call.type(1)
    if x.rank < 3 or grid.rank != x.rank or grid.shape[-1] not in (x.rank - 2, None):
        raise call.fail("X [N, C, space...] and a grid [N, space..., axes] of the same rank")
    same(call, x.shape[0], grid.shape[0], what="as many grids as samples")
    if call.attributes["mode"] not in _TAPS or call.attributes["padding_mode"] not in _PADDINGS:
        received = (call.attributes["mode"], call.attributes["padding_mode"])
        raise call.fail(f"mode of {sorted(_TAPS)}, padding_mode of {_PADDINGS}; got {received}")
    return [x.with_shape([*x.shape[:2], *grid.shape[1:-1]])]


def _grid_sample_body(node: Node) -> Sequence[Value]:
    """Source: the ONNX operator specification of GridSample."""
    given, grid = _need(node.inputs[0]), _wide(_need(node.inputs[1]))
    mode, align = node.attributes["mode"], node.attributes["align_corners"]
    x = given if mode == "nearest" else _wide(given)
    space = given.type.sizes[2:]
    places, borders = [], []
    for axis, size in enumerate(space):
        k = len(space) - 1 - axis  # the grid names the last axis first
        part = apply("Slice", grid, integers([k]), integers([k + 1]), integers([-1]))
        part = apply("Squeeze", part, integers([-1])) + 1.0
        places.append(part * ((size - 1) / 2) if align else (part * float(size) - 1.0) * 0.5)
        borders.append((0.0, size - 1.0) if align else (-0.5, size - 0.5))
    y = sample(x, places, mode=mode, padding=node.attributes["padding_mode"], borders=borders)
    y = _channels_first(y)
    return [y if y.dtype == given.dtype else apply("Cast", y, to=given.dtype)]


def _affine_grid(call: Call) -> list[Type]:
    theta, size = call.type(0), call.constant(1)
    rank = call.type(1).shape[0]
    if rank not in (3, 4, 5, None) or theta.rank != 3:
        raise call.fail("theta [N, axes, axes + 1] and the size of a tensor [N, C, space...]")
    if not isinstance(rank, int):
        return []
    for i, n in ((1, rank - 2), (2, rank - 1)):
        same(call, theta.shape[i], n, what=f"theta [N, {rank - 2}, {rank - 1}]")
    sizes: list[Dim] = [None] * (rank - 2) if size is None else [int(n) for n in size[2:]]
    count = None if size is None else int(size[0])
    return [theta.with_shape([same(call, theta.shape[0], count, what="as many thetas as samples"),
                              *sizes, rank - 2])]  # fmt: skip


def _affine_grid_body(node: Node) -> Sequence[Value]:
    """Source: the ONNX operator specification of AffineGrid; an axis of one element lies at 0."""
    theta, (count, *space, rank) = _need(node.inputs[0]), node.outputs[0].type.sizes
    lines = []
    for n in space:
        width = n - 1 if node.attributes["align_corners"] else n
        lines.append((2 * np.arange(n) - (n - 1)) / max(width, 1))
    axes = [a.reshape(-1) for a in np.meshgrid(*lines, indexing="ij")]
    places = np.stack([*reversed(axes), np.ones(math.prod(space))]).astype(theta.dtype)
    moved = apply("Transpose", apply("MatMul", theta, Constant(places)), perm=(0, 2, 1))
    return [apply("Reshape", moved, integers([count, *space, rank]), allowzero=1)]


def _mode_names(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 20 the modes were named after two axes."""
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = attributes.get("mode", "linear")
    return {**attributes, "mode": names.get(mode, mode)}, inputs


def _deform_conv(call: Call) -> list[Type]:
    x, w, offset = call.type(0), call.type(1), call.type(2)
    kernel = [int(k or 0) if not isinstance(k, str) else 0 for k in w.shape[2:]]
    groups, rank = call.attributes["offset_group"], x.rank - 2
    if x.rank < 3 or w.rank != x.rank or offset.rank != x.rank or 0 in kernel:
        raise call.fail("X, W and offset of one rank, and W of a known kernel")
    check_windows(call, rank, kernel)
    taps = math.prod(kernel)
    same(call, offset.shape[1], groups * taps * rank, what="an offset for each tap and axis")
    if call.given(4):
        same(call, call.type(4).shape[1], groups * taps, what="a mask for each tap")
    channels, each = x.shape[1], w.shape[1]
    if isinstance(channels, int) and isinstance(each, int):
        fits = channels % groups == 0 and channels == each * call.attributes["group"]
    else:
        fits = True
    if not fits:
        raise call.fail("channels that group and offset_group divide")
    output = over(call.attributes, x.shape[2:], kernel).output
    for a, b in zip(output, offset.shape[2:], strict=True):
        same(call, a, b, what="offsets for each output element")
    return [x.with_shape([x.shape[0], w.shape[0], *output])]


def _deform_conv_body(node: Node) -> Sequence[Value]:
    """Each tap is sampled where its offset moves it. Source: Dai et al. 2017, equation 2."""
    x, w, offset, bias, mask = (*node.inputs, None, None)[:5]
    x, w, offset = _need(x), _need(w), _need(offset)
    (n, _, *space), (filters, each, *kernel) = x.type.sizes, w.type.sizes
    groups, group = node.attributes["offset_group"], node.attributes["group"]
    output, taps, rank = node.outputs[0].type.sizes[2:], math.prod(kernel), len(kernel)
    strides, dilations, pads = spatial(node.attributes, kernel)
    moved = apply("Reshape", offset, integers([n * groups, taps, rank, *output]))
    steps = np.indices(kernel).reshape(rank, taps, *[1] * rank)
    places = []
    for axis in range(rank):
        part = apply("Slice", moved, integers([axis]), integers([axis + 1]), integers([2]))
        start = np.arange(output[axis]) * strides[axis] - pads[axis]
        start = start.reshape(-1, *[1] * (rank - 1 - axis)) + steps[axis] * dilations[axis]
        places.append(apply("Squeeze", part, integers([2])) + Constant(start.astype(x.dtype)))
    picked = sample(apply("Reshape", x, integers([n * groups, -1, *space])), places)
    if mask is not None:
        picked = picked * apply("Reshape", mask, integers([n * groups, taps, *output, 1]))
    columns = apply("Reshape", _channels_first(picked), integers([n, group, each * taps, -1]))
    rows = apply("Reshape", w, integers([group, filters // group, each * taps]))
    y = apply("Reshape", apply("MatMul", rows, columns), integers([n, filters, *output]))
    if bias is not None:
        y = y + apply("Reshape", bias, integers([-1, *[1] * rank]))
    return [y]


def _roi_align(call: Call) -> list[Type]:
    x, rois, batch = call.type(0), call.type(1), call.type(2)
    a = call.attributes
    if x.rank != 4 or rois.rank != 2 or batch.rank != 1 or rois.shape[1] not in (4, None):
        raise call.fail("X [N, C, H, W], rois [R, 4] and batch_indices [R]")
    if a["mode"] not in ("avg", "max"):
        raise call.fail(f"mode avg or max; received {a['mode']!r}")
    count = same(call, rois.shape[0], batch.shape[0], what="one batch index a region")
    return [x.with_shape([count, x.shape[1], a["output_height"], a["output_width"]])]


def _roi_align_gradient(node: Node, g: Value) -> Gradients:
    """Regions get no gradient: their sizes choose the number of samples."""
    if node.attributes["mode"] != "avg":
        raise GradientError("RoiAlign: received mode 'max', expected 'avg' to be differentiated")
    x, rois, batch = map(_need, node.inputs)
    dx = apply("RoiAlignGrad", g, rois, batch, domain=PRIVATE, shape=x.type.sizes,
               **node.attributes)  # fmt: skip
    return (dx, None, None)


def _roi_align_grad(call: Call) -> list[Type]:
    return [call.type(0).with_shape(call.attributes["shape"])]


def _roi_align_grad_gradient(node: Node, g: Value) -> Gradients:
    attributes = {k: v for k, v in node.attributes.items() if k != "shape"}
    return (apply("RoiAlign", g, *node.inputs[1:], **attributes), None, None)


def _unshifted(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 16 regions were not moved by half a pixel."""
    return {**attributes, "coordinate_transformation_mode": "output_half_pixel"}, inputs


def _col2im(call: Call) -> list[Type]:
    x, image, block = call.type(0), call.constant(1), call.constant(2)
    if image is None or block is None or x.rank != 3 or image.size != block.size:
        raise call.fail("columns [N, C * block, L], image_shape and block_shape as constants")
    check_windows(call, block.size, [int(k) for k in block])
    channels, taps = x.shape[1], math.prod(int(k) for k in block)
    if isinstance(channels, int) and channels % taps:
        raise call.fail(f"channels that the block of {taps} divides")
    each: Dim = channels // taps if isinstance(channels, int) else None
    return [x.with_shape([x.shape[0], each, *(int(n) for n in image)])]


def _col2im_body(node: Node) -> Sequence[Value]:
    """A transposed convolution whose kernels put each row of a column in its place."""
    x, image, block = node.inputs
    assert isinstance(image, Constant) and isinstance(block, Constant)
    x, kernel = _need(x), tuple(int(k) for k in block.data)
    sizes, taps = [int(n) for n in image.data], math.prod(kernel)
    windows = over(node.attributes, sizes, kernel)
    attributes = windows.attributes()
    shorter = transposed(attributes, windows.output, kernel).output
    missing = tuple(n - int(have or 0) for n, have in zip(sizes, shorter, strict=True))
    planes = apply("Reshape", x, integers([-1, taps, *(int(n or 0) for n in windows.output)]))
    place = np.eye(taps, dtype=x.dtype).reshape(taps, 1, *kernel)
    y = apply("ConvTranspose", planes, place, output_padding=missing, **attributes)
    return [apply("Reshape", y, integers(node.outputs[0].type.sizes))]


_WINDOWS: dict[str, Any] = {"dilations": (), "pads": (), "strides": ()}
_ROI: dict[str, Any] = {
    "coordinate_transformation_mode": "half_pixel",
    "mode": "avg",
    "output_height": 1,
    "output_width": 1,
    "sampling_ratio": 0,
    "spatial_scale": 1.0,
}
register(
    Operator(
        name="GridSample",
        inputs=("X", "grid"),
        infer=_grid_sample,
        body=_grid_sample_body,
        attributes={"align_corners": 0, "mode": "linear", "padding_mode": "zeros"},
        since=20,
        upgrades={20: _mode_names},
    )
)
register(
    Operator(
        name="AffineGrid",
        inputs=("theta", "size"),
        infer=_affine_grid,
        body=_affine_grid_body,
        attributes={"align_corners": 0},
        since=20,
        constant_inputs=(1,),
    )
)
register(
    Operator(
        name="DeformConv",
        inputs=("X", "W", "offset", "B?", "mask?"),
        infer=_deform_conv,
        body=_deform_conv_body,
        attributes={**_WINDOWS, "group": 1, "kernel_shape": (), "offset_group": 1},
        since=19,
    )
)
register(
    Operator(
        name="RoiAlign",
        inputs=("X", "rois", "batch_indices"),
        infer=_roi_align,
        gradient=_roi_align_gradient,
        attributes=_ROI,
        since=16,
        upgrades={16: _unshifted},
    )
)
register(
    Operator(
        name="RoiAlignGrad",
        domain=PRIVATE,
        inputs=("dY", "rois", "batch_indices"),
        infer=_roi_align_grad,
        gradient=_roi_align_grad_gradient,
        attributes={**_ROI, "shape": REQUIRED},
    )
)
register(
    Operator(
        name="Col2Im",
        inputs=("input", "image_shape", "block_shape"),
        infer=_col2im,
        body=_col2im_body,
        attributes=_WINDOWS,
        since=18,
        constant_inputs=(1, 2),
    )
)
