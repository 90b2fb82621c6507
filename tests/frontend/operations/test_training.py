from dataclasses import replace

import numpy as np
import pytest

import ecvl
import eddl
from deephealth.operations import CATALOGUE, card
from deephealth.operations.kinds import SliceSet
from deephealth.operations.ports import Context
from deephealth.operations.training import training_slices

SETTINGS = {"epochs": 2, "batch": 2, "filters": 2, "depth": 2, "level": 0, "width": 400}


@pytest.fixture
def slices():
    rng = np.random.default_rng(2)
    labels = np.zeros((6, 16, 16), np.uint8)
    labels[:, 4:12, 4:12] = 1
    values = (labels * 150 + rng.normal(0, 20, labels.shape)).astype(np.int16)
    names = {0: "background", 1: "liver"}
    return SliceSet(
        ecvl.Image(values, "zyx"),
        ecvl.Image(labels, "zyx", kind="labels", label_names=names),
        ecvl.Steps([]),
        1,
        np.array([0, 1, 2, 3]),
        np.array([5]),
    )


def train(slices, folder, **settings):
    folder.mkdir()
    inputs = {"slices": slices, "provenance": {"reference": "a drawing"}}
    context = Context(folder=folder)
    return CATALOGUE["train_unet"].run(inputs, {**SETTINGS, **settings}, context).value


def test_the_model_file_takes_raw_intensities_and_carries_its_card(slices, tmp_path):
    made = train(slices, tmp_path / "a", augmentation=[{"op": "Rotate", "degrees": 5}])
    assert set(made["history"]) >= {"loss", "dice"}
    assert all(len(line) == 2 for line in made["history"].values())
    network = eddl.load(made["model"].path)
    found = card.read(network.metadata)
    assert (found.labels, found.neighbours) == ({"1": "liver"}, 1)
    assert found.training.modality == "CT"
    raw = np.random.default_rng(0).uniform(-3000, 3000, (1, 3, 16, 16)).astype(np.float32)
    scores = network.predict(raw)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(scores, network.predict(np.clip(raw, -200, 200)), atol=1e-5)


def test_the_same_seed_gives_the_same_file(slices, tmp_path):
    first = train(slices, tmp_path / "a", seed=3)["model"].path.read_bytes()
    assert train(slices, tmp_path / "b", seed=3)["model"].path.read_bytes() == first
    assert train(slices, tmp_path / "c", seed=4)["model"].path.read_bytes() != first


def test_balance_shows_a_slice_once_for_each_organ_in_it(slices):
    labels = np.asarray(slices.labels).copy()
    labels[0], labels[2, 0, :2], labels[5] = 0, (2, 3), 7
    several = replace(slices, labels=slices.labels.replace(array=labels))
    data = training_slices(several, slices.volume, balance=True)
    shown = [data.items[index].position for index in data.part("training")]
    assert sorted(shown) == [0, 1, 2, 2, 2, 3]
    assert len({data.items[index].id for index in data.part("training")}) == 6
    plain = training_slices(several, slices.volume, balance=False)
    assert [plain.items[index].position for index in plain.part("training")] == [0, 1, 2, 3]


def test_balance_and_warm_up_change_the_training(slices, tmp_path):
    plain = train(slices, tmp_path / "a")
    assert train(slices, tmp_path / "b", balance=True)["history"] == plain["history"]
    early = train(slices, tmp_path / "c", warm_up=0, rate=0.01)["history"]["learning_rate"]
    late = train(slices, tmp_path / "d", warm_up=0.9, rate=0.01)["history"]["learning_rate"]
    assert early[-1] < early[0]
    assert late[-1] > late[0]


def test_an_unknown_augmentation_is_a_reason(slices, tmp_path):
    inputs = {"slices": slices, "provenance": {}}
    result = CATALOGUE["train_unet"].run(inputs, {**SETTINGS, "augmentation": [{"op": "Melt"}]})
    assert "Melt" in result.reason


def test_prediction_lies_on_the_volumes_grid_and_warns(slices, tmp_path):
    model = train(slices, tmp_path / "a")["model"]
    lines = []
    context = Context(warn=lines.append)
    volume = ecvl.reorient(slices.volume, "PIR")
    predict = CATALOGUE["predict_labels"]
    labels = predict.run({"model": model, "volume": volume}, {"batch": 4}, context).value["labels"]
    assert labels.shape == volume.shape
    assert labels.label_names == {0: "background", 1: "liver"}
    strange = volume.replace(meta={"common": {"Modality": "MR"}})
    assert predict.run({"model": model, "volume": strange}, {}, context).ok
    assert any("MR" in line for line in lines)
