"""Optimizers on the running means of the gradient and of its square: Adam and its kin."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from eddl.graph import Value
from eddl.ops.table import apply
from eddl.optimizers.rule import Change, Rule, Slots, running
from eddl.schedules import Schedule


@dataclass(frozen=True)
class Moments(Rule):
    """Optimizers on the running means of the gradient and of its square."""

    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        """The running means."""
        return ("mean", "square")

    def moments(self, gradient: Value, slots: Slots) -> dict[str, Value]:
        """The new running means."""
        return {
            "mean": running(slots["mean"], gradient, self.beta_1),
            "square": running(slots["square"], gradient * gradient, self.beta_2),
        }

    def root(self, square: Value, step: Value) -> Value:
        """The size of the gradient from its mean square, which began at 0."""
        return apply("Sqrt", square * whole_of(self.beta_2, step, square)) + self.epsilon

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """Kingma and Ba 2015, algorithm 1; the corrections are computed in float64."""
        moved = self.moments(gradient, slots)
        return self._whole(moved["mean"], moved["square"], step), moved

    def _whole(self, mean: Value, square: Value, step: Value) -> Value:
        """The corrected mean over the root, as a chain that begins with the root."""
        inverse = apply("Reciprocal", self.root(square, step))
        return inverse * mean * whole_of(self.beta_1, step, mean)


@dataclass(frozen=True)
class Adam(Moments):
    """Adam. Source: Kingma and Ba 2015, algorithm 1.

    Parameters: `learning_rate`, a number or a schedule; `beta_1`, `beta_2`, the decay of the
    running means of the gradient and of its square; `epsilon`, added to the root; `amsgrad`,
    whether to divide by the greatest mean square so far; `weight_decay`, added to the gradient.

    >>> Adam(1e-3).slots
    ('mean', 'square')
    """

    _: KW_ONLY
    amsgrad: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """The running means, and the greatest mean square."""
        return ("mean", "square", "greatest") if self.amsgrad else ("mean", "square")

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """As algorithm 1, or with the greatest mean square in its place."""
        if not self.amsgrad:
            return super().direction(gradient, slots, step)
        moved = self.moments(gradient, slots)
        moved["greatest"] = apply("Max", slots["greatest"], moved["square"])
        return self._whole(moved["mean"], moved["greatest"], step), moved


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam with the greatest mean square so far. Source: Reddi et al. 2018, algorithm 2, with
    Adam's corrections.

    >>> AMSGrad().slots
    ('mean', 'square', 'greatest')
    """

    _: KW_ONLY
    amsgrad: bool = True


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: the parameter shrinks by rate * weight_decay.

    Source: Loshchilov and Hutter 2019, algorithm 2.

    >>> AdamW().weight_decay
    0.01
    """

    _: KW_ONLY
    weight_decay: float = 1e-2

    decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class Adamax(Moments):
    """Adam with the greatest size of the gradient, which decays, in place of the root.

    Source: Kingma and Ba 2015, algorithm 2.

    >>> Adamax().slots
    ('mean', 'greatest')
    """

    learning_rate: float | Schedule = 2e-3

    @property
    def slots(self) -> tuple[str, ...]:
        """The running mean and the greatest size."""
        return ("mean", "greatest")

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """The corrected mean over the greatest size."""
        mean = running(slots["mean"], gradient, self.beta_1)
        size = apply("Abs", gradient) + self.epsilon
        greatest = apply("Max", self.beta_2 * slots["greatest"], size)
        share = share_of(self.beta_1, step, gradient)
        return mean / (greatest * share), {"mean": mean, "greatest": greatest}


@dataclass(frozen=True)
class Nadam(Moments):
    """Adam with Nesterov momentum beta_1 (1 - 0.96^(t momentum_decay) / 2), which warms up.

    Source: Dozat 2016, algorithm 2.

    >>> Nadam().slots
    ('mean', 'square')
    """

    learning_rate: float | Schedule = 2e-3
    _: KW_ONLY
    momentum_decay: float = 4e-3

    def direction(self, gradient: Value, slots: Slots, step: Value) -> Change:
        """The gradient and the mean, each with the share of momentum it is due."""
        moved = self.moments(gradient, slots)
        now, after = self._momentum(step), self._momentum(step + 1.0)
        product = self._product(step)
        fresh = (1.0 - now) / (1.0 - product)
        held = after / (1.0 - product * after)
        kind = gradient.dtype
        ahead = (
            apply("Cast", fresh, to=kind) * gradient + apply("Cast", held, to=kind) * moved["mean"]
        )
        return ahead / self.root(moved["square"], step), moved

    def _momentum(self, step: Value) -> Value:
        warm = apply("Exp", step * (self.momentum_decay * math.log(0.96)))
        return self.beta_1 * (1.0 - 0.5 * warm)

    def _product(self, step: Value) -> Value:
        """The product of all momenta up to a step, a pure function of it.

        The logarithm of prod_i (1 - q^i / 2) is -sum_k q^k (1 - q^(k t)) / (k 2^k (1 - q^k)), of
        which 60 terms are exact in float64.
        """
        powers = np.arange(1, 61, dtype=np.float64)
        shares = 1.0 / (powers * 2.0**powers)
        if self.momentum_decay:
            rates = powers * (self.momentum_decay * math.log(0.96))
            left = (1.0 - apply("Exp", step * rates)) * (shares * np.exp(rates) / -np.expm1(rates))
        else:
            left = step * shares
        logarithm = -apply("ReduceSum", left, keepdims=0)
        return apply("Exp", logarithm + step * math.log(self.beta_1)) if self.beta_1 else step * 0.0


@dataclass(frozen=True)
class LAMB(Moments):
    """Adam's direction with decoupled weight decay, at the length of each parameter.

    The direction is scaled by |parameter| / |direction|, Euclidean norms over the whole parameter,
    and by 1 where one of them is 0. Source: You et al. 2020, algorithm 2.

    >>> LAMB().layerwise
    True
    """

    _: KW_ONLY
    epsilon: float = 1e-6
    weight_decay: float = 1e-2

    layerwise: ClassVar[bool] = True
    decoupled: ClassVar[bool] = True

    def scaled(self, direction: Value, parameter: Value) -> Value:
        """At the parameter's length."""
        theirs, own = (apply("ReduceL2", value, keepdims=0) for value in (parameter, direction))
        both = apply("Greater", apply("Min", theirs, own), 0.0)
        trust = apply("Where", both, theirs / apply("Where", both, own, 1.0), 1.0)
        return trust * direction


def whole_of(decay: float, step: Value, like: Value) -> Value:
    """What brings a running mean that began at 0 to the true one: a factor, since a parameter's
    thousands of elements are multiplied faster than divided."""
    return apply("Cast", apply("Reciprocal", _share(decay, step)), to=like.dtype)


def share_of(decay: float, step: Value, like: Value) -> Value:
    """1 - decay^step, what a running mean that began at 0 holds of the true one."""
    return apply("Cast", _share(decay, step), to=like.dtype)


def _share(decay: float, step: Value) -> Value:
    return 1.0 - apply("Pow", step * 0.0 + decay, step)
