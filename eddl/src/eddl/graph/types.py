"""Types of values: an element type and a shape whose sizes may be unknown or named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Dim = int | str | None
"""A size: a number, a name for a number that comes with the input (`"batch"`), or unknown."""


@dataclass(frozen=True)
class Type:
    """The type of a tensor value: NumPy element type and shape.

    >>> Type("float32", ("batch", 3, None))
    float32[batch, 3, ?]
    """

    dtype: np.dtype[Any]
    shape: tuple[Dim, ...]

    def __init__(self, dtype: Any, shape: Sequence[Dim]) -> None:
        object.__setattr__(self, "dtype", np.dtype(dtype))
        object.__setattr__(self, "shape", tuple(shape))

    @property
    def opaque(self) -> bool:
        """Whether only a run will tell what it is: a sequence, an optional, an unknown rank."""
        return False

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def static(self) -> bool:
        """Whether every size is a number."""
        return all(isinstance(size, int) for size in self.shape)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a static type, as numbers."""
        sizes = tuple(size for size in self.shape if isinstance(size, int))
        if len(sizes) != len(self.shape):
            raise ValueError(f"the shape {self} is not known yet")
        return sizes

    @cached_property
    def count(self) -> int:
        """The number of elements of a static type."""
        return math.prod(self.sizes)

    @cached_property
    def nbytes(self) -> int:
        """The bytes of a static type."""
        return self.count * self.dtype.itemsize

    def with_shape(self, shape: Sequence[Dim]) -> Type:
        """The same element type with another shape."""
        return Type(self.dtype, shape)

    def with_dtype(self, dtype: Any) -> Type:
        """The same shape with another element type."""
        return Type(dtype, self.shape)

    def __repr__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype.name}[{sizes}]"


class Opaque(Type):
    """The type of what is known only in a run: sequences, optionals, tensors of unknown rank.

    >>> Opaque().static
    False
    """

    def __init__(self) -> None:
        super().__init__(object, ())

    @property
    def opaque(self) -> bool:
        """True."""
        return True

    @property
    def static(self) -> bool:
        """False."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque)

    def __hash__(self) -> int:
        return hash(Opaque)

    def __repr__(self) -> str:
        return "known in a run"
