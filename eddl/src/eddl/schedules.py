"""Learning rates as functions of the step, counted from 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from eddl.errors import AttributeValueError

Schedule = Callable[..., float]


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
        if not (self.peak > 0 and self.steps > 0 and 0 <= self.warm_up < 1):
            raise AttributeValueError(
                f"OneCycle: received peak={self.peak}, steps={self.steps}, warm_up={self.warm_up}; "
                "expected peak > 0, steps > 0 and 0 <= warm_up < 1"
            )

    def __call__(self, step: int) -> float:
        """The rate of a step."""
        top = self.warm_up * self.steps
        if step < top:
            return _between(self.peak / self.start, self.peak, step / top)
        down = min((step - top) / max(self.steps - top, 1), 1.0)
        return _between(self.peak, self.peak / self.end, down)


def _between(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
