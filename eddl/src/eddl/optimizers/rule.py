"""What an optimizer is, and the rule that all of them here follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import ClassVar, Protocol

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.schedules import Schedule

History = Mapping[str, Sequence[float]]
Slots = Mapping[str, Value]
Change = tuple[Value, dict[str, Value]]


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
        self, parameter: Value, gradient: Value, slots: Slots, rate: Value, step: Value
    ) -> Change:
        """The new parameter and slots; `rate` has the parameter's type, `step` (float64) counts
        from 1."""


def rate_at(optimizer: Optimizer, step: int, history: History | None = None) -> float:
    """The learning rate of a step, counted from 0.

    Parameters: `history`, a list a quantity with one number an epoch so far. A schedule with an
    attribute `monitor`, the name of such a quantity, is called with the list, too.

    >>> from eddl import SGD
    >>> rate_at(SGD(0.1), 7)
    0.1
    """
    rate = optimizer.learning_rate
    if not callable(rate):
        return float(rate)
    monitor = getattr(rate, "monitor", None)
    if monitor is None:
        return float(rate(step))
    return float(rate(step, list((history or {}).get(monitor, ()))))


RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    **dict.fromkeys(("beta_1", "beta_2", "momentum", "decay"),
                    (lambda x: 0 <= x < 1, "a number in [0, 1)")),
    "epsilon": (lambda x: x > 0, "a number above 0"),
    **dict.fromkeys(("weight_decay", "momentum_decay", "rate_decay"),
                    (lambda x: 0 <= x < math.inf, "a number of at least 0")),
}  # fmt: skip
"""What the numbers of optimizers may be, by their names."""


@dataclass(frozen=True)
class Rule:
    """parameter - rate * direction; `weight_decay` w adds w * parameter to the gradient, or, where
    it is `decoupled`, to the direction."""

    learning_rate: float | Schedule
    _: KW_ONLY
    weight_decay: float = 0.0

    layerwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if not callable(rate) and not 0 < rate < math.inf:
            raise AttributeValueError(
                f"{type(self).__name__}: received learning_rate={rate!r}, expected a number above "
                "0 or a schedule such as eddl.OneCycle"
            )
        for field in fields(self):
            fits, expected = RANGES.get(field.name, (lambda x: True, ""))
            if not fits(getattr(self, field.name)):
                raise AttributeValueError(
                    f"{type(self).__name__}: received {field.name}="
                    f"{getattr(self, field.name)!r}, expected {expected}"
                )

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of what it keeps."""
        return ()

    def update(
        self, parameter: Value, gradient: Value, slots: Slots, rate: Value, step: Value
    ) -> Change:
        """The new parameter and slots."""
        decay = self.weight_decay * parameter if self.weight_decay else None
        if decay is not None and not self.decoupled:
            gradient = gradient + decay
        direction, moved = self.direction(gradient, slots, step)
        if decay is not None and self.decoupled:
            direction = direction + decay
        return parameter - rate * self.scaled(direction, parameter), moved

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """Where to go, and the new slots."""
        raise NotImplementedError

    def scaled(self, direction: Value, parameter: Value) -> Value:
        """The direction at its length."""
        return direction


def running(mean: Value, value: Value, decay: float) -> Value:
    """A running mean with one more value: mean * decay + value * (1 - decay), as a chain in which
    each is read once and nothing waits."""
    if decay < 0.5:  # the quotient could be too large
        return mean * decay + value * (1 - decay)
    return (mean + value * ((1 - decay) / decay)) * decay
