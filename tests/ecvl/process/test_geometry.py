"""What every function that moves voxels keeps to; values are against SimpleITK."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, ParameterError
from ecvl.process import FUNCTIONS
from ecvl.process.pull import PREFILTER_STEP

GEOMETRY: dict[str, Callable[[Image], Image]] = {
    "reorient": lambda i: ecvl.reorient(i, "LAS" if i.axes == "yx" else "PIR"),
    "resample": lambda i: ecvl.resample(i, spacing=0.9),
    "crop": lambda i: ecvl.crop(i, [(1, n - 1) for n in i.spatial_shape]),
    "pad": lambda i: ecvl.pad(i, [(1, 2)] * len(i.spatial_axes)),
    "pad_to_multiple": lambda i: ecvl.pad_to_multiple(i, 8),
    "restore": lambda i: ecvl.restore(ecvl.resample(i, spacing=1.2), like=i),
}
EXACT = ("reorient", "crop", "pad", "pad_to_multiple")


def test_every_function_that_keeps_places_has_a_row() -> None:
    followers = {name for name, entry in FUNCTIONS.items() if entry.geometry == "follows"}
    assert followers == GEOMETRY.keys()


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_types_kinds_and_inputs_stay(volume: Any, name: str, dtype: str) -> None:
    for image in (volume(dtype=dtype), volume(kind="labels", dtype=np.uint8)):
        before = image.array.copy()
        result = GEOMETRY[name](image)
        assert (result.kind, result.dtype, result.axes) == (image.kind, image.dtype, image.axes)
        assert np.array_equal(image, before)
        assert not np.shares_memory(result.array, image.array)
        if image.kind == "labels":
            assert set(np.unique(result)) <= set(np.unique(image)) | {0}


@pytest.mark.parametrize("name", GEOMETRY)
def test_content_stays_where_it_is_in_the_patient(smooth: Any, volume: Any, name: str) -> None:
    image = smooth().replace(affine=volume().affine)
    result = GEOMETRY[name](image)
    rng = np.random.default_rng(0)
    indices = rng.uniform(4, np.array(image.shape) - 5, (200, 3))
    points = image.world(indices)
    for picture in (image, result):
        found = picture.index(points)
        assert found.min() >= 0
    old = _sampled(image, image.index(points))
    new = _sampled(result, result.index(points))
    assert np.abs(old - new).max() < (1e-3 if name in EXACT else 3)


def _sampled(image: Image, indices: Any) -> Any:
    from scipy.ndimage import map_coordinates

    return map_coordinates(image.array.astype(float), indices.T, order=1, mode="nearest")


@pytest.mark.parametrize("name", EXACT)
def test_exact_functions_are_undone_exactly(volume: Any, name: str) -> None:
    for image in (volume(), volume(kind="labels")):
        result = GEOMETRY[name](image)
        back = ecvl.restore(result, like=image)
        inside = np.ones(image.shape, bool)
        if name == "crop":
            inside[...] = False
            inside[1:-1, 1:-1, 1:-1] = True
        assert np.array_equal(back.array[inside], image.array[inside])
        assert np.array_equal(back.affine, image.affine)


@pytest.mark.parametrize("name", GEOMETRY)
def test_one_slice_gives_the_2d_result(smooth: Any, name: str) -> None:
    flat = smooth(axes="yx")
    thick = Image(flat.array[None], "zyx", flat.affine)
    with_z = {
        "reorient": lambda i: ecvl.reorient(i, "LAS"),
        "resample": lambda i: ecvl.resample(i, spacing=(None, 0.9, 0.9)),
        "crop": lambda i: ecvl.crop(i, [(0, 1), (1, i.shape[1] - 1), (1, i.shape[2] - 1)]),
        "pad": lambda i: ecvl.pad(i, [(0, 0), (1, 2), (1, 2)]),
        "pad_to_multiple": lambda i: ecvl.pad_to_multiple(i, (1, 8, 8)),
        "restore": lambda i: ecvl.restore(ecvl.resample(i, spacing=(None, 1.2, 1.2)), like=i),
    }[name](thick)
    assert np.array_equal(with_z.array[0], GEOMETRY[name](flat))


def test_an_images_own_grid_is_exact(volume: Any) -> None:
    image = volume()
    for result in (
        ecvl.resample(image, like=image),
        ecvl.resample(image, spacing=image.spacing),
        ecvl.resample(image, shape=image.shape),
        ecvl.restore(image, like=image),
    ):
        assert np.array_equal(result, image)
        assert np.array_equal(result.affine, image.affine)


def test_resampling_keeps_the_field_of_view(volume: Any) -> None:
    image = volume()
    result = ecvl.resample(image, spacing=(1.3, 2.0, None))
    assert result.shape == (round(6 * 2.5 / 1.3), round(9 * 1.1 / 2), 11)
    fields = [np.array(i.shape) * i.spacing for i in (image, result)]
    np.testing.assert_allclose(*fields)
    assert result.spacing == pytest.approx((1.3, 2.0, 0.8), rel=0.5 / 5)
    np.testing.assert_allclose(
        image.world(np.array([-0.5] * 3)), result.world(np.array([-0.5] * 3)), atol=1e-9
    )


def test_resampling_agrees_with_simpleitk(smooth: Any) -> None:
    import SimpleITK as sitk

    image = smooth().replace(affine=np.diag([0.8, 1.1, 2.5, 1]))
    like = ecvl.resample(image, spacing=(3.1, 1.3, 1.0))
    assert max(3.1 / 2.5, 1.3 / 1.1, 1 / 0.8) < PREFILTER_STEP
    picture = sitk.GetImageFromArray(image.array)
    picture.SetSpacing((0.8, 1.1, 2.5))
    reference = sitk.Image(like.shape[::-1], sitk.sitkFloat32)
    reference.SetSpacing(like.spacing[::-1])
    reference.SetOrigin(like.affine[:3, 3].tolist())
    theirs = sitk.GetArrayFromImage(sitk.Resample(picture, reference, sitk.Transform(), 2))
    np.testing.assert_allclose(like.array, theirs, atol=1e-3)


def test_wrong_arguments_are_said(volume: Any) -> None:
    image = volume()
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.resample(image), ParameterError, "exactly one"),
        (lambda: ecvl.resample(image, spacing=1, shape=(1, 1, 1)), ParameterError, "exactly one"),
        (lambda: ecvl.resample(image, spacing=0), ParameterError, "above 0"),
        (lambda: ecvl.resample(image, spacing=(1, 1)), GeometryError, "length 3"),
        (lambda: ecvl.resample(image, shape=(1, 1, 0)), ParameterError, "whole numbers"),
        (lambda: ecvl.crop(image, [(0, 7), (0, 9), (0, 11)]), GeometryError, "inside"),
        (lambda: ecvl.crop(image, [(2, 2), (0, 9), (0, 11)]), GeometryError, "stop > start"),
        (lambda: ecvl.crop(image, [(0, 9), (0, 11)]), GeometryError, "pair"),
        (lambda: ecvl.crop(image, [(0.5, 2), (0, 9), (0, 11)]), GeometryError, "whole"),
        (lambda: ecvl.pad(image, [(-1, 0)] * 3), GeometryError, "use crop"),
        (lambda: ecvl.pad(image, [(1, 0)] * 3, fill="wrap"), ParameterError, "fill"),
        (lambda: ecvl.pad_to_multiple(image, 0), ParameterError, "at least 1"),
        (lambda: ecvl.reorient(image, "RAA"), GeometryError, "orientation"),
        (lambda: ecvl.reorient(Image(np.zeros((2, 2)), "yx"), "SAR"), GeometryError, "plane"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
