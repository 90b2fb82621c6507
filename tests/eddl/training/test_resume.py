"""Killed at any border, with a fault at any system call: resumed, it is the uninterrupted one."""

import itertools
import os
import signal
import tempfile

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import EddlError

R = np.random.default_rng(3)
DATA = R.standard_normal((23, 4)).astype("float32")
LABELS = R.integers(0, 2, 23)
EPOCHS = 3


class Killed(BaseException):
    pass


class KillAt(eddl.Callback):
    """Ends a training like a kill, at a step."""

    def __init__(self, step=None):
        self.step = step

    def on_batch_end(self, training, logs):
        if training.steps == self.step:
            raise Killed


class Loader:
    """Order and noise depend on the epoch; resumes in its middle, and skips nothing else."""

    def __init__(self):
        self.epoch = self.position = 0

    def __iter__(self):
        r = np.random.default_rng(self.epoch)
        order, noise = r.permutation(23), r.standard_normal((23, 4)).astype("float32")
        for number in range(self.position, 5):
            chosen = order[number * 5 : number * 5 + 5]
            self.position = number + 1
            yield DATA[chosen] + noise[chosen], LABELS[chosen]
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self):
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state):
        self.epoch, self.position = state["epoch"], state["position"]


def endless():
    for number in itertools.count():
        r = np.random.default_rng(number)
        yield r.standard_normal((5, 4)).astype("float32"), r.integers(0, 2, 5)


SOURCES = {
    "arrays": lambda: ({"data": DATA, "targets": LABELS, "batch_size": 5, "seed": 4}),
    "loader": lambda: {"data": Loader()},
    "list": lambda: {"data": [(DATA[i : i + 5], LABELS[i : i + 5]) for i in range(0, 23, 5)]},
    "endless": lambda: {"data": endless(), "steps_per_epoch": 5},
    "cycled": lambda: {"data": Loader(), "steps_per_epoch": 4},
    "cycled list": lambda: {
        "data": [(DATA[i : i + 5], LABELS[i : i + 5]) for i in range(0, 23, 5)],
        "steps_per_epoch": 3,
    },
}


def built(accumulate=2):
    x = eddl.Input((4,))
    y = layers.dropout(layers.batch_norm(layers.dense(x, 6)), 0.3, name="drop")
    net = eddl.Model(x, layers.dense(y, 2), seed=1)
    net.build(
        optimizer=eddl.Adam(0.02), loss="categorical_cross_entropy", metrics=["accuracy", "auc"],
        accumulate=accumulate, ema=0.9, clip_norm=1.0,
    )  # fmt: skip
    return net


def train(source, path, kill=None, *, accumulate=2, steps=1):
    """The net and history of a training that resumes; `Killed` where it is killed."""
    net = built(accumulate)
    stopping = eddl.EarlyStopping("accuracy", patience=9, restore_best=True)
    history = net.fit(
        **SOURCES[source](), epochs=EPOCHS, validation=(DATA, LABELS), resume=True,
        callbacks=[stopping, KillAt(kill)], checkpoint=eddl.PeriodicCheckpoint(path, steps=steps),
    )  # fmt: skip
    return net, history


def everything(net):
    state = net.built().state
    found = net.all_weights()
    for group in state.groups:
        found["count"] = group.count
        for number, unit in enumerate(group.units):
            found.update({f"{number} {slot}": array for slot, array in unit.slots.items()})
    return found


def assert_same(first, second):
    (net, history), (other, also) = first, second
    assert history == also
    expected, found = everything(net), everything(other)
    assert set(expected) == set(found)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], err_msg=name)


@pytest.mark.parametrize(
    ("source", "accumulate"), [*((source, 2) for source in SOURCES), ("loader", 1)]
)
def test_killed_at_every_step_it_ends_as_if_it_had_not_been(source, accumulate, tmp_path):
    whole = train(source, tmp_path / "whole.ckpt", accumulate=accumulate)
    steps = int(whole[0].built().state.groups[0].count)
    path, kills = tmp_path / "parts.ckpt", 0
    for step in range(1, steps + 1):
        with pytest.raises(Killed):
            train(source, path, step, accumulate=accumulate)
        kills += 1
    assert kills == steps
    assert_same(whole, train(source, path, accumulate=accumulate))


def test_with_a_checkpoint_an_epoch_it_goes_back_to_the_last_one(tmp_path):
    whole = train("loader", tmp_path / "whole.ckpt", steps=None)
    with pytest.raises(Killed):
        train("loader", tmp_path / "parts.ckpt", 8, steps=None)
    assert_same(whole, train("loader", tmp_path / "parts.ckpt", steps=None))


class Press(eddl.Callback):
    """Presses Ctrl-C at a step."""

    def __init__(self, step=None):
        self.step = step

    def on_batch_end(self, training, logs):
        if training.steps == self.step:
            signal.raise_signal(signal.SIGINT)


def test_the_keyboard_stops_between_steps_and_what_was_done_is_kept(tmp_path):
    def run(name, press=None):
        net = built()
        history = net.fit(
            Loader(), epochs=EPOCHS, checkpoint=tmp_path / name, callbacks=[Press(press)],
            resume=True,
        )  # fmt: skip
        return net, history

    whole = run("whole.ckpt")
    with pytest.raises(KeyboardInterrupt):
        run("parts.ckpt", 4)
    restored = built()
    restored.fit(
        Loader(), epochs=1, checkpoint=tmp_path / "parts.ckpt", resume=True,
        callbacks=[Press()],
    )  # fmt: skip
    assert int(restored.built().state.groups[0].count) == 4  # an epoch has 3: none was left to do
    assert_same(whole, run("parts.ckpt"))


CALLS = [("os", name) for name in ("open", "write", "fsync", "close", "chmod", "replace")]
CALLS.append(("tempfile", "mkstemp"))
MODULES = {"os": os, "tempfile": tempfile}


class Faults:
    """Counts the system calls of a checkpoint, and lets one of them fail, before or after it."""

    def __init__(self, monkeypatch, at=None, after=False, error=OSError):
        self.made, self.at, self.after, self.error = [], at, after, error
        self.on = False
        for module, name in CALLS:
            real = getattr(MODULES[module], name)
            monkeypatch.setattr(MODULES[module], name, self._wrapped(real, name))

    def _wrapped(self, real, name):
        def call(*arguments, **options):
            if not self.on or self.at == "done":
                return real(*arguments, **options)
            self.made.append(name)
            fails = len(self.made) - 1 == self.at
            if fails and not self.after:
                raise self.error(f"injected into {name}")
            result = real(*arguments, **options)
            if fails:
                self.on = False
                raise self.error(f"injected after {name}")
            return result

        return call


class Still:
    """No faults."""

    on = False


class FaultsOn(eddl.Callback):
    """Faults begin with a step."""

    def __init__(self, faults, step):
        self.faults, self.step = faults, step

    def on_batch_end(self, training, logs):
        self.faults.on = training.steps == self.step


def with_faults(path, faults):
    net = built()
    history = net.fit(
        **SOURCES["loader"](), epochs=2, resume=True,
        callbacks=[eddl.EarlyStopping("accuracy", patience=9, restore_best=True),
                   FaultsOn(faults, 4)],
        checkpoint=eddl.PeriodicCheckpoint(path, steps=1),
    )  # fmt: skip
    return net, history


def system_calls(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch)
        with_faults(tmp_path / "count.ckpt", faults)
    return faults.made


def test_a_checkpoint_is_written_synced_renamed_and_its_folder_synced(tmp_path, monkeypatch):
    monkeypatch.setattr("eddl.training.checkpoint.CHUNK", 1000)
    made = system_calls(tmp_path)
    assert made.count("write") > 3 and made.count("replace") == 1
    assert made.count("fsync") == 2
    assert made.index("fsync") < made.index("replace") < len(made) - 1 - made[::-1].index("fsync")


@pytest.mark.parametrize(("error", "after"), [(OSError, False), (Killed, False), (Killed, True)])
def test_a_fault_at_every_system_call_leaves_a_whole_file_to_go_on_from(
    tmp_path, monkeypatch, error, after
):
    monkeypatch.setattr("eddl.training.checkpoint.CHUNK", 3000)
    whole = with_faults(tmp_path / "whole.ckpt", Still())
    for at, name in enumerate(system_calls(tmp_path)):
        path = tmp_path / f"{at}.ckpt"
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, after, error)
            if error is Killed:  # what is dead does not tidy up
                patch.setattr("pathlib.Path.unlink", lambda *a, **k: None)
            with pytest.raises(error, match=f"injected .* {name}"):
                with_faults(path, faults)
        eddl.Model(*ends()).restore(path)  # whole, whichever it is
        if error is OSError:
            assert not list(tmp_path.glob(".*partial"))
        assert_same(whole, with_faults(path, Still()))
        assert not list(tmp_path.glob(f".{path.name}*"))


def ends():
    net = built()
    return net.inputs, net.outputs


@pytest.mark.parametrize("place", [0.05, 0.2, 0.6, 0.95])
def test_damage_is_found_and_changes_nothing(tmp_path, place):
    path = tmp_path / "c.ckpt"
    train("arrays", path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x10
    path.write_bytes(bytes(content))
    net = built()
    before = everything(net)
    with pytest.raises(EddlError):
        net.restore(path)
    with pytest.raises(EddlError):
        net.fit(DATA, LABELS, epochs=9, batch_size=5, seed=4, checkpoint=path, resume=True)
    for name, array in everything(net).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "seed=4, received 5"),
        ({"batch_size": 6}, "batch_size=5, received 6"),
        ({"targets": None, "data": Loader()}, "with other data|position"),
        ({"callbacks": [eddl.EarlyStopping("loss")]}, "callbacks"),
    ],
)
def test_resuming_with_something_else_is_refused(tmp_path, change, words):
    path = tmp_path / "c.ckpt"
    options = {"data": DATA, "targets": LABELS, "batch_size": 5, "seed": 4, "checkpoint": path}
    built().fit(**options, epochs=1)
    net = built()
    before = everything(net)
    if change.get("data") is not None:
        change = {**change, "data": [(DATA, LABELS)]}
    with pytest.raises(EddlError, match=words):
        net.fit(**{**options, **change}, epochs=2, resume=True)
    for name, array in everything(net).items():
        np.testing.assert_array_equal(array, before[name])


def test_another_machine_is_named_once(tmp_path, monkeypatch):
    path = tmp_path / "c.ckpt"
    options = {"data": DATA, "targets": LABELS, "checkpoint": path}
    built().fit(**options, epochs=1)
    monkeypatch.setattr("platform.machine", lambda: "another")
    with pytest.warns(RuntimeWarning, match="another"):
        built().fit(**options, epochs=2, resume=True)
