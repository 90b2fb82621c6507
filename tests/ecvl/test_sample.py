"""A sample keeps what belongs together."""

from typing import Any

import numpy as np
import pytest

from ecvl import GeometryError, Image, KindError, ParameterError, Sample, augment, restore


def test_names_and_single_access(volume: Any) -> None:
    sample = Sample(
        {"t1": volume(), "t2": volume(seed=0)}, volume(kind="labels"), {"name": "Secret"}, "a"
    )
    assert sample.label.kind == "labels"
    with pytest.raises(ParameterError, match="t1"):
        _ = sample.image
    assert "Secret" not in repr(sample)


def test_what_does_not_fit_is_refused(volume: Any) -> None:
    with pytest.raises(GeometryError, match="one grid"):
        Sample(volume(), volume((6, 9, 12), kind="labels"))
    with pytest.raises(KindError, match="'labels'"):
        Sample(volume(), volume())
    with pytest.raises(ParameterError, match="at least one image"):
        Sample({})


@pytest.mark.parametrize(
    "turn",
    [
        augment.Flip("zx", p=1),
        augment.Sequential([augment.Flip("y", p=1), augment.Flip("x", p=1)]),
        augment.Translate(x=(0, 0), y=(0, 0)),
    ],
    ids=repr,
)
def test_exact_operations_are_undone_exactly(volume: Any, turn: Any) -> None:
    sample = Sample(volume(), volume(kind="labels"), id="a", group="p")
    turned = turn(sample, seed=3)
    assert turned.history
    assert (turned.id, turned.group) == ("a", "p")
    back = turned.invert()
    for name in ("image", "label"):
        before, after = getattr(sample, name), getattr(back, name)
        assert np.array_equal(before, after)
        assert np.array_equal(before.affine, after.affine)
    assert back.history == ()


def test_rotations_are_undone_by_resampling(smooth: Any) -> None:
    image = smooth()
    labels = Image((image.array > 60).astype(np.uint8), "zyx", kind="labels")
    sample = Sample(image, labels)
    turn = augment.Sequential(
        [augment.Rotate((8, 8)), augment.Scale((1.1, 1.1)), augment.Flip("y", p=1)]
    )
    turned = turn(sample, seed=1)
    assert [entry["op"] for entry in turned.history] == ["Rotate", "Scale", "Flip"]
    back = turned.invert()
    middle = (slice(4, -4), slice(7, -7), slice(7, -7))
    assert np.abs(back.image.array[middle] - image.array[middle]).max() < 1.5
    overlap = (back.label.array & labels.array).sum() * 2
    assert overlap / (back.label.array.sum() + labels.array.sum()) > 0.95
    prediction = turned.label
    assert np.array_equal(restore(prediction, like=turned), back.label)
