"""Distances, running sums and the choice among boxes, against scipy.ndimage and brute force."""

from typing import Any

import cv2
import numpy as np
import pytest
import scipy.ndimage as ndi

import ecvl
from ecvl import GeometryError, Image, ParameterError

RNG = np.random.default_rng(9)
SPACING = (2.5, 1.1, 0.8)
AFFINE = np.diag([*SPACING[::-1], 1.0])


def test_distances_are_scipys() -> None:
    inside = ndi.binary_opening(RNG.random((9, 20, 22)) < 0.8)
    mask = Image(inside.astype(np.uint8), "zyx", AFFINE, kind="labels")
    away = ndi.distance_transform_edt(inside, sampling=SPACING)
    towards = ndi.distance_transform_edt(~inside, sampling=SPACING)
    np.testing.assert_allclose(ecvl.distance_map(mask).array, away, atol=1e-5)
    np.testing.assert_allclose(ecvl.distance_map(mask, "foreground").array, towards, atol=1e-5)
    signed = ecvl.distance_map(mask, "surface").array
    np.testing.assert_allclose(signed, towards - away, atol=1e-5)


def test_full_and_empty_volumes_have_the_diagonal() -> None:
    full = Image(np.ones((3, 4, 5), np.uint8), "zyx", AFFINE, kind="labels")
    length = np.linalg.norm(np.array(full.shape) * SPACING)
    assert np.allclose(ecvl.distance_map(full).array, length)
    empty = full.replace(array=full.array * 0)
    assert np.allclose(ecvl.distance_map(empty, "foreground").array, length)
    assert not ecvl.distance_map(empty).array.any()


def test_integral_is_opencvs_and_sums_boxes() -> None:
    picture = RNG.integers(0, 255, (12, 15)).astype(np.uint8)
    ours = ecvl.integral(Image(picture, "yx")).array
    assert np.array_equal(ours, cv2.integral(picture)[1:, 1:])
    volume = RNG.integers(0, 255, (6, 7, 8))
    table = np.pad(ecvl.integral(Image(volume, "zyx")).array, [(1, 0)] * 3)
    box = (slice(1, 4), slice(2, 7), slice(0, 5))
    total = 0
    for corner in np.ndindex(2, 2, 2):
        place = tuple(s.stop if c else s.start for s, c in zip(box, corner, strict=True))
        total += table[place] * (-1) ** (3 - sum(corner))
    assert total == volume[box].sum()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_suppression_is_brute_force(dimensions: int) -> None:
    starts = RNG.uniform(0, 20, (60, dimensions))
    boxes = np.concatenate([starts, starts + RNG.uniform(2, 12, (60, dimensions))], axis=1)
    scores, classes = RNG.random(60), RNG.integers(0, 2, 60)

    def share(a: Any, b: Any) -> float:
        sides = np.minimum(a[dimensions:], b[dimensions:]) - np.maximum(
            a[:dimensions], b[:dimensions]
        )
        shared = np.prod(np.maximum(sides, 0))
        sizes = [np.prod(box[dimensions:] - box[:dimensions]) for box in (a, b)]
        return float(shared / (sum(sizes) - shared))

    for groups in (None, classes):
        kept: list[int] = []
        for row in sorted(range(60), key=lambda r: -scores[r]):
            rivals = [k for k in kept if groups is None or groups[k] == groups[row]]
            if scores[row] >= 0.1 and all(share(boxes[row], boxes[k]) <= 0.3 for k in rivals):
                kept.append(row)
        found = ecvl.non_maximum_suppression(
            boxes, scores, overlap=0.3, classes=groups, least_score=0.1
        )
        assert found.tolist() == kept
    assert ecvl.non_maximum_suppression([], []).tolist() == []


def test_wrong_arguments_are_said() -> None:
    mask = Image(np.ones((3, 4), np.uint8), "yx", kind="labels")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.distance_map(mask, "edge"), ParameterError, "expected to="),
        (lambda: ecvl.non_maximum_suppression([[1, 2, 3]], [1]), GeometryError, "shape"),
        (lambda: ecvl.non_maximum_suppression([[1, 2, 3, 4]], []), GeometryError, "shape"),
        (lambda: ecvl.non_maximum_suppression([[5, 5, 1, 1]], [1]), GeometryError, "stops"),
        (lambda: ecvl.non_maximum_suppression([["a"]], [1]), GeometryError, "numbers"),
        (lambda: ecvl.non_maximum_suppression([[0, 0, 1, 1]], [1], overlap=2), ParameterError, "0"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
