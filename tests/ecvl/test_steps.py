"""Steps there and back: exact grids, whatever the storage, and JSON that is strictly checked."""

import json
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import EcvlError, GeometryError, Image, KindError, ParameterError, Sample, Steps
from ecvl.steps import Crop, KeepBody, Pad, PadToMultiple, Reorient, Resample

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
        KeepBody(lower=90, gap_mm=0, least=0.1, air=3),
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
        {"version": 1, "steps": [{"op": "KeepBody", "least": 0}]},
        {"version": 1, "steps": [{"op": "KeepBody", "gap_mm": -1}]},
        {"version": 1, "steps": [{"op": "KeepBody", "air": "none"}]},
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


def _lying_patient(dtype: Any = np.int16) -> tuple[Image, Any, Any]:
    """A trunk with gas in it between two arms, on a table of two shells; the patient, the table."""
    y, x = np.mgrid[:60, :90].astype(float)
    patient = ((y - 25) / 16) ** 2 + ((x - 45) / 24) ** 2 < 1
    for middle in (10, 80):
        patient |= np.hypot(y - 30, x - middle) < 6
    table = np.zeros_like(patient)
    table[[46, 50], 8:82] = True
    values = np.where(patient, 40, np.where(table, 250, -1000))
    values[np.hypot(y - 20, x - 45) < 4] = -990
    volume = np.repeat(values[None], 7, axis=0).astype(dtype)
    return Image(volume, "zyx", np.diag([-3.0, 3, 3, 1])), patient, table


def test_the_table_becomes_air_and_arms_and_gas_stay() -> None:
    scan, patient, table = _lying_patient()
    found = Steps([KeepBody()]).apply(scan)
    assert found.dtype == scan.dtype
    assert np.array_equal(found.affine, scan.affine)
    assert (found.array[:, table] == -1000).all()
    assert (found.array == scan.array)[:, patient].mean() > 0.99
    alone = Steps([KeepBody(least=1, air=-2000)]).apply(scan).array
    assert (alone[:, :, :17] == -2000).all()
    assert (alone[:, 25, 30:60] == scan.array[:, 25, 30:60]).all()


def test_labels_stay_and_what_is_held_cannot_leave_the_type() -> None:
    scan, _, table = _lying_patient()
    labels = scan.replace(array=np.full(scan.shape, 2, np.uint8), kind="labels")
    assert np.array_equal(Steps([KeepBody()]).apply(labels), labels)
    unsigned = scan.replace(array=(scan.array + 1000).astype(np.uint16))
    found = Steps([KeepBody(lower=700)]).apply(unsigned)
    assert (found.array[:, table] == 0).all()


def test_a_tilted_series_loses_its_table_too() -> None:
    scan, patient, table = _lying_patient()
    tilted = np.diag([-3.0, 3, 3, 1])
    tilted[1, 2] = 1.2
    found = Steps([KeepBody()]).apply(scan.replace(affine=tilted))
    assert np.array_equal(found.affine, tilted)
    assert (found.array[:, table] == -1000).all()
    assert (found.array == scan.array)[:, patient].mean() > 0.99
