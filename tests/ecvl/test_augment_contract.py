"""What every augmentation keeps to, generated over all of them."""

import json
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError, Sample, augment
from ecvl.augment.intensity import Intensity
from ecvl.augment.spatial import Spatial

ALL = {
    "Add": augment.Add((-0.2, 0.2)),
    "AdditiveGaussianNoise": augment.AdditiveGaussianNoise((0.05, 0.1)),
    "Flip": augment.Flip("yx", p=1),
    "GammaContrast": augment.GammaContrast((0.5, 2)),
    "GaussianBlur": augment.GaussianBlur((0.5, 1.5)),
    "Multiply": augment.Multiply((0.8, 1.3)),
    "Rotate": augment.Rotate((-20, 20)),
    "Scale": augment.Scale((0.8, 1.25)),
    "Translate": augment.Translate(x=(-3, 3), y=(-3, 3)),
}
SPATIAL = [name for name, turn in ALL.items() if isinstance(turn, Spatial)]
INTENSITY = [name for name, turn in ALL.items() if isinstance(turn, Intensity)]
CHAIN = augment.Sequential(list(ALL.values()))
EVERYTHING = ALL | {"Sequential": CHAIN}
TYPES = ["uint8", "int16", "uint16", "int32", "float32", "float64"]


def test_every_augmentation_has_a_row() -> None:
    assert ALL.keys() == augment.AUGMENTATIONS.keys()
    assert {type(turn).__name__ for turn in ALL.values()} == ALL.keys()
    assert set(augment.__all__) >= ALL.keys()


@pytest.mark.parametrize("name", EVERYTHING)
def test_json_round_trip(name: str) -> None:
    turn = EVERYTHING[name]
    again = augment.from_json(json.loads(json.dumps(turn.to_json())))
    assert again == turn
    assert hash(again) == hash(turn)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("dtype", TYPES)
def test_type_shape_and_input_stay(volume: Any, name: str, dtype: str) -> None:
    image = volume(dtype=dtype)
    before = image.array.copy()
    result = EVERYTHING[name](image, seed=3)
    assert isinstance(result, Image)
    assert (result.dtype, result.shape, result.axes) == (image.dtype, image.shape, image.axes)
    assert np.array_equal(image, before)
    assert not np.shares_memory(result.array, image.array)
    assert result.value_range == image.value_range
    low, high = image.value_range
    assert low - 1e-6 <= result.array.min() <= result.array.max() <= high + 1e-6


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_seed_decides_and_nothing_else(volume: Any, name: str) -> None:
    turn, image = EVERYTHING[name], volume(dtype=np.float32)
    np.random.seed(1)
    first = turn(image, seed=5, epoch=2, sample=9).array
    np.random.seed(2)
    assert np.array_equal(turn(image, seed=5, epoch=2, sample=9), first)
    if name == "Flip":
        return
    for other in ({"seed": 6}, {"epoch": 3}, {"sample": 8}):
        keys = {"seed": 5, "epoch": 2, "sample": 9} | other
        assert not np.array_equal(turn(image, **keys), first)


@pytest.mark.parametrize("name", EVERYTHING)
def test_returns_what_it_was_given(volume: Any, name: str) -> None:
    turn = EVERYTHING[name]
    image, labels = volume(), volume(kind="labels", dtype=np.uint8)
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
        assert set(np.unique(result)) <= set(np.unique(labels)) | {0}


@pytest.mark.parametrize("name", [*SPATIAL, "Sequential"])
def test_labels_go_where_the_image_goes(smooth: Any, name: str) -> None:
    turn = EVERYTHING[name]
    if name == "Sequential":
        turn = augment.Sequential([ALL[n] for n in SPATIAL])
    image = smooth()
    labels = Image((image.array > 50).astype(np.uint8), "zyx", kind="labels")
    turned, mask = turn(image, labels, seed=4)
    clear = np.abs(turned.array - 50) > 8
    assert np.array_equal(mask.array[clear], (turned.array > 50)[clear])


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_leaves_labels_and_geometry_alone(volume: Any, name: str) -> None:
    image, labels = volume(), volume(kind="labels")
    turned, mask = ALL[name](image, labels, seed=1)
    assert np.array_equal(mask, labels)
    assert np.array_equal(turned.affine, image.affine)
    assert not np.array_equal(turned, image)
    with pytest.raises(KindError, match="labels only"):
        ALL[name](labels, seed=1)


@pytest.mark.parametrize("name", EVERYTHING)
def test_one_slice_gives_the_2d_result(smooth: Any, name: str) -> None:
    flat = smooth(axes="yx")
    thick = Image(flat.array[None], "zyx")
    turned = EVERYTHING[name](flat, seed=2)
    assert np.array_equal(EVERYTHING[name](thick, seed=2).array[0], turned)
    spatial = augment.Sequential([ALL[n] for n in SPATIAL])
    channels = Image(np.stack([flat.array] * 3), "cyx")
    assert all(
        np.array_equal(plane, spatial(flat, seed=2)) for plane in spatial(channels, seed=2).array
    )


@pytest.mark.parametrize("name", SPATIAL)
def test_the_affine_stays_true(smooth: Any, volume: Any, name: str) -> None:
    image = smooth().replace(affine=volume().affine)
    turned = ALL[name](image, seed=6)
    assert not np.array_equal(turned.affine, image.affine)
    back = ecvl.resample(turned, like=image)
    middle = tuple(slice(n // 4, -n // 4) for n in image.shape)
    assert np.abs(back.array - image.array)[middle].max() < 2


@pytest.mark.parametrize("name", EVERYTHING)
def test_probability_zero_does_nothing(volume: Any, name: str) -> None:
    if name == "Sequential":
        turn: Any = augment.Sequential([])
    else:
        turn = augment.from_json(ALL[name].to_json() | {"p": 0})
    image = volume()
    assert np.array_equal(turn(image, seed=1), image)
    assert turn(Sample(image), seed=1).history == ()


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
