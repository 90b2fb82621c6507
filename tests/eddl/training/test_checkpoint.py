"""Checkpoints: whole or absent, and a resumed training is the uninterrupted one bit for bit."""

import json

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import EddlError
from eddl.training import checkpoint as room


def net(width=8, optimizer=None):
    x = eddl.Input((4,))
    model = eddl.Model(x, layers.dense(layers.batch_norm(layers.dense(x, width)), 3))
    model.build(
        optimizer=optimizer or eddl.Adam(eddl.OneCycle(peak=1e-2, steps=40)),
        loss="categorical_cross_entropy", metrics=["accuracy"],
    )  # fmt: skip
    return model


def data(count=50):
    r = np.random.default_rng(3)
    return r.standard_normal((count, 4)).astype("float32"), r.integers(0, 3, count)


def test_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole, parts = net(), net()
    expected = whole.fit(*data(), epochs=6, batch_size=16, seed=2)
    path = tmp_path / "state.safetensors"
    parts.fit(*data(), epochs=3, batch_size=16, seed=2, checkpoint=path)
    fresh = net()
    history = fresh.fit(*data(), epochs=6, batch_size=16, seed=2, checkpoint=path, resume=True)
    assert history == expected
    for name, array in whole.weights().items():
        np.testing.assert_array_equal(array, fresh.weights()[name])


def test_the_header_says_what_made_it(tmp_path):
    from safetensors import safe_open

    path = tmp_path / "state.safetensors"
    net().fit(*data(), epochs=1, checkpoint=path)
    with safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["eddl"])
        names = set(file.keys())
    assert header["format"] == room.FORMAT
    assert header["made_with"]["eddl"]
    assert "optimizer/0/mean/dense.weight" in names


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.write_bytes(b"text"), "cannot be read"),
        (lambda p: p.write_bytes(p.read_bytes()[:-100]), "cannot be read"),
        (lambda p: net(width=9).fit(*data(), epochs=1, checkpoint=p), "another network"),
        (lambda p: net(optimizer=eddl.SGD(0.1)).fit(*data(), epochs=1, checkpoint=p),
         "another optimizer"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, spoil, words):
    path = tmp_path / "state.safetensors"
    net().fit(*data(), epochs=1, checkpoint=path)
    spoil(path)
    model = net()
    before = model.weights()
    with pytest.raises(EddlError, match=words):
        model.fit(*data(), epochs=2, checkpoint=path, resume=True)
    for name, array in model.weights().items():
        np.testing.assert_array_equal(array, before[name])


def header_of(path):
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        return json.loads(file.metadata()["eddl"])


def test_the_header_names_kernels_and_their_number(tmp_path):
    path = tmp_path / "state.safetensors"
    net().fit(*data(), epochs=1, batch_size=16, checkpoint=path)
    made = header_of(path)["made_with"]
    assert {"device", "threads", "blas", "instructions", "numpy", "eddl", "machine"} <= set(made)
    kernels = made["kernels"]
    batches = ["float32[16, 4], int64[16]", "float32[2, 4], int64[2]"]
    assert set(kernels) == {*batches, *(f"update after {batch}" for batch in batches)}
    first = kernels["float32[16, 4], int64[16]"]
    assert any(name.startswith("BatchNormalization: ") for name in first)
    assert all(count > 0 for count in first.values())
    again = net()
    again.fit(*data(), epochs=2, batch_size=16, checkpoint=path, resume=True)
    assert header_of(path)["made_with"]["kernels"] == kernels


@pytest.mark.parametrize("what", ["kernels", "threads"])
def test_resuming_elsewhere_says_once_that_bits_may_differ(tmp_path, what, monkeypatch):
    path = tmp_path / "state.safetensors"
    usual = room.made_with

    def elsewhere(device="cpu"):
        return {**usual(device), "threads": 77}

    with monkeypatch.context() as patch:
        if what == "threads":
            patch.setattr(room, "made_with", elsewhere)
        else:
            own = type(net().built()).kernels.fget
            patch.setattr(
                type(net().built()), "kernels",
                property(lambda s: {n: {**k, "Sum: of another machine": 1}
                                    for n, k in own(s).items()}),
            )  # fmt: skip
        net().fit(*data(), epochs=1, batch_size=16, checkpoint=path)
    words = "of another machine" if what == "kernels" else "'threads': 77"
    with pytest.warns(RuntimeWarning, match="bits of results may differ") as caught:
        net().fit(*data(), epochs=3, batch_size=16, checkpoint=path, resume=True)
    assert len(caught) == 1
    assert words in str(caught[0].message)
    assert caught[0].filename == __file__
