"""Optimizers without running means of the gradient: descent, and descent in measured steps."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.ops.table import apply
from eddl.optimizers.rule import Change, Rule, Slots, running
from eddl.schedules import Schedule


@dataclass(frozen=True)
class SGD(Rule):
    """Gradient descent: v = momentum v + g, and along v, or along g + momentum v with `nesterov`.

    Source: Polyak 1964; Nesterov's form as Sutskever et al. 2013, equations 3 and 4.

    >>> SGD(0.1).slots, SGD(0.1, momentum=0.9).slots
    ((), ('velocity',))
    """

    learning_rate: float | Schedule = 1e-2
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise AttributeValueError("SGD: received nesterov=True without momentum, expected both")

    @property
    def slots(self) -> tuple[str, ...]:
        """The velocity, where there is momentum."""
        return ("velocity",) if self.momentum else ()

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """Along the velocity."""
        if not self.momentum:
            return gradient, {}
        velocity = self.momentum * slots["velocity"] + gradient
        ahead = gradient + self.momentum * velocity if self.nesterov else velocity
        return ahead, {"velocity": velocity}


@dataclass(frozen=True)
class RMSprop(Rule):
    """The gradient over the root of the running mean of its square; `centered` takes the variance.

    `decay` is that of the running means; with `momentum` the directions add up as in SGD. Source:
    Tieleman and Hinton 2012, lecture 6.5; centered and with momentum, Graves 2013, equations 38 to
    42.

    >>> RMSprop(centered=True).slots
    ('square', 'mean')
    """

    learning_rate: float | Schedule = 1e-2
    _: KW_ONLY
    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """Running means and the velocity, as far as they are used."""
        chosen = (True, self.centered, self.momentum > 0)
        names = ("square", "mean", "velocity")
        return tuple(name for name, used in zip(names, chosen, strict=True) if used)

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """The gradient in units of its own size."""
        moved = {"square": running(slots["square"], gradient * gradient, self.decay)}
        size = moved["square"]
        if self.centered:
            moved["mean"] = running(slots["mean"], gradient, self.decay)
            # Rounding may take a variance of 0 below it, and its root would not be a number.
            size = apply("Max", size - moved["mean"] * moved["mean"], 0.0)
        direction = gradient / (apply("Sqrt", size) + self.epsilon)
        if self.momentum:
            direction = moved["velocity"] = self.momentum * slots["velocity"] + direction
        return direction, moved


@dataclass(frozen=True)
class Adagrad(Rule):
    """The gradient over the root of the sum of all its squares.

    `rate_decay` d divides the rate by 1 + (t - 1) d. Source: Duchi et al. 2011, figure 1.

    >>> Adagrad().slots
    ('sum',)
    """

    learning_rate: float | Schedule = 1e-2
    _: KW_ONLY
    epsilon: float = 1e-10
    rate_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The sum of the squares."""
        return ("sum",)

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """The gradient in units of all that went before."""
        total = slots["sum"] + gradient * gradient
        direction = gradient / (apply("Sqrt", total) + self.epsilon)
        if self.rate_decay:
            slower = 1.0 / (1.0 + (step - 1.0) * self.rate_decay)
            direction = direction * apply("Cast", slower, to=gradient.dtype)
        return direction, {"sum": total}


@dataclass(frozen=True)
class Adadelta(Rule):
    """The gradient times the ratio of the sizes of past changes and of gradients.

    Source: Zeiler 2012, algorithm 1; `learning_rate` scales its step and is 1 there.

    >>> Adadelta().slots
    ('square', 'change')
    """

    learning_rate: float | Schedule = 1.0
    _: KW_ONLY
    decay: float = 0.9
    epsilon: float = 1e-6

    @property
    def slots(self) -> tuple[str, ...]:
        """The running means of the squares of gradients and of changes."""
        return ("square", "change")

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """A change in the parameter's own units."""
        square = running(slots["square"], gradient * gradient, self.decay)
        sizes = (apply("Sqrt", value + self.epsilon) for value in (slots["change"], square))
        change = gradient * (next(sizes) / next(sizes))
        moved = {"square": square, "change": running(slots["change"], change * change, self.decay)}
        return change, moved
