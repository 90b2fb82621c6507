"""The image: zero-copy, checked, and right about where it stands."""

from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError


def test_numpy_and_dlpack_share_memory() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = Image(array, "zyx")
    assert np.asarray(image) is image.array
    assert np.shares_memory(image.array, array)
    assert np.shares_memory(np.from_dlpack(image), array)
    assert image.__dlpack_device__() == (1, 0)
    assert isinstance(image, ecvl.Tensor)
    assert np.array(image, copy=True) is not array
    assert np.asarray(image, dtype=np.float32).dtype == np.float32


def test_transposed_and_swapped_arrays_are_copied_once() -> None:
    array = np.arange(24, dtype=">i2").reshape(4, 3, 2).T
    image = Image(array, "zyx")
    assert image.array.flags.c_contiguous
    assert image.dtype == np.int16
    assert image.dtype.isnative
    assert np.array_equal(image, array)


def test_any_dlpack_tensor_is_taken() -> None:
    class Foreign:
        def __init__(self, array: Any) -> None:
            self._array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self._array.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self._array.__dlpack_device__()

    array = np.ones((2, 3), np.float32)
    assert np.shares_memory(Image(Foreign(array), "yx").array, array)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"array": np.zeros((2, 3))}, GeometryError, "one letter of axes a dimension"),
        ({"array": np.zeros((2, 3)), "axes": "xy"}, GeometryError, "transpose"),
        ({"array": np.zeros((2, 3)), "axes": "yy"}, GeometryError, "different letters"),
        ({"array": np.zeros((2, 3)), "axes": "zy"}, GeometryError, "in this order"),
        ({"array": np.zeros((2, 3)), "axes": "qx"}, GeometryError, "letters over"),
        ({"array": np.zeros((0, 3)), "axes": "yx"}, GeometryError, "at least one voxel"),
        ({"array": np.zeros((2, 3), complex), "axes": "yx"}, KindError, "complex"),
        ({"array": "text", "axes": "yx"}, KindError, "numbers"),
        ({"array": np.zeros((2, 3)), "axes": "yx", "kind": "labels"}, KindError, "integer"),
        ({"array": np.zeros((2, 3)), "axes": "yx", "kind": "mask"}, ParameterError, "'labels'"),
        ({"array": np.zeros((2, 3)), "axes": "yx", "affine": np.eye(2)}, GeometryError, "4x4"),
        ({"array": np.zeros((2, 3)), "axes": "yx", "label_names": {}}, KindError, "label_names"),
        ({"array": np.zeros((2, 3)), "axes": "yx", "value_range": (2, 1)}, ParameterError, "low"),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Image(**arguments)
    assert "\n" not in str(caught.value)


def test_world_and_index_are_inverse(volume: Any) -> None:
    image = volume()
    indices = np.array([[0, 0, 0], [1.5, 2, 7.25]])
    points = image.world(indices)
    np.testing.assert_allclose(image.index(points), indices, atol=1e-9)
    homogeneous = image.affine @ (*indices[1][::-1], 1)
    np.testing.assert_allclose(points[1], homogeneous[:3])
    flat = Image(np.zeros((4, 5)), "yx", image.affine)
    np.testing.assert_allclose(flat.index(flat.world((3, 2))), (3, 2), atol=1e-9)
    with pytest.raises(GeometryError, match="3"):
        image.world((1, 2))


def test_spacing_stands_in_array_order() -> None:
    image = Image(np.zeros((3, 4, 5, 2)), "zyxc", np.diag([1, 2, 3, 1]))
    assert image.spacing == (3, 2, 1)
    assert image.spatial_shape == (3, 4, 5)
    assert image.orientation == "RAS"


def test_value_ranges() -> None:
    assert Image(np.array([[3, 9]], np.uint8), "yx").value_range == (0, 255)
    assert Image(np.array([[3, 9]], np.int16), "yx").value_range == (3, 9)
    assert Image(np.array([[np.nan, 9, np.inf]]), "yx").value_range == (9, 9)
    assert Image(np.array([[np.nan]]), "yx").value_range == (0, 0)
    given = Image(np.array([[3, 9]], np.int16), "yx", value_range=(0, 100))
    assert given.replace(array=np.zeros((1, 2))).value_range == (0, 100)


def test_replace_and_metadata() -> None:
    names = {1: "liver"}
    meta = {"common": {"PatientName": "Secret"}, "slices": [{}]}
    image = Image(np.zeros((2, 2), np.uint8), "yx", kind="labels", label_names=names, meta=meta)
    assert image.replace(axes="yx").label_names == names
    assert image.replace(kind="image").label_names is None
    assert "Secret" not in repr(image)
    with pytest.raises(ParameterError, match="shape"):
        image.replace(shape=3)
    moved = image.regridded(np.zeros((1, 1), np.uint8), np.eye(4))
    assert moved.meta == {"common": {"PatientName": "Secret"}}
    assert "slices" in image.meta


def test_booleans_become_labels_of_bytes() -> None:
    array = np.array([[True, False]])
    image = Image(array, "yx", kind="labels")
    assert image.dtype == np.uint8
    assert np.shares_memory(image.array, array)


def test_the_affine_cannot_be_changed_behind_its_back() -> None:
    image = Image(np.zeros((2, 2)), "yx")
    with pytest.raises(ValueError, match="read-only"):
        image.affine[0, 0] = 3


INDICES: list[Any] = [
    2,
    (slice(1, 5),),
    (slice(None), slice(2, 7), slice(1, None, 3)),
    (..., slice(None, None, -1)),
    (-1, slice(None, None, -2), slice(7, 2, -1)),
]


@pytest.mark.parametrize("key", INDICES, ids=str)
def test_a_part_stands_where_its_voxels_stood(volume: Any, key: Any) -> None:
    image = volume()
    marked = image.replace(array=np.arange(image.array.size).reshape(image.shape))
    part = marked[key]
    assert np.array_equal(part.array, marked.array[key])
    for place in np.ndindex(*part.shape):
        source = np.unravel_index(part.array[place], image.shape)
        np.testing.assert_allclose(part.world(place), image.world(source), atol=1e-9)


def test_a_part_keeps_what_is_still_true() -> None:
    meta = {"time_step": 0.5, "slices": [{}] * 3, "bvals": [0, 1, 2, 3], "common": {"a": 1}}
    image = Image(np.zeros((4, 3, 5, 6, 2), np.uint8), "tzyxc", meta=meta, value_range=(0, 9))
    assert image[...].meta == meta
    assert image[::2].time_step == 1
    assert image[1::2].meta["bvals"] == [1, 3]
    assert "time_step" not in image[0].meta
    assert image[:, 1].axes == "tyxc"
    assert "slices" not in image[:, 1].meta
    assert image[..., 0].value_range == (0, 9)
    assert image[0, 1, ..., 0][None].shape == (1, 5, 6)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 0, 0, 0), "at most one index"),
        ((0, 0), "keeps y and x"),
        (slice(3, 3), "at least one voxel"),
        (9, "below 3"),
        ("a", "str"),
        (True, "bool"),
        ((None, 0), "None only"),
        (slice("a", None), "whole numbers"),
    ],
    ids=str,
)
def test_wrong_indices_are_refused(key: Any, message: str) -> None:
    image = Image(np.zeros((3, 4, 5)), "zyx")
    with pytest.raises(GeometryError, match=message):
        image[key]
    with pytest.raises(TypeError, match="not iterable"):
        list(image)
