"""What every augmentation keeps to, generated over all of them."""

import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError, Sample, augment
from ecvl.augment import base
from ecvl.augment.base import Augmentation, Operation
from ecvl.augment.intensity import Intensity
from ecvl.augment.spatial import Spatial

# One row for each: settings with which it surely changes a picture of noise.
ALL: dict[str, Operation] = {
    "Add": augment.Add((0.1, 0.2), per_channel=True),
    "AdditiveGaussianNoise": augment.AdditiveGaussianNoise((0.05, 0.1)),
    "AdditiveLaplaceNoise": augment.AdditiveLaplaceNoise((0.05, 0.1)),
    "AdditivePoissonNoise": augment.AdditivePoissonNoise((5, 20)),
    "Affine": augment.Affine((5, 10), (1.1, 1.2), (3, 6), (1, 2)),
    "AverageBlur": augment.AverageBlur((3, 7)),
    "BiasField": augment.BiasField((0.3, 0.5)),
    "Brightness": augment.Brightness((-0.2, -0.1)),
    "CentreCrop": augment.CentreCrop((7, 6)),
    "ChannelShuffle": augment.ChannelShuffle(p=1),
    "CoarseDropout": augment.CoarseDropout((0.2, 0.5), (0.1, 0.3)),
    "Contrast": augment.Contrast((1.2, 1.5)),
    "CropByLabel": augment.CropByLabel(7),
    "Dropout": augment.Dropout((0.1, 0.3)),
    "Elastic": augment.Elastic((30, 45), (5, 7)),
    "Flip": augment.Flip("yx", p=1),
    "GammaContrast": augment.GammaContrast((1.5, 2)),
    "GaussianBlur": augment.GaussianBlur((0.8, 1.5)),
    "Ghosting": augment.Ghosting((0.4, 0.8), (2, 4)),
    "GridDistortion": augment.GridDistortion(3),
    "HistogramEqualization": augment.HistogramEqualization(p=1),
    "ImpulseNoise": augment.ImpulseNoise((0.1, 0.3)),
    "Invert": augment.Invert(p=1),
    "LowResolution": augment.LowResolution((2, 3)),
    "MedianBlur": augment.MedianBlur((3, 5)),
    "Mirror": augment.Mirror("yx", p=1),
    "Motion": augment.Motion((5, 9), (1, 3)),
    "Multiply": augment.Multiply((0.8, 0.9)),
    "OpticalDistortion": augment.OpticalDistortion((0.2, 0.4)),
    "Pepper": augment.Pepper((0.1, 0.3)),
    "RandomCrop": augment.RandomCrop((6, 7)),
    "RicianNoise": augment.RicianNoise((0.05, 0.1)),
    "Rotate": augment.Rotate((5, 20)),
    "Salt": augment.Salt((0.1, 0.3)),
    "SaltAndPepper": augment.SaltAndPepper((0.1, 0.3), per_channel=True),
    "Scale": augment.Scale((0.8, 0.95)),
    "Shear": augment.Shear((3, 8), (-8, -3)),
    "Translate": augment.Translate(x=(1, 3), y=(-3, -1)),
    "Transpose": augment.Transpose(p=1),
}
SPATIAL = [name for name, turn in ALL.items() if isinstance(turn, Spatial)]
INTENSITY = [name for name, turn in ALL.items() if isinstance(turn, Intensity)]
# Nothing is drawn by these.
CONSTANT = {"CentreCrop", "Flip", "HistogramEqualization", "Invert", "Mirror", "Transpose"}
RESHAPING = {"CentreCrop", "CropByLabel", "RandomCrop", "Sequential", "Transpose"}
BENDING = {"Elastic", "GridDistortion", "OpticalDistortion"}
EVERYTHING: dict[str, Augmentation] = {
    **ALL,
    "Sequential": augment.Sequential(list(ALL.values())),
    "OneOf": augment.OneOf([augment.Flip("y", p=1), augment.Rotate((40, 50)), augment.Salt(0.2)]),
    "SomeOf": augment.SomeOf([ALL["Rotate"], ALL["Scale"], ALL["Salt"], ALL["Multiply"]], (2, 3)),
}
TYPES = ["uint8", "int8", "uint16", "int16", "int32", "float16", "float32", "float64"]
SHAPES = {"yx": (9, 11), "yxc": (9, 11, 3), "cyx": (4, 9, 11), "zyx": (6, 9, 11),
          "czyx": (4, 6, 9, 11), "zyxc": (6, 9, 11, 3), "tzyx": (2, 3, 9, 11)}  # fmt: skip


def picture(axes: str = "zyx", dtype: Any = np.int16, **more: Any) -> Image:
    rng = np.random.default_rng(0)
    low, high = (0, 100) if np.dtype(dtype).itemsize == 1 else (-200, 1000)
    if np.dtype(dtype).kind == "u":
        low = 0
    array = rng.integers(low, high, SHAPES[axes]).astype(dtype)
    return Image(array, axes, np.diag([0.8, 1.0, 2.5, 1]), **more)


def labels_of(image: Image, **more: Any) -> Image:
    plane = image.array if "c" not in image.axes else image.array.min(axis=image.axes.index("c"))
    axes = image.axes.replace("c", "")
    values = np.abs(plane.astype(np.float64)).astype(np.int64) % 4
    return Image(values.astype(np.uint8), axes, image.affine, "labels", **more)


def turned(name: str, image: Image, **keys: Any) -> Image:
    """The image alone; what looks at labels gets some beside it."""
    if name in ("CropByLabel", "Sequential"):
        return EVERYTHING[name](image, labels_of(image), **keys)[0]
    return EVERYTHING[name](image, **keys)


def test_every_augmentation_has_a_row() -> None:
    assert ALL.keys() == augment.AUGMENTATIONS.keys()
    assert {type(turn).__name__ for turn in ALL.values()} == ALL.keys()
    public = {
        name
        for name, thing in vars(augment).items()
        if inspect.isclass(thing) and issubclass(thing, Operation)
    }
    assert public == ALL.keys()
    assert set(augment.__all__) >= ALL.keys()


def test_no_augmentation_is_left_out_of_the_table() -> None:
    def below(cls: type) -> set[type]:
        return {cls}.union(*map(below, cls.__subclasses__()))

    # Those with methods missing are what families have in common.
    common = {"Operation", "Intensity", "Spatial", "IndexOperation", "CutOut"}
    common |= {"Curve", "Noise", "Replacement"}
    assert {cls.__name__ for cls in below(Operation)} - common == ALL.keys()


@pytest.mark.parametrize("name", EVERYTHING)
def test_json_round_trip(name: str) -> None:
    turn = EVERYTHING[name]
    again = augment.from_json(json.loads(json.dumps(turn.to_json())))
    assert again == turn
    assert hash(again) == hash(turn)


@pytest.mark.parametrize("name", EVERYTHING)
def test_text_round_trip(name: str) -> None:
    turn = EVERYTHING[name]
    assert augment.from_text(augment.to_text(turn)) == turn
    if isinstance(turn, Operation) and "size" not in turn.to_json():
        plain = type(turn)()
        assert augment.from_text(augment.to_text(plain)) == plain


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axes", SHAPES)
def test_type_shape_range_and_input_stay(name: str, dtype: str, axes: str) -> None:
    image = picture(axes, dtype)
    before = image.array.copy()
    result = turned(name, image, seed=3)
    assert isinstance(result, Image)
    assert (result.dtype, result.axes) == (image.dtype, image.axes)
    assert name in RESHAPING or result.shape == image.shape
    assert result.array.flags.c_contiguous
    assert np.array_equal(image, before)
    assert not np.shares_memory(result.array, image.array)
    assert result.value_range == image.value_range
    low, high = image.value_range
    assert low - 1e-6 <= result.array.min() <= result.array.max() <= high + 1e-6
    if name != "ChannelShuffle" or "c" in axes:
        assert not np.array_equal(result, before)


@pytest.mark.parametrize("name", INTENSITY)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_results_saturate_in_a_given_range(name: str, dtype: str) -> None:
    image = picture("yxc", dtype, value_range=(20.5, 60.5))
    array = ALL[name](image, seed=1).array
    # Means of values outside the range are none of these' business.
    if name not in ("AverageBlur", "ChannelShuffle", "GaussianBlur", "LowResolution", "MedianBlur"):
        kept = array[array != image.array]
        assert kept.min() >= 20 and kept.max() <= 61


@pytest.mark.parametrize("name", INTENSITY)
@pytest.mark.parametrize("axes", ["yxc", "zyx"])
def test_types_agree(name: str, axes: str) -> None:
    if "Noise" in name:
        pytest.skip("whole-number noise is drawn in another way")
    if name == "HistogramEqualization" and axes == "yxc":
        pytest.skip("the luminance of whole-number colours is rounded before it is counted")
    whole = picture(axes, np.uint8)
    real = Image(whole.array.astype(np.float32), axes, whole.affine, value_range=(0, 255))
    wide = Image(whole.array.astype(np.int32), axes, whole.affine, value_range=(0, 255))
    first, second, third = (ALL[name](image, seed=5).array for image in (whole, real, wide))
    # An 8-bit Gaussian has weights of 8 bits; low resolution rounds twice.
    bound = 2.0 if name in ("GaussianBlur", "LowResolution") else 1.0
    assert np.abs(first.astype(float) - second).max() <= bound
    assert np.abs(second - third).max() <= 1


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    image = picture("zyxc", np.float32)
    np.random.seed(1)
    first = turned(name, image, seed=5, epoch=2, sample=9).array
    np.random.seed(2)
    assert np.array_equal(turned(name, image, seed=5, epoch=2, sample=9), first)
    if name in CONSTANT:
        return
    others = [(6, 2, 9), (5, 3, 9), (5, 2, 8), (7, 0, 0), (8, 0, 0)]
    results = [turned(name, image, seed=s, epoch=e, sample=n).array for s, e, n in others]
    assert sum(not np.array_equal(result, first) for result in results) >= 3


@pytest.mark.parametrize("name", [name for name, turn in ALL.items() if not turn.draws])
def test_what_draws_nothing_is_given_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in CONSTANT
    expected = ALL[name](picture("yxc"), seed=1)
    monkeypatch.setattr(base, "_taken", lambda: pytest.fail("random numbers were asked for"))
    assert np.array_equal(ALL[name](picture("yxc"), seed=2), expected)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_threads_change_no_byte(name: str, dtype: str) -> None:
    images = [picture(axes, dtype) for axes in ("yxc", "zyx")] * 4
    alone = [
        turned(name, image, seed=1, sample=n).array.tobytes() for n, image in enumerate(images)
    ]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(turned, name, image, seed=1, sample=n) for n, image in enumerate(images)
        ]
        assert [job.result().array.tobytes() for job in jobs] == alone


@pytest.mark.parametrize("name", EVERYTHING)
def test_strides_of_the_input_do_not_matter(name: str) -> None:
    straight = picture("yxc", np.float32)
    image = Image(np.asfortranarray(straight.array), "yxc", straight.affine)
    assert np.array_equal(turned(name, image, seed=1), turned(name, straight, seed=1))


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("axes", ["zyx", "yx"])
def test_returns_what_it_was_given(name: str, axes: str) -> None:
    turn = EVERYTHING[name]
    image = picture(axes)
    labels = labels_of(image, label_names={1: "a"})
    alone = turned(name, image, seed=1)
    pair = turn(image, labels, seed=1)
    sample = turn(Sample(image, labels, {"age": 3}, "a", "p"), seed=1)
    assert isinstance(pair, tuple)
    assert isinstance(sample, Sample)
    assert np.array_equal(alone, pair[0])
    assert np.array_equal(alone, sample.image)
    assert alone.value_range == pair[0].value_range == sample.image.value_range
    assert np.array_equal(pair[1], sample.label)
    assert pair[1].kind == "labels"
    assert (sample.values, sample.id, sample.group) == ({"age": 3}, "a", "p")
    if name not in ("OneOf", "SomeOf"):
        assert len(sample.history) == turn.streams
    json.dumps(sample.history)
    for result in (pair[1], sample.label):
        assert np.array_equal(result.affine, alone.affine)
        assert result.label_names == {1: "a"}
        assert set(np.unique(result)) <= set(np.unique(labels)) | {0}


@pytest.mark.parametrize("name", [*SPATIAL, "Sequential"])
@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_labels_go_where_the_image_goes(smooth: Any, name: str, axes: str) -> None:
    turn = EVERYTHING[name]
    if name == "Sequential":
        turn = augment.Sequential([ALL[n] for n in SPATIAL])
    image = smooth(axes=axes)
    labels = Image((image.array > 50).astype(np.uint8), axes, kind="labels")
    turned, mask = turn(image, labels, seed=4)
    clear = np.abs(turned.array - 50) > (8 if name not in BENDING else 16)
    assert np.array_equal(mask.array[clear], (turned.array > 50)[clear])


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_leaves_labels_and_geometry_alone(name: str) -> None:
    image = picture("yxc")
    labels = labels_of(image)
    turned, mask = ALL[name](image, labels, seed=1)
    assert np.array_equal(mask, labels)
    assert np.array_equal(turned.affine, image.affine)
    with pytest.raises(KindError, match="labels only"):
        ALL[name](labels, seed=1)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_one_slice_gives_the_2d_result(smooth: Any, name: str, dtype: str) -> None:
    flat = smooth(axes="yx")
    flat = flat.replace(array=flat.array.astype(dtype))
    thick = Image(flat.array[None], "zyx")
    assert np.array_equal(turned(name, thick, seed=2).array[0], turned(name, flat, seed=2))


@pytest.mark.parametrize("name", SPATIAL)
def test_channels_move_alike(smooth: Any, name: str) -> None:
    flat = smooth(axes="yx")
    for axes, axis in (("cyx", 0), ("yxc", 2)):
        channels = Image(np.stack([flat.array] * 3, axis), axes)
        moved = np.moveaxis(turned(name, channels, seed=2).array, axis, 0)
        assert all(np.array_equal(plane, turned(name, flat, seed=2)) for plane in moved)


@pytest.mark.parametrize("name", [name for name in SPATIAL if name not in BENDING])
def test_the_affine_stays_true(smooth: Any, volume: Any, name: str) -> None:
    image = smooth().replace(affine=volume().affine)
    moved = turned(name, image, seed=6)
    assert not np.array_equal(moved.affine, image.affine)
    back = ecvl.resample(moved, like=image, fill=1e6)
    inside = back.array < 1e5
    # Where the fill of the first move bled in, the second cannot tell.
    margin = 0 if "Crop" in name else 4
    middle = tuple(slice(margin, n - margin) for n in image.shape)
    assert inside[middle].sum() > 100
    assert np.abs(back.array - image.array)[middle][inside[middle]].max() < 2


@pytest.mark.parametrize("name", SPATIAL)
@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_samples_find_back(smooth: Any, name: str, axes: str) -> None:
    image = smooth((16, 40, 44), axes=axes)
    labels = Image((image.array > 50).astype(np.uint8), axes, kind="labels")
    middle = tuple(n / 2 + 1 for n in image.shape)
    box = [[n / 2 - 2 for n in image.shape], [n / 2 + 2 for n in image.shape]]
    sample = Sample(image, labels, points={"a": [middle]}, boxes={"b": [box]})
    for seed in range(3):
        there = ALL[name](sample, seed=seed)
        back = there.invert()
        np.testing.assert_allclose(back.points["a"], [middle], atol=0.02)
        assert (back.boxes["b"][0][0] <= np.array(box[0]) + 0.1).all()
        assert (back.boxes["b"][0][1] >= np.array(box[1]) - 0.1).all()
        assert (back.boxes["b"][0][1] - back.boxes["b"][0][0] < 14).all()
        assert back.image.shape == image.shape and np.array_equal(back.image.affine, image.affine)
        ones = Image(np.ones_like(image.array), axes, value_range=(0, 1))
        inside = ALL[name](Sample(ones, labels), seed=seed).invert().image.array > 0.999
        if name not in BENDING and "Crop" not in name:
            assert inside.mean() > 0.4
        # Where an elastic field nearly folds, little is left to find back.
        assert np.quantile(np.abs(back.image.array - image.array)[inside], 0.999) < 5
        if ALL[name].interpolates is False:
            assert np.array_equal(back.image.array[inside], image.array[inside])


@pytest.mark.parametrize("name", SPATIAL)
def test_points_go_where_the_voxels_go(name: str) -> None:
    values = np.zeros((40, 44), np.float32)
    values[19:22, 21:24] = 1
    image = Image(values, "yx", np.diag([1.5, 1, 1, 1]))
    labels = Image(np.pad([[1]], ((20, 19), (22, 21))), "yx", image.affine, "labels")
    there = ALL[name](Sample(image, labels, points={"a": [[20, 22]]}), seed=3)
    weights = np.maximum(there.image.array, 0)
    if weights.sum() < 5:
        pytest.skip("the crop is elsewhere")
    centre = [(weights * index).sum() / weights.sum() for index in np.indices(weights.shape)]
    np.testing.assert_allclose(there.points["a"][0], centre, atol=0.25)


@pytest.mark.parametrize("name", EVERYTHING)
def test_probability(name: str) -> None:
    image = picture("yxc")
    never: Any = augment.Sequential([])
    if name == "Sequential":
        pass
    elif name in ("OneOf", "SomeOf"):
        never = augment.from_json(EVERYTHING[name].to_json() | {"p": 0})
    else:
        never = augment.from_json(ALL[name].to_json() | {"p": 0})
        half = augment.from_json(ALL[name].to_json() | {"p": 0.5})
        sample = Sample(image, labels_of(image))
        done = [len(half(sample, seed=1, sample=n).history) for n in range(60)]
        # Mirror has two axes.
        assert 15 < sum(done) < (45 if name != "Mirror" else 55)
    assert np.array_equal(never(image, seed=1), image)
    assert never(Sample(image), seed=1).history == ()


@pytest.mark.parametrize("name", INTENSITY)
def test_constant_images_stay(name: str) -> None:
    image = Image(np.full((4, 4), 7, np.int16), "yx")
    assert np.array_equal(ALL[name](image, seed=1), image)


@pytest.mark.parametrize(
    "act",
    [
        lambda: augment.Rotate((5, -5)),
        lambda: augment.Rotate("5"),
        lambda: augment.Rotate((0, np.nan)),
        lambda: augment.Rotate(axis="w"),
        lambda: augment.Rotate(p=1.5),
        lambda: augment.Rotate(fill="wrap"),
        lambda: augment.Scale(0),
        lambda: augment.Scale(axes="yy"),
        lambda: augment.Flip("c"),
        lambda: augment.GammaContrast((-1, 1)),
        lambda: augment.Sequential([3]),
        lambda: augment.from_json({"op": "Rotate", "angle": 3}),
        lambda: augment.from_json({"op": "os.system"}),
        lambda: augment.from_json({"op": "Sequential"}),
        lambda: augment.from_json({"op": "Sequential", "steps": [], "more": 1}),
        lambda: augment.from_json({"op": "Sequential", "steps": [], "fuse": 1}),
        lambda: augment.from_json("Flip"),
        lambda: augment.OneOf([]),
        lambda: augment.OneOf([augment.Flip()], p=2),
        lambda: augment.SomeOf([augment.Flip()], 2),
        lambda: augment.SomeOf([augment.Flip()], (1, 0)),
        lambda: augment.from_json({"op": "OneOf", "steps": [], "count": 1}),
        lambda: augment.Rotate(centre=(1, "a")),
        lambda: augment.Flip()(Image(np.zeros((2, 2)), "yx"), seed=-1),
        lambda: augment.Flip()(Image(np.zeros((2, 2)), "yx"), seed=1.5),
    ],
)
def test_wrong_arguments_are_said(act: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_a_bottomless_document_is_refused() -> None:
    document: Any = {"op": "Sequential", "steps": []}
    for _ in range(100):
        document = {"op": "Sequential", "steps": [document]}
    with pytest.raises(ParameterError, match="deep"):
        augment.from_json(document)


def test_what_does_not_fit_is_said(volume: Any) -> None:
    flat = Image(np.zeros((4, 4)), "yx")
    for turn in (
        augment.Rotate(axis="x"),
        augment.Flip("z", p=1),
        augment.Scale(axes="zyx"),
        augment.Translate(z=(1, 1)),
    ):
        with pytest.raises(GeometryError, match=r"'z'|2-D"):
            turn(flat, seed=1)
    with pytest.raises(GeometryError, match="one grid"):
        augment.Flip()(volume(), volume((5, 5, 5)), seed=1)
    with pytest.raises(KindError, match=r"ecvl\.Image"):
        augment.Flip()(np.zeros((3, 3)), seed=1)  # type: ignore[call-overload]
