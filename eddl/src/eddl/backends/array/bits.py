"""Casts to and from types that only store, strings among them, and reinterpretation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.elementwise import offer_formula
from eddl.backends.array.evaluator import host
from eddl.compiler.protocol import Offer, Thunk
from eddl.errors import AttributeValueError
from eddl.graph import Node
from eddl.ops.bits import NARROW, bit_width, floating

_E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)
_E8M0_MAX, _E8M0_NAN = 0xFE, 0xFF


def convert(x: Array, to: Any, saturate: bool = True, round_mode: str = "up") -> Array:
    """The elements as another type, by the rules of ONNX's Cast."""
    to = np.dtype(to)
    if to.kind == "O":
        return _text(x)
    if x.dtype.kind in "OUS":
        return _numbers(x, to)
    if to.kind == "b":
        return np.asarray(x.astype(np.float32) != 0 if x.dtype in NARROW else x != 0)
    if to == _E8M0:
        return _powers(x.astype(np.float32), saturate, round_mode)
    if to in NARROW and floating(to) and saturate and to.itemsize == 1 and bit_width(to) == 8:
        wide = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
        limits: Any = ml_dtypes.finfo(to)  # type: ignore[no-untyped-call]
        return np.clip(wide, float(limits.min), float(limits.max)).astype(to)
    return x.astype(to)


def _text(x: Array) -> Array:
    if x.dtype.kind in "OUS":
        return x.astype(object)
    plain = x.astype(np.float32) if x.dtype.kind == "V" and floating(x.dtype) else x
    return plain.astype(np.str_).astype(object)


def _numbers(x: Array, to: np.dtype[Any]) -> Array:
    def read(text: Any) -> Any:
        text = text.decode() if isinstance(text, bytes) else str(text)
        if to.kind in "iu":
            try:
                return int(text)
            except ValueError:
                pass
        try:
            return float(text)
        except ValueError:
            raise AttributeValueError(
                f"Cast: received the string {text!r}, expected a number to make {to.name} of"
            ) from None

    values = [read(text) for text in x.reshape(-1)]
    if to.kind in "iu":
        return np.asarray([int(v) for v in values], to).reshape(x.shape)
    return convert(np.asarray(values, np.float64), to).reshape(x.shape)


def _powers(x: Array, saturate: bool, round_mode: str) -> Array:
    """Powers of two by their exponents.

    Source: OCP Microscaling Formats 1.0, section 5.4.1, and the table of ONNX's Cast.
    """
    bits = x.view(np.uint32)
    exponent = ((bits >> 23) & 0xFF).astype(np.int32)
    fraction = (bits & 0x7FFFFF).astype(np.int32)
    whole, half = np.where(exponent == 0, 0x400000, 0), np.where(exponent == 0, 0x600000, 0x400000)
    match round_mode:
        case "up":
            exponent += fraction > whole
        case "nearest":
            exponent += fraction >= half
        case "down":
            pass
        case _:
            raise AttributeValueError(
                f"Cast: received round_mode {round_mode!r}, expected 'up', 'down' or 'nearest'"
            )
    if saturate:
        exponent = np.minimum(exponent, _E8M0_MAX)
    else:
        exponent[np.abs(x) < 2.0**-127] = _E8M0_NAN
    exponent[np.isnan(x)] = _E8M0_NAN
    return exponent.astype(np.uint8).view(_E8M0)


def reinterpret(x: Array, to: Any) -> Array:
    """The same bits as another type of the same width."""
    to = np.dtype(to)
    width = bit_width(to)
    if width == 8 * to.itemsize:
        return np.ascontiguousarray(x).view(to)
    bits = np.ascontiguousarray(x).view(np.uint8) & ((1 << width) - 1)
    return bits.view(to) if floating(to) else bits.astype(to)


@kernel("Cast")
def cast(backend: ArrayBackend, node: Node) -> Offer | None:
    """A copy between types that compute; a conversion for those that only store."""
    x, to = node.inputs[0], np.dtype(node.attributes["to"])
    assert x is not None
    if {x.dtype, to} & NARROW or object in (x.dtype, to):
        rules = node.attributes["saturate"], node.attributes["round_mode"]

        def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
            return lambda: np.copyto(outputs[0], convert(inputs[0], to, *rules))

        return Offer("convert", bind)
    return offer_formula(backend, node)


@host("Cast")
def evaluate_cast(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """A cast of whatever comes, strings too."""
    rules = node.attributes["saturate"], node.attributes["round_mode"]
    return [convert(np.asarray(inputs[0]), node.attributes["to"], *rules)]


@host("CastLike")
def evaluate_cast_like(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """As `evaluate_cast`, to the type of the second input."""
    rules = node.attributes["saturate"], node.attributes["round_mode"]
    to = np.asarray(inputs[1]).dtype
    return [convert(np.asarray(inputs[0]), object if to.kind in "US" else to, *rules)]


@kernel("BitCast")
def bit_cast(backend: ArrayBackend, node: Node) -> Offer:
    """Another view of the same memory, copied."""
    to = node.outputs[0].dtype

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return lambda: np.copyto(outputs[0], reinterpret(inputs[0], to))

    return Offer("view", bind)
