"""Every metric by name against NumPy: each rank, both types, any batches, ignored labels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special, stats

import eddl
from eddl import metrics
from eddl.errors import EddlError
from eddl.ops import apply

SHAPES = [(30, 3), (9, 3, 5), (5, 3, 4, 3), (4, 3, 2, 3, 2)]
SPLITS = [[0, None], [0, 1, None], [0, 2, 3, None]]
IGNORED = 255


def measure(metric, prediction, target, split=(0, None), end=lambda x: x * 1.0):
    """The metric over batches that end at the numbers of `split`, through a model that does
    nothing but `end`."""
    x = eddl.Input(prediction.shape[1:], dtype=prediction.dtype)
    net = eddl.Model(x, end(x))
    net.build(optimizer=eddl.SGD(0.1), loss=lambda p, t: apply("ReduceSum", p, keepdims=0),
              metrics=[metric])  # fmt: skip
    parts = [slice(a, b) for a, b in itertools.pairwise(split)]
    return net.evaluate([(prediction[s], target[s]) for s in parts])[metrics.get(metric).name]


def flat(logits, labels):
    """[positions, C] and [positions] of what counts."""
    rows = np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1])
    keep = labels.reshape(-1) < logits.shape[1]
    return rows[keep], labels.reshape(-1)[keep]


def overlap(score, background):
    def formula(logits, labels):
        rows, truth = flat(logits, labels)
        found = rows.argmax(1)
        scores = []
        for c in range(0 if background else 1, rows.shape[1]):
            p, t = found == c, truth == c
            if p.any() or t.any():
                scores.append(score((p & t).sum(), p.sum(), t.sum()))
        return np.mean(scores)

    return formula


def brute_area(scores, positive):
    pairs = list(itertools.product(scores[positive], scores[~positive]))
    return np.mean([1.0 * (a > b) + 0.5 * (a == b) for a, b in pairs])


def auc(logits, labels):
    rows, truth = flat(logits, labels)
    shares = special.log_softmax(rows.astype(np.float64), 1)
    return np.mean([brute_area(shares[:, c], truth == c) for c in range(rows.shape[1])])


def top(k):
    def formula(logits, labels):
        rows, truth = flat(logits, labels)
        best = np.argsort(-rows, axis=1)[:, :k]
        return (best == truth[:, None]).any(1).mean()

    return formula


CLASSES = {
    "accuracy": ("accuracy", lambda x, y: (flat(x, y)[0].argmax(1) == flat(x, y)[1]).mean()),
    "top_2": (metrics.TopK(2), top(2)),
    "top_5": ("top_5", top(5)),
    "dice": ("dice", overlap(lambda b, p, t: 2 * b / (p + t), False)),
    "dice with background": (metrics.Dice(include_background=True),
                             overlap(lambda b, p, t: 2 * b / (p + t), True)),
    "iou": ("iou", overlap(lambda b, p, t: b / (p + t - b), False)),
    "precision": ("precision", overlap(lambda b, p, t: b / p if p else 0, False)),
    "recall": ("recall", overlap(lambda b, p, t: b / t if t else 0, False)),
    "auc": ("auc", auc),
}  # fmt: skip
NUMBERS = {
    "mean_squared_error": lambda p, t: ((p - t) ** 2).mean(),
    "root_mean_squared_error": lambda p, t: np.sqrt(((p - t) ** 2).mean()),
    "mean_absolute_error": lambda p, t: abs(p - t).mean(),
    "mean_relative_error": lambda p, t: (abs(p - t) / np.maximum(abs(t), 1e-7)).mean(),
}
BINARY = {
    "binary_accuracy": lambda x, y: ((x > 0) == (y > 0)).mean(),
    "auc": lambda x, y: brute_area(x.ravel(), y.ravel() == 1),
    "dice": lambda x, y: 2 * ((x > 0) & (y > 0)).sum() / ((x > 0).sum() + (y > 0).sum()),
}


def test_every_metric_has_a_row():
    assert set(metrics.NAMED) <= {*CLASSES, *NUMBERS, *BINARY}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_metrics_of_classes(name, shape, dtype):
    r = np.random.default_rng(len(shape))
    logits = r.standard_normal(shape).astype(dtype)
    labels = r.integers(0, 3, (shape[0], *shape[2:]))
    holes = np.where(r.random(labels.shape) < 0.2, IGNORED, labels)
    metric, formula = CLASSES[name]
    for target, split in itertools.product((labels, holes), SPLITS):
        expected = formula(logits, target)
        assert measure(metric, logits, target, split) == pytest.approx(expected, rel=1e-12)
    one_hot = np.moveaxis(np.eye(3)[labels], -1, 1)
    assert measure(metric, logits, one_hot) == pytest.approx(formula(logits, labels), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_metrics_of_numbers(name, shape, dtype):
    r = np.random.default_rng(len(shape))
    p, t = (r.standard_normal(shape).astype(dtype) for _ in range(2))
    for split in SPLITS:
        expected = NUMBERS[name](p.astype(float), t.astype(float))
        assert measure(name, p, t, split) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(20, 1), (9, 1, 5), (5, 1, 4, 3), (4, 1, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_metrics_of_one_channel(name, shape):
    r = np.random.default_rng(len(shape))
    logits = r.standard_normal(shape).round(1)  # ties
    labels = r.integers(0, 2, shape)
    expected = BINARY[name](logits, labels)
    for split in SPLITS:
        assert measure(name, logits, labels, split) == pytest.approx(expected, rel=1e-12)
        assert measure(name, logits, labels[:, 0], split) == pytest.approx(expected, rel=1e-12)
        assert measure(name, logits, labels.astype(float), split) == pytest.approx(expected)
        assert measure(
            name, logits, labels, split, end=lambda x: apply("Sigmoid", x)
        ) == pytest.approx(expected, rel=1e-12)
    out = r.random(shape) < 0.3
    keep = np.where(out, IGNORED, labels)
    expected = BINARY[name](logits[~out], labels[~out])
    assert measure(name, logits, keep) == pytest.approx(expected, rel=1e-12)


def test_several_yes_or_no_channels():
    r = np.random.default_rng(3)
    logits, labels = r.standard_normal((8, 4, 5)), r.integers(0, 2, (8, 4, 5))
    found = logits > 0
    each = [2 * (found[:, c] & (labels[:, c] > 0)).sum() / (found[:, c].sum() + labels[:, c].sum())
            for c in range(4)]  # fmt: skip
    assert measure(metrics.Dice(multilabel=True), logits, labels) == pytest.approx(np.mean(each))
    areas = [brute_area(logits[:, c].ravel(), labels[:, c].ravel() == 1) for c in range(4)]
    assert measure(metrics.AUC(multilabel=True), logits, labels) == pytest.approx(np.mean(areas))


def test_a_label_that_is_a_class_can_be_ignored():
    r = np.random.default_rng(4)
    logits, labels = r.standard_normal((30, 3)), r.integers(0, 3, 30)
    keep = labels != 1
    expected = (logits[keep].argmax(1) == labels[keep]).mean()
    assert measure(metrics.Accuracy(ignore_label=1), logits, labels) == pytest.approx(expected)


def test_the_area_of_two_classes_ranks_by_the_second():
    r = np.random.default_rng(5)
    logits, labels = r.standard_normal((40, 2)), r.integers(0, 2, 40)
    share = special.softmax(logits, 1)[:, 1]
    expected = brute_area(share, labels == 1)
    assert measure("auc", logits, labels, [0, 7, None]) == pytest.approx(expected, rel=1e-12)
    probabilities = measure("auc", logits, labels, end=lambda x: apply("Softmax", x, axis=1))
    assert probabilities == pytest.approx(expected, rel=1e-12)


def test_the_area_of_many_ties_is_the_rank_statistic():
    r = np.random.default_rng(6)
    scores, labels = r.integers(0, 20, 3000).astype(np.float32), r.integers(0, 2, 3000)
    ones, zeros = scores[labels == 1], scores[labels == 0]
    u = stats.mannwhitneyu(ones, zeros).statistic
    assert metrics.ranking.area(scores, labels) == pytest.approx(u / len(ones) / len(zeros))
    assert np.isnan(metrics.ranking.area(scores, np.ones(3000, int)))
    assert np.isnan(metrics.ranking.area(np.array([np.nan, 1]), np.array([0, 1])))


def test_a_threshold_is_a_probability():
    logits, labels = np.array([[-2.0], [0.3], [0.9], [3.0]]), np.array([0, 0, 0, 1])
    assert measure(metrics.BinaryAccuracy(0.8), logits, labels) == 1.0
    assert measure(metrics.BinaryAccuracy(0.8, from_logits=False), logits, labels) == 0.75


@pytest.mark.parametrize("name", ["accuracy", "dice", "precision", "auc", "binary_accuracy"])
def test_metrics_of_nothing_are_not_a_number(name):
    channels = 1 if name == "binary_accuracy" else 3
    target = np.full(4, IGNORED)
    assert np.isnan(measure(name, np.ones((4, channels)), target))


def test_scores_that_are_no_numbers_are_not_right():
    logits = np.full((4, 8), np.nan)
    assert measure("top_5", logits, np.array([1, 2, 3, 4])) == 0
    assert np.isnan(measure("auc", logits[:, :1], np.array([0, 1, 0, 1])))


def test_classes_that_are_nowhere_are_left_out():
    logits = np.array([[0.0, 1.0, -1.0], [1.0, 0.0, -1.0]])
    assert measure("dice", logits, np.array([1, 0])) == 1.0
    assert measure("precision", logits, np.array([1, 2])) == 0.5  # class 2 is there, unfound: 0


def test_scores_a_class():
    x = eddl.Input((3,), dtype="float64")
    metric = metrics.IoU()
    state = {"both": np.array([1.0, 2, 0]), "found": np.array([2.0, 2, 0]),
             "true": np.array([1.0, 4, 0])}  # fmt: skip
    np.testing.assert_array_equal(metric.per_class(state), [0.5, 0.5, np.nan])
    assert set(metric.init(x)) == set(state)


def test_several_metrics_at_once_in_training_and_evaluation():
    r = np.random.default_rng(7)
    data, labels = r.standard_normal((30, 4)).astype("float32"), r.integers(0, 3, 30)
    x = eddl.Input((4,))
    net = eddl.Model(x, eddl.layers.dense(x, 3))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy",
              metrics=["accuracy", "auc", "dice"])  # fmt: skip
    history = net.fit(data, labels, epochs=2, batch_size=7, validation=(data, labels))
    assert {"accuracy", "auc", "dice", "val_auc"} <= set(history)
    assert history["val_auc"][-1] == pytest.approx(auc(np.log(net.predict(data)), labels), abs=1e-6)
    assert set(net.train_batch(data, labels)) == {"loss", "accuracy", "auc", "dice"}


@pytest.mark.parametrize(
    ("metric", "shape", "words"),
    [
        ("accuracy", (4, 1), "binary_accuracy"),
        ("top_5", (4, 1), "binary_accuracy"),
        ("f_one", (4, 2), "expected one of"),
        ("mean_squared_error", (4, 3), "equal shapes"),
    ],
)
def test_what_cannot_be_measured_is_refused(metric, shape, words):
    with pytest.raises(EddlError, match=words):
        measure(metric, np.ones(shape), np.zeros(4, int))
    with pytest.raises(EddlError, match="at least 1"):
        metrics.TopK(0)
    with pytest.raises(EddlError, match="between 0 and 1"):
        metrics.BinaryAccuracy(1.0)
