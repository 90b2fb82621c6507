"""One model in several threads: every call is whole, and trainings take turns."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import StateError

STEPS = 40


@pytest.fixture(autouse=True)
def _eager_switches():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def net(**options):
    x = eddl.Input((6,))
    model = eddl.Model(x, layers.dense(layers.batch_norm(layers.dense(x, 32)), 3))
    model.build(
        optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", metrics=["accuracy"], **options
    )
    return model


def data(count=16):
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 6)).astype("float32"), rng.integers(0, 3, count)


def at_once(*calls):
    """Results of calls that start together, each in a thread."""
    barrier = threading.Barrier(len(calls))

    def one(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(60) for future in [pool.submit(one, call) for call in calls]]


def equal(model, other):
    for name, array in model.weights().items():
        np.testing.assert_array_equal(array, other.weights()[name], err_msg=name)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"ema": 0.9}], ids=str)
def test_steps_of_two_threads_are_all_made(options):
    model, alone = net(**options), net(**options)
    steps = lambda: [model.train_batch(*data()) for _ in range(STEPS)]  # noqa: E731
    found = sorted(row["loss"] for rows in at_once(steps, steps) for row in rows)
    expected = sorted(alone.train_batch(*data())["loss"] for _ in range(2 * STEPS))
    assert found == expected
    equal(model, alone)


def test_two_trainings_take_turns():
    model, alone = net(), net()
    fit = lambda: model.fit(*data(64), epochs=4, batch_size=8, seed=1)  # noqa: E731
    found = at_once(fit, fit)
    expected = [alone.fit(*data(64), epochs=4, batch_size=8, seed=1) for _ in range(2)]
    assert sorted(map(str, found)) == sorted(map(str, expected))
    equal(model, alone)


def test_what_is_seen_during_a_training_is_whole(tmp_path):
    model, alone = net(), net()
    rows = data(8)[0]
    seen, predicted, scored = [], [], []
    for _ in range(STEPS + 1):
        seen.append(alone.weights())
        predicted.append(alone.predict(rows, batch_size=2))
        scored.append(alone.evaluate(*data(), batch_size=4))
        alone.train_batch(*data())
    done = threading.Event()

    def train():
        for _ in range(STEPS):
            model.train_batch(*data())
        done.set()

    def until_done(call):
        found = []
        while not found or not done.is_set():
            found.append(call())
        return found

    def saved():
        model.save(tmp_path / "net.onnx")
        return eddl.load(tmp_path / "net.onnx").weights()

    _, weights, predictions, scores, files = at_once(
        train,
        lambda: until_done(model.weights),
        lambda: until_done(lambda: model.predict(rows, batch_size=2)),
        lambda: until_done(lambda: model.evaluate(*data(), batch_size=4)),
        lambda: until_done(saved),
    )
    for found in (*weights, *files):
        assert any(all(np.array_equal(found[n], one[n]) for n in one) for one in seen)
    for found in predictions:
        assert any(np.array_equal(found, one) for one in predicted)
    for found in scores:
        assert found in scored


def test_others_predict_and_save_during_a_fit(tmp_path):
    model, alone = net(ema=0.9), net(ema=0.9)
    options = {"epochs": 6, "batch_size": 8, "seed": 3, "validation": data(8), "progress": False}
    done = threading.Event()

    def fit():
        try:
            return model.fit(*data(64), checkpoint=tmp_path / "a.safetensors", **options)
        finally:
            done.set()

    def others():
        count = 0
        while not done.is_set():
            with model.averaged():
                model.predict(data()[0])
            model.evaluate(*data())
            model.save(tmp_path / "net.onnx")
            count += 1
        return count

    history, _ = at_once(fit, others)
    assert history == alone.fit(*data(64), **options)
    equal(model, alone)


def test_a_training_inside_of_what_holds_another_one_up_is_refused():
    model = net(ema=0.9)
    begun, go = threading.Event(), threading.Event()

    def batches():
        yield data()
        begun.set()
        go.wait(30)
        yield data()

    def inside():
        begun.wait(30)
        try:
            with model.averaged(), pytest.raises(StateError, match="another thread trains"):
                model.train_batch(*data())
        finally:
            go.set()

    at_once(lambda: model.fit(batches(), epochs=1), inside)


def test_models_of_two_threads_leave_blas_as_it_was():
    from threadpoolctl import threadpool_info

    counts = lambda: [row["num_threads"] for row in threadpool_info()]  # noqa: E731
    models = [net(), net()]
    models[0].predict(data()[0])
    before = counts()
    at_once(*(lambda m=m: [m.predict(data()[0]) for _ in range(50)] for m in models))
    assert counts() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_refused_and_does_not_hang():
    model = net()
    model.predict(data()[0])
    held, go = threading.Event(), threading.Event()

    def hold():
        with model.lock:
            held.set()
            go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            model.predict(data()[0])
        except StateError:
            os._exit(7)
        os._exit(1)
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
