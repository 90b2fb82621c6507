"""Both packages declare one tensor protocol, and tensors pass between them without a copy."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

import ecvl
import eddl
from ecvl.tensors import Tensor as ImageTensor
from eddl import layers
from eddl.errors import EddlError
from eddl.tensors import Tensor, as_host_array


def members(protocol):
    return {
        name: str(inspect.signature(member, eval_str=True))
        for name, member in vars(protocol).items()
        if name.startswith("__dlpack")
    }


def test_the_protocols_are_equal():
    assert members(Tensor) == members(ImageTensor)
    assert set(members(Tensor)) == {"__dlpack__", "__dlpack_device__"}


@pytest.mark.parametrize(("one", "other"), [("ecvl", "eddl"), ("eddl", "ecvl")])
def test_neither_package_imports_the_other_or_a_framework(one, other):
    code = (
        f"import sys, {one}\n"
        f"bad = {{'{other}', 'torch', 'onnxruntime', 'deephealth'}} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def image():
    data = np.arange(2 * 3 * 4, dtype="float32").reshape(2, 3, 4)
    return ecvl.Image(data, axes="zyx", affine=np.diag([1, 2, 3, 1])), data


def test_images_and_arrays_are_read_at_their_own_address():
    picture, data = image()
    for tensor in (data, picture):
        assert as_host_array(tensor).ctypes.data == data.ctypes.data
    assert isinstance(picture, Tensor)
    assert isinstance(picture, ImageTensor)


def test_the_kernels_read_the_callers_memory(monkeypatch):
    """The array that a call is bound to lies where the caller's does."""
    seen = []
    backend = eddl.devices.backend("cpu")
    original = backend.from_host
    monkeypatch.setattr(
        backend, "from_host", lambda a: (seen.append(a.ctypes.data), original(a))[1]
    )
    picture, data = image()
    x = eddl.Input((3, 4))
    step = eddl.Step([x], [layers.relu(x)], training=False)
    (result,) = step(picture)
    assert data.ctypes.data in seen
    np.testing.assert_array_equal(result, data)
    assert not np.shares_memory(result, data)


class Consumed:
    """What is left of an exporter whose capsule was taken."""

    def __dlpack__(self, **options):
        raise RuntimeError("the capsule was consumed")

    def __dlpack_device__(self):
        return (1, 0)


class OnDevice(Consumed):
    def __dlpack_device__(self):
        return (2, 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("text", "str"),
        ({"a": 1}, "dict"),
        (object(), "object"),
        (np.array(["a"]), "<U1"),
        (np.array([1 + 2j]), "complex"),
        (np.array([object()]), "object"),
        ([[1.0], [1.0, 2.0]], "one shape"),
        (Consumed(), "consumed"),
        (OnDevice(), "host memory"),
        (np.zeros(3).__dlpack__(), "PyCapsule"),
    ],
)
def test_what_is_no_tensor_gets_one_clear_line(wrong, words):
    with pytest.raises(EddlError, match=words) as error:
        as_host_array(wrong, what="images")
    assert str(error.value).startswith("images: ")
    assert "\n" not in str(error.value)


def test_batches_are_recognised_by_their_attributes():
    class Batch:
        images = np.ones((2, 4), "float32")
        labels = np.array([0, 1])

    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(x, 2))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    assert len(net.fit([Batch(), (Batch.images, Batch.labels)], epochs=2)["loss"]) == 2


def test_importing_either_package_is_quick():
    """The promise is 0.3 s over NumPy; the margin here is wide, for busy machines."""
    code = "import time, numpy; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"
    for package in ("ecvl", "eddl"):
        runs = [
            float(subprocess.run([sys.executable, "-c", code.format(package)],
                                 capture_output=True, text=True, check=True).stdout)
            for _ in range(3)
        ]  # fmt: skip
        assert min(runs) < 1.0
