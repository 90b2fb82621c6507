"""Optimizers: an update rule, written once in operators, that runs over flat arenas.

`update` sees a stretch of parameters, its gradient and its slots as vectors, and gives the new ones
as expressions; the compiler fuses and plans them like everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.ops.table import apply
from eddl.schedules import Schedule


class Optimizer(Protocol):
    """What an optimizer is: `slots` names the vectors it keeps beside the parameters.

    `layerwise` says that `update` must see each parameter by itself and in its own shape; without
    it `update` sees stretches of many.
    """

    layerwise: ClassVar[bool]

    @property
    def learning_rate(self) -> float | Schedule:
        """The rate, or a function that gives it for a step."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of what it keeps."""

    def update(
        self,
        parameter: Value,
        gradient: Value,
        slots: Mapping[str, Value],
        rate: Value,
        step: Value,
    ) -> tuple[Value, dict[str, Value]]:
        """The new parameter and slots; `rate` has the parameter's type, `step` (float64) counts
        from 1."""


History = Mapping[str, Sequence[float]]


def rate_at(optimizer: Optimizer, step: int, history: History | None = None) -> float:
    """The learning rate of a step, counted from 0.

    Parameters: `history`, a list a quantity with one number an epoch so far. A schedule with an
    attribute `monitor`, the name of such a quantity, is called with the list, too.
    """
    rate = optimizer.learning_rate
    if not callable(rate):
        return float(rate)
    monitor = getattr(rate, "monitor", None)
    if monitor is None:
        return float(rate(step))
    return float(rate(step, list((history or {}).get(monitor, ()))))


@dataclass(frozen=True)
class Adam:
    """Adam. Source: Kingma and Ba 2015, algorithm 1.

    Parameters: `learning_rate`, a number or a schedule; `beta_1`, `beta_2`, the decay of the
    averages of the gradient and of its square; `epsilon`, added to the root.

    >>> Adam(1e-3).slots
    ('mean', 'square')
    """

    learning_rate: float | Schedule = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    layerwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        if not (0 <= self.beta_1 < 1 and 0 <= self.beta_2 < 1 and self.epsilon > 0):
            raise AttributeValueError(
                f"Adam: received beta_1={self.beta_1}, beta_2={self.beta_2}, "
                f"epsilon={self.epsilon}; expected betas in [0, 1) and epsilon > 0"
            )

    def update(
        self,
        parameter: Value,
        gradient: Value,
        slots: Mapping[str, Value],
        rate: Value,
        step: Value,
    ) -> tuple[Value, dict[str, Value]]:
        """The step of algorithm 1; the corrections are computed in float64."""
        mean = slots["mean"] * self.beta_1 + gradient * (1 - self.beta_1)
        square = slots["square"] * self.beta_2 + gradient * gradient * (1 - self.beta_2)
        kind = parameter.dtype
        first = apply("Cast", 1.0 - apply("Pow", _wide(self.beta_1, step), step), to=kind)
        second = apply("Cast", 1.0 - apply("Pow", _wide(self.beta_2, step), step), to=kind)
        change = (mean / first) / (apply("Sqrt", square / second) + self.epsilon)
        return parameter - rate * change, {"mean": mean, "square": square}


@dataclass(frozen=True)
class SGD:
    """Gradient descent, plain.

    >>> SGD(0.1).slots
    ()
    """

    learning_rate: float | Schedule = 1e-2

    slots: ClassVar[tuple[str, ...]] = ()
    layerwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)

    def update(
        self,
        parameter: Value,
        gradient: Value,
        slots: Mapping[str, Value],
        rate: Value,
        step: Value,
    ) -> tuple[Value, dict[str, Value]]:
        """A step against the gradient."""
        return parameter - rate * gradient, {}


def _wide(number: float, like: Value) -> Value:
    """A number as a value of another's type: the base of a power."""
    return like * 0.0 + number


def _check_rate(rate: float | Schedule) -> None:
    if not callable(rate) and not rate > 0:
        raise AttributeValueError(
            f"received learning_rate={rate!r}, expected a number above 0 or a schedule such as "
            "eddl.OneCycle"
        )
