"""Callbacks: they see every border, stop, keep, write, and go on where a killed training was."""

import csv
import json
import math
import sys

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import EddlError

R = np.random.default_rng(1)
DATA = R.standard_normal((20, 4)).astype("float32")
LABELS = R.integers(0, 3, 20)


def built(**options):
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(layers.dense(x, 5), 3))
    net.build(optimizer=eddl.Adam(0.02), loss="categorical_cross_entropy", metrics=["accuracy"],
              **options)  # fmt: skip
    return net


def fit(net, epochs=4, **options):
    return net.fit(DATA, LABELS, epochs=epochs, batch_size=8, **options)


class Spy(eddl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_begin(self, training):
        self.seen.append("begin")

    def on_batch_end(self, training, logs):
        self.seen.append((training.epoch, training.batch, training.steps, set(logs)))

    def on_epoch_end(self, training, logs):
        self.seen.append((training.epoch, set(logs)))

    def on_train_end(self, training):
        self.seen.append("end")


def test_every_border_is_told_once_and_in_order():
    spy, called = Spy(), []
    history = fit(built(), 2, callbacks=[spy, lambda epoch, logs: called.append((epoch, logs))])
    names = set(history)
    assert spy.seen == [
        "begin",
        (0, 1, 1, {"loss"}), (0, 2, 2, {"loss"}), (0, 3, 3, {"loss"}), (1, names),
        (1, 1, 4, {"loss"}), (1, 2, 5, {"loss"}), (1, 3, 6, {"loss"}), (2, names),
        "end",
    ]  # fmt: skip
    assert [epoch for epoch, _ in called] == [0, 1]
    assert called[1][1] == {name: values[1] for name, values in history.items()}


def test_a_callback_stops_within_an_epoch_too(tmp_path):
    class Stop(eddl.Callback):
        def on_batch_end(self, training, logs):
            if training.steps == 4:
                training.stop()

    net, path = built(), tmp_path / "c.ckpt"
    history = fit(net, callbacks=[Stop()], checkpoint=path)
    assert len(history["loss"]) == 1
    assert int(net.built().state.groups[0].count) == 4
    again = built()  # it counts as finished
    assert fit(again, callbacks=[Stop()], checkpoint=path, resume=True) == history
    for name, array in net.weights().items():
        np.testing.assert_array_equal(again.weights()[name], array)


def scripted(net, values, monkeypatch):
    """The quantity that validation gives is a script's."""
    script = iter(values)
    monkeypatch.setattr(
        "eddl.training.loop.run_evaluation", lambda *a, **k: {"score": next(script)}
    )
    return {"validation": (DATA, LABELS), "epochs": len(values)}


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3, 2, 2, 2, 1], {"patience": 2}, 4, 2),
        ([3, 2, 1.95, 1.9, 1.85], {"patience": 2, "min_delta": 0.2}, 4, 2),
        ([1, 2, 2, 3, 3, 3], {"patience": 2, "mode": "max"}, 6, 4),
        ([3, math.nan, math.nan, 1], {"patience": 2}, 3, 1),
    ],
)
def test_early_stopping(values, options, epochs, best, monkeypatch):
    net, kept = built(), {}
    stop = eddl.EarlyStopping("val_score", restore_best=True, **{"mode": "min", **options})
    history = fit(
        net, **scripted(net, values, monkeypatch),
        callbacks=[stop, lambda epoch, logs: kept.update({epoch + 1: net.weights()})],
    )  # fmt: skip
    assert len(history["loss"]) == epochs
    for name, array in kept[best].items():
        np.testing.assert_array_equal(net.weights()[name], array)


def test_the_best_checkpoint_and_onnx_file_are_of_the_best_epoch(tmp_path, monkeypatch):
    net, kept = built(ema=0.5), {}

    def keep(epoch, logs):
        with net.averaged():
            kept[epoch + 1] = net.weights(), net.predict(DATA)

    fit(
        net, **scripted(net, [1.0, 3.0, 2.0], monkeypatch),
        callbacks=[
            eddl.BestCheckpoint(tmp_path / "best.ckpt", "val_score"),
            eddl.BestCheckpoint(tmp_path / "best.onnx", "val_score"), keep,
        ],
    )  # fmt: skip
    again = built(ema=0.5)
    again.restore(tmp_path / "best.ckpt")
    with again.averaged():
        for name, array in again.weights().items():
            np.testing.assert_array_equal(array, kept[2][0][name])
    np.testing.assert_allclose(
        eddl.load(tmp_path / "best.onnx").predict(DATA), kept[2][1], rtol=1e-5, atol=1e-6
    )


def test_periodic_checkpoints_keep_their_numbers(tmp_path):
    path = tmp_path / "run-{epoch:02}-{step}.ckpt"
    fit(built(), 5, callbacks=[eddl.PeriodicCheckpoint(path, epochs=2)])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "run-02-6.ckpt", "run-04-12.ckpt", "run-05-15.ckpt",
    ]  # fmt: skip
    for old in tmp_path.iterdir():
        old.unlink()
    fit(built(), 1, callbacks=[eddl.PeriodicCheckpoint(path, steps=2)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-00-2.ckpt", "run-01-3.ckpt"]


def test_loggers_hold_the_history(tmp_path):
    files = [eddl.CSVLogger(tmp_path / "h.csv"), eddl.JSONLinesLogger(tmp_path / "h.jsonl")]
    (tmp_path / "h.csv").write_text("of another training\n")
    history = fit(built(), 3, callbacks=files, validation=(DATA, LABELS))
    with open(tmp_path / "h.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    for table in (rows, lines):
        assert [int(row["epoch"]) for row in table] == [1, 2, 3]
        for name, values in history.items():
            assert [float(row[name]) for row in table] == values


class Killed(BaseException):
    pass


def test_a_resumed_training_leaves_every_line_once(tmp_path):
    def loggers(folder):
        folder.mkdir()
        return [eddl.CSVLogger(folder / "h.csv"), eddl.JSONLinesLogger(folder / "h.jsonl")]

    def die(epoch, logs):
        if epoch == 2:
            with (tmp_path / "b" / "h.jsonl").open("a") as file:
                file.write('{"epoch": 4, "lo')  # torn
            raise Killed

    fit(built(), 5, callbacks=[*loggers(tmp_path / "a"), lambda *a: None])
    options = {"callbacks": [*loggers(tmp_path / "b"), die], "checkpoint": tmp_path / "c.ckpt"}
    with pytest.raises(Killed):
        fit(built(), 5, **options)
    options["callbacks"][-1] = lambda *a: None
    fit(built(), 5, resume=True, **options)
    for name in ("h.csv", "h.jsonl"):
        assert (tmp_path / "b" / name).read_text() == (tmp_path / "a" / name).read_text()


def test_an_ended_training_stays_ended(tmp_path):
    def options():
        return {"callbacks": [eddl.EarlyStopping("loss", mode="max", patience=1,
                                                 restore_best=True)],
                "checkpoint": tmp_path / "c.ckpt", "resume": True}  # fmt: skip

    first, second = built(), built()
    history = fit(first, 9, **options())
    assert len(history["loss"]) == 2
    assert fit(second, 9, **options()) == history
    for name, array in first.weights().items():
        np.testing.assert_array_equal(array, second.weights()[name])


@pytest.mark.parametrize("module", ["tensorboardX", "tensorboard"])
def test_tensorboard_holds_the_history(tmp_path, module, monkeypatch):
    pytest.importorskip(module)
    if module == "tensorboard":
        monkeypatch.setitem(sys.modules, "tensorboardX", None)
    history = fit(built(), 3, callbacks=[eddl.TensorBoard(tmp_path)])
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for name in history:
        assert content.count(name.encode()) == 3


def test_tensorboard_says_what_to_install(tmp_path, monkeypatch):
    for name in ("tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EddlError, match="pip install"):
        eddl.TensorBoard(tmp_path)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: eddl.EarlyStopping(patience=0), "patience"),
        (lambda: eddl.EarlyStopping(mode="best"), "'auto'"),
        (lambda: eddl.EarlyStopping(min_delta=-1), "min_delta"),
        (lambda: eddl.PeriodicCheckpoint("c", steps=0), "steps"),
        (lambda: eddl.PeriodicCheckpoint("c{n}"), "epoch"),
        (lambda: fit(built(), callbacks=[eddl.EarlyStopping("nothing")]), "expected one of loss"),
        (lambda: fit(built(), callbacks=[3]), "eddl.Callback"),
        (lambda: fit(built(), callbacks=[eddl.CSVLogger]), "eddl.Callback"),
        (lambda: fit(built(), checkpoint="c{epoch}", resume=True), "one file"),
        (lambda: fit(built(), resume=True), "one file"),
    ],
)
def test_what_cannot_be_is_refused(act, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EddlError, match=words):
        act()


def test_several_runs_give_mean_and_deviation():
    def run(seed):
        x = eddl.Input((4,))
        net = eddl.Model(x, layers.dense(x, 3), seed=seed)
        net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
        return net.fit(DATA, LABELS, epochs=2, seed=seed)

    found = eddl.repeat(run, [4, 5, 6])
    last = [run(seed)["loss"][-1] for seed in (4, 5, 6)]
    assert found.mean["loss"] == pytest.approx(np.mean(last), rel=1e-12)
    assert found.deviation["loss"] == pytest.approx(np.std(last, ddof=1), rel=1e-12)
    with pytest.raises(EddlError, match="at least one"):
        eddl.repeat(run, 0)
    with pytest.raises(EddlError, match="history"):
        eddl.repeat(lambda seed: None, 1)
