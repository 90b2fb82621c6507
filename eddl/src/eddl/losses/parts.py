"""What losses are made of: averages, targets in the prediction's form, and the rule for labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Graph, Node, Value
from eddl.ops.table import PRIVATE, apply, integers

Array = np.ndarray[Any, Any]
Loss = Callable[[Value, Value], Value]

SMALL = 1e-7
"""Keeps the logarithm of a probability finite where `from_logits=False`."""

KEEPING = frozenset({"Paired", "ResizeLike", "Identity", "Cast", "Reshape", "Flatten", "Squeeze",
                     "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "Expand"})  # fmt: skip
"""Operators between a target and its labels that choose and move, but make no new values."""


def average(total: Value, count: Value) -> Value:
    """total / count, marked as such; 0 where count is 0. Every mean over positions ends in it.

    A loop that shares a batch out (gradient accumulation, several ranks) finds the mark in the
    loss (`total_and_count`), differentiates the total, and divides by the count of all shares, so
    that unequal shares weigh right; `count` must not depend on the prediction. A loss that does not
    end in it (a sum of several, a ratio such as Dice) is weighed by the number of samples.

    >>> import eddl
    >>> error = eddl.Input((3,)) - eddl.Input((3,))
    >>> eddl.losses.average(total(error * error), count_of(error)).node.op
    'Average'
    """
    return apply("Average", total, count, domain=PRIVATE)


def total_and_count(loss: Value) -> tuple[Value, Value] | None:
    """What a loss is the `average` of, `None` where it is none."""
    node = loss.node
    if node is None or (node.domain, node.op) != (PRIVATE, "Average"):
        return None
    total, count = node.inputs
    assert total is not None and count is not None
    return total, count


def total(value: Value) -> Value:
    """The sum of all elements."""
    return apply("ReduceSum", value, keepdims=0)


def count_of(value: Value) -> Value:
    """The number of elements, as a scalar of the value's type."""
    return apply("Cast", apply("Size", value), to=value.dtype)


def mean(value: Value, weight: Value | None = None) -> Value:
    """The average of all elements, each with its weight."""
    if weight is None:
        return average(total(value), count_of(value))
    return average(total(value * weight), total(weight))


def over(value: Value, axes: Sequence[int], *, keepdims: int = 0) -> Value:
    """The sum over axes."""
    return apply("ReduceSum", value, integers(axes), keepdims=keepdims)


def wide(prediction: Value) -> Value:
    """The prediction in float32 at least: sums of a half would overflow."""
    return apply("Cast", prediction, to="float32") if prediction.dtype.itemsize < 4 else prediction


def logits_of(prediction: Value, activation: str, from_logits: bool) -> tuple[Value, bool]:
    """The prediction, and whether it holds logits.

    Where it is the output of that very activation the logits beneath are taken, whatever was said.
    """
    node = prediction.node
    if node is not None and node.op == activation and not node.domain:
        beneath = node.inputs[0]
        if beneath is not None and node.attributes.get("axis", 1) in (1, 1 - prediction.rank):
            return wide(beneath), True
    return wide(prediction), from_logits


def probabilities(prediction: Value, activation: str, from_logits: bool) -> Value:
    """Softmax over the classes, or sigmoid, of logits; probabilities as they are."""
    scores, logits = logits_of(prediction, activation, from_logits)
    if not logits:
        return scores
    options = {"axis": 1} if activation == "Softmax" else {}
    return apply(activation, scores, **options)


def paired(target: Value, prediction: Value) -> Value:
    """The target in the prediction's element type; their shapes must be equal."""
    if target.rank != prediction.rank:
        raise ShapeError(
            f"received a target {target.type} for the prediction {prediction.type}; expected equal "
            "shapes"
        )
    same = apply("Paired", target, prediction, domain=PRIVATE)
    return same if same.dtype == prediction.dtype else apply("Cast", same, to=prediction.dtype)


def classes_of(prediction: Value) -> int:
    """The size of the class axis."""
    classes = prediction.shape[1] if prediction.rank > 1 else None
    if not isinstance(classes, int):
        raise ShapeError(f"received {prediction.type}, expected a known number of classes (axis 1)")
    return classes


def one_hot(target: Value, prediction: Value, ignore_label: int | None = None) -> Value:
    """A categorical target as a tensor of the prediction's shape [N, C, space...].

    Class indices become one-hot, with zeros for every class where the index is `ignore_label`.
    Soft labels stay what they are: all zero is how they ignore a position.
    """
    if target.dtype.kind == "f":
        if target.rank != prediction.rank:
            raise ShapeError(
                f"received a floating target {target.type} for the prediction {prediction.type}; "
                "expected one-hot or soft labels with the class axis; class indices must have an "
                "integral type: target.astype('int64')"
            )
        if ignore_label is not None:
            raise AttributeValueError(
                f"received ignore_label={ignore_label} and a floating target {target.type}; "
                "expected class indices of an integral type: soft labels ignore a position by "
                "being all zero there"
            )
        return paired(target, prediction)
    if target.dtype.kind not in "iu":
        raise ShapeError(f"received a target of type {target.type}, expected integers or floats")
    if target.rank != prediction.rank - 1:
        raise ShapeError(
            f"received class indices {target.type} for the prediction {prediction.type}; "
            "expected one index a position: the prediction's shape without the class axis"
        )
    classes = classes_of(prediction)
    if classes < 2:
        raise ShapeError(
            f"received the prediction {prediction.type}, expected at least 2 classes; for a yes or "
            "no in one channel take the loss of that name that begins with binary_"
        )
    placed = apply("Paired", target, prediction, domain=PRIVATE, without=1)
    kept = _labels(placed, classes, ignore_label)
    values = np.asarray([0, 1], prediction.dtype)
    return apply("OneHot", kept, np.asarray([classes], np.int64), values, axis=1)


def yes_or_no(
    target: Value, prediction: Value, ignore_label: int | None = None
) -> tuple[Value, Value | None]:
    """A target of 0 and 1 in the prediction's shape and type, and what counts (`None`: all does).

    Integral targets hold 0, 1 and `ignore_label`, and may lack the axis of a single channel;
    floating ones are probabilities.
    """
    if target.dtype.kind not in "iub":
        if ignore_label is not None:
            raise AttributeValueError(
                f"received ignore_label={ignore_label} and a floating target {target.type}; "
                "expected one of an integral type"
            )
        return paired(target, prediction), None
    if target.rank == prediction.rank - 1 and prediction.rank > 1 and prediction.shape[1] == 1:
        target = apply("Unsqueeze", target, integers([1]))
    if target.rank != prediction.rank:
        raise ShapeError(
            f"received a target {target.type} for the prediction {prediction.type}; expected equal "
            "shapes, or integers without the axis of a single channel"
        )
    same = apply("Paired", target, prediction, domain=PRIVATE)
    if same.dtype.kind == "b":
        return apply("Cast", same, to=prediction.dtype), None
    kept = _labels(same, 2, ignore_label)
    one, out = (apply("Cast", apply("Equal", kept, n), to=prediction.dtype) for n in (1, 2))
    return one, None if ignore_label is None else 1.0 - out


def _labels(target: Value, classes: int, ignore_label: int | None) -> Value:
    """Class indices; `classes` where they are out of range or ignored, so the type must hold it."""
    if np.iinfo(target.dtype).max < classes:
        target = apply("Cast", target, to="int64")
    return apply("Labels", target, domain=PRIVATE, classes=classes, ignore_label=ignore_label)


def target_check(loss: Value, target: Value) -> Callable[[Array], None]:
    """What to call with each array for `target` before a step of `loss` runs.

    It raises `AttributeValueError` for a class index that is neither a class nor the loss's
    `ignore_label`, and does nothing for losses that take no class indices from this target. The
    rule is found in the loss's graph, so it holds for sums, options and functions of the named
    losses, too.

    >>> import eddl, numpy as np
    >>> labels = eddl.Input((), dtype="int64")
    >>> check = target_check(eddl.losses.dice(eddl.Input((3,)), labels), labels)
    >>> check(np.array([0, 2]))
    >>> check(np.array([0, 3]))
    Traceback (most recent call last):
    eddl.errors.AttributeValueError: received the label 3 in the target at (1,), expected 0 to 2...
    """
    found = {
        (node.attributes["classes"], node.attributes["ignore_label"])
        for node in Graph([], [loss]).nodes
        if (node.domain, node.op) == (PRIVATE, "Labels") and _origin(node) is target
    }
    rules = sorted(found, key=str)
    least = min((classes for classes, _ in rules), default=0)
    kind = target.dtype
    unsigned = np.dtype(kind.str.replace("i", "u"))  # what is below 0 is beyond all classes

    def check(array: Array) -> None:
        if not rules:
            return
        labels = np.asarray(array)
        if (
            labels.dtype == kind
            and np.maximum.reduce(labels.view(unsigned), None, initial=0) < least
        ):
            return
        for classes, ignored in rules:
            _check_labels(labels, classes, ignored)

    return check


def _origin(node: Node) -> Value | None:
    value = node.inputs[0]
    while value is not None and value.node is not None and value.node.op in KEEPING:
        value = value.node.inputs[0]
    return value


def _check_labels(labels: Array, classes: int, ignored: int | None) -> None:
    if not labels.size or labels.dtype.kind not in "iu":
        return
    if labels.min() >= 0 and labels.max() < classes:
        return
    wrong = (labels < 0) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        place = tuple(map(int, np.unravel_index(int(wrong.argmax()), wrong.shape)))
        also = f", or ignore_label {ignored}" if ignored is not None else ""
        raise AttributeValueError(
            f"received the label {labels[place]} in the target at {place}, expected 0 to "
            f"{classes - 1}{also}; give the network more classes, or bind the label that counts "
            "nowhere: functools.partial(loss, ignore_label=...)"
        )
