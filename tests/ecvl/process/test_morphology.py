"""Morphology against scipy.ndimage and brute force."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

import ecvl
from ecvl import Image, ParameterError

RNG = np.random.default_rng(5)
AFFINE = np.diag([0.8, 1.1, 2.5, 1.0])
SPACING = np.array((2.5, 1.1, 0.8))


def _grey(dtype: Any = np.int16, shape: Any = (6, 11, 13)) -> Image:
    return Image(RNG.integers(0, 100, shape).astype(dtype), "zyx", AFFINE)


def _mask(shape: Any = (8, 15, 17)) -> Image:
    smooth = ndi.gaussian_filter(RNG.normal(size=shape), 1.5)
    return Image((smooth > 0).astype(np.uint8), "zyx", AFFINE, kind="labels")


@pytest.mark.parametrize("shape", ["ball", "box", "cross"])
@pytest.mark.parametrize("radius", [2.5, (3, 2, 0)])
def test_elements_are_all_voxels_within_reach(shape: Any, radius: Any) -> None:
    element = ecvl.structuring_element(_grey(), radius, shape)
    radii = np.broadcast_to(radius, 3).astype(float)
    half = np.array(element.shape) // 2
    for place in np.ndindex(*element.shape):
        offset = (np.array(place) - half) * SPACING
        part = np.abs(offset) / np.maximum(radii, 1e-6)
        inside = {
            "ball": (part**2).sum() <= 1,
            "box": True,
            "cross": (part > 0).sum() <= 1,
        }[shape]
        assert element[place] == inside
    assert (half == np.floor(radii / SPACING)).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "int64", "float32",
                                   "float64", "float16"])  # fmt: skip
def test_grey_is_scipys(dtype: str) -> None:
    image = _grey(dtype)
    element = ecvl.structuring_element(image, 2.6)
    foot = element > 0
    values = image.array.astype(float)
    less = ndi.grey_erosion(values, footprint=foot, mode="constant", cval=np.inf)
    more = ndi.grey_dilation(values, footprint=foot, mode="constant", cval=-np.inf)
    opened = ndi.grey_dilation(less, footprint=foot, mode="constant", cval=-np.inf)
    closed = ndi.grey_erosion(more, footprint=foot, mode="constant", cval=np.inf)
    for name, expected in {
        "erode": less,
        "dilate": more,
        "opening": opened,
        "closing": closed,
        "morphological_gradient": more - less,
        "top_hat": values - opened,
        "black_hat": closed - values,
    }.items():
        result = getattr(ecvl, name)(image, 2.6)
        assert result.dtype == image.dtype
        assert np.array_equal(result.array, expected), name


def test_binary_is_scipys_with_any_element() -> None:
    mask = _mask()
    element = RNG.integers(0, 2, (3, 5, 3))
    element[1, 2, 1] = 1
    inside = mask.array > 0
    less = ndi.binary_erosion(inside, element, border_value=1)
    more = ndi.binary_dilation(inside, element)
    assert np.array_equal(ecvl.erode(mask, element=element).array, less)
    assert np.array_equal(ecvl.dilate(mask, element=element).array, more)
    twice = ndi.binary_erosion(inside, element, border_value=1, iterations=2)
    assert np.array_equal(ecvl.erode(mask, element=element, iterations=2).array, twice)
    closed = ndi.binary_erosion(more, element, border_value=1)
    assert np.array_equal(ecvl.closing(mask, element=element).array, closed)
    opened = ndi.binary_dilation(less, element)
    assert np.array_equal(ecvl.opening(mask, element=element).array, opened)


def test_a_ball_is_a_distance() -> None:
    mask = _mask()
    far = ndi.distance_transform_edt(mask.array == 0, sampling=SPACING)
    assert np.array_equal(ecvl.dilate(mask, 3).array, far <= 3)


def test_several_labels_are_worked_on_each_alone() -> None:
    labels = np.zeros((1, 20, 24), np.int32)
    labels[0, 2:9, 2:10] = 3
    labels[0, 2:9, 10:18] = 1
    labels[0, 12:19, 5:20] = 7
    labels[0, 15, 12] = 0
    image = Image(labels, "zyx", kind="labels", label_names={7: "seven"})
    element = ecvl.structuring_element(image, 1)
    less, more = ecvl.erode(image), ecvl.dilate(image, 2)
    opened, closed = ecvl.opening(image), ecvl.closing(image, 2)
    for label in (1, 3, 7):
        own = labels == label
        worn = ndi.binary_erosion(own, element, border_value=1)
        assert np.array_equal(less.array == label, worn)
        assert np.array_equal(opened.array == label, ndi.binary_dilation(worn, element))
        assert (more.array[own] == label).all()
    assert closed.array[0, 15, 12] == 7
    assert (closed.array[labels > 0] == labels[labels > 0]).all()
    # Between 3 and 7 lies a gap of three rows: one in reach of both, and the lower label has it.
    assert more.array[0, 9:12, 7].tolist() == [3, 3, 7]
    assert less.label_names == {7: "seven"}
    rim = ecvl.morphological_gradient(image)
    assert set(np.unique(rim.array)) == {0, 1, 3, 7}
    assert rim.array[0, 5, 5] == 0 and rim.array[0, 2, 5] == 3 and rim.array[0, 1, 5] == 3


def test_hit_or_miss_is_scipys() -> None:
    mask = Image((RNG.random((12, 14)) > 0.5).astype(np.uint8), "yx", kind="labels")
    hit = [[0, 1, 0], [0, 1, 1], [0, 0, 0]]
    miss = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    theirs = ndi.binary_hit_or_miss(np.pad(mask.array, 2) > 0, hit, miss)[2:-2, 2:-2]
    ours = ecvl.hit_or_miss(mask, hit, miss).array
    assert theirs.any()
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda i: ecvl.erode(i, 0.3), "does not reach"),
        (lambda i: ecvl.erode(i, -1), "radius"),
        (lambda i: ecvl.erode(i, 500), "too many"),
        (lambda i: ecvl.erode(i, 2, "star"), "shape"),
        (lambda i: ecvl.erode(i, 2, unit="inch"), "unit"),
        (lambda i: ecvl.erode(i, element=np.ones((2, 3, 3))), "odd"),
        (lambda i: ecvl.erode(i, element=[1, 1, 1]), "axis for each"),
        (lambda i: ecvl.dilate(i, 3, iterations=0), "iterations"),
        (lambda i: ecvl.hit_or_miss(_mask(), [[1]], [[1]]), "share no place"),
    ],
)
def test_wrong_arguments_are_said(act: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        act(_grey())
