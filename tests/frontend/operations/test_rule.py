"""The rule against brute force over every window, and its smoothing against SciPy's."""

import numpy as np
import pytest
from scipy import ndimage

import ecvl
from deephealth import Tool
from deephealth.operations import rule
from deephealth.operations.kinds import SliceSet


@pytest.fixture
def slices():
    rng = np.random.default_rng(1)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    labels = np.zeros((6, 12, 12), np.uint8)
    labels[:, 2:6, 2:6], labels[:, 7:10, 7:10] = 1, 2
    values = rng.normal(0, 40, labels.shape) + np.array([0, 60, 300])[labels]
    return SliceSet(
        ecvl.Image(values.astype(np.int16), "zyx", affine),
        ecvl.Image(
            labels, "zyx", affine, kind="labels", label_names={0: "background", 1: "a", 2: "b"}
        ),
        ecvl.Steps([]),
        1,
        np.array([0, 1, 2]),
        np.array([5]),
    )


def test_no_window_is_better(slices):
    found = Tool("fit_rule").set(slices=slices, smoothing=[0.0, 3.0]).run().value
    assert set(found) == {"a", "b"}
    for number, name in enumerate(found, start=1):
        labels = np.asarray(slices.labels)[slices.training] == number
        best = 0.0
        for deviation in (0.0, 3.0):
            values = rule.smoothed(slices.volume, deviation)[slices.training]
            for low in rule.EDGES[200:360:2]:
                for high in rule.EDGES[200:400:2]:
                    mask = (values >= low) & (values < high)
                    total = mask.sum() + labels.sum()
                    best = max(best, 2 * (mask & labels).sum() / total)
        mask = rule.mask(slices.volume, found[name])[slices.training]
        dice = 2 * (mask & labels).sum() / (mask.sum() + labels.sum())
        assert dice == pytest.approx(found[name]["dice"])
        assert dice >= best


def test_an_open_end_takes_everything_beyond(slices):
    volume = ecvl.Image(np.array([[[-2000, 0, 3000]]], np.int16), "zyx")
    window = {"smoothing": 0.0, "low": -1024.0, "high": float(rule.EDGES[-1])}
    assert rule.mask(volume, window).all()
    assert not rule.mask(volume, window | {"low": -1000.0, "high": 1000.0})[0, 0, [0, 2]].any()


def test_the_smoothing_is_a_gaussian_in_mm(slices):
    ours = rule.smoothed(slices.volume, 4.0)
    theirs = ndimage.gaussian_filter(
        np.asarray(slices.volume, np.float64),
        [4.0 / step for step in slices.volume.spacing],
        mode="nearest",
        radius=[int(np.ceil(12.0 / step)) for step in slices.volume.spacing],
    )
    assert np.abs(ours - theirs).max() < 1e-2
