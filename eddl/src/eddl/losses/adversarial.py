"""Losses of two networks against each other, for a `Step` that minimizes both.

The critic scores samples (without an activation) and learns to tell real from fake by
`critic_loss`; the generator learns by `generator_loss` of the critic's scores. `ADVERSARIAL` holds
the kinds.
"""

from __future__ import annotations

from collections.abc import Callable

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.losses.parts import mean, over, total, wide
from eddl.ops.differentiation import gradients
from eddl.ops.table import apply

TINY = 1e-12
"""Below the root of a norm, whose slope at 0 would be infinite."""


def _softplus(value: Value) -> Value:
    return mean(apply("Softplus", value))


def _square(value: Value) -> Value:
    return 0.5 * mean(value * value)


def _relu(value: Value) -> Value:
    return mean(apply("Relu", value))


Kind = tuple[Callable[[Value, Value], Value], Callable[[Value], Value]]

ADVERSARIAL: dict[str, Kind] = {
    "classic": (
        lambda real, fake: _softplus(-real) + _softplus(fake),
        lambda fake: _softplus(-fake),
    ),
    "least_squares": (
        lambda real, fake: _square(real - 1.0) + _square(fake),
        lambda fake: _square(fake - 1.0),
    ),
    "wasserstein": (lambda real, fake: mean(fake) - mean(real), lambda fake: -mean(fake)),
    "hinge": (
        lambda real, fake: _relu(1.0 - real) + _relu(1.0 + fake),
        lambda fake: -mean(fake),
    ),
}
"""Kinds by name: the critic's loss of real and fake scores, the generator's of fake ones.

Sources: classic, Goodfellow et al. 2014, with the generator's form of section 3 that does not
saturate; least squares, Mao et al. 2017, equation 9; Wasserstein, Arjovsky et al. 2017, equation 2,
to be used with `gradient_penalty`; hinge, Lim and Ye 2017.
"""


def critic_loss(real: Value, fake: Value, kind: str = "classic") -> Value:
    """What the critic minimizes, from its scores of real and of fake samples.

    >>> import eddl
    >>> eddl.losses.critic_loss(eddl.Input((1,)), eddl.Input((1,)), "wasserstein").shape
    ()
    """
    return _kind(kind)[0](wide(real), wide(fake))


def generator_loss(fake: Value, kind: str = "classic") -> Value:
    """What the generator minimizes, from the critic's scores of its samples.

    >>> import eddl
    >>> eddl.losses.generator_loss(eddl.Input((1,)), "least_squares").shape
    ()
    """
    return _kind(kind)[1](wide(fake))


def gradient_penalty(
    critic: Callable[[Value], Value], real: Value, fake: Value, mix: Value, *, length: float = 1.0
) -> Value:
    """The mean over samples of (|slope of the critic between real and fake| - length)^2.

    Parameters: `critic`, a model or function from samples to scores, that handles each sample by
    itself; `mix` [N, 1, ...], a number in [0, 1) a sample, drawn anew for each step, which places
    it at mix * real + (1 - mix) * fake. Add it times 10 to the Wasserstein critic's loss. Source:
    Gulrajani et al. 2017, algorithm 1.

    >>> import eddl
    >>> critic = lambda x: eddl.layers.dense(x, 1)
    >>> real, fake, mix = eddl.Input((4,)), eddl.Input((4,)), eddl.Input((1,))
    >>> eddl.losses.gradient_penalty(critic, real, fake, mix).shape
    ()
    """
    between = mix * real + (1.0 - mix) * fake
    (slope,) = gradients(total(critic(between)), [between])
    square = over(slope * slope, range(1, slope.rank)) if slope.rank > 1 else slope * slope
    error = apply("Sqrt", square + TINY) - length
    return mean(error * error)


def _kind(kind: str) -> Kind:
    if kind not in ADVERSARIAL:
        raise AttributeValueError(
            f"received the kind {kind!r} of adversarial loss, expected one of {sorted(ADVERSARIAL)}"
        )
    return ADVERSARIAL[kind]
