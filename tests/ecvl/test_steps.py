"""Steps there and back: exact grids, whatever the storage, and JSON that is strictly checked."""

import json
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import EcvlError, GeometryError, Image, KindError, ParameterError, Sample, Steps
from ecvl.steps import Crop, Pad, PadToMultiple, Reorient, Resample

ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "SLA", "AIL")
PIPELINE = Steps(
    [Reorient("RAS"), Resample(spacing=(2.0, 1.4, 1.4)), PadToMultiple((1, 8, 8), fill=0)]
)
EVERY = Steps(
    [
        Reorient("LPS"),
        Crop(((0, 5), (1, 9), (0, 10))),
        Resample(spacing=(None, 2, 2.5)),
        Resample(shape=(4, 6, 6)),
        Pad(((0, 1), (2, 0), (1, 1)), fill="edge"),
        PadToMultiple(4),
    ]
)


@pytest.mark.parametrize("steps", [PIPELINE, EVERY, Steps([])])
def test_json_round_trip(steps: Steps) -> None:
    text = json.dumps(steps.to_json())
    assert Steps.from_json(json.loads(text)) == steps
    assert hash(Steps.from_json(json.loads(text))) == hash(steps)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"steps": []},
        {"version": 2, "steps": []},
        {"version": True, "steps": []},
        {"version": 1, "steps": "x"},
        {"version": 1, "steps": [], "more": 1},
        {"version": 1, "steps": ["Reorient"]},
        {"version": 1, "steps": [{"op": "exec", "code": "1"}]},
        {"version": 1, "steps": [{"op": "Reorient", "orientation": "XYZ"}]},
        {"version": 1, "steps": [{"op": "Reorient", "orientation": 3}]},
        {"version": 1, "steps": [{"op": "Reorient", "direction": "RAS"}]},
        {"version": 1, "steps": [{"op": "Resample"}]},
        {"version": 1, "steps": [{"op": "Resample", "spacing": [0, 1, 1]}]},
        {"version": 1, "steps": [{"op": "Resample", "spacing": ["1", 1, 1]}]},
        {"version": 1, "steps": [{"op": "Resample", "spacing": [1]}]},
        {"version": 1, "steps": [{"op": "Resample", "shape": [1.5, 1, 1]}]},
        {"version": 1, "steps": [{"op": "Crop"}]},
        {"version": 1, "steps": [{"op": "Crop", "box": [[0, 1], [0]]}]},
        {"version": 1, "steps": [{"op": "Pad", "widths": [[0, -1], [0, 0]]}]},
        {"version": 1, "steps": [{"op": "PadToMultiple", "multiple": 0}]},
        {"version": 1, "steps": [{"op": "PadToMultiple", "multiple": 4, "fill": "wrap"}]},
        {"version": 1, "steps": [{"op": "PadToMultiple", "multiple": float("nan")}]},
    ],
    ids=str,
)
def test_wrong_json_is_refused(document: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        Steps.from_json(document)
    assert "\n" not in str(caught.value)


def test_steps_are_the_functions(volume: Any) -> None:
    image = volume()
    expected = ecvl.pad_to_multiple(
        ecvl.resample(ecvl.reorient(image, "RAS"), spacing=(2.0, 1.4, 1.4)), (1, 8, 8), fill=0
    )
    result = PIPELINE.apply(image)
    assert np.array_equal(result, expected)
    assert np.array_equal(result.affine, expected.affine)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("steps", [PIPELINE, EVERY], ids=["pipeline", "every"])
def test_a_prediction_returns_to_the_exact_grid(volume: Any, codes: str, steps: Steps) -> None:
    image = ecvl.reorient(volume((7, 11, 13)), codes)
    if steps is EVERY and codes not in ("LPS", "RAS", "LAS"):
        image = ecvl.reorient(volume((7, 11, 13)), "LAS")
    ready = steps.apply(image)
    labels = ready.replace(
        array=(ready.array > 90).astype(np.uint8), kind="labels", value_range=None
    )
    back = steps.restore(labels, like=image)
    assert back.shape == image.shape
    assert np.array_equal(back.affine, image.affine)
    assert back.kind == "labels"
    assert np.array_equal(steps.restore(labels.array, like=Sample(image)), back)


@pytest.mark.parametrize("codes", ORIENTATIONS[1:])
def test_storage_does_not_matter_to_the_last_bit(volume: Any, codes: str) -> None:
    plain = volume((7, 22, 26))
    stored = ecvl.reorient(plain, codes)
    ready, other = PIPELINE.apply(plain), PIPELINE.apply(stored)
    assert np.array_equal(ready, other)
    labels = (ready.array > 90).astype(np.uint8)
    scores = np.random.default_rng(0).normal(size=(4, *ready.shape)).astype(np.float32)
    for restored, again in (
        (PIPELINE.restore(labels, like=plain), PIPELINE.restore(labels, like=stored)),
        (
            PIPELINE.restore_scores(scores, like=plain),
            PIPELINE.restore_scores(scores, like=stored),
        ),
    ):
        assert np.array_equal(ecvl.reorient(again, "RAS"), restored)
        assert np.array_equal(again.affine, stored.affine)


def test_smooth_labels_survive_the_round_trip(smooth: Any) -> None:
    image = smooth((24, 40, 44)).replace(affine=np.diag([-1.0, 1, 1.5, 1]))
    truth = image.array > 60
    steps = Steps([Reorient("RAS"), Resample(spacing=(1.5, 2, 2)), PadToMultiple(16)])
    ready = steps.apply(image)
    inside = np.clip((ready.array - 60) / 40 + 0.5, 0, 1)
    labels = steps.restore_scores(np.stack([1 - inside, inside]), like=image)
    overlap = 2 * (labels.array.astype(bool) & truth).sum() / (labels.array.sum() + truth.sum())
    assert overlap > 0.98
    assert labels.label_names is None
    named = steps.restore_scores(
        np.stack([1 - inside, inside]), like=image, label_names={1: "ball"}
    )
    assert named.label_names == {1: "ball"}


def test_scores_are_the_argmax_of_the_restored_classes(volume: Any) -> None:
    image = ecvl.reorient(volume((7, 11, 13)), "PIR")
    ready = PIPELINE.apply(image)
    scores = np.random.default_rng(0).normal(size=(5, *ready.shape)).astype(np.float32)
    restored = PIPELINE.restore(scores, like=image)
    assert restored.axes == "czyx"
    assert restored.shape == (5, *image.shape)
    labels = PIPELINE.restore_scores(scores, like=image)
    assert np.array_equal(labels, restored.array.argmax(0))


def test_where_the_scores_do_not_reach_is_background() -> None:
    image = Image(np.zeros((1, 6)), "yx")
    steps = Steps([Crop(((0, 1), (2, 4)))])
    scores = np.array([[[0.0, 0]], [[1.0, 1]]])
    assert steps.restore_scores(scores, like=image).array.tolist() == [[0, 0, 1, 1, 0, 0]]
    many = np.zeros((300, 1, 2), np.float32)
    many[299] = 1
    assert steps.restore_scores(many, like=image).dtype == np.uint16


def test_no_class_sized_volume_is_held() -> None:
    import tracemalloc

    image = Image(np.zeros((40, 64, 64), np.int16), "zyx")
    steps = Steps([Resample(spacing=4)])
    scores = np.zeros((60, *steps.apply(image).shape), np.float32)
    full = 60 * image.array.size * 4
    tracemalloc.start()
    steps.restore_scores(scores, like=image)
    assert tracemalloc.get_traced_memory()[1] < full / 6
    tracemalloc.stop()


def test_what_does_not_fit_is_said(volume: Any) -> None:
    image = volume()
    with pytest.raises(GeometryError, match="as the steps give"):
        PIPELINE.restore(np.zeros((3, 3, 3), np.uint8), like=image)
    shape = PIPELINE.apply(image).shape
    with pytest.raises(KindError, match="float scores"):
        PIPELINE.restore_scores(np.zeros(shape, np.float32), like=image)
    with pytest.raises(KindError, match="float scores"):
        PIPELINE.restore_scores(np.zeros((2, *shape), np.uint8), like=image)
    with pytest.raises(GeometryError, match="axes 'yx'"):
        PIPELINE.apply(Image(np.zeros((4, 4)), "yx"))
    with pytest.raises(EcvlError, match="received str"):
        Steps(["Reorient"])  # type: ignore[list-item]
    with pytest.raises(KindError, match=r"ecvl\.Image"):
        PIPELINE.apply(np.zeros((3, 3, 3)))  # type: ignore[arg-type]


def test_steps_work_on_2d_images(smooth: Any) -> None:
    image = smooth(axes="yx")
    steps = Steps([Reorient("LPS"), Resample(spacing=2), Pad(((1, 1), (0, 0))), PadToMultiple(4)])
    ready = steps.apply(image)
    back = steps.restore(ready, like=image)
    assert back.shape == image.shape
    assert np.abs(back.array - image.array)[3:-3, 3:-3].max() < 8
