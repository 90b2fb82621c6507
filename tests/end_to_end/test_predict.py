"""Predicting any volume with the model of the demo, and the model in onnxruntime."""

import json

import nibabel
import numpy as np
import onnxruntime
import pytest

import ecvl


@pytest.fixture(scope="module")
def scan(source):
    return source / "phantom-1.0" / "ct.nii.gz"


@pytest.fixture
def predict(finished, deephealth, tmp_path):
    def go(path, expect_warnings=0):
        output = tmp_path / "labels.nii.gz"
        done = deephealth("predict", finished[0] / "model.onnx", path, "-o", output)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("\n") == expect_warnings, done.stderr
        assert done.stderr.count("warning: ") == expect_warnings
        return nibabel.load(output)

    return go


def turned(path, orientation, to):
    image = nibabel.load(path)
    codes = nibabel.orientations.axcodes2ornt(orientation)
    now = nibabel.io_orientation(image.affine)
    again = image.as_reoriented(nibabel.orientations.ornt_transform(now, codes))
    nibabel.save(again, to)
    return to


@pytest.mark.parametrize("orientation", ["LAS", "PIR"])
def test_the_way_a_volume_is_stored_does_not_matter(scan, predict, tmp_path, orientation):
    plain = predict(scan)
    expected = np.asarray(plain.dataobj).copy()
    other = turned(scan, orientation, tmp_path / "other.nii.gz")
    found = predict(other)
    assert found.shape == nibabel.load(other).shape
    assert np.array_equal(found.affine, nibabel.load(other).affine)
    back = nibabel.as_closest_canonical(found)
    assert np.array_equal(np.asarray(back.dataobj), expected)
    assert len(np.unique(expected)) > 2


def test_the_series_of_the_demo_gives_the_demos_labels(finished, source, predict):
    found = predict(source / "phantom-1.0" / "series")
    expected = nibabel.load(finished[0] / "second-patient-labels.nii.gz")
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    assert np.array_equal(found.affine, expected.affine)


def test_a_finer_grid_gives_labels_that_agree(scan, predict, tmp_path):
    coarse = np.asarray(predict(scan).dataobj)
    image = ecvl.read(scan)
    fine = ecvl.resample(image, spacing=2.5)
    ecvl.NiftiWrite(tmp_path / "fine.nii.gz", fine)
    found = predict(tmp_path / "fine.nii.gz")
    assert found.shape == fine.shape[::-1]
    back = np.asarray(ecvl.restore(ecvl.read(found.get_filename(), kind="labels"), like=image)).T
    liver, again = coarse == 1, back == 1
    # The model of the tests has barely learnt; the real bound is in test_real_data.
    assert 2 * (liver & again).sum() / (liver.sum() + again.sum()) > 0.8


def test_onnxruntime_gives_the_same_labels(finished, scan, predict):
    session = onnxruntime.InferenceSession(str(finished[0] / "model.onnx"))
    card = json.loads(session.get_modelmeta().custom_metadata_map["deephealth"])
    image = ecvl.read(scan)
    steps = ecvl.Steps.from_json(card["steps"])
    stack = np.asarray(steps.apply(image), dtype=np.float32)
    last, reach = len(stack) - 1, card["neighbours"]
    channels = [np.clip(np.arange(-reach, reach + 1) + z, 0, last) for z in range(len(stack))]
    scores = session.run(None, {session.get_inputs()[0].name: stack[np.array(channels)]})[0]
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    theirs = np.asarray(steps.restore_scores(np.moveaxis(scores, 1, 0), like=image)).T
    ours = np.asarray(predict(scan).dataobj)
    organs = (ours > 0) | (theirs > 0)
    assert organs.any()
    assert (ours == theirs)[organs].mean() >= 0.999


def test_what_does_not_look_like_the_training_images_is_said(scan, predict, tmp_path):
    image = nibabel.load(scan)
    grey = np.clip((np.asarray(image.dataobj) + 1000) / 8, 0, 255).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(grey, image.affine), tmp_path / "grey.nii.gz")
    predict(tmp_path / "grey.nii.gz", expect_warnings=1)
    small = np.asarray(image.dataobj)[20:30, 15:24]
    nibabel.save(nibabel.Nifti1Image(small, image.affine), tmp_path / "small.nii.gz")
    predict(tmp_path / "small.nii.gz", expect_warnings=2)
