"""Which tiles a convolution with fewer products is cut into, and whether it pays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl.backends.onednn.library import Refused
from eddl.backends.onednn.winograd import Algorithm, algorithm
from eddl.ops.windows import Windows

Array = np.ndarray[Any, Any]

FEWEST = 16
"""Channels below which vectors would not be full."""

RESULTS = (4, 6, 8, 10)
"""Sizes of tiles to choose from."""

GROUP = 1 << 24
"""Bytes of transformed slices held at a time."""

SLOW = 5.0
"""How much longer a product of a transform takes than one of a convolution."""

WIDE = 6.0
"""The same where only the first axis is transformed."""

SPREAD = 100.0
"""What a transformed weight costs, in products of a convolution: it goes through the memory."""

GAIN, PLANE_GAIN, PLANE_WEIGHTS_GAIN = 0.8, 0.745, 0.65
"""The shares of the direct convolution's estimated time that are not to be exceeded: for volumes,
for planes, where the transforms weigh more, and for the gradient by their weights, where they weigh
most."""


@dataclass(frozen=True)
class Axis:
    """An axis whose tiles are transformed: `offset` positions before the first result's own lies
    the first input it depends on."""

    short: Algorithm
    source: int
    target: int
    offset: int

    @property
    def tiles(self) -> int:
        """How many tiles cover the results."""
        return -(-self.target // self.short.results)

    def reads(self, tile: int) -> tuple[slice, Array]:
        """The inputs of a tile that are no padding, and the matrix that transforms them."""
        first = tile * self.short.results - self.offset
        start = min(max(first, 0), self.source)
        stop = max(min(first + self.short.span, self.source), start)
        return slice(start, stop), self.short.inputs[:, start - first : stop - first].copy()

    def writes(self, tile: int) -> tuple[slice, Array]:
        """The results of a tile, and the matrix that makes them of the products."""
        start = tile * self.short.results
        stop = min(start + self.short.results, self.target)
        return slice(start, stop), self.short.outputs[: stop - start].copy()


@dataclass(frozen=True)
class Shape:
    """A convolution of `channels` to `filters`; the third axis of each side is `line` and
    `result` long. A plane is a volume whose second axis has one position."""

    samples: int
    channels: int
    filters: int
    outer: Axis
    inner: Axis
    line: int
    result: int
    taps: int

    @property
    def flat(self) -> bool:
        """Whether nothing is transformed along the second axis, as in planes, which have none."""
        return self.inner.short.products == 1

    @property
    def slices(self) -> int:
        """Tiles along the first axis, over all samples."""
        return self.samples * self.outer.tiles

    @property
    def group(self) -> int:
        """How many of them are transformed at a time."""
        sides = self.inner.source * self.line * self.channels
        sides += self.inner.target * self.result * self.filters
        each = 4 * self.outer.short.products * sides
        groups = -(-self.slices // max(GROUP // each, 1))
        return -(-self.slices // groups)

    @property
    def cost(self) -> float:
        """The estimated time, in products of a convolution; for each of its three directions."""
        outer, inner, tiles = self.outer.short, self.inner.short, self.inner.tiles
        places = outer.products * inner.products
        made = places * tiles * self.result * self.channels * self.filters * self.taps
        turned = self.line * self.channels * outer.products * (
            outer.span * self.inner.source + inner.products * inner.span * tiles
        ) + self.result * self.filters * outer.products * (
            outer.results * self.inner.target + inner.products * inner.results * tiles
        )
        groups = 1 if self.flat else -(-self.slices // self.group)
        weights = places * self.channels * self.filters * self.taps * groups
        slow = WIDE if self.flat else SLOW
        return self.slices * (made + slow * turned) + SPREAD * weights


def shape(
    samples: int, channels: int, filters: int, source: Sequence[int], target: Sequence[int],
    windows: Windows, kind: str,
) -> Shape:  # fmt: skip
    """The cheapest tiles for a convolution, "forward", or its gradient by the "data" or by the
    "weights"; `Refused` where the direct convolution is cheaper."""
    if len(source) != 3 or {*windows.strides, *windows.dilations} != {1}:
        raise Refused("no dense convolution of planes or volumes")
    flat = source[1] == target[1] == windows.kernel[1] == 1
    if min(channels, filters) < FEWEST or min(target) < 1:
        raise Refused("too few channels")
    if windows.kernel[0] < 2 or (windows.kernel[1] < 2 and not flat):
        raise Refused("a kernel of one position")
    if min((*windows.before, *windows.after)) < 0:
        raise Refused("negative paddings")
    offsets = [k - 1 - b if kind == "data" else b
               for k, b in zip(windows.kernel, windows.before, strict=True)]  # fmt: skip
    outer, inner = (
        [Axis(algorithm(m, windows.kernel[i]), source[i], target[i], offsets[i]) for m in sizes]
        for i, sizes in enumerate((RESULTS, (1,) if flat else RESULTS))
    )
    choices = [
        Shape(samples, channels, filters, first, second, source[2], target[2], windows.kernel[2])
        for first, second in itertools.product(outer, inner)
    ]
    best = min(choices, key=lambda choice: choice.cost)
    direct = samples * math.prod(target) * channels * filters * math.prod(windows.kernel)
    plane = PLANE_WEIGHTS_GAIN if kind == "weights" else PLANE_GAIN
    if best.cost > (plane if flat else GAIN) * direct:
        raise Refused("a convolution that is faster as it is")
    return best
