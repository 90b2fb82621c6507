"""The geometry that convolutions and pools share: kernels, strides, dilations and padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eddl.graph import Dim
from eddl.ops.table import Call


@dataclass(frozen=True)
class Windows:
    """How windows lie over the spatial axes: one number an axis; `output` may hold unknowns."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    output: tuple[Dim, ...]

    @property
    def pads(self) -> tuple[int, ...]:
        """The padding in ONNX's order: all beginnings, then all ends."""
        return (*self.before, *self.after)

    @property
    def extent(self) -> tuple[int, ...]:
        """The number of positions a dilated window spans along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def attributes(self) -> dict[str, Any]:
        """The ONNX attributes that say the same, with explicit padding."""
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "dilations": self.dilations,
            "pads": self.pads,
            "auto_pad": "NOTSET",
        }


def spatial(
    attributes: Mapping[str, Any], kernel: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Strides, dilations and pads with their defaults."""
    rank = len(kernel)
    return (
        tuple(attributes.get("strides") or (1,) * rank),
        tuple(attributes.get("dilations") or (1,) * rank),
        tuple(attributes.get("pads") or (0,) * (2 * rank)),
    )


def check_windows(call: Call, rank: int, kernel: Sequence[int]) -> None:
    """Refuse kernels, strides, dilations and pads that do not fit the spatial rank."""
    strides, dilations, pads = spatial(call.attributes, kernel)
    if len(kernel) != rank or len(strides) != rank or len(dilations) != rank:
        raise call.fail(
            f"kernel_shape, strides and dilations of {rank} numbers; received {tuple(kernel)}, "
            f"{strides} and {dilations}"
        )
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise call.fail(f"pads of {2 * rank} numbers of at least 0; received {pads}")
    if min((*kernel, *strides, *dilations), default=1) < 1:
        raise call.fail(
            f"kernel_shape, strides and dilations of at least 1; received {tuple(kernel)}, "
            f"{strides} and {dilations}"
        )


def over(attributes: Mapping[str, Any], sizes: Sequence[Dim], kernel: Sequence[int]) -> Windows:
    """Windows over an input of `sizes`, `auto_pad` and `ceil_mode` resolved.

    Source: the ONNX operator specification of Conv and MaxPool.
    """
    rank = len(kernel)
    strides, dilations, pads = spatial(attributes, kernel)
    auto = attributes.get("auto_pad", "NOTSET")
    before, after, output = [], [], []
    for i in range(rank):
        size, extent = sizes[i], dilations[i] * (kernel[i] - 1) + 1
        low, high = pads[i], pads[rank + i]
        result: Dim = None
        if auto in ("SAME_UPPER", "SAME_LOWER") and (strides[i] == 1 or isinstance(size, int)):
            count = size if strides[i] == 1 else -(-size // strides[i])  # type: ignore[operator]
            total = extent - 1
            if isinstance(size, int) and isinstance(count, int):
                total = max((count - 1) * strides[i] + extent - size, 0)
            low, high = total // 2, total - total // 2
            if auto == "SAME_LOWER":
                low, high = high, low
            result = count
        elif auto == "VALID":
            low = high = 0
        if result is None and isinstance(size, int) and not auto.startswith("SAME"):
            room = size + low + high - extent
            if attributes.get("ceil_mode"):
                result = -(-room // strides[i]) + 1
                if (result - 1) * strides[i] >= size + low:  # no window starts in the end padding
                    result -= 1
                high = max(high, (result - 1) * strides[i] + extent - size - low)
            else:
                result = room // strides[i] + 1
        elif result is None and strides[i] == 1 and low + high == extent - 1:
            result = size
        before.append(low)
        after.append(high)
        output.append(result)
    return Windows(tuple(kernel), strides, dilations, tuple(before), tuple(after), tuple(output))


def transposed(
    attributes: Mapping[str, Any], sizes: Sequence[Dim], kernel: Sequence[int]
) -> Windows:
    """Windows of a transposed convolution: `output` is the size it grows `sizes` to.

    Source: the ONNX operator specification of ConvTranspose.
    """
    rank = len(kernel)
    strides, dilations, pads = spatial(attributes, kernel)
    extra = tuple(attributes.get("output_padding") or (0,) * rank)
    wanted = attributes.get("output_shape") or ()
    auto = attributes.get("auto_pad", "NOTSET")
    before, after, output = [], [], []
    for i in range(rank):
        size, extent = sizes[i], dilations[i] * (kernel[i] - 1) + 1
        low, high = pads[i], pads[rank + i]
        result: Dim = None
        if isinstance(size, int):
            full = strides[i] * (size - 1) + extra[i] + extent
            if wanted or auto.startswith("SAME"):
                result = wanted[-rank:][i] if wanted else size * strides[i]
                total = max(full - result, 0)
                low, high = total // 2, total - total // 2
                if auto != "SAME_UPPER":
                    low, high = high, low
            else:
                result = full - low - high
        before.append(low)
        after.append(high)
        output.append(result)
    return Windows(tuple(kernel), strides, dilations, tuple(before), tuple(after), tuple(output))
