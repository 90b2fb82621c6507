"""Losses of several outputs: each with its own target, or all with one at several resolutions.

Both are functions `(predictions, targets)` that give a weighted sum. A sum has no single count, so
a loop that shares a batch out weighs the shares by their samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.losses.named import get
from eddl.losses.parts import Loss
from eddl.ops.table import PRIVATE, apply


@dataclass(frozen=True)
class Several:
    """The weighted sum of a loss for each output with its own target.

    Parameters: `losses`, names or functions, one an output; `weights`, by default all 1.
    Called with as many predictions as targets.

    >>> import eddl
    >>> loss = Several(["categorical_cross_entropy", "mean_squared_error"], weights=[1.0, 0.5])
    >>> labels = eddl.Input((), dtype="int64")
    >>> loss([eddl.Input((5,)), eddl.Input((2,))], [labels, eddl.Input((2,))]).shape
    ()
    >>> loss.activations
    ('Softmax', None)
    """

    losses: Sequence[str | Loss]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check_weights("Several", self.weights, len(self.losses))

    @property
    def activations(self) -> tuple[str | None, ...]:
        """The operator that each output's predictions end in."""
        return tuple(get(loss)[1] for loss in self.losses)

    def __call__(self, predictions: Sequence[Value], targets: Sequence[Value]) -> Value:
        """The sum."""
        if not len(predictions) == len(targets) == len(self.losses):
            raise AttributeValueError(
                f"Several: received {len(predictions)} predictions and {len(targets)} targets, "
                f"expected {len(self.losses)} of each"
            )
        parts = zip(self.losses, predictions, targets, strict=True)
        return _weighted([get(loss)[0](p, t) for loss, p, t in parts], self.weights)


@dataclass(frozen=True)
class DeepSupervision:
    """The weighted sum of one loss for outputs at several resolutions, with one target.

    Parameters: `loss`, a name or function; `weights`, one an output, by default 1, 1/2, 1/4 and so
    on, divided by their sum (Isensee et al. 2021). Called with a sequence of predictions and the
    target at the first one's resolution; class indices are resized by the nearest, floating targets
    linearly.

    >>> import eddl
    >>> outputs = [eddl.Input((3, 32, 32)), eddl.Input((3, 16, 16))]
    >>> DeepSupervision("dice")(outputs, eddl.Input((32, 32), dtype="int64")).shape
    ()
    """

    loss: str | Loss
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            _check_weights("DeepSupervision", self.weights, len(self.weights))

    @property
    def activation(self) -> str | None:
        """The operator that every output's predictions end in."""
        return get(self.loss)[1]

    def __call__(self, predictions: Sequence[Value] | Value, target: Value) -> Value:
        """The sum."""
        outputs = [predictions] if isinstance(predictions, Value) else list(predictions)
        weights = self.weights
        if weights is None:
            weights = [2.0**-i / (2 - 2.0 ** (1 - len(outputs))) for i in range(len(outputs))]
        _check_weights("DeepSupervision", weights, len(outputs))
        loss, _ = get(self.loss)
        sized = [target, *(apply("ResizeLike", target, p, domain=PRIVATE) for p in outputs[1:])]
        return _weighted([loss(p, t) for p, t in zip(outputs, sized, strict=True)], weights)


def _weighted(parts: Sequence[Value], weights: Sequence[float] | None) -> Value:
    """The sum of parts times their weights."""
    terms = parts if weights is None else [w * p for w, p in zip(weights, parts, strict=True) if w]
    whole = terms[0]
    for term in terms[1:]:
        whole = whole + term
    return whole


def _check_weights(name: str, weights: Sequence[float] | None, count: int) -> None:
    given = [1.0] * count if weights is None else list(weights)
    if len(given) != count or not given or min(given) < 0 or not max(given) > 0:
        raise AttributeValueError(
            f"{name}: received weights {weights} for {count} outputs, expected a number of at "
            "least 0 for each, not all 0"
        )
