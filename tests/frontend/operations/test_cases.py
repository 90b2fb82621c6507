import numpy as np
import pytest

import ecvl
from deephealth import Tool

RULE = {"a": {"smoothing": 0.0, "low": 100.0, "high": 1600.0, "dice": 1.0}}


@pytest.fixture
def scene():
    labels = np.zeros((8, 16, 20), np.uint8)
    labels[2:6, 4:8, 4:8] = 1
    names = {0: "background", 1: "a", 2: "b"}
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    reference = ecvl.Image(labels, "zyx", affine, kind="labels", label_names=names)
    volume = ecvl.Image(np.where(labels, 200, -100).astype(np.int16), "zyx", affine)
    return {
        "volume": volume,
        "found": reference,
        "reference": reference,
        "rule": RULE,
        "steps": ecvl.Steps([]),
        "name": "a case",
        "title": "a case",
    }


def measure(scene, **changes):
    return Tool("measure_case").set(**{**scene, **changes}).run().value


def test_full_agreement_and_an_organ_out_of_view(scene):
    case = measure(scene)
    assert case.dice == {"network": {"a": 1.0, "b": None}, "rule": {"a": 1.0}}
    assert case.voxels["reference"] == {"a": 64, "b": 0}


def test_the_reference_is_put_on_the_volumes_grid(scene):
    case = measure(scene, reference=ecvl.reorient(scene["reference"], "PIR"))
    assert case.dice["network"]["a"] == 1.0


def test_only_the_region_counts(scene):
    marks = np.zeros((8, 16, 20), np.uint8)
    marks[:4] = 1
    found = np.asarray(scene["found"]).copy()
    found[4:] = 0
    region = scene["found"].replace(array=marks)
    wrong_elsewhere = scene["found"].replace(array=found)
    assert measure(scene, found=wrong_elsewhere).dice["network"]["a"] == pytest.approx(2 / 3)
    assert measure(scene, found=wrong_elsewhere, region=region).dice["network"]["a"] == 1.0


def test_pictures_show_slices_with_organs_the_patients_right_on_the_left(scene):
    pictures = measure(scene, pictures=2).pictures
    assert len(pictures) == 2
    assert all(picture.reference.any() for picture in pictures)
    # In LAS voxel x runs to the patient's left, as columns do, and y to the front, unlike rows.
    assert np.flatnonzero(pictures[0].reference.any(axis=0)).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(pictures[0].reference.any(axis=1)).tolist() == [8, 9, 10, 11]
    assert pictures[0].aspect == 1.0


def test_labels_of_another_shape_are_refused(scene):
    small = ecvl.crop(scene["found"], [(0, 4), (0, 16), (0, 20)])
    assert "shape" in Tool("measure_case").set(**{**scene, "found": small}).run().reason
