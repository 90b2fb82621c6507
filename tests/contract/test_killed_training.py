"""A training that uses everything is killed at random moments and ends as if it had not been.

A U-Net with batch norm and dropout, fed by ecvl's loader with augmenting threads, averages,
accumulates, counts metrics and logs; `python test_killed_training.py FOLDER` is one life of it.
"""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ecvl
import eddl
from ecvl import augment
from eddl import layers

EPOCHS = 5
KILLS = 20


def network():
    x = eddl.Input((3, None, None))
    y = layers.dropout(eddl.zoo.unet(x, classes=6, filters=4, depth=3), 0.2, name="drop")
    net = eddl.Model(x, layers.conv(layers.relu(y), 2, 1, name="head"), seed=3)
    net.build(
        optimizer=eddl.Adam(eddl.OneCycle(peak=1e-2, steps=60)),
        loss="dice_cross_entropy", metrics=["dice", "accuracy"],
        accumulate=2, ema=0.95, clip_norm=1.0,
    )  # fmt: skip
    return net


def loader():
    r = np.random.default_rng(0)
    labels = np.zeros((40, 32, 32), np.uint8)
    labels[:, 8:24, 10:20] = 1
    image = 40.0 * labels + r.normal(0, 20, labels.shape)
    data = ecvl.slices(
        ecvl.Image(image.astype(np.float32), "zyx"), ecvl.Image(labels, "zyx", kind="labels")
    )
    turn = augment.Sequential([augment.Rotate((-20, 20)), augment.GammaContrast((0.8, 1.2))])
    return ecvl.Loader(data, batch_size=3, augment=turn, workers=2, seed=5, shuffle=True)


def live(folder):
    """Train from the checkpoint, if there is one, to the end; write down what came of it."""
    net = network()
    print("begun", flush=True)
    history = net.fit(
        loader(), epochs=EPOCHS, resume=True, validation=loader(),
        checkpoint=eddl.PeriodicCheckpoint(folder / "training.ckpt", steps=1),
        callbacks=[
            eddl.EarlyStopping("val_dice", patience=9, restore_best=True),
            eddl.BestCheckpoint(folder / "best.onnx", "val_dice"),
            eddl.CSVLogger(folder / "history.csv"),
            eddl.JSONLinesLogger(folder / "history.jsonl"),
        ],
    )  # fmt: skip
    arrays = net.all_weights()
    for unit in net.built().state.groups[0].units:
        arrays.update({f"{slot} {unit.run.start}": a for slot, a in unit.slots.items()})
    np.savez(folder / "end.npz", **arrays)
    (folder / "history.json").write_text(json.dumps(history))


def start(folder):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def assert_same_end(first, second):
    for name in ("history.json", "history.csv", "history.jsonl", "best.onnx"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    with np.load(first / "end.npz") as one, np.load(second / "end.npz") as other:
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path):
    whole, parts, rng = tmp_path / "whole", tmp_path / "parts", random.Random(11)
    process = start(whole)
    process.stdout.readline()
    begun = time.monotonic()
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    lived = time.monotonic() - begun
    kills = 0
    while kills < KILLS:
        process = start(parts)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 1.2 * lived / KILLS))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
    process = start(parts)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert_same_end(whole, parts)
    assert not list(parts.glob(".*"))


if __name__ == "__main__":
    live(Path(sys.argv[1]))
