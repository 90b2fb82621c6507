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


def test_boxes_and_points_go_where_the_voxels_go(smooth: Any) -> None:
    values = np.zeros((10, 12, 14), np.uint8)
    values[2:5, 3:7, 8:10] = 1
    image, labels = smooth((10, 12, 14)), Image(values, "zyx", kind="labels")
    box, centre = [[2, 3, 8], [5, 7, 10]], [3, 4.5, 8.5]
    sample = Sample(image, labels, boxes={"it": [box]}, points={"middle": [centre]})
    turned = augment.Sequential([augment.Flip("zx", p=1), augment.Flip("y", p=1)])(sample, seed=1)
    (found,) = turned.boxes["it"]
    here = np.argwhere(turned.label.array)
    np.testing.assert_allclose(found, [here.min(axis=0), here.max(axis=0) + 1])
    np.testing.assert_allclose(turned.points["middle"], [here.mean(axis=0)])
    back = turned.invert()
    np.testing.assert_allclose(back.boxes["it"], [box], atol=1e-9)
    np.testing.assert_allclose(back.points["middle"], [centre], atol=1e-9)
    rotated = augment.Rotate((30, 30))(sample, seed=1)
    here = np.argwhere(rotated.label.array)
    (found,) = rotated.boxes["it"]
    assert (found[0] <= here.min(axis=0) + 0.5).all()
    assert (found[1] >= here.max(axis=0) + 0.5).all()


def test_boxes_and_points_of_a_2d_sample() -> None:
    image = Image(np.zeros((4, 6), np.float32), "yx", np.diag([2, 3, 1, 1]))
    sample = Sample(image, boxes={"a": [[[0, 1], [2, 4]]], "none": []}, points={"b": [[1, 2]]})
    moved = sample.changed({"image": image[:, 1:]}, {}, ())
    assert moved.boxes["a"].tolist() == [[[0, 0], [2, 3]]]
    assert moved.boxes["none"].shape == (0, 2, 2)
    assert moved.points["b"].tolist() == [[1, 1]]
    with pytest.raises(GeometryError, match="stop > start"):
        Sample(image, boxes={"a": [[[0, 1], [0, 4]]]})
    with pytest.raises(GeometryError, match=r"\(n, 2\)"):
        Sample(image, points={"a": [[1, 2, 3]]})
