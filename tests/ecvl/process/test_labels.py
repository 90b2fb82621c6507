"""Regions of labels against scipy.ndimage and brute force."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

import ecvl
from ecvl import Image, KindError, ParameterError

RNG = np.random.default_rng(8)


def _mask(shape: Any, density: float, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape) < density


def _labels(array: Any, axes: str | None = None, affine: Any = None) -> Image:
    array = np.asarray(array)
    return Image(array.astype(np.uint8), axes or "zyx"[-array.ndim :], affine, kind="labels")


def _same_partition(ours: Any, theirs: Any) -> bool:
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("shape", [(8, 9, 10), (1, 20, 20), (24, 25)])
def test_components_are_scipys_by_size(connectivity: int, shape: Any) -> None:
    for seed in range(4):
        mask = _mask(shape, 0.25, seed)
        ours = ecvl.components(_labels(mask), connectivity).array
        structure = ndi.generate_binary_structure(len(shape), min(connectivity, len(shape)))
        theirs, count = ndi.label(mask, structure)
        assert ours.max() == count
        assert _same_partition(ours, theirs)
        sizes = np.bincount(ours.ravel())[1:]
        assert (np.diff(sizes) <= 0).all()
        firsts = [np.flatnonzero(ours.ravel() == k + 1)[0] for k in range(count)]
        assert all(firsts[k] < firsts[k + 1] for k in range(count - 1) if sizes[k] == sizes[k + 1])


def test_different_labels_are_not_connected() -> None:
    labels = _labels([[1, 1, 2, 2, 2, 0, 1]])
    assert ecvl.components(labels).array.tolist() == [[2, 2, 1, 1, 1, 0, 3]]
    assert ecvl.largest_component(labels).array.tolist() == [[1, 1, 2, 2, 2, 0, 0]]


def test_small_regions_go_by_mm() -> None:
    affine = np.diag([0.5, 0.5, 4, 1])
    volume = _labels([[[1, 1, 1, 0, 1, 1, 0, 1]]], affine=affine)
    assert ecvl.remove_small(volume, 2).array.tolist() == [[[1, 1, 1, 0, 1, 1, 0, 0]]]
    assert ecvl.remove_small(volume, 2.01).array.tolist() == [[[1, 1, 1, 0, 0, 0, 0, 0]]]
    flat = _labels(volume.array[0], affine=affine)
    assert ecvl.remove_small(flat, 0.5).array.tolist() == [[1, 1, 1, 0, 1, 1, 0, 0]]
    assert ecvl.components(volume, least_mm=3).array.tolist() == [[[1, 1, 1, 0, 0, 0, 0, 0]]]


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("shape", [(7, 8, 9), (20, 21)])
def test_holes_are_scipys(connectivity: int, shape: Any) -> None:
    structure = ndi.generate_binary_structure(len(shape), min(connectivity, len(shape)))
    for seed in range(4):
        mask = _mask(shape, 0.7 if len(shape) == 3 else 0.6, seed)
        ours = ecvl.fill_holes(_labels(mask), connectivity).array
        assert np.array_equal(ours, ndi.binary_fill_holes(mask, structure))


def test_holes_take_the_label_around_them() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[1:8, 1:8] = 5
    labels[1:8, 6:8] = 3
    labels[3:5, 3:5] = 0
    labels[2, 6] = 0
    labels[6, 5] = 0
    filled = ecvl.fill_holes(_labels(labels)).array
    assert (filled[3:5, 3:5] == 5).all()
    assert filled[2, 6] == 3 and filled[6, 5] == 5
    tube = np.zeros((4, 5, 5), np.uint8)
    tube[:, 1:4, 1:4] = 1
    tube[:, 2, 2] = 0
    assert not ecvl.fill_holes(_labels(tube)).array[:, 2, 2].any()
    assert ecvl.fill_holes(_labels(tube), planes=True).array[:, 2, 2].all()


def test_contours_bound_the_very_pixels() -> None:
    for seed in range(6):
        mask = _mask((12, 13), 0.55, seed)
        affine = np.diag([0.5, 2, 1, 1])
        rows = ecvl.contours(_labels(mask, affine=affine))
        count = ndi.label(mask)[1]
        assert sum(not row["hole"] for row in rows) == count
        inside = np.zeros(mask.shape, int)
        for row in rows:
            inside += _winding(row["points"], mask.shape)
            assert np.array_equal(row["world"][:, 0], row["points"][:, 1] * 0.5)
        assert np.array_equal(inside, mask)


def test_contours_of_volumes_know_their_plane() -> None:
    volume = np.zeros((2, 3, 4, 5), np.uint8)
    volume[1, 2, 1:3, 1:3] = 4
    affine = np.diag([1, 2, 3, 1])
    rows = ecvl.contours(_labels(volume, "tzyx", affine))
    assert [(row["label"], row["at"], row["hole"]) for row in rows] == [
        (4, {"t": 1, "z": 2}, False)
    ]
    assert rows[0]["world"].tolist() == [[0.5, 1, 6], [2.5, 1, 6], [2.5, 5, 6], [0.5, 5, 6]]


def _winding(points: Any, shape: Any) -> Any:
    """How often an outline runs around each pixel centre: edges crossed on the way to the right."""
    result = np.zeros(shape, int)
    for (y0, x0), (y1, _) in zip(points, np.roll(points, -1, 0), strict=True):
        if y0 != y1:
            for y in range(shape[0]):
                if min(y0, y1) < y < max(y0, y1):
                    result[y] += np.where(np.arange(shape[1]) < x0, 1 if y1 > y0 else -1, 0)
    return result


def test_wrong_arguments_are_said() -> None:
    mask = _labels(np.ones((3, 4)))
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.components(mask, 4), ParameterError, "connectivity"),
        (lambda: ecvl.remove_small(mask, -1), ParameterError, "least size"),
        (lambda: ecvl.contours(mask.replace(kind="image")), KindError, "labels"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
