"""Constraints and regularizers: functions of one parameter in its own shape.

A constraint gives the parameter that is allowed in place of one, and is applied after an update; a
regularizer gives a scalar to add to the loss. Both are named in a table, and both are functions of
symbolic tensors, so that any function `Value -> Value` can stand in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.ops.table import apply, integers

Constraint = Callable[[Value], Value]
Regularizer = Callable[[Value], Value]
Axes = int | Sequence[int] | None

SMALL = 1e-7
"""Keeps a division by a norm of 0 finite."""


@dataclass(frozen=True)
class MaxNorm:
    """Vectors longer than `limit` are shortened to it. Source: Srivastava et al. 2014, section 5.1.

    `axis` tells what one vector is: by default all axes but the first, the weights of one filter or
    unit; all of a vector.

    >>> import eddl
    >>> MaxNorm(2.0)(eddl.Input((3,))).shape
    ('batch', 3)
    """

    limit: float = 2.0
    axis: Axes = None

    def __post_init__(self) -> None:
        _check(self, "limit", self.limit > 0, "a number above 0")

    def __call__(self, parameter: Value) -> Value:
        """The parameter with no vector beyond the limit."""
        norm = _norm(parameter, self.axis)
        return parameter * (apply("Min", norm, self.limit) / apply("Max", norm, SMALL))


@dataclass(frozen=True)
class UnitNorm:
    """Vectors of length 1; a vector of zeros stays. `axis` as for `MaxNorm`.

    >>> import eddl
    >>> UnitNorm()(eddl.Input((3,))).shape
    ('batch', 3)
    """

    axis: Axes = None

    def __call__(self, parameter: Value) -> Value:
        """The parameter at length 1."""
        return parameter / apply("Max", _norm(parameter, self.axis), SMALL)


@dataclass(frozen=True)
class MinMaxNorm:
    """Vectors of lengths between `minimum` and `maximum`; `rate` is the share of the way to go.

    `axis` as for `MaxNorm`.

    >>> import eddl
    >>> MinMaxNorm(0.5, 1.0)(eddl.Input((3,))).shape
    ('batch', 3)
    """

    minimum: float = 0.0
    maximum: float = 1.0
    rate: float = 1.0
    axis: Axes = None

    def __post_init__(self) -> None:
        _check(self, "maximum", 0 <= self.minimum <= self.maximum, "at least minimum, both >= 0")
        _check(self, "rate", 0 < self.rate <= 1, "a share in (0, 1]")

    def __call__(self, parameter: Value) -> Value:
        """The parameter nearer to the allowed lengths."""
        norm = _norm(parameter, self.axis)
        allowed = apply("Min", apply("Max", norm, self.minimum), self.maximum)
        wanted = allowed if self.rate == 1 else self.rate * allowed + (1 - self.rate) * norm
        return parameter * (wanted / apply("Max", norm, SMALL))


@dataclass(frozen=True)
class NonNegative:
    """Nothing below 0.

    >>> import eddl
    >>> NonNegative()(eddl.Input((3,))).shape
    ('batch', 3)
    """

    def __call__(self, parameter: Value) -> Value:
        """The parameter with zeros where it was below."""
        return apply("Relu", parameter)


@dataclass(frozen=True)
class L1L2:
    """`l1` times the sum of |w| plus `l2` times the sum of w^2.

    >>> import eddl
    >>> L1L2(l1=1e-5, l2=1e-4)(eddl.Input((3,))).shape
    ()
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check(self, "l1", self.l1 >= 0, "a number of at least 0")
        _check(self, "l2", self.l2 >= 0, "a number of at least 0")

    def __call__(self, parameter: Value) -> Value:
        """The scalar to add to a loss."""
        parts = []
        if self.l1:
            parts.append(self.l1 * apply("ReduceSum", apply("Abs", parameter), keepdims=0))
        if self.l2 or not parts:
            parts.append(self.l2 * apply("ReduceSum", parameter * parameter, keepdims=0))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def L1(factor: float = 0.01) -> L1L2:
    """`factor` times the sum of |w|.

    >>> L1(1e-5)
    L1L2(l1=1e-05, l2=0.0)
    """
    return L1L2(l1=factor)


def L2(factor: float = 0.01) -> L1L2:
    """`factor` times the sum of w^2.

    >>> L2(1e-4)
    L1L2(l1=0.0, l2=0.0001)
    """
    return L1L2(l2=factor)


CONSTRAINTS: dict[str, Callable[[], Constraint]] = {
    "max_norm": MaxNorm,
    "unit_norm": UnitNorm,
    "min_max_norm": MinMaxNorm,
    "non_negative": NonNegative,
}
"""Constraints by name, with their defaults."""

REGULARIZERS: dict[str, Callable[[], Regularizer]] = {
    "l1": L1,
    "l2": L2,
    "l1_l2": lambda: L1L2(0.01, 0.01),
}
"""Regularizers by name, with factors of 0.01."""


def constraint(given: str | Constraint) -> Constraint:
    """A constraint by name, or the function itself.

    >>> constraint("non_negative")
    NonNegative()
    """
    return _named(given, CONSTRAINTS, "constraint")


def regularizer(given: str | Regularizer) -> Regularizer:
    """A regularizer by name, or the function itself.

    >>> regularizer("l2")
    L1L2(l1=0.0, l2=0.01)
    """
    return _named(given, REGULARIZERS, "regularizer")


def _named(
    given: str | Callable[[Value], Value],
    table: Mapping[str, Callable[[], Callable[[Value], Value]]],
    what: str,
) -> Callable[[Value], Value]:
    if not isinstance(given, str):
        return given
    if given not in table:
        raise AttributeValueError(
            f"received the {what} {given!r}, expected one of {sorted(table)} or a function of a "
            "parameter"
        )
    return table[given]()


def _norm(parameter: Value, axis: Axes) -> Value:
    """The Euclidean norms of a parameter's vectors, with the axes kept."""
    if axis is None:
        axes = [*range(1, parameter.rank)] or [*range(parameter.rank)]
    else:
        axes = [axis] if isinstance(axis, int) else list(axis)
    given = [integers(axes)] if axes else []
    return apply("Sqrt", apply("ReduceSum", parameter * parameter, *given, keepdims=1))


def _check(part: object, name: str, fits: bool, expected: str) -> None:
    if not fits:
        raise AttributeValueError(
            f"{type(part).__name__}: received {name}={getattr(part, name)!r}, expected {expected}"
        )
