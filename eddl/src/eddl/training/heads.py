"""What is asked of a model's outputs: losses with weights, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eddl import losses as loss_functions
from eddl import metrics as metric_functions
from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.losses import Loss
from eddl.metrics import Metric
from eddl.ops.table import apply

if TYPE_CHECKING:
    from eddl.training.model import Model


@dataclass(frozen=True)
class Head:
    """An output: its loss (`None`: it is not trained on) with its weight, and its metrics.

    `logits` is what the loss takes, beneath a final softmax or sigmoid of its kind; `prediction`
    has that softmax or sigmoid.
    """

    name: str
    logits: Value
    prediction: Value
    loss: Loss | None = None
    weight: float = 1.0
    metrics: tuple[Metric, ...] = ()


def plain_heads(model: Model) -> list[Head]:
    """The outputs of a model of which nothing is asked."""
    names = _names(model)
    return [Head(name, value, value) for name, value in zip(names, model.outputs, strict=True)]


def make_heads(model: Model, loss: Any, weights: Any = None, metrics: Any = ()) -> list[Head]:
    """Read what `build` was told; one form of each is a value for the only output, or for all."""
    names = _names(model)
    single, joint = len(names) == 1, getattr(loss, "joint", False)
    losses = _each(loss, names, "loss", shared=True)
    factors = _each(weights, names, "loss_weights", default=1.0)
    if (single or joint) and not isinstance(metrics, Mapping):
        metrics = [metrics, *[()] * (len(names) - 1)]
    chosen = _each(metrics or None, names, "metrics", default=())
    heads = []
    for name, output, one, factor, wanted in zip(
        names, model.outputs, losses, factors, chosen, strict=True
    ):
        function, activation = (None, None) if one is None else loss_functions.get(one)
        node = output.node
        logits = prediction = output
        if activation and node is not None and node.op == activation:
            assert node.inputs[0] is not None
            logits = node.inputs[0]
        elif activation:
            axis = {"axis": 1} if activation == "Softmax" else {}
            prediction = apply(activation, output, **axis)
        found = tuple(metric_functions.get(m) for m in _listed(wanted))
        heads.append(
            Head(name, logits, prediction, function, 1.0 if factor is None else factor, found)
        )
    if joint:
        heads = _joined(loss, heads)
    if all(head.loss is None for head in heads):
        raise AttributeValueError(f"build: received no loss, expected one for some of {names}")
    return heads


def _joined(loss: Callable[..., Value], heads: Sequence[Head]) -> list[Head]:
    """A loss that takes all outputs with one target belongs to the first."""
    first, *rest = heads

    def whole(prediction: Value, target: Value) -> Value:
        return loss([prediction, *(head.logits for head in rest)], target)

    return [replace(first, loss=whole), *(replace(head, loss=None) for head in rest)]


def _names(model: Model) -> list[str]:
    """Outputs are called as their layers; of one layer's several, by number."""
    found: list[str] = []
    for value in model.outputs:
        node = value.node
        name = model.names.get(value, "output") if node is None else model.node_name(node)
        same = sum(other == name or other.startswith(f"{name}_") for other in found)
        found.append(f"{name}_{same + 1}" if same else name)
    return found


def _each(
    given: Any, names: Sequence[str], what: str, *, default: Any = None, shared: bool = False
) -> list[Any]:
    """One entry an output, from a mapping by name or a list."""
    if given is None:
        return [default] * len(names)
    if isinstance(given, Mapping):
        unknown = set(given) - set(names)
        if unknown:
            raise AttributeValueError(
                f"build: received {what} for {sorted(map(str, unknown))}, expected outputs among "
                f"{list(names)}"
            )
        return [given.get(name, default) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise AttributeValueError(
                f"build: received {len(given)} {what}, expected one for each of the outputs "
                f"{list(names)}"
            )
        return list(given)
    if shared or len(names) == 1:
        return [given] * len(names)
    raise AttributeValueError(
        f"build: received {given!r} as {what}, expected a list with an entry for each of the "
        f"outputs {list(names)}, or a dict by their names"
    )


def _listed(metrics: Any) -> Sequence[Any]:
    if metrics is None:
        return ()
    return metrics if isinstance(metrics, (list, tuple)) else (metrics,)
