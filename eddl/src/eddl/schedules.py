"""Learning rates as functions of the step, counted from 0.

A schedule is any callable of the step. One with an attribute `monitor`, the name of a quantity of
the history, is called with the list of its values so far, one an epoch, too; it is a pure function
of both, so resuming needs no state. Lengths are counted in steps, those of `Plateau` in epochs.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eddl.errors import AttributeValueError

Schedule = Callable[..., float]


@dataclass(frozen=True)
class StepDecay:
    """`initial`, times `factor` after every `every` steps.

    >>> rate = StepDecay(0.1, every=30)
    >>> rate(29), round(rate(30), 6), round(rate(90), 6)
    (0.1, 0.01, 0.0001)
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive(self, "initial", "every", "factor")

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        return self.initial * self.factor ** (step // self.every)


@dataclass(frozen=True)
class MultiStep:
    """`initial`, times `factor` at each of the steps `milestones`.

    >>> rate = MultiStep(1.0, milestones=(10, 15), factor=0.5)
    >>> rate(9), rate(10), rate(20)
    (1.0, 0.5, 0.25)
    """

    initial: float
    milestones: Sequence[int]
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive(self, "initial", "factor")
        ascending = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        _check(self, "milestones", ascending, "steps above 0, each after the one before")

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        return self.initial * self.factor ** bisect.bisect_right(tuple(self.milestones), step)


@dataclass(frozen=True)
class Exponential:
    """`initial` times `factor` to the power step / `every`.

    >>> Exponential(1.0, factor=0.5, every=10)(20)
    0.25
    """

    initial: float
    factor: float
    every: int = 1

    def __post_init__(self) -> None:
        _positive(self, "initial", "factor", "every")

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        return float(self.initial * self.factor ** (step / self.every))


@dataclass(frozen=True)
class Cosine:
    """From `initial` to `end` along half a cosine in `steps`, where it stays; or begins anew.

    With `restarts`, each cycle is `lengthen` times as long as the one before and begins `shrink`
    times as high. Source: Loshchilov and Hutter 2017, equation 5.

    >>> rate = Cosine(1.0, steps=10, restarts=True, lengthen=2)
    >>> rate(0), round(rate(5), 6), rate(10), round(rate(20), 6), rate(30)
    (1.0, 0.5, 1.0, 0.5, 1.0)
    """

    initial: float
    steps: int
    end: float = 0.0
    restarts: bool = False
    lengthen: float = 1.0
    shrink: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "initial", "steps", "shrink")
        _check(self, "end", 0 <= self.end <= self.initial, "a rate from 0 to initial")
        _check(self, "lengthen", 1 <= self.lengthen < math.inf, "a factor of at least 1")

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        start, length, top = 0.0, float(self.steps), self.initial
        while self.restarts and step >= start + length:
            if self.lengthen == 1 and self.shrink == 1:
                start += length * ((step - start) // length)
            else:
                start, length = start + length, length * self.lengthen
                top *= self.shrink
        return _between(max(top, self.end), self.end, min((step - start) / length, 1.0))


@dataclass(frozen=True)
class Polynomial:
    """end + (initial - end) (1 - step / steps)^power; `end` after `steps`.

    Source: power 0.9 is that of Chen et al. 2018 (DeepLab) and of nnU-Net.

    >>> rate = Polynomial(0.1, steps=100, power=1.0)
    >>> rate(0), rate(50), rate(200)
    (0.1, 0.05, 0.0)
    """

    initial: float
    steps: int
    power: float = 0.9
    end: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "initial", "steps", "power")
        _check(self, "end", 0 <= self.end <= self.initial, "a rate from 0 to initial")

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        left = max(1 - step / self.steps, 0.0)
        return float(self.end + (self.initial - self.end) * left**self.power)


@dataclass(frozen=True)
class WarmUp:
    """From `start` times its first rate in a straight line to another schedule, which then begins.

    `schedule` is a number or a schedule; it sees the steps after the `steps` of the warm-up.
    Source: Goyal et al. 2017, section 2.2.

    >>> rate = WarmUp(Cosine(1.0, steps=10), steps=4)
    >>> rate(0), rate(2), rate(4), rate(14)
    (0.0, 0.5, 1.0, 0.0)
    """

    schedule: float | Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "steps")
        _check(self, "start", 0 <= self.start <= 1, "a share from 0 to 1")
        if not callable(self.schedule):
            _positive(self, "schedule")

    @property
    def monitor(self) -> str | None:
        """What the schedule within looks at."""
        return getattr(self.schedule, "monitor", None)

    def __call__(self, step: int, values: Sequence[float] = ()) -> float:
        """The rate of a step."""
        inner = self.schedule
        if callable(inner):
            seen = (values,) if self.monitor else ()
            rate = float(inner(max(step - self.steps, 0), *seen))
        else:
            rate = float(inner)
        return rate * (self.start + (1 - self.start) * min(step / self.steps, 1.0))


@dataclass(frozen=True)
class Plateau:
    """`initial`, times `factor` when `monitor` has not improved for more than `patience` epochs.

    An improvement is a change by more than the share `threshold` of the best value, downwards or,
    with `mode="max"`, upwards; after a reduction the next `cooldown` epochs do not count, and the
    rate never falls below `minimum`. The rules are those of PyTorch's ReduceLROnPlateau.

    >>> rate = Plateau(0.1, factor=0.5, patience=1)
    >>> rate(0, []), rate(40, [1.0, 0.9, 0.9, 0.9]), rate.monitor
    (0.1, 0.05, 'val_loss')
    """

    initial: float
    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    minimum: float = 0.0
    mode: str = "min"

    def __post_init__(self) -> None:
        _positive(self, "initial")
        _check(self, "factor", 0 < self.factor < 1, "a share between 0 and 1")
        _check(self, "mode", self.mode in ("min", "max"), "'min' or 'max'")
        for name in ("patience", "threshold", "cooldown", "minimum"):
            _check(self, name, getattr(self, name) >= 0, "a number of at least 0")

    def __call__(self, step: int, values: Sequence[float] = ()) -> float:
        """The rate after epochs with these values; the step itself does not matter."""
        sign = 1 if self.mode == "min" else -1
        rate, bad, resting = self.initial, 0, 0
        best: float | None = None
        for value in values:
            height = sign * value
            if not math.isnan(height) and (
                best is None or height < best - self.threshold * abs(best)
            ):
                best, bad = height, 0
            else:
                bad += 1
            if resting:
                resting, bad = resting - 1, 0
            if bad > self.patience:
                rate, bad, resting = max(rate * self.factor, self.minimum), 0, self.cooldown
        return rate


@dataclass(frozen=True)
class OneCycle:
    """Up from `peak / start` to `peak` in the first `warm_up` of the steps, then down to
    `peak / end`, both along half a cosine; after `steps` it stays there.

    Source: Smith and Topin 2018, in the cosine form that practice settled on.

    >>> rate = OneCycle(peak=0.1, steps=100)
    >>> round(rate(0), 6), round(rate(30), 6), rate(100) < 1e-4
    (0.004, 0.1, True)
    """

    peak: float
    steps: int
    warm_up: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        _positive(self, "peak", "steps", "start", "end")
        _check(self, "warm_up", 0 <= self.warm_up < 1, "a share of the steps in [0, 1)")

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        top = self.warm_up * self.steps
        if step < top:
            return _between(self.peak / self.start, self.peak, step / top)
        down = min((step - top) / max(self.steps - top, 1), 1.0)
        return _between(self.peak, self.peak / self.end, down)


NAMED: dict[str, Callable[..., Schedule]] = {
    "step_decay": StepDecay,
    "multi_step": MultiStep,
    "exponential": Exponential,
    "cosine": Cosine,
    "polynomial": Polynomial,
    "warm_up": WarmUp,
    "plateau": Plateau,
    "one_cycle": OneCycle,
}
"""Schedules by name."""


def _between(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


def _positive(schedule: object, *names: str) -> None:
    for name in names:
        number = getattr(schedule, name)
        fits = isinstance(number, (int, float)) and 0 < number < math.inf
        _check(schedule, name, fits, "a number above 0")


def _check(schedule: object, name: str, fits: bool, expected: str) -> None:
    if not fits:
        raise AttributeValueError(
            f"{type(schedule).__name__}: received {name}={getattr(schedule, name)!r}, expected "
            f"{expected}"
        )
