"""A formula in NumPy for every loss by name, and data that fit it.

Formulas of classes take logits and one-hot labels as [positions, C], those of yes or no and of
numbers any shape.
"""

from __future__ import annotations

import numpy as np
from scipy import special

import eddl
from eddl.graph import Input, Type

SHAPES = [(6, 3), (4, 3, 5), (3, 3, 4, 3), (2, 3, 2, 3, 2)]


def rows(x):
    """[N, C, space...] as [positions, C]."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def one_hot(labels, classes=3):
    return np.moveaxis(np.eye(classes)[labels], -1, 1)


def entropy(p, t):
    return -(t * np.log(p)).sum(1).mean()


def overlap(p, t, smooth=1.0):
    score = (2 * (p * t).sum(0) + smooth) / (p.sum(0) + t.sum(0) + smooth)
    return 1 - score[1:].mean()


def sudre(p, t):
    w = 1 / t.sum(0) ** 2
    both, size = (w * (p * t).sum(0)).sum(), (w * (p.sum(0) + t.sum(0))).sum()
    return 1 - (2 * both + 1e-5) / (size + 1e-5)


def tversky(p, t, alpha=0.3, beta=0.7, gamma=1.0):
    both, found, missed = (p * t).sum(0), (p * (1 - t)).sum(0), ((1 - p) * t).sum(0)
    score = (both + 1) / (both + alpha * found + beta * missed + 1)
    return ((1 - score[1:]) ** gamma).mean()


def lovasz(errors, truth):
    """The sum over the sorted errors of e_i (J_i - J_(i-1)), J_i by counting sets."""
    order = np.argsort(-errors, kind="stable")
    whole, last = 0.0, 0.0
    for i in range(1, len(order) + 1):
        wrong = np.zeros(len(order), bool)
        wrong[order[:i]] = True
        true = truth > 0
        found = true ^ wrong
        union = (true | found).sum()
        jaccard = 1 - (true & found).sum() / union if union else 0.0
        whole += max(errors[order[i - 1]], 0) * (jaccard - last)
        last = jaccard
    return whole


def lovasz_softmax(p, t):
    there = [c for c in range(p.shape[1]) if t[:, c].any()]
    return np.mean([lovasz(abs(t[:, c] - p[:, c]), t[:, c]) for c in there])


def crammer(x, t):
    best = np.where(t > 0, -np.inf, x).max(1)
    return np.maximum(0, 1 + best - (x * t).sum(1)).mean()


def focal(p, t, gamma=2.0):
    return -(t * (1 - p) ** gamma * np.log(p)).sum(1).mean()


def soft(function):
    return lambda x, t: function(special.softmax(x, 1), t)


def logistic(p, t):
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()


def binary_focal(p, t, gamma=2.0):
    return -(t * (1 - p) ** gamma * np.log(p) + (1 - t) * p**gamma * np.log(1 - p)).mean()


def binary_dice(p, t):
    p, t = rows(p), rows(t)
    return 1 - ((2 * (p * t).sum(0) + 1) / (p.sum(0) + t.sum(0) + 1)).mean()


def lovasz_hinge(x, t):
    x, t = rows(x), rows(t)
    errors = 1 - x * (2 * t - 1)
    return np.mean([lovasz(errors[:, c], t[:, c]) for c in range(x.shape[1])])


def sigmoid(function):
    return lambda x, t: function(special.expit(x), t)


CLASSES = {
    "categorical_cross_entropy": soft(entropy),
    "soft_cross_entropy": soft(entropy),
    "focal": soft(focal),
    "categorical_hinge": crammer,
    "dice": soft(overlap),
    "dice_cross_entropy": soft(lambda p, t: overlap(p, t) + entropy(p, t)),
    "generalised_dice": soft(sudre),
    "tversky": soft(tversky),
    "lovasz_softmax": soft(lovasz_softmax),
}
YES_OR_NO = {
    "binary_cross_entropy": sigmoid(logistic),
    "binary_focal": sigmoid(binary_focal),
    "hinge": lambda x, t: np.maximum(0, 1 - (2 * t - 1) * x).mean(),
    "binary_dice": sigmoid(binary_dice),
    "binary_dice_cross_entropy": sigmoid(lambda p, t: binary_dice(p, t) + logistic(p, t)),
    "lovasz_hinge": lovasz_hinge,
}
NUMBERS = {
    "mean_squared_error": lambda p, t: ((p - t) ** 2).mean(),
    "mean_absolute_error": lambda p, t: abs(p - t).mean(),
    "mean_relative_error": lambda p, t: (abs(p - t) / abs(t)).mean(),
    "mean_squared_logarithmic_error": lambda p, t: (
        (np.log1p(np.maximum(p, 0)) - np.log1p(np.maximum(t, 0))) ** 2).mean(),
    "huber": lambda p, t: np.where(abs(p - t) < 1, (p - t) ** 2 / 2, abs(p - t) - 0.5).mean(),
}  # fmt: skip


def contrastive(d, t):
    return (t * d**2 + (1 - t) * np.maximum(0, 1 - d) ** 2).mean() / 2


def triplet(x, y):
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    losses = []
    for i in range(len(x)):
        same, other = (y == y[i]) & (np.arange(len(x)) != i), y != y[i]
        if same.any() and other.any():
            losses.append(max(0, 1 + apart[i][same].max() - apart[i][other].min()))
    return np.mean(losses)


PAIRS = {"contrastive": contrastive, "triplet": triplet}
AVERAGES = {
    "categorical_cross_entropy", "soft_cross_entropy", "focal", "categorical_hinge",
    "binary_cross_entropy", "binary_focal", "hinge", *NUMBERS, *PAIRS,
}  # fmt: skip
"""Those that are means over positions, and so end in `average`."""


def data(name, shape=(3, 3, 4, 3), dtype="float64", seed=0):
    """A prediction and a target for a loss, away from kinks."""
    r = np.random.default_rng(seed)
    x = 1.5 * r.standard_normal(shape).astype(dtype)
    if name == "soft_cross_entropy":
        return x, special.softmax(r.standard_normal(shape), 1).astype(dtype)
    if name in CLASSES:
        labels = r.integers(0, shape[1], (shape[0], *shape[2:]))
        labels.reshape(-1)[: shape[1]] = range(shape[1])
        return x, labels
    if name in YES_OR_NO:
        return x, r.integers(0, 2, shape)
    if name == "contrastive":
        return r.uniform(0.1, 2, (9, 1)).astype(dtype), r.integers(0, 2, (9, 1))
    if name == "triplet":
        return x.reshape(shape[0], -1), r.integers(0, 2, shape[0])
    return x, x + r.standard_normal(shape).astype(dtype)


def expected(name, x, t):
    x = x.astype(np.float64)
    if name in CLASSES:
        truth = t if t.dtype.kind == "f" else one_hot(t, x.shape[1])
        return CLASSES[name](rows(x), rows(truth))
    return {**YES_OR_NO, **NUMBERS, **PAIRS}[name](x, t)


def symbols(x, t):
    return (Input(Type(x.dtype, ("batch", *x.shape[1:])), name="p"),
            Input(Type(t.dtype, ("batch", *t.shape[1:])), name="t"))  # fmt: skip


def value(loss, x, t):
    """A loss of arrays."""
    function = eddl.losses.get(loss)[0] if isinstance(loss, str) else loss
    p, y = symbols(x, t)
    return float(eddl.Step([p, y], [function(p, y)], training=False)(x, t)[0])


def gradient(loss, x, t, second=False):
    """A loss, or the squared length of its gradient, and the derivative of it by x."""
    function = eddl.losses.get(loss)[0] if isinstance(loss, str) else loss
    p, y = symbols(x, t)
    end = function(p, y)
    (slope,) = eddl.gradients(end, [p])
    if second:
        end = eddl.ops.apply("ReduceSum", slope * slope, keepdims=0)
        (slope,) = eddl.gradients(end, [p])
    found = eddl.Step([p, y], [end, slope], training=False)(x, t)
    return float(found[0]), found[1]


def slope_along(loss, x, t, direction, second=False, step=1e-6):
    ends = [gradient(loss, x + s * direction, t, second)[0] for s in (step, -step)]
    return (ends[0] - ends[1]) / (2 * step)
