"""What every augmentation keeps to, generated over all of them."""

import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError, Sample, augment
from ecvl.augment.base import Augmentation, Operation
from ecvl.augment.intensity import Intensity
from ecvl.augment.spatial import Spatial

# One row for each: settings with which it surely changes a picture of noise.
ALL: dict[str, Operation] = {
    "Add": augment.Add((0.1, 0.2), per_channel=True),
    "AdditiveGaussianNoise": augment.AdditiveGaussianNoise((0.05, 0.1)),
    "AdditiveLaplaceNoise": augment.AdditiveLaplaceNoise((0.05, 0.1)),
    "AdditivePoissonNoise": augment.AdditivePoissonNoise((5, 20)),
    "AverageBlur": augment.AverageBlur((3, 7)),
    "Brightness": augment.Brightness((-0.2, -0.1)),
    "ChannelShuffle": augment.ChannelShuffle(p=1),
    "CoarseDropout": augment.CoarseDropout((0.2, 0.5), (0.1, 0.3)),
    "Contrast": augment.Contrast((1.2, 1.5)),
    "Dropout": augment.Dropout((0.1, 0.3)),
    "Flip": augment.Flip("yx", p=1),
    "GammaContrast": augment.GammaContrast((1.5, 2)),
    "GaussianBlur": augment.GaussianBlur((0.8, 1.5)),
    "HistogramEqualization": augment.HistogramEqualization(p=1),
    "ImpulseNoise": augment.ImpulseNoise((0.1, 0.3)),
    "Invert": augment.Invert(p=1),
    "MedianBlur": augment.MedianBlur((3, 5)),
    "Multiply": augment.Multiply((0.8, 0.9)),
    "Pepper": augment.Pepper((0.1, 0.3)),
    "Rotate": augment.Rotate((5, 20)),
    "Salt": augment.Salt((0.1, 0.3)),
    "SaltAndPepper": augment.SaltAndPepper((0.1, 0.3), per_channel=True),
    "Scale": augment.Scale((0.8, 0.95)),
    "Translate": augment.Translate(x=(1, 3), y=(-3, -1)),
}
SPATIAL = [name for name, turn in ALL.items() if isinstance(turn, Spatial)]
INTENSITY = [name for name, turn in ALL.items() if isinstance(turn, Intensity)]
# Nothing is drawn by these.
CONSTANT = {"Flip", "HistogramEqualization", "Invert"}
EVERYTHING: dict[str, Augmentation] = {**ALL, "Sequential": augment.Sequential(list(ALL.values()))}
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
    common = {"Operation", "Intensity", "Spatial", "Curve", "Noise", "Replacement"}
    assert {cls.__name__ for cls in below(Operation)} - common == ALL.keys()


@pytest.mark.parametrize("name", EVERYTHING)
def test_json_round_trip(name: str) -> None:
    turn = EVERYTHING[name]
    again = augment.from_json(json.loads(json.dumps(turn.to_json())))
    assert again == turn
    assert hash(again) == hash(turn)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axes", SHAPES)
def test_type_shape_range_and_input_stay(name: str, dtype: str, axes: str) -> None:
    image = picture(axes, dtype)
    before = image.array.copy()
    result = EVERYTHING[name](image, seed=3)
    assert isinstance(result, Image)
    assert (result.dtype, result.shape, result.axes) == (image.dtype, image.shape, image.axes)
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
    if name not in ("AverageBlur", "ChannelShuffle", "GaussianBlur", "MedianBlur"):
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
    # An 8-bit Gaussian has weights of 8 bits.
    bound = 2.0 if name == "GaussianBlur" else 1.0
    assert np.abs(first.astype(float) - second).max() <= bound
    assert np.abs(second - third).max() <= 1


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    turn, image = EVERYTHING[name], picture("zyxc", np.float32)
    np.random.seed(1)
    first = turn(image, seed=5, epoch=2, sample=9).array
    np.random.seed(2)
    assert np.array_equal(turn(image, seed=5, epoch=2, sample=9), first)
    if name in CONSTANT:
        return
    others = [(6, 2, 9), (5, 3, 9), (5, 2, 8), (7, 0, 0), (8, 0, 0)]
    results = [turn(image, seed=s, epoch=e, sample=n).array for s, e, n in others]
    assert sum(not np.array_equal(result, first) for result in results) >= 3


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_threads_change_no_byte(name: str, dtype: str) -> None:
    turn = EVERYTHING[name]
    images = [picture(axes, dtype) for axes in ("yxc", "zyx")] * 4
    alone = [turn(image, seed=1, sample=n).array.tobytes() for n, image in enumerate(images)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(turn, image, seed=1, sample=n) for n, image in enumerate(images)]
        assert [job.result().array.tobytes() for job in jobs] == alone


@pytest.mark.parametrize("name", EVERYTHING)
def test_strides_of_the_input_do_not_matter(name: str) -> None:
    straight = picture("yxc", np.float32)
    turned = np.asfortranarray(straight.array)
    image = Image(turned[::1], "yxc", straight.affine)
    assert np.array_equal(EVERYTHING[name](image, seed=1), EVERYTHING[name](straight, seed=1))


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("axes", ["zyx", "yx"])
def test_returns_what_it_was_given(name: str, axes: str) -> None:
    turn = EVERYTHING[name]
    image = picture(axes)
    labels = Image(picture(axes).array % 4, axes, image.affine, "labels", label_names={1: "a"})
    alone = turn(image, seed=1)
    pair = turn(image, labels, seed=1)
    sample = turn(Sample(image, labels, {"age": 3}, "a", "p"), seed=1)
    assert isinstance(pair, tuple)
    assert isinstance(sample, Sample)
    assert np.array_equal(alone, pair[0])
    assert np.array_equal(alone, sample.image)
    assert np.array_equal(pair[1], sample.label)
    assert pair[1].kind == "labels"
    assert (sample.values, sample.id, sample.group) == ({"age": 3}, "a", "p")
    assert len(sample.history) == len(turn.operations())
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
    clear = np.abs(turned.array - 50) > 8
    assert np.array_equal(mask.array[clear], (turned.array > 50)[clear])


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_leaves_labels_and_geometry_alone(name: str) -> None:
    image = picture("yxc")
    labels = Image(picture("yx").array % 4, "yx", image.affine, "labels")
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
    turned = EVERYTHING[name](flat, seed=2)
    assert np.array_equal(EVERYTHING[name](thick, seed=2).array[0], turned)


@pytest.mark.parametrize("name", SPATIAL)
def test_channels_move_alike(smooth: Any, name: str) -> None:
    flat = smooth(axes="yx")
    for axes, axis in (("cyx", 0), ("yxc", 2)):
        channels = Image(np.stack([flat.array] * 3, axis), axes)
        moved = np.moveaxis(ALL[name](channels, seed=2).array, axis, 0)
        assert all(np.array_equal(plane, ALL[name](flat, seed=2)) for plane in moved)


@pytest.mark.parametrize("name", SPATIAL)
def test_the_affine_stays_true(smooth: Any, volume: Any, name: str) -> None:
    image = smooth().replace(affine=volume().affine)
    turned = ALL[name](image, seed=6)
    assert not np.array_equal(turned.affine, image.affine)
    back = ecvl.resample(turned, like=image)
    middle = tuple(slice(n // 4, -n // 4) for n in image.shape)
    assert np.abs(back.array - image.array)[middle].max() < 2


@pytest.mark.parametrize("name", EVERYTHING)
def test_probability(name: str) -> None:
    image = picture("yxc")
    never: Any = augment.Sequential([])
    if name != "Sequential":
        never = augment.from_json(ALL[name].to_json() | {"p": 0})
        half = augment.from_json(ALL[name].to_json() | {"p": 0.5})
        done = [len(half(Sample(image), seed=1, sample=n).history) for n in range(60)]
        assert 15 < sum(done) < 45
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
