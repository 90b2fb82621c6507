"""One target for outputs at several resolutions.

The sum of several losses has no single count, so a loop that shares a batch out weighs the shares
by their samples. Several outputs with targets of their own need no loss of their own:
`build(loss=[...], loss_weights=[...])`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.losses.named import get
from eddl.losses.parts import Loss
from eddl.ops.table import PRIVATE, apply


@dataclass(frozen=True)
class DeepSupervision:
    """The weighted sum of one loss for outputs at several resolutions, with one target.

    Parameters: `loss`, a name or function; `weights`, one an output, by default 1, 1/2, 1/4 and so
    on, divided by their sum (Isensee et al. 2021). Called with a sequence of predictions and the
    target at the first one's resolution; class indices are resized by the nearest, floating targets
    linearly. `build` takes it as the one loss of a model with several outputs, of which the first
    has the metrics and is the prediction.

    >>> import eddl
    >>> outputs = [eddl.Input((3, 32, 32)), eddl.Input((3, 16, 16))]
    >>> DeepSupervision("dice")(outputs, eddl.Input((32, 32), dtype="int64")).shape
    ()
    """

    loss: str | Loss
    weights: Sequence[float] | None = None

    joint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.weights is not None:
            _check_weights(self.weights, len(self.weights))

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
        _check_weights(weights, len(outputs))
        loss, _ = get(self.loss)
        sized = [target, *(apply("ResizeLike", target, p, domain=PRIVATE) for p in outputs[1:])]
        parts = zip(weights, outputs, sized, strict=True)
        return functools.reduce(operator.add, [w * loss(p, t) for w, p, t in parts if w])


def _check_weights(weights: Sequence[float], count: int) -> None:
    if len(weights) != count or min(weights, default=-1) < 0 or not max(weights) > 0:
        raise AttributeValueError(
            f"DeepSupervision: received weights {weights} for {count} outputs, expected a number "
            "of at least 0 for each, not all 0"
        )
