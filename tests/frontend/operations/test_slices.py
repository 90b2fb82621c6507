import numpy as np
import pytest

import ecvl
from deephealth import Tool

SPLIT = {"block": 8, "every": 4, "gap": 2}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    affine = np.diag([-3.0, 3.0, 3.0, 1.0])
    scan = ecvl.Image(rng.integers(-1000, 1000, (70, 20, 30), np.int16), "zyx", affine)
    labels = (np.asarray(scan) > 500).astype(np.uint8)
    return scan, ecvl.Image(
        labels, "zyx", affine, kind="labels", label_names={0: "background", 1: "bones"}
    )


def prepare(pair):
    return Tool("preprocess").set(volume=pair[0], labels=pair[1]).run().value


def test_the_steps_lead_to_the_grid_and_back(pair):
    made = prepare(pair)
    assert made["volume"].orientation == made["labels"].orientation == "RAS"
    assert made["volume"].shape == (70, 32, 32)
    assert np.array_equal(made["steps"].restore(made["labels"], like=pair[0]), pair[1])


def test_the_table_goes_where_only_the_body_is_kept():
    values = np.full((6, 40, 40), -1000, np.int16)
    values[:, 5:25, 5:35] = 40
    values[:, 32, :] = 300
    scan = ecvl.Image(values, "zyx", np.diag([3.0, 3.0, 3.0, 1.0]))
    labels = ecvl.Image((values == 40).astype(np.uint8), "zyx", scan.affine, kind="labels")
    set_up = Tool("preprocess").set(volume=scan, labels=labels, multiple=8)
    assert np.unique(set_up.run().value["volume"]).tolist() == [-1000, 40, 300]
    made = set_up.set(body=True).run().value
    assert np.unique(made["volume"]).tolist() == [-1000, 40]
    assert np.array_equal(made["labels"], labels)
    assert np.array_equal(made["steps"].apply(scan), made["volume"])


def test_labels_of_another_grid_are_placed_on_the_volumes(pair):
    turned = ecvl.reorient(pair[1], "PIR")
    again = Tool("preprocess").set(volume=pair[0], labels=turned).run().value
    assert np.array_equal(again["labels"], prepare(pair)["labels"])


def test_held_out_blocks_and_their_gaps(pair):
    slices = Tool("make_slices").set(**prepare(pair), split=SPLIT).run().value
    assert slices.held_out.tolist() == [*range(24, 32), *range(56, 64)]
    near = np.abs(slices.training[:, None] - slices.held_out[None]).min(axis=1)
    assert near.min() == 3
    assert slices.organs == ["bones"]
    region = Tool("held_out_region").set(slices=slices, volume=pair[0]).run().value
    assert region.shape == pair[0].shape
    inside = np.asarray(region).reshape(70, -1)
    assert np.flatnonzero(inside.all(axis=1)).tolist() == slices.held_out.tolist()
    assert np.flatnonzero(inside.any(axis=1)).tolist() == slices.held_out.tolist()


def test_a_low_volume_cannot_be_split(pair):
    made = prepare([ecvl.crop(one, [(0, 10), (0, 20), (0, 30)]) for one in pair])
    assert "too few" in Tool("make_slices").set(**made, split=SPLIT).run().reason
    assert "expected block" in Tool("make_slices").set(**made, split={"block": 1}).run().reason
