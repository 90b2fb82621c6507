"""Images go to nibabel and SimpleITK and come back as they were."""

from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ecvl import FormatError, GeometryError, Image, KindError, adapters

SHAPES = {
    "yx": (6, 7),
    "yxc": (6, 7, 3),
    "zyx": (3, 6, 7),
    "zyxc": (3, 6, 7, 3),
    "tzyx": (2, 3, 6, 7),
    "tzyxc": (2, 3, 6, 7, 4),
    "czyx": (2, 3, 6, 7),
    "ctzyx": (2, 4, 3, 6, 7),
}
DTYPES = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 float64".split()


def _image(axes: str, dtype: str, affine: Any) -> Image:
    values = np.random.default_rng(0).integers(0, 100, SHAPES[axes]).astype(dtype)
    return Image(values, axes, affine, meta={"time_step": 0.5} if "t" in axes else {})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", SHAPES)
def test_nibabel_round_trip(volume: Any, axes: str, dtype: str) -> None:
    image = _image(axes, dtype, volume().affine)
    if axes.endswith("xc") and dtype != "uint8":
        with pytest.raises(FormatError, match="uint8"):
            adapters.to_nibabel(image)
        return
    theirs = adapters.to_nibabel(image)
    assert np.array_equal(theirs.affine, image.affine)
    assert theirs.header.get_data_dtype() == theirs.get_data_dtype()
    back = adapters.from_nibabel(theirs)
    assert (back.axes, back.dtype) == (image.axes, image.dtype)
    assert np.array_equal(back, image)
    assert np.array_equal(back.affine, image.affine)
    assert back.time_step == image.time_step
    assert np.shares_memory(np.asanyarray(theirs.dataobj), image.array)
    again = nibabel.Nifti1Image.from_bytes(theirs.to_bytes())
    assert np.array_equal(adapters.from_nibabel(again), image)
    np.testing.assert_allclose(again.affine, image.affine, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", SHAPES)
def test_simpleitk_round_trip(volume: Any, axes: str, dtype: str) -> None:
    affine = np.diag([0.5, 0.75, 1, 1]) if "z" not in axes else volume().affine
    image = _image(axes, dtype, affine)
    if axes.startswith("c"):
        with pytest.raises(FormatError, match="transpose"):
            adapters.to_sitk(image)
        return
    theirs = adapters.to_sitk(image)
    back = adapters.from_sitk(theirs)
    assert (back.axes, back.dtype) == (image.axes, image.dtype)
    assert np.array_equal(back, image)
    np.testing.assert_allclose(back.affine, image.affine, rtol=1e-14, atol=1e-14)
    assert back.time_step == image.time_step
    if axes == "zyx":
        point = np.array(theirs.TransformIndexToPhysicalPoint((3, 2, 1))) * (-1, -1, 1)
        np.testing.assert_allclose(image.world((1, 2, 3)), point, atol=1e-9)


def test_labels_keep_their_kind(volume: Any) -> None:
    labels = volume(kind="labels", dtype=np.uint8)
    assert adapters.from_nibabel(adapters.to_nibabel(labels)).kind == "labels"
    assert adapters.from_sitk(adapters.to_sitk(labels), kind="labels").kind == "labels"


def test_other_formats_of_nibabel_pass(volume: Any) -> None:
    image = volume()
    for cls in (nibabel.MGHImage, nibabel.Spm99AnalyzeImage, nibabel.Nifti2Pair):
        back = adapters.from_nibabel(cls(image.array.T, image.affine))
        assert np.array_equal(back, image)
        np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)


def test_what_the_others_cannot_hold_is_refused(volume: Any) -> None:
    image = volume()
    sheared = image.affine.copy()
    sheared[:3, 2] += 0.3 * sheared[:3, 1]
    with pytest.raises(GeometryError, match="right angles"):
        adapters.to_sitk(image.replace(affine=sheared))
    assert np.array_equal(adapters.to_nibabel(image.replace(affine=sheared)).affine, sheared)
    with pytest.raises(GeometryError, match=r"image\[None\]"):
        adapters.to_sitk(image[2])
    assert adapters.to_sitk(image[2][None]).GetSize()[2] == 1
    half = image.replace(array=image.array.astype(np.float16))
    for adapt in (adapters.to_sitk, adapters.to_nibabel):
        with pytest.raises(KindError, match="float16"):
            adapt(half)
        with pytest.raises(KindError, match=r"ecvl\.Image"):
            adapt(image.array)
    for adapt in (adapters.from_sitk, adapters.from_nibabel):
        with pytest.raises(KindError, match="ndarray"):
            adapt(image.array)
    with pytest.raises(KindError, match="complex"):
        adapters.from_nibabel(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.complex64), np.eye(4)))
    mixed = sitk.Image([2, 2, 2, 2], sitk.sitkUInt8)
    mixed.SetDirection(np.eye(4)[[0, 1, 3, 2]].ravel().tolist())
    with pytest.raises(GeometryError, match="mixes"):
        adapters.from_sitk(mixed)
