"""What every function that moves voxels keeps to; values are against SimpleITK."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, ParameterError
from ecvl.process.pull import PREFILTER_STEP
from ecvl.process.registry import FUNCTIONS

GEOMETRY: dict[str, Callable[[Image], Image]] = {
    "reorient": lambda i: ecvl.reorient(i, "LAS" if i.axes == "yx" else "PIR"),
    "resample": lambda i: ecvl.resample(i, spacing=0.9),
    "crop": lambda i: ecvl.crop(i, [(1, n - 1) for n in i.spatial_shape]),
    "pad": lambda i: ecvl.pad(i, [(1, 2)] * len(i.spatial_axes)),
    "pad_to_multiple": lambda i: ecvl.pad_to_multiple(i, 8),
    "restore": lambda i: ecvl.restore(ecvl.resample(i, spacing=1.2), like=i),
    "resize": lambda i: ecvl.resize(i, scale=1.3),
    "flip": lambda i: ecvl.flip(i, "xy"),
    "transpose": ecvl.transpose,
    "rotate": lambda i: ecvl.rotate(i, 11, expand=True),
    "crop_or_pad": lambda i: ecvl.crop_or_pad(i, [n + 3 for n in i.spatial_shape]),
    "crop_to": lambda i: ecvl.crop_to(i, _middle(i)),
}


def _middle(image: Image) -> Image:
    inside = np.zeros(image.spatial_shape, np.uint8)
    inside[tuple(slice(1, -1) for _ in inside.shape)] = 1
    return Image(inside, image.spatial_axes, image.affine, kind="labels")


EXACT = (
    "reorient",
    "crop",
    "pad",
    "pad_to_multiple",
    "flip",
    "transpose",
    "crop_or_pad",
    "crop_to",
)


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
        if name in ("crop", "crop_to"):
            inside[...] = False
            inside[1:-1, 1:-1, 1:-1] = True
        assert np.array_equal(back.array[inside], image.array[inside])
        assert np.array_equal(back.affine, image.affine)


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_one_slice_gives_the_2d_result_of_resampling(smooth: Any, interpolation: Any) -> None:
    flat = smooth(axes="yx")
    thick = Image(flat.array[None], "zyx", flat.affine)
    one = ecvl.resample(flat, spacing=0.9, interpolation=interpolation)
    other = ecvl.resample(thick, spacing=(None, 0.9, 0.9), interpolation=interpolation)
    assert np.array_equal(one.array, other.array[0])


def test_cubic_is_nearer_to_the_truth_than_linear(smooth: Any) -> None:
    from scipy.ndimage import map_coordinates

    image = smooth()
    fine = ecvl.resample(image, spacing=0.6, interpolation="cubic")
    assert fine.dtype == np.float32
    indices = np.moveaxis(
        image.index(fine.world(np.moveaxis(np.indices(fine.shape), 0, -1))), -1, 0
    )
    theirs = map_coordinates(image.array.astype(float), indices, order=3, mode="mirror")
    middle = (slice(4, -4),) * 3
    np.testing.assert_allclose(fine.array[middle], theirs[middle], atol=1e-3)
    linear = ecvl.resample(image, spacing=0.6)
    z, y, x = (axis / (n - 1) * 2 - 1 for axis, n in zip(indices, image.shape, strict=True))
    truth = 100 * np.exp(-2 * (z**2 + y**2 + x**2)) + 10 * x + 5 * y
    errors = [np.abs(result.array - truth)[middle].max() for result in (fine, linear)]
    assert errors[0] < errors[1] / 5
    coarse = ecvl.resample(image, spacing=1.4, interpolation="nearest")
    assert set(np.unique(coarse.array)) <= set(np.unique(image.array))


def test_rotation_by_quarters_is_numpys(volume: Any) -> None:
    for image in (volume(affine=np.eye(4)), volume(affine=np.eye(4), kind="labels")):
        for quarters in range(-1, 4):
            for axis, plane in (("z", (1, 2)), ("x", (0, 1)), ("y", (2, 0))):
                turned = ecvl.rotate(image, 90 * quarters, axis, expand=True)
                expected = np.rot90(image.array, -quarters, plane)
                assert np.array_equal(turned.array, expected), (quarters, axis)


def test_rotation_keeps_or_grows_the_field_of_view(volume: Any) -> None:
    image = volume()
    same = ecvl.rotate(image, 30)
    assert same.shape == image.shape and same.spacing == pytest.approx(image.spacing)
    whole = ecvl.rotate(image, 30, expand=True)
    corners = image.world(np.array([[z, y, x] for z in (0, 5) for y in (0, 8) for x in (0, 10)]))
    there = whole.index(corners)
    assert there.min() > -0.5 and (there < np.array(whole.shape) - 0.5).all()


def test_mirror_moves_the_patient(volume: Any) -> None:
    image = volume()
    result = ecvl.mirror(image, "xz")
    assert np.array_equal(result.array, image.array[::-1, :, ::-1])
    assert np.array_equal(result.affine, image.affine)


def test_rearranged_and_transposed_axes(volume: Any) -> None:
    image = Image(np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5), "czyx")
    assert np.array_equal(ecvl.rearrange(image, "zyxc").array, np.moveaxis(image.array, 0, -1))
    turned = ecvl.transpose(image, "xzy")
    assert np.array_equal(turned.array, image.array.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(turned.world((4, 1, 2)), image.world((1, 2, 4)))


def test_cropping_to_labels_and_shapes(volume: Any) -> None:
    image = volume(affine=np.diag([0.8, 1.1, 2.5, 1]))
    labels = Image(np.zeros(image.shape, np.uint8), "zyx", image.affine, kind="labels")
    labels.array[2:4, 3, 5] = 2
    assert np.array_equal(ecvl.crop_to(image, labels).array, image.array[2:4, 3:4, 5:6])
    grown = ecvl.crop_to(image, labels, (2.5, 1.2, 100))
    assert np.array_equal(grown.array, image.array[1:5, 1:6, :])
    assert ecvl.crop_or_pad(image, (6, 4, 13), fill=-1).shape == (6, 4, 13)
    assert np.array_equal(ecvl.crop_or_pad(image, (6, 4, 11)).array, image.array[:, 2:6])
    with pytest.raises(GeometryError, match="none"):
        ecvl.crop_to(image, labels.replace(array=np.zeros_like(labels.array)))


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
        (lambda: ecvl.resize(image), ParameterError, "exactly one"),
        (lambda: ecvl.resize(image, scale=-1), ParameterError, "scale"),
        (lambda: ecvl.flip(image, "c"), GeometryError, "spatial"),
        (lambda: ecvl.mirror(image, "xx"), ParameterError, "letters"),
        (lambda: ecvl.transpose(image, "zy"), GeometryError, "order"),
        (lambda: ecvl.rearrange(image, "zyxc"), GeometryError, "axes"),
        (lambda: ecvl.rotate(image, "a"), ParameterError, "angle"),
        (lambda: ecvl.rotate(image, 5, "c"), ParameterError, "axis"),
        (lambda: ecvl.rotate(Image(np.zeros((2, 2)), "yx"), 5, "x"), GeometryError, "2-D"),
        (lambda: ecvl.crop_or_pad(image, 0), ParameterError, "above 0"),
        (lambda: ecvl.resample(image, 1, interpolation="best"), ParameterError, "interpolation"),
        (
            lambda: ecvl.resample(volume(kind="labels"), 1, interpolation="linear"),
            ParameterError,
            "nearest",
        ),
        (
            lambda: ecvl.resample(
                ecvl.crop(image, [(0, 2), (0, 9), (0, 11)]), 1, interpolation="cubic"
            ),
            GeometryError,
            "at least 4",
        ),
        (lambda: ecvl.reorient(Image(np.zeros((2, 2)), "yx"), "SAR"), GeometryError, "plane"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()


def test_turns_are_those_of_the_augmentations(volume: Any) -> None:
    from ecvl import augment

    for image in (volume(), volume(kind="labels")):
        for ours, theirs in (
            (ecvl.rotate(image, 20), augment.Rotate((20, 20))(image, seed=1)),
            (ecvl.rotate(image, -35, "x"), augment.Rotate((-35, -35), axis="x")(image, seed=1)),
            (ecvl.flip(image, "xz"), augment.Flip("xz", p=1)(image, seed=1)),
        ):
            assert np.array_equal(ours.array, theirs.array)
            np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-9)
