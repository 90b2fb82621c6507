"""What every processing function keeps to, generated from the table of them all.

A function without an example in `CALLS` fails the first test; with one it goes through the rest:
its kinds, types and geometry as the table says, inputs left alone, one slice as a 2-D image,
channels one by one, single voxels, empty labels, oblique and anisotropic grids, a clear refusal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError
from ecvl.process.registry import FUNCTIONS, Entry

Call = Callable[[Image], Any]

# A turn by 10 degrees, of voxel indices.
TURN = np.array(
    [[0.985, -0.174, 0, 1], [0.174, 0.985, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64
)


def _plane(image: Image) -> Image:
    """The first plane."""
    place = tuple(slice(None) if letter in "yx" else 0 for letter in image.axes)
    return image.replace(array=image.array[place], axes="yx")


def _plain(image: Image) -> Image:
    """The first channel or time point."""
    place = tuple(slice(None) if letter in "zyx" else 0 for letter in image.axes)
    return image.replace(array=image.array[place], axes=image.spatial_axes)


# Arguments that a function cannot do without, and small ones for the slow; all others are default.
CALLS: dict[str, Call] = {
    "reorient": lambda i: ecvl.reorient(i, "LPS"),
    "resample": lambda i: ecvl.resample(i, spacing=0.9),
    "crop": lambda i: ecvl.crop(i, [(0, max(1, n - 1)) for n in i.spatial_shape]),
    "pad": lambda i: ecvl.pad(i, [(0, 0), (1, 2), (1, 2)][-len(i.spatial_axes) :]),
    "pad_to_multiple": lambda i: ecvl.pad_to_multiple(i, (1, 8, 8)[-len(i.spatial_axes) :]),
    "restore": lambda i: ecvl.restore(i, like=i),
    "resize": lambda i: ecvl.resize(i, i.spatial_shape),
    "flip": ecvl.flip,
    "mirror": ecvl.mirror,
    "transpose": lambda i: ecvl.transpose(i, "zxy"[-len(i.spatial_axes) :]),
    "rearrange": lambda i: ecvl.rearrange(i, i.axes),
    "rotate": lambda i: ecvl.rotate(i, 10),
    "crop_or_pad": lambda i: ecvl.crop_or_pad(i, (1, 6, 30)[-len(i.spatial_axes) :]),
    "crop_to": lambda i: ecvl.crop_to(i, _somewhere(i)),
    "warp": lambda i: ecvl.warp(i, ecvl.Transform([i.affine @ TURN @ np.linalg.inv(i.affine)])),
    "window": lambda i: ecvl.window(i, 40, 400),
    "normalise": ecvl.normalise,
    "rescale": ecvl.rescale,
    "gamma": lambda i: ecvl.gamma(i, 0.7),
    "invert": ecvl.invert,
    "equalise": ecvl.equalise,
    "clahe": lambda i: ecvl.clahe(i, tiles=2),
    "match_histogram": lambda i: ecvl.match_histogram(i, i),
    "convert_colour": lambda i: ecvl.convert_colour(i, "RGB" if "c" in i.axes else "grey"),
    "add": lambda i: ecvl.add(i, 3),
    "subtract": lambda i: ecvl.subtract(i, 3),
    "multiply": lambda i: ecvl.multiply(i, 1.5),
    "divide": lambda i: ecvl.divide(i, 2),
    "minimum": lambda i: ecvl.minimum(i, 50),
    "maximum": lambda i: ecvl.maximum(i, 50),
    "absolute": ecvl.absolute,
    "blend": lambda i: ecvl.blend(i, 20),
    "gaussian": ecvl.gaussian,
    "average": ecvl.average,
    "median": ecvl.median,
    "bilateral": lambda i: ecvl.bilateral(i, 1),
    "anisotropic": ecvl.anisotropic,
    "laplacian": ecvl.laplacian,
    "sobel": ecvl.sobel,
    "linear_filter": lambda i: ecvl.linear_filter(i, [[0, 1, 0], [1, 1, 1], [0, 1, 0]]),
    "separable_filter": lambda i: ecvl.separable_filter(
        i, [None, [1, 2, 1], [1, 0, -1]][-len(i.spatial_axes) :]
    ),
    "threshold": lambda i: ecvl.threshold(i, 10, 100),
    "multi_threshold": lambda i: ecvl.multi_threshold(i, (10, 60, 100)),
    "threshold_value": ecvl.threshold_value,
    "multi_otsu_values": ecvl.multi_otsu_values,
    "structuring_element": lambda i: ecvl.structuring_element(i, 3),
    "erode": lambda i: ecvl.erode(i, 3),
    "dilate": lambda i: ecvl.dilate(i, 3),
    "opening": lambda i: ecvl.opening(i, 3),
    "closing": lambda i: ecvl.closing(i, 3),
    "morphological_gradient": lambda i: ecvl.morphological_gradient(i, 3),
    "top_hat": lambda i: ecvl.top_hat(i, 3),
    "black_hat": lambda i: ecvl.black_hat(i, 3),
    "hit_or_miss": lambda i: ecvl.hit_or_miss(i, [[0, 1, 1]], [[1, 0, 0]]),
    "components": ecvl.components,
    "largest_component": ecvl.largest_component,
    # 5 mm² of a plane, or as much in mm³ of a slice.
    "remove_small": lambda i: ecvl.remove_small(i, 5 * float(np.prod(i.spacing[:-2]))),
    "fill_holes": ecvl.fill_holes,
    "contours": ecvl.contours,
    "distance_map": ecvl.distance_map,
    "measure": ecvl.measure,
    "register": lambda i: ecvl.register(_plain(i), _plain(i), "translation", iterations=1),
    "correct_bias": lambda i: ecvl.correct_bias(i, shrink=1, iterations=(2,)),
    "separate_stains": ecvl.separate_stains,
    "combine_stains": lambda i: ecvl.combine_stains(i.replace(array=i.array / 100.0)),
    "stain_vectors": lambda i: ecvl.stain_vectors(i.replace(value_range=(0, 255))),
    "normalise_stain": lambda i: ecvl.normalise_stain(i, i, "reinhard"),
    "labels_to_rle": lambda i: ecvl.labels_to_rle(_plane(i)),
    "rle_to_labels": lambda rle: ecvl.rle_to_labels(rle, (2, 2), form="gaps"),
    "polygons_to_labels": lambda rows: ecvl.polygons_to_labels(rows, Image(np.zeros((3, 3)), "yx")),
    "labels_to_boxes": ecvl.labels_to_boxes,
    "boxes_to_labels": lambda rows: ecvl.boxes_to_labels(rows, Image(np.zeros((3, 3)), "yx")),
    "labels_to_coco": ecvl.labels_to_coco,
    "coco_to_labels": ecvl.coco_to_labels,
    "body_mask": lambda i: ecvl.body_mask(i, 50),
    "lung_mask": ecvl.lung_mask,
    "brain_mask": ecvl.brain_mask,
    "integral": ecvl.integral,
    "non_maximum_suppression": lambda boxes: ecvl.non_maximum_suppression(boxes, [1] * len(boxes)),
}
# One argument for all axes; rows that name the slice.
NO_SLICES = {"resample", "contours", "measure", "register", "labels_to_rle", "labels_to_boxes"}
# They need several values to tell apart.
NEED_VARIETY = {"multi_otsu_values", "register", "correct_bias", "stain_vectors"}
ENTRIES = [pytest.param(entry, id=name) for name, entry in FUNCTIONS.items() if name in CALLS]
IMAGES = [p for p in ENTRIES if p.values[0].takes != "value"]
KEEPERS = [p for p in IMAGES if p.values[0].geometry == "keeps"]


def _made(entry: Entry, axes: str, shape: Any, dtype: Any = np.int16, affine: Any = None) -> Image:
    """An image, or labels, that a function takes: blobs and noise, the same for the same shape."""
    if entry.channels and "c" not in axes:
        axes, shape = axes + "c", (*shape, entry.channels)
    sizes = zip(axes, shape, strict=True)
    shape = [max(n, entry.least) if a in "zyx" and n > 1 else n for a, n in sizes]
    rng = np.random.default_rng(7)
    values = rng.normal(size=shape)
    for axis, letter in enumerate(axes):
        if letter in "zyx":
            values = values + np.roll(values, 1, axis)
    values = 60 + 30 * values / max(values.std(), 1)
    if entry.takes == "labels":
        labels = (values > 50).astype(np.uint8) + (values > 75)
        return Image(labels, axes, affine, kind="labels", label_names={1: "a", 2: "b"})
    dtype = np.dtype(dtype)
    values = np.clip(values, 0, 200)
    return Image(values.astype(dtype), axes, affine)


def _somewhere(image: Image) -> Image:
    inside = np.zeros(image.spatial_shape, np.uint8)
    inside[tuple(n // 2 for n in inside.shape)] = 1
    return Image(inside, image.spatial_axes, image.affine, kind="labels")


def _both_kinds(entry: Entry, axes: str, shape: Any, **more: Any) -> list[Image]:
    image = _made(entry, axes, shape, **more)
    if entry.takes != "any":
        return [image]
    labels = (image.array > 50).astype(np.uint8) + (image.array > 75)
    return [image, image.replace(array=labels.astype(np.uint8), kind="labels")]


def _called(entry: Entry, image: Image) -> Any:
    return CALLS[entry.name](image)


def test_every_function_has_an_example_and_is_public() -> None:
    assert CALLS.keys() == FUNCTIONS.keys()
    for name, entry in FUNCTIONS.items():
        assert getattr(ecvl, name) is entry.function
        for part in ("Args:", "Example:"):
            assert part in (entry.function.__doc__ or ""), f"{name}: {part}"


@pytest.mark.parametrize("entry", IMAGES)
@pytest.mark.parametrize(
    ("axes", "shape"),
    [("yx", (9, 12)), ("zyx", (5, 9, 12)), ("yxc", (9, 12, 3)), ("tzyx", (2, 5, 9, 12))],
)
def test_kinds_types_geometry_and_inputs(entry: Entry, axes: str, shape: Any, oblique: Any) -> None:
    if sum(letter in "zyx" for letter in axes) not in entry.ranks:
        pytest.skip("not for images of this rank")
    for dtype in ("uint8", "int16", "float32", "float64"):
        for image in _both_kinds(entry, axes, shape, dtype=dtype, affine=oblique):
            before = image.array.copy()
            result = _called(entry, image)
            assert np.array_equal(image.array, before)
            if entry.gives == "value":
                assert not isinstance(result, Image)
                continue
            assert isinstance(result, Image)
            assert result.kind == (image.kind if entry.gives == "same" else entry.gives)
            assert result.axes == image.axes
            assert not np.shares_memory(result.array, image.array)
            if entry.dtype == "same":
                assert result.dtype == image.dtype
            elif entry.dtype == "float":
                assert result.dtype in (np.float32, np.float64)
            if entry.geometry in ("keeps", "moves"):
                assert np.array_equal(result.affine, image.affine)
                assert result.spatial_shape == image.spatial_shape
            if image.kind == result.kind == "image" and result.dtype.kind == "f":
                assert np.isfinite(result.array).all()


@pytest.mark.parametrize("entry", IMAGES)
def test_other_kinds_are_refused(entry: Entry) -> None:
    function = entry.function
    extra = {
        "reorient": ("RAS",), "crop": ([(0, 1)] * 2,), "pad": ([(0, 1)] * 2,),
        "window": (0, 1), "restore": (None,), "gamma": (2,), "match_histogram": (None,),
        "linear_filter": ([[1]],), "separable_filter": ([[1]] * 2,), "structuring_element": (2,),
        "hit_or_miss": ([[1]], [[0]]), "rearrange": ("yx",), "rotate": (5,), "crop_or_pad": (3,),
        "crop_to": (None,), "remove_small": (1,), "convert_colour": ("RGB",),
        "warp": (ecvl.Transform(),), "register": (Image(np.zeros((3, 3)), "yx"),),
        "normalise_stain": (Image(np.zeros((3, 3, 3), np.uint8), "yxc"), "reinhard"),
    }.get(entry.name, ())  # fmt: skip
    binary = entry.name in ("add", "subtract", "multiply", "divide", "minimum", "maximum", "blend")
    extra = (1,) if binary else extra
    with pytest.raises(KindError, match=r"ecvl\.Image"):
        function(np.zeros((3, 3)), *extra)
    other: Any = {"image": "labels", "labels": "image"}.get(entry.takes)
    if other:
        with pytest.raises(KindError, match=f"{entry.name} takes kind='{entry.takes}'"):
            function(Image(np.zeros((3, 3), np.uint8), "yx", kind=other), *extra)


@pytest.mark.parametrize("entry", IMAGES)
def test_one_slice_gives_the_2d_result(entry: Entry) -> None:
    if set(entry.ranks) != {2, 3} or entry.name in NO_SLICES:
        pytest.skip("not for both ranks, or the result tells them apart")
    affine = np.diag([0.7, 1.2, 5, 1])
    for flat in _both_kinds(entry, "yx", (11, 13), affine=affine):
        thick = flat.replace(array=flat.array[None], axes="z" + flat.axes)
        one, other = _called(entry, flat), _called(entry, thick)
        if entry.gives == "value":
            assert np.array_equal(np.squeeze(one), np.squeeze(other))
        else:
            assert np.array_equal(one.array, other.array[0])


@pytest.mark.parametrize("entry", KEEPERS)
def test_channels_and_times_are_worked_on_alone(entry: Entry) -> None:
    if not entry.each or entry.channels:
        pytest.skip("it looks at all channels together")
    image = _made(entry, "czyx", (2, 4, 9, 12))
    image = image.replace(value_range=(0, 200)) if image.kind == "image" else image
    whole = _called(entry, image)
    for channel in range(2):
        alone = _called(entry, image.replace(array=image.array[channel], axes="zyx"))
        assert np.array_equal(whole.array[channel], alone.array)
    last = image.replace(array=np.moveaxis(image.array, 0, -1), axes="zyxc")
    assert np.array_equal(np.moveaxis(_called(entry, last).array, -1, 0), whole.array)


@pytest.mark.parametrize("entry", IMAGES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 1, 1), (1, 5, 7), (4, 1, 1)])
def test_thin_images_and_single_voxels(entry: Entry, shape: Any) -> None:
    if len(shape) not in entry.ranks or entry.name in ("multi_otsu_values", "stain_vectors"):
        pytest.skip("not for images of this rank, or of one value")
    if entry.least > 1:
        if min(shape[-2:]) >= entry.least:
            pytest.skip("large enough")
        with pytest.raises(GeometryError, match=f"at least {entry.least} voxels"):
            _called(entry, _plain(Image(np.ones(shape), "zyx"[-len(shape) :])))
        return
    for image in _both_kinds(entry, "zyx"[-len(shape) :], shape):
        result = _called(entry, image)
        if isinstance(result, Image) and entry.geometry == "keeps":
            assert result.shape == image.shape


@pytest.mark.parametrize("entry", IMAGES)
def test_constant_images_and_empty_labels(entry: Entry) -> None:
    if entry.name in NEED_VARIETY:
        pytest.skip("it needs several values")
    for dtype in (np.uint8, np.int16, np.float32):
        for image in _both_kinds(entry, "zyx", (4, 9, 12)):
            kind = np.uint8 if image.kind == "labels" else dtype
            flat = image.replace(array=np.zeros(image.shape, kind), label_names=None)
            result = _called(entry, flat)
            if isinstance(result, Image):
                assert np.isfinite(result.array).all()
                if image.kind == result.kind == "labels":
                    assert not result.array.any()


@pytest.mark.parametrize("entry", KEEPERS)
def test_a_turned_grid_makes_no_difference(entry: Entry, oblique: Any) -> None:
    """Voxel sizes matter, where the grid lies in the patient does not."""
    spacing = np.linalg.norm(oblique[:3, :3], axis=0)
    straight = np.diag([*spacing, 1])
    turned = _made(entry, "zyx", (5, 9, 12), affine=oblique, dtype=np.float32)
    ours = _called(entry, turned)
    theirs = _called(entry, turned.replace(affine=straight))
    if isinstance(ours, Image):
        np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("entry", KEEPERS)
def test_memory_order_makes_no_difference(entry: Entry) -> None:
    image = _made(entry, "zyx", (5, 9, 12))
    wide = np.repeat(image.array, 2, axis=-1)
    result = _called(entry, image)
    for array in (np.asfortranarray(image.array), wide[..., ::2]):
        again = _called(entry, image.replace(array=array))
        if isinstance(result, Image):
            assert np.array_equal(again.array, result.array)


@pytest.mark.parametrize("entry", IMAGES)
def test_a_tilted_series_is_worked_on_or_refused(entry: Entry) -> None:
    tilted = np.diag([1.0, 1.0, 2.0, 1.0])
    tilted[1, 2] = 0.5
    image = _made(entry, "zyx", (5, 9, 12), affine=tilted)
    if 3 not in entry.ranks:
        pytest.skip("not for volumes")
    try:
        _called(entry, image)
    except GeometryError as error:
        assert "right angles" in str(error)  # noqa: PT017 - either is fine


@pytest.mark.parametrize("entry", IMAGES)
def test_all_types_and_values_are_worked_on_or_refused(entry: Entry) -> None:
    """No error and no warning but ecvl's own, also for rare types, NaN and infinity."""
    image = _made(entry, "zyx", (5, 9, 12))
    dtypes: tuple[str, ...] = ("int8", "uint32", "uint64", "int64")
    if entry.takes != "labels":
        dtypes += ("float16", "float32", "float64")
    for dtype in dtypes:
        array = image.array.astype(dtype)
        if dtype.startswith("float"):
            array.flat[[3, 7, 11]] = np.nan, np.inf, -np.inf
        try:
            result = _called(entry, image.replace(array=array))
        except ecvl.EcvlError:
            continue
        if isinstance(result, Image) and entry.dtype == "same":
            assert result.dtype == dtype
