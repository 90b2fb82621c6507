"""Contrast against OpenCV, formulas and brute force."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

import ecvl
from ecvl import Image, KindError, ParameterError

RNG = np.random.default_rng(4)


def _picture(shape: Any = (64, 72)) -> Image:
    smooth = cv2.GaussianBlur(RNG.normal(size=shape), (0, 0), 4)
    return Image((110 + 300 * smooth).clip(0, 255).astype(np.uint8), "yx")


def test_gamma_is_the_specifications() -> None:
    image = Image(np.arange(256, dtype=np.uint8)[None], "yx")
    for exponent in (0.5, 1, 2):
        expected = np.rint(255 * (image.array / 255.0) ** exponent)
        assert np.abs(ecvl.gamma(image, exponent).array - expected).max() == 0
    ct = Image(np.array([[-1000, 0, 1000]], np.int16), "yx")
    assert ecvl.gamma(ct, 2).array.tolist() == [[-1000, -500, 1000]]


def test_equalise_is_opencvs_on_bytes() -> None:
    image = _picture()
    assert np.abs(ecvl.equalise(image).array.astype(int) - cv2.equalizeHist(image.array)).max() <= 1


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32, np.float64, np.int32])
def test_equalised_values_are_ranks(dtype: Any) -> None:
    values = (RNG.normal(1000, 200, (40, 50))).astype(dtype)
    image = Image(values, "yx", value_range=(values.min(), values.max()))
    result = ecvl.equalise(image)
    low, high = image.value_range
    ranks = np.searchsorted(np.sort(values.ravel()), values, side="right")
    expected = low + (high - low) * (ranks - 1) / (values.size - 1)
    assert np.abs(result.array - expected).max() < 0.02 * (high - low)
    assert result.value_range == image.value_range
    order = np.argsort(values, axis=None)
    assert (np.diff(result.array.ravel()[order].astype(float)) >= 0).all()


def test_equalise_counts_inside_a_mask() -> None:
    image = Image(np.array([[0, 0, 0, 0, 10, 20]], np.uint8), "yx")
    mask = Image(np.array([[0, 0, 0, 1, 1, 1]], np.uint8), "yx", kind="labels")
    assert ecvl.equalise(image, mask=mask).array.tolist() == [[0, 0, 0, 0, 128, 255]]


def test_clahe_is_near_opencvs() -> None:
    image = _picture((256, 256))
    theirs = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(4, 4)).apply(image.array)
    ours = ecvl.clahe(image, 3.0, 4).array
    difference = np.abs(ours.astype(int) - theirs)
    # OpenCV cuts and spreads in whole counts and rounds each curve to bytes.
    assert difference.max() <= 10 and difference.mean() < 3


def test_clahe_without_limit_and_with_one_tile_is_equalisation() -> None:
    volume = Image(RNG.normal(size=(6, 20, 22)).astype(np.float32), "zyx")
    ours = ecvl.clahe(volume, 256, 1).array
    low, high = volume.value_range
    bins = np.minimum((volume.array - low) / (high - low) * 256, 255).astype(int)
    share = np.cumsum(np.bincount(bins.ravel(), minlength=256)) / bins.size
    np.testing.assert_allclose(ours, low + (high - low) * share[bins], atol=1e-4)


def test_clahe_in_3d_is_brute_force() -> None:
    volume = Image(RNG.integers(0, 256, (8, 12, 10)).astype(np.uint8), "zyx")
    ours = ecvl.clahe(volume, 4.0, (2, 3, 2)).array
    bins = volume.array.astype(int)
    counts = (2, 3, 2)
    starts = [
        [-(-t * n // c) for t in range(c + 1)] for n, c in zip(bins.shape, counts, strict=True)
    ]
    middles = [[(a + b - 1) / 2 for a, b in pairwise(edges)] for edges in starts]
    curves = {}
    for tile in np.ndindex(*counts):
        box = tuple(slice(s[t], s[t + 1]) for s, t in zip(starts, tile, strict=True))
        histogram = np.bincount(bins[box].ravel(), minlength=256).astype(float)
        limit = max(1, 4.0 * histogram.sum() / 256)
        cut = np.minimum(histogram, limit)
        cut += (histogram.sum() - cut.sum()) / 256
        curves[tile] = np.cumsum(cut) / histogram.sum()
    for place in [(0, 0, 0), (3, 5, 4), (7, 11, 9), (4, 2, 7)]:
        weights = []
        for axis, at in enumerate(place):
            row = np.interp(at, middles[axis], np.arange(counts[axis]))
            weights.append({int(row): 1 - row % 1, int(row) + 1: row % 1})
        value = sum(
            a * b * c * curves[i, j, k][bins[place]]
            for i, a in weights[0].items() if a
            for j, b in weights[1].items() if b
            for k, c in weights[2].items() if c
        )  # fmt: skip
        assert abs(ours[place] - 255 * value) <= 0.51


def test_matching_gives_the_histogram_of_the_other() -> None:
    image = Image(RNG.normal(0, 1, (60, 60)).astype(np.float32), "yx")
    reference = Image(RNG.gamma(2, 20, (50, 70)).astype(np.float32), "yx")
    result = ecvl.match_histogram(image, reference)
    parts = np.linspace(0.01, 0.99, 20)
    np.testing.assert_allclose(
        np.quantile(result.array, parts), np.quantile(reference.array, parts), rtol=0.02
    )
    assert (np.argsort(result.array, axis=None) == np.argsort(image.array, axis=None)).mean() > 0.99
    colours = Image(RNG.integers(0, 99, (9, 9, 3)).astype(np.uint8), "yxc")
    like = Image(RNG.integers(0, 250, (20, 9, 3)).astype(np.uint8), "yxc")
    whole = ecvl.match_histogram(colours, like).array
    for channel in range(3):
        alone = ecvl.match_histogram(
            Image(colours.array[..., channel], "yx"), Image(like.array[..., channel], "yx")
        )
        assert np.array_equal(whole[..., channel], alone.array)


def test_rescale() -> None:
    ct = Image(np.array([[-2000, -1000, 0, 1000]], np.int16), "yx")
    result = ecvl.rescale(ct, -1, 1, value_range=(-1000, 1000))
    assert result.array.tolist() == [[-1, -1, 0, 1]]
    assert result.value_range == (-1, 1) and result.dtype == np.float32


def test_wrong_arguments_are_said() -> None:
    image = _picture()
    empty = Image(np.zeros(image.shape, np.uint8), "yx", kind="labels")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.gamma(image, 0), ParameterError, "gamma"),
        (lambda: ecvl.rescale(image, 1, 1), ParameterError, "low < high"),
        (lambda: ecvl.rescale(image, value_range=(5, 1)), ParameterError, "ascending"),
        (lambda: ecvl.rescale(image, dtype="complex64"), ParameterError, "dtype"),
        (lambda: ecvl.rescale(image, dtype="no"), ParameterError, "dtype"),
        (lambda: ecvl.clahe(image, 0.5), ParameterError, "clip_limit"),
        (lambda: ecvl.clahe(image, 2, 0), ParameterError, "tiles"),
        (lambda: ecvl.equalise(image, mask=image), KindError, "labels"),
        (lambda: ecvl.equalise(image, mask=empty), ecvl.EcvlError, "none"),
        (lambda: ecvl.match_histogram(image, empty), KindError, "image"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
