"""Fourier transforms and what prepares sound for networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.bits import coded
from eddl.ops.shapes import positive_axis
from eddl.ops.table import Call, Gradients, Operator, apply, integers, register


def _number(data: np.ndarray[Any, Any] | None) -> int | None:
    return None if data is None else int(data.reshape(-1)[0])


def _constant(value: Value | None) -> int | None:
    return _number(value.data) if isinstance(value, Constant) else None


def _length(size: int, given: int | None, both: bool) -> int:
    """The transform's length; one back from half a spectrum is even unless told."""
    if given is not None:
        return given
    return 2 * (size - 1) if both else size


def _half(attributes: Any) -> bool:
    return bool(attributes["inverse"] and attributes["onesided"])


def geometry(node: Node) -> tuple[int, int]:
    """The axis and the length of a DFT node."""
    x, length, axis = (*node.inputs, None, None)[:3]
    assert x is not None
    at = _constant(axis)
    where = (-2 if at is None else at) % x.rank
    return where, _length(x.type.sizes[where], _constant(length), _half(node.attributes))


def _dft(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 2 or x.shape[-1] not in (1, 2):
        raise call.fail("a last axis of 1 (real) or 2 (real and imaginary)")
    if any(call.given(index) and call.constant(index) is None for index in (1, 2)):
        raise call.fail("dft_length and axis as constants")
    given = _number(call.constant(2))
    axis = positive_axis(call, -2 if given is None else given, x.rank)
    if axis == x.rank - 1:
        raise call.fail("another axis than the last, which holds real and imaginary parts")
    inverse, onesided = call.attributes["inverse"], call.attributes["onesided"]
    if onesided and not inverse and x.shape[-1] == 2:
        raise call.fail("a real signal: only its spectrum has one side")
    size, length = x.shape[axis], _number(call.constant(1))
    count: Dim = None
    if isinstance(size, int) or length is not None:
        count = _length(size if isinstance(size, int) else 0, length, _half(call.attributes))
        if count < 1:
            raise call.fail(f"a transform of at least one element; received {count}")
        if onesided and not inverse:
            count = count // 2 + 1
    last = 1 if onesided and inverse else 2
    return [x.with_shape([*x.shape[:axis], count, *x.shape[axis + 1 : -1], last])]


def _fitted(value: Value, axis: int, size: int) -> Value:
    """Cut, or filled with zeros, to a size along an axis."""
    have = value.type.sizes[axis]
    if have > size:
        return apply("Slice", value, integers([0]), integers([size]), integers([axis]))
    pads = [0] * (2 * value.rank)
    pads[value.rank + axis] = size - have
    return apply("Pad", value, integers(pads)) if have < size else value


def _transform(value: Value, axis: int, length: int, **attributes: int) -> Value:
    return apply("DFT", value, integers([length]), integers([axis]), **attributes)


def _dft_gradient(node: Node, g: Value) -> Gradients:
    """The adjoint of a transform is the transform back, without its 1 / N or with another."""
    x = node.inputs[0]
    assert x is not None
    axis, length = geometry(node)
    if not node.attributes["inverse"]:
        back = _transform(_fitted(g, axis, length), axis, length, inverse=1) * float(length)
    elif not node.attributes["onesided"]:
        back = _transform(g, axis, length) * (1.0 / length)
    else:  # all but the first and the middle frequency stand for two
        weights = np.full(length // 2 + 1, 2.0 / length)
        weights[0] = 1.0 / length
        if length % 2 == 0:
            weights[-1] = 1.0 / length
        shape = [-1 if i == axis else 1 for i in range(x.rank)]
        back = _transform(g, axis, length, onesided=1)
        back = back * weights.reshape(shape).astype(g.dtype)
    dx = _fitted(_fitted(back, axis, x.type.sizes[axis]), x.rank - 1, x.type.sizes[-1])
    return (dx, None, None)[: len(node.inputs)]


def _axis_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    axis = np.asarray(attributes.pop("axis", 1), np.int64)
    return attributes, [*inputs[:1], *(inputs[1:] or [None]), Constant(axis)]


_axis_to_input.reads = ("axis",)  # type: ignore[attr-defined]


def _frames(call: Call) -> tuple[int, int, int | None]:
    """The step, length and number of the frames of an STFT."""
    signal, step = call.type(0), _number(call.constant(1))
    length, size = _number(call.constant(3)), signal.shape[1]
    if step is None or step < 1 or (call.given(3) and length is None):
        raise call.fail("frame_step (at least 1) and frame_length as constants")
    if call.given(2):
        window = call.type(2).shape
        if len(window) != 1 or (length is not None and window[0] not in (length, None)):
            raise call.fail("a window of one axis, as long as frame_length")
        length = window[0] if isinstance(window[0], int) else length
    if length is None:
        length = size if isinstance(size, int) else None
    if length is None:
        raise call.fail("a frame length that is known")
    if isinstance(size, int) and not 1 <= length <= size:
        raise call.fail(f"a signal at least as long as a frame of {length}")
    return step, length, (size - length) // step + 1 if isinstance(size, int) else None


def _stft(call: Call) -> list[Type]:
    signal, onesided = call.type(0), call.attributes["onesided"]
    if signal.rank != 3 or signal.shape[2] not in (1, 2):
        raise call.fail("a signal [batch, length, 1 or 2]")
    if onesided and signal.shape[2] == 2:
        raise call.fail("a real signal: only its spectrum has one side")
    _, length, count = _frames(call)
    bins = length // 2 + 1 if onesided else length
    return [signal.with_shape([signal.shape[0], count, bins, 2])]


def _stft_body(node: Node) -> Sequence[Value]:
    signal, _, window, _ = (*node.inputs, None, None)[:4]
    assert signal is not None
    types = tuple(None if v is None else v.type for v in node.inputs)
    known = tuple(v.data if isinstance(v, Constant) else None for v in node.inputs)
    by, length, count = _frames(Call(_STFT, types, known, node.attributes))
    places = by * np.arange(count or 0)[:, None] + np.arange(length)[None, :]
    frames = apply("Gather", signal, places.astype(np.int64), axis=1)
    if window is not None:
        frames = frames * apply("Unsqueeze", window, integers([1]))
    spectrum = apply("DFT", frames, None, integers([2]), onesided=node.attributes["onesided"])
    return [spectrum]


def mel_weights(bins: int, length: int, rate: float, low: float, high: float) -> Any:
    """Triangles over the frequencies of a spectrum, evenly spaced on the mel scale.

    Source: the ONNX operator specification of MelWeightMatrix and its reference.
    """
    mel = 2595 * np.log10(1 + np.asarray([low, high]) / 700)
    points = np.arange(bins + 2) * ((mel[1] - mel[0]) / (bins + 2)) + mel[0]
    edges = ((length + 1) * (700 * (10 ** (points / 2595) - 1)) // rate).astype(int)
    frequency = np.arange(length // 2 + 1)[:, None]
    left, centre, right = edges[None, :-2], edges[None, 1:-1], edges[None, 2:]
    rising = (frequency - left) / np.maximum(centre - left, 1)
    falling = (right - frequency) / np.maximum(right - centre, 1)
    weights = np.where((frequency >= left) & (frequency < centre), rising, 0.0)
    weights = np.where((frequency >= centre) & (frequency < right), falling, weights)
    return np.where(frequency == centre, 1.0, weights)


def _mel(call: Call) -> list[Type]:
    bins, length = _number(call.constant(0)), _number(call.constant(1))
    sizes = [None if length is None else length // 2 + 1, bins]
    return [Type(coded(call.attributes["output_datatype"]), sizes)]


def _mel_body(node: Node) -> Sequence[Value]:
    numbers = [v.data.reshape(-1)[0].item() for v in node.inputs if isinstance(v, Constant)]
    return [Constant(mel_weights(*numbers).astype(node.outputs[0].dtype))]


register(
    Operator(
        name="DFT",
        inputs=("input", "dft_length?", "axis?"),
        infer=_dft,
        gradient=_dft_gradient,
        attributes={"inverse": 0, "onesided": 0},
        since=17,
        constant_inputs=(1, 2),
        float32=True,
        upgrades={20: _axis_to_input},
    )
)
_STFT = register(
    Operator(
        name="STFT",
        inputs=("signal", "frame_step", "window?", "frame_length?"),
        infer=_stft,
        body=_stft_body,
        attributes={"onesided": 1},
        since=17,
        constant_inputs=(1, 3),
        float32=True,
    )
)
register(
    Operator(
        name="MelWeightMatrix",
        inputs=("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz",
                "upper_edge_hertz"),
        infer=_mel,
        body=_mel_body,
        attributes={"output_datatype": 1},
        since=17,
        constant_inputs=(0, 1, 2, 3, 4),
    )
)  # fmt: skip
