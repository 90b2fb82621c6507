"""What an example is: a layer applied to inputs, and an oracle for its numbers.

`tests/eddl/layers/test_contract.py` runs every example, and fails for a layer without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SPATIAL = {1: (8,), 2: (8, 6), 3: (4, 6, 8)}
BATCH, CHANNELS = 2, 3


def normal(r: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return r.standard_normal(shape)


def spread(r: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values at least 0.01 apart, none within 0.005 of 0: no ties, no kinks."""
    count = int(np.prod(shape))
    values = (np.arange(count) - count // 2 + 0.5) * max(0.01, 3 / count)
    return r.permutation(values).reshape(shape)


def positive(r: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return r.uniform(0.5, 2.0, shape)


@dataclass(frozen=True)
class Example:
    layer: str
    build: Callable[..., Any]
    """From symbolic inputs to the layer's output, or outputs."""
    oracle: Callable[..., Any]
    """From arrays, then the model's weights in their order, to the expected output or outputs."""
    shapes: tuple[tuple[int, ...], ...] = ((BATCH, CHANNELS, 8, 6),)
    """The inputs' shapes, the batch axis included."""
    data: Callable[..., Any] | tuple[Callable[..., Any], ...] = spread
    """How arrays are drawn: `(generator, shape)`, one for all inputs or one each."""
    free: tuple[int, ...] = ()
    """The axes whose size need not be known when the network is written."""
    smooth: bool = True
    """Whether it has a gradient."""
    steady: bool = True
    """Whether it does in training what it does elsewhere."""
    runtime: str = ""
    """Why onnxruntime cannot run its file, where it cannot."""
    note: str = ""

    @property
    def name(self) -> str:
        sizes = ",".join("x".join(map(str, shape)) for shape in self.shapes)
        return f"{self.layer}-{sizes}{'-' if self.note else ''}{self.note}"

    def arrays(self, dtype: str = "float64", seed: int = 0) -> list[np.ndarray]:
        r = np.random.default_rng(seed)
        draws = self.data if isinstance(self.data, tuple) else (self.data,) * len(self.shapes)
        found = [np.asarray(d(r, s)) for d, s in zip(draws, self.shapes, strict=True)]
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in found]


def each_rank(layer: str, build: Callable[..., Any], oracle: Callable[..., Any], **options: Any):
    """An example for each of 1-D, 2-D and 3-D, whose spatial sizes may be free."""
    return [
        Example(layer, build, oracle, ((BATCH, CHANNELS, *space),),
                free=options.get("free", tuple(range(2, 2 + rank))),
                **{k: v for k, v in options.items() if k != "free"})
        for rank, space in SPATIAL.items()
    ]  # fmt: skip


def space(x: np.ndarray) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def channelwise(vector: np.ndarray, x: np.ndarray) -> np.ndarray:
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))
