"""Polygons and boxes to labels and back, against brute force."""

from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, ParameterError

RNG = np.random.default_rng(13)


def _inside(points: Any, y: float, x: float) -> bool:
    """The even-odd rule, edge by edge."""
    odd = False
    for (y0, x0), (y1, x1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            odd = not odd
    return odd


def test_polygons_are_brute_force() -> None:
    like = Image(np.zeros((20, 24)), "yx")
    for _ in range(12):
        points = RNG.uniform(-5, 28, (RNG.integers(3, 9), 2))
        if RNG.random() < 0.3:
            points = np.round(points)
        labels = ecvl.polygons_to_labels([{"label": 1, "points": points}], like)
        expected = [[_inside(points, y, x) for x in range(24)] for y in range(20)]
        assert np.array_equal(labels.array, expected)


def test_contours_come_back_exactly() -> None:
    for axes, shape in (
        ("yx", (15, 17)),
        ("zyx", (3, 12, 13)),
        ("tyx", (2, 9, 9)),
        ("yxc", (8, 9, 2)),
    ):
        array = RNG.integers(0, 4, shape).astype(np.uint8)
        labels = Image(array, axes, np.diag([0.5, 2, 3, 1]), kind="labels")
        back = ecvl.polygons_to_labels(ecvl.contours(labels), labels)
        assert np.array_equal(back.array, labels.array)
        assert back.axes == labels.axes and np.array_equal(back.affine, labels.affine)


def test_holes_islands_and_overlaps() -> None:
    def square(start: float, stop: float) -> Any:
        return [(start, start), (start, stop), (stop, stop), (stop, start)]

    like = Image(np.zeros((12, 12)), "yx")
    rows = [
        {"label": 1, "points": square(0.5, 10.5)},
        {"label": 1, "points": square(2.5, 8.5), "hole": True},
        {"label": 1, "points": square(4.5, 6.5)},
        {"label": 2, "points": square(9.5, 11.5)},
    ]
    labels = ecvl.polygons_to_labels(rows, like).array
    assert labels[1, 1] == 1 and labels[3, 3] == 0 and labels[5, 5] == 1
    assert labels[10, 10] == 2 and labels[11, 11] == 2
    turned = ecvl.polygons_to_labels(rows[::-1], like).array
    assert turned[10, 10] == 1


def test_boxes_there_and_back() -> None:
    labels = Image(np.zeros((4, 6, 7), np.uint8), "zyx", kind="labels")
    labels.array[1:3, 2:5, 3] = 4
    labels.array[0, 0, 0] = 9
    rows = ecvl.labels_to_boxes(labels)
    assert rows == [
        {"label": 4, "box": [(1, 3), (2, 5), (3, 4)]},
        {"label": 9, "box": [(0, 1), (0, 1), (0, 1)]},
    ]
    assert np.array_equal(ecvl.boxes_to_labels(rows, labels), labels)
    cut = ecvl.boxes_to_labels([{"label": 1, "box": [(-5, 2), (0.4, 1.6), (5, 99)]}], labels)
    assert ecvl.labels_to_boxes(cut)[0]["box"] == [(0, 2), (0, 2), (5, 7)]


def test_what_does_not_fit_is_refused() -> None:
    like = Image(np.zeros((3, 4, 5)), "zyx")
    triangle = [(0, 0), (0, 2), (2, 0)]
    cases: list[tuple[Any, Any, str]] = [
        ([{"points": triangle}], ParameterError, "'label' and 'points'"),
        ([{"label": 300, "points": triangle, "at": {"z": 0}}], ParameterError, "255"),
        ([{"label": 1, "points": triangle}], GeometryError, "'at'"),
        ([{"label": 1, "points": triangle, "at": {"z": 3}}], GeometryError, "'at'"),
        ([{"label": 1, "points": triangle[:2], "at": {"z": 0}}], GeometryError, "three points"),
        (
            [{"label": 1, "points": [(0, np.inf)] * 3, "at": {"z": 0}}],
            GeometryError,
            "three points",
        ),
        ([{"label": 1, "points": "abc", "at": {"z": 0}}], GeometryError, "three points"),
    ]
    for rows, error, message in cases:
        with pytest.raises(error, match=message):
            ecvl.polygons_to_labels(rows, like)
    with pytest.raises(ParameterError, match="integer type"):
        ecvl.polygons_to_labels([], like, dtype=float)
    boxes: list[tuple[Any, Any, str]] = [
        ([{"label": 1}], ParameterError, "'box'"),
        ([{"label": 0, "box": [(0, 1)] * 3}], ParameterError, "labels from 1"),
        ([{"label": 1, "box": [(0, 1)] * 2}], GeometryError, "each of 'zyx'"),
        ([{"label": 1, "box": [(0, np.nan)] * 3}], GeometryError, "each of 'zyx'"),
    ]
    for rows, error, message in boxes:
        with pytest.raises(error, match=message):
            ecvl.boxes_to_labels(rows, like)
