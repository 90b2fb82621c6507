"""The whole toolkit in three seconds: read, augment, load, train, save, load again, restore."""

import json

import numpy as np

import ecvl
import eddl
from ecvl import augment
from ecvl.steps import PadToMultiple, Reorient, Resample


def test_tiny(tmp_path):
    r = np.random.default_rng(0)
    body = np.zeros((12, 40, 36), np.int16)
    body[2:10, 10:30, 8:28] = 100
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    scan = ecvl.Image(body + r.integers(-20, 20, body.shape).astype(np.int16), "zyx", affine)
    labels = ecvl.Image((body > 50).astype(np.uint8), "zyx", affine, kind="labels")
    ecvl.write(tmp_path / "ct.nii.gz", scan)
    ecvl.write(tmp_path / "labels.nii.gz", labels)

    ct = ecvl.read(tmp_path / "ct.nii.gz")
    truth = ecvl.read(tmp_path / "labels.nii.gz", kind="labels")
    assert ct.orientation == "LPS" and ct.spacing == (3.0, 2.0, 2.0)
    steps = ecvl.Steps([Reorient("RAS"), Resample(spacing=(3, 3, 3)), PadToMultiple((1, 4, 4))])
    prepared = ecvl.window(steps.apply(ct), level=50, width=200)
    data = ecvl.slices(prepared, steps.apply(truth), neighbours=1)
    turn = augment.Sequential([augment.Rotate((-5, 5)), augment.GammaContrast((0.9, 1.1))])
    loader = ecvl.Loader(data, batch_size=4, augment=turn, workers=2, seed=1, shuffle=True)

    x = eddl.Input((3, None, None))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=4, depth=2))
    net.build(optimizer=eddl.Adam(2e-2), loss="dice_cross_entropy", metrics=["dice"])
    history = net.fit(loader, epochs=15)
    assert history["loss"][-1] < history["loss"][0]

    net.save(tmp_path / "net.onnx", metadata={"steps": json.dumps(steps.to_json())})
    again = eddl.load(tmp_path / "net.onnx")
    stack = np.stack([np.asarray(sample.image) for sample in data])
    scores = again.predict(stack)
    np.testing.assert_array_equal(scores, net.predict(stack))
    back = ecvl.Steps.from_json(json.loads(again.metadata["steps"]))
    found = back.restore_scores(np.moveaxis(scores, 1, 0), like=ct)
    assert found.shape == truth.shape
    np.testing.assert_array_equal(found.affine, truth.affine)
    mine, true = found.array > 0, truth.array > 0
    assert 2 * (mine & true).sum() / (mine.sum() + true.sum()) > 0.8
