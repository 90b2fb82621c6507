"""The demo on the real scans, from the cache or a package registry; skipped where out of reach.

The short test trains for one epoch, the slow ones as long as the demo does and hold its promises:
agreement with TotalSegmentator's labels, which no human drew.
"""

import json
import os
import subprocess
import sys
import time

import nibabel
import numpy as np
import onnxruntime
import pytest

import ecvl
from deephealth import DataUnavailableError, data

pytestmark = pytest.mark.data

LEAST = {"liver": 0.88, "bones": 0.9, "spleen": 0.9, "kidneys": 0.8}
LEAST_OF_THE_SECOND = {"liver": 0.87, "bones": 0.65, "spleen": 0.8}


@pytest.fixture(scope="module")
def scans():
    try:
        return data.fetch(data.manifest("totalsegmentator"))
    except DataUnavailableError as error:
        pytest.skip(str(error))


def deephealth(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "deephealth", *map(str, arguments)],
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def predict(model, path, output):
    deephealth("predict", model, path, "-o", output)
    return nibabel.load(output)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def raw_slices(model, path):
    """The slices of a scan as the model file takes them, its card, and the way back."""
    session = onnxruntime.InferenceSession(str(model))
    card = json.loads(session.get_modelmeta().custom_metadata_map["deephealth"])
    image = ecvl.read(path)
    steps = ecvl.Steps.from_json(card["steps"])
    stack = np.asarray(steps.apply(image), dtype=np.float32)
    around = np.arange(len(stack))[:, None] + np.arange(-card["neighbours"], card["neighbours"] + 1)
    slices = stack[np.clip(around, 0, len(stack) - 1)]
    scores = session.run(None, {session.get_inputs()[0].name: slices})[0]
    return np.asarray(steps.restore_scores(np.moveaxis(scores, 1, 0), like=image)).T


@pytest.fixture(scope="module")
def short(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("short") / "out"
    print(deephealth("demo", "--epochs", 1, "--out", out))
    return out


def test_one_epoch_writes_everything(short, scans):
    labels = nibabel.load(short / "second-patient-labels.nii.gz")
    series = ecvl.read(scans / "second" / "series")
    assert labels.shape == series.shape[::-1]
    assert np.array_equal(labels.affine, series.affine)
    page = (short / "report.html").read_text()
    assert "agreement with TotalSegmentator" in page
    assert "Basel" not in page


def test_the_rule_is_better_than_nothing(short):
    figures = json.loads((short / "report.json").read_text())
    assert figures["cases"][0]["dice"]["rule"]["bones"] > 0.8
    assert figures["cases"][1]["dice"]["rule"]["kidneys"] is None


@pytest.fixture(scope="module")
def seeds(scans, tmp_path_factory):
    """Three whole demos, one after another, and the seconds that each took."""
    folder = tmp_path_factory.mktemp("seeds")
    seconds = []
    for seed in range(3):
        started = time.monotonic()
        print(deephealth("demo", "--seed", seed, "--out", folder / str(seed)))
        seconds.append(time.monotonic() - started)
    return [folder / str(seed) for seed in range(3)], seconds


@pytest.mark.slow
def test_the_mean_of_three_seeds(seeds):
    folders, seconds = seeds
    found = [json.loads((one / "report.json").read_text())["cases"] for one in folders]
    for organ, least in LEAST.items():
        scores = [cases[0]["dice"]["network"][organ] for cases in found]
        assert np.mean(scores) >= least
        assert np.mean(scores) > found[0][0]["dice"]["rule"][organ]
    for organ, least in LEAST_OF_THE_SECOND.items():
        assert np.mean([cases[1]["dice"]["network"][organ] for cases in found]) >= least
    assert max(seconds) < 480


@pytest.mark.slow
@pytest.mark.parametrize("scan", ["first/ct.nii.gz", "second/series"])
def test_onnxruntime_and_predict_agree(seeds, scans, tmp_path, scan):
    model = seeds[0][0] / "model.onnx"
    ours = np.asarray(predict(model, scans / scan, tmp_path / "labels.nii.gz").dataobj)
    theirs = raw_slices(model, scans / scan)
    organs = (ours > 0) | (theirs > 0)
    assert (ours == theirs)[organs].mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("orientation", ["LAS", "PIR"])
@pytest.mark.parametrize("scan", ["first/ct.nii.gz", "second/series"])
def test_storage_does_not_matter(seeds, scans, tmp_path, scan, orientation):
    model = seeds[0][0] / "model.onnx"
    image = ecvl.read(scans / scan)
    plain = predict(model, scans / scan, tmp_path / "plain.nii.gz")
    turned = ecvl.reorient(image, orientation)
    ecvl.NiftiWrite(tmp_path / "turned.nii.gz", turned)
    found = predict(model, tmp_path / "turned.nii.gz", tmp_path / "found.nii.gz")
    assert found.shape == turned.shape[::-1]
    assert np.array_equal(found.affine, nibabel.load(tmp_path / "turned.nii.gz").affine)
    labels = ecvl.read(tmp_path / "found.nii.gz", kind="labels")
    back = np.asarray(ecvl.reorient(labels, image.orientation)).T
    assert np.array_equal(back, np.asarray(plain.dataobj))


@pytest.mark.slow
def test_half_the_spacing_gives_labels_that_agree(seeds, scans, tmp_path):
    model = seeds[0][0] / "model.onnx"
    image = ecvl.read(scans / "first/ct.nii.gz")
    coarse = np.asarray(predict(model, scans / "first/ct.nii.gz", tmp_path / "a.nii.gz").dataobj)
    ecvl.NiftiWrite(tmp_path / "fine.nii.gz", ecvl.resample(image, spacing=1.5))
    predict(model, tmp_path / "fine.nii.gz", tmp_path / "b.nii.gz")
    fine = ecvl.read(tmp_path / "b.nii.gz", kind="labels")
    assert fine.spacing == (1.5, 1.5, 1.5)
    back = np.asarray(ecvl.restore(fine, like=image)).T
    for number in (1, 4):
        assert dice(coarse == number, back == number) >= 0.9
