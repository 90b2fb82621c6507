"""Fallbacks are counted, named with their reasons, and refused where they are not wanted."""

import re

import numpy as np
import pytest

import eddl
from eddl import devices
from eddl.compiler.fallback import WORK
from eddl.errors import DeviceError
from eddl.ops import TABLE

try:
    devices.backend("cpu:onednn")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)


def network(dtype="float32", sizes=(9, 9)):
    """A convolution, which oneDNN does not compute in float64, and elementwise work of the host."""
    x = eddl.Input((2, *sizes), dtype=dtype)
    y = eddl.layers.conv(x, 4, 3, name="first")
    y = eddl.layers.sigmoid(y) * eddl.layers.exp(y)
    return eddl.Model(x, eddl.layers.conv(y, 3, 3, name="second"))


def build(net, **options):
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error", **options)
    return net


def test_elementwise_work_is_no_fallback():
    net = build(network(), device="cpu:onednn", fallback=False)
    text = net.summary()
    assert re.search(r"^training: \d+ calls on onednn, \d+ on the host; no fallbacks$", text, re.M)


def test_what_the_device_lacks_is_named_with_its_reason():
    net = build(network("float64"), device="cpu:onednn")
    lines = net.summary().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("inference:"))
    assert lines[start].endswith("2 fallbacks")
    for name, line in zip(("first", "second"), lines[start + 1 : start + 3], strict=True):
        assert re.search(rf"^  {name}: Conv of float64\[1, .*float64.* computed here", line)
    assert "ConvWeightGrad of float64" in net.summary()


def test_a_build_that_must_not_fall_back_is_refused_and_changes_nothing():
    net = build(network("float64"), device="cpu:array")
    message = r"fallback=False, and cpu:onednn would leave 2 .* first: Conv .* second: Conv "
    with pytest.raises(DeviceError, match=message):
        build(net, device="cpu:onednn", fallback=False)
    assert net.device == "cpu:array"
    x = np.zeros((1, 2, 9, 9))
    assert np.isfinite(net.train_batch(x, np.zeros((1, 3, 9, 9)))["loss"])


def test_sizes_that_are_not_fixed_are_looked_at_when_they_come():
    net = build(network("float64", ("height", None)), device="cpu:onednn", fallback=False)
    assert "fallback" not in net.summary()
    assert "2 fallbacks" not in build(network(sizes=("height", None))).summary((2, 2, 5, 5))
    x = np.zeros((1, 2, 5, 5))
    with pytest.raises(DeviceError, match="first: Conv"):
        net.predict(x)
    with pytest.raises(DeviceError, match="fallback=False"):
        net.train_batch(x, np.zeros((1, 3, 5, 5)))


def test_numpy_as_the_device_falls_back_on_nothing():
    text = build(network("float64"), device="cpu:array", fallback=False).summary()
    assert re.search(r"^inference: \d+ calls on array; no fallbacks$", text, re.M)


def test_a_model_that_is_not_built_counts_inference():
    text = network().summary()
    assert "inference: " in text
    assert "training: " not in text


def test_a_norm_without_a_kernel_is_counted():
    x = eddl.Input((6, 2, 2, 2, 2))
    net = eddl.Model(x, eddl.layers.group_norm(x, 2))
    net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error", device="cpu:onednn")
    text = net.summary()
    assert "GroupNormalization of float32[1, 6, 2, 2, 2, 2]: the onednn backend has no kernel" in text


def test_all_work_of_devices_is_in_the_table():
    assert set(TABLE) >= WORK
