import json

import numpy as np
import pytest

import ecvl
from deephealth import DeepHealthError
from deephealth.operations import card


def scan(low=-1000, high=1000, shape=(4, 100, 100), **meta):
    values = np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.int16)
    return ecvl.Image(values, "zyx", np.diag([3.0, 3.0, 3.0, 1.0]), meta={"common": meta})


@pytest.fixture
def made():
    steps = ecvl.Steps([]).to_json()
    return card.Card({"1": "liver"}, steps, 1, card.likeness(scan(), "CT"), "an atlas")


def test_a_card_comes_back_as_it_was(made):
    assert card.read(made.to_metadata()) == made


def test_a_card_holds_nothing_about_a_person():
    volume = scan(Modality="CT", PatientName="Doe^Jane", InstitutionAddress="Main Street 1")
    text = card.Card({}, [], 1, card.likeness(volume, "CT"), "an atlas").to_metadata()[card.KEY]
    assert "Doe" not in text
    assert set(json.loads(text)) == {
        "schema",
        "labels",
        "steps",
        "neighbours",
        "training",
        "reference",
        "notice",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("training"),
        lambda body: body.update(labels={"x": "y"}),
        lambda body: body.update(neighbours="many"),
        lambda body: body["training"].update(spacing=[1, 2]),
        lambda body: body.update(schema="deephealth/model/v9"),
    ],
)
def test_a_damaged_card_is_refused_in_one_line(made, change):
    body = json.loads(made.to_metadata()[card.KEY])
    change(body)
    with pytest.raises(DeepHealthError) as caught:
        card.read({card.KEY: json.dumps(body)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{", "3"])
def test_what_is_no_card_is_refused(text):
    with pytest.raises(DeepHealthError):
        card.read({card.KEY: text})


@pytest.mark.parametrize(
    ("volume", "word"),
    [
        (scan(), None),
        (scan(-900, 800), None),
        (scan(0, 255), "intensities"),
        (scan(0, 4095), "intensities"),
        (scan(shape=(4, 30, 100)), "of a slice"),
        (scan(Modality="MR"), "MR"),
        (scan(Modality="CT"), None),
    ],
)
def test_what_does_not_look_like_the_training_images_is_said(made, volume, word):
    lines = card.differences(made.training, volume)
    assert len(lines) == (word is not None)
    assert all(word in line for line in lines)


def test_coarse_voxels_are_said(made):
    volume = ecvl.Image(np.asarray(scan()), "zyx", np.diag([3.0, 3.0, 10.0, 1.0]))
    assert "mm apart" in card.differences(made.training, volume)[0]
