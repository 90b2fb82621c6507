"""Voxels on a new grid, against scipy.ndimage and brute force."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from ecvl import GeometryError, Image, ParameterError, resample
from ecvl.grids import Grid
from ecvl.process.dtypes import in_type
from ecvl.process.pull import GAUSSIAN_REACH, checked_fill, pull, smoothed


def _scipy(array: Any, matrix: Any, shape: Any, order: int, fill: float) -> Any:
    reverse = np.eye(4)[[2, 1, 0, 3]]
    turned = reverse @ matrix @ reverse
    return scipy.ndimage.affine_transform(
        array.astype(np.float64), turned, output_shape=shape, order=order, cval=fill,
        mode="constant",
    )  # fmt: skip


def _random_matrix(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] += rng.uniform(-0.3, 0.3, (3, 3))
    matrix[:3, 3] = rng.uniform(-2, 2, 3)
    return matrix


@pytest.mark.parametrize("seed", range(4))
def test_linear_is_scipys(volume: Any, seed: int) -> None:
    image = volume(dtype=np.float32)
    matrix, shape = _random_matrix(seed), (5, 8, 10)
    ours = pull(image, Grid(shape, np.eye(4)), matrix, 0.0).array
    theirs = _scipy(image.array, matrix, shape, 1, 0.0)
    inside = _scipy(np.ones(image.shape), matrix, shape, 1, 0.0) > 1 - 1e-9
    assert inside.sum() > 50
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_nearest_is_brute_force(volume: Any, seed: int) -> None:
    labels = volume(kind="labels", dtype=np.uint8)
    matrix, shape = _random_matrix(seed), (5, 8, 10)
    ours = pull(labels, Grid(shape, np.eye(4)), matrix).array
    expected = np.zeros(shape, np.uint8)
    for z, y, x in np.ndindex(shape):
        i, j, k = np.floor(matrix[:3] @ (x, y, z, 1) + 0.5).astype(int)
        if 0 <= k < labels.shape[0] and 0 <= j < labels.shape[1] and 0 <= i < labels.shape[2]:
            expected[z, y, x] = labels.array[k, j, i]
    assert np.array_equal(ours, expected)


@settings(max_examples=60, deadline=None)
@given(
    permutation=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    shifts=st.tuples(*[st.integers(-6, 9)] * 3),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    fill=st.sampled_from([-5.0, "edge"]),
)
def test_index_operations_are_brute_force(
    permutation: Any, signs: Any, shifts: Any, shape: Any, fill: Any
) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[list(permutation)] * signs
    matrix[:3, 3] = shifts
    ours = pull(Image(array, "zyx"), Grid(shape, np.eye(4)), matrix, fill).array
    for z, y, x in np.ndindex(shape):
        i, j, k = (matrix[:3] @ (x, y, z, 1)).astype(int)
        inside = 0 <= k < 3 and 0 <= j < 4 and 0 <= i < 5
        if inside:
            assert ours[z, y, x] == array[k, j, i]
        elif fill != "edge":
            assert ours[z, y, x] == fill


def test_edge_fill_repeats_the_border_when_a_part_is_left() -> None:
    image = Image(np.array([[1, 2, 3]]), "yx")
    matrix = np.eye(4)
    matrix[0, 3] = -2
    assert pull(image, image.grid, matrix, "edge").array.tolist() == [[1, 1, 1]]
    matrix[0, 3] = -1.5
    assert pull(image, image.grid, matrix, "edge").array.tolist() == [[1, 1, 2]]


def test_down_scaling_is_smoothed() -> None:
    checker = Image((np.indices((64, 64)).sum(0) % 2 * 100).astype(np.float32), "yx")
    matrix = np.diag([4.0, 4.0, 1.0, 1.0])
    small = pull(checker, Grid((1, 16, 16), np.eye(4)), matrix, "edge").array
    assert np.abs(small[2:-2, 2:-2] - 50).max() < 2
    slight = pull(checker, Grid((1, 32, 32), np.eye(4)), np.diag([1.4, 1.4, 1, 1]), "edge")
    assert slight.array.std() > 10


@pytest.mark.parametrize("sigmas", [(0.6, 1.5, 0), (0, 0, 12.0), (31.5, 2.0, 5.0)])
def test_smoothing_is_scipys(volume: Any, sigmas: Any) -> None:
    array = volume((9, 20, 30), dtype=np.float32).array
    theirs = scipy.ndimage.gaussian_filter(
        array.astype(float), sigmas, mode="nearest", truncate=GAUSSIAN_REACH
    )
    np.testing.assert_allclose(smoothed(array, sigmas), theirs, atol=2e-3)


def test_types_stay_and_saturate() -> None:
    assert in_type(np.array([-9.0, 300.4, np.nan]), np.dtype(np.uint8)).tolist() == [0, 255, 0]
    values = np.array([[100, 5]])
    assert in_type(np.array([1e30]), np.dtype(np.int64))[0] > 2**62
    matrix = np.eye(4)
    matrix[0, 3] = 0.5
    for dtype in ("uint8", "int16", "int32", "int64", "float16", "float32", "float64"):
        image = Image(values.astype(dtype), "yx", value_range=(0, 1))
        assert pull(image, image.grid, matrix, 0.0).dtype == dtype


@pytest.mark.parametrize("dtype", "int8 uint8 int16 uint16 int32 uint32 int64 uint64".split())
def test_labels_keep_every_value(dtype: str) -> None:
    greatest = np.iinfo(dtype).max
    labels = Image(np.array([[1, greatest, 3]], dtype), "yx", kind="labels")
    matrix = np.eye(4)
    matrix[0, 3] = 0.25
    moved = pull(labels, labels.grid, matrix)
    assert (moved.dtype, moved.array.tolist()) == (labels.dtype, labels.array.tolist())


def test_channels_and_time_move_alike(volume: Any) -> None:
    image = volume(dtype=np.float32)
    matrix = _random_matrix(1)
    grid = Grid((5, 8, 10), np.eye(4))
    alone = pull(image, grid, matrix, 0.0).array
    first = Image(np.stack([image.array, image.array * 2]), "czyx")
    last = Image(np.stack([image.array, image.array * 2], axis=-1), "zyxc")
    assert np.array_equal(pull(first, grid, matrix, 0.0).array[0], alone)
    np.testing.assert_allclose(pull(first, grid, matrix, 0.0).array[1], alone * 2, rtol=1e-6)
    assert np.array_equal(pull(last, grid, matrix, 0.0).array[..., 0], alone)


def test_a_2d_image_stays_in_its_plane() -> None:
    image = Image(np.zeros((4, 4)), "yx")
    with pytest.raises(GeometryError, match="plane"):
        pull(image, Grid((2, 4, 4), np.eye(4)), np.eye(4))
    with pytest.raises(ParameterError, match="fill"):
        checked_fill("reflect")


def test_a_grid_of_absurd_size_is_refused():
    image = Image(np.zeros((4, 6, 6), np.int16), "zyx")
    with pytest.raises(GeometryError, match="check the spacing"):
        resample(image, spacing=1e-6)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_nearest_images_have_their_fill(dtype: str, axes: str) -> None:
    image = Image(np.ones((4, 5, 6)[-len(axes) :], dtype), axes)
    matrix = np.eye(4)
    matrix[:2, 3] = (-2.4, 1.4) if axes == "yx" else (0, 0)
    matrix[2, 3] = 0 if axes == "yx" else 1.4
    matrix[0, 1] = 0.1
    result = pull(image, image.grid, matrix, 7.0, interpolation="nearest").array
    assert set(np.unique(result)) == {1, 7}


def test_nearest_takes_a_negative_fill_beyond_opencvs_sizes() -> None:
    image = Image(np.ones((1, 40000), np.int16), "yx")
    matrix = np.eye(4)
    matrix[0, 3] = 0.4 + 5
    result = pull(image, image.grid, matrix, -9.0, interpolation="nearest").array
    assert result[0, -6:].tolist() == [1, -9, -9, -9, -9, -9]
