"""What a plan promises is what a process then takes, code apart."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import AttributeValueError

SCRIPT = """
import json, sys
import numpy as np
import eddl
from eddl import layers

def status():
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines
            if line.startswith(("VmRSS", "VmHWM", "RssFile"))}

def images(x):
    return eddl.zoo.unet(x, classes=2, filters=32, depth=3)

def recurrent(x):
    steps = layers.lstm(layers.reshape(x, (32, 1024)), 512, return_sequences=True)
    hidden = layers.dropout(layers.relu(layers.dense(layers.flatten(steps), 512)), 0.5)
    return layers.reshape(layers.dense(hidden, 64), (2, 4, 8))

def stepped(network, shape, memory, rounds=3):
    space = {"images": shape[2:], "recurrent": (4, 8)}[network]
    data = np.zeros(shape, "float32")
    data[..., 0] = 1
    labels = np.zeros((shape[0], *space), "int64")
    before = status()
    x = eddl.Input(shape[1:])
    net = eddl.Model(x, {"images": images, "recurrent": recurrent}[network](x))
    net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy", memory=memory)
    planned = net.memory_plan(shape, target=labels)
    for _ in range(rounds):
        net.train_batch(data, labels)
    after = status()
    code = after["RssFile"] - before["RssFile"]
    return after["VmHWM"] - before["VmRSS"] - code, planned.total, planned.again

network, memory, *sizes = sys.argv[1:]
small = {"images": (1, 1, 16, 16), "recurrent": (2, 1, 1024, 32)}[network]
if network == "images":
    stepped(network, small, memory, 1)  # loads the library's code
open("/proc/self/clear_refs", "w").write("5")
print(json.dumps(stepped(network, tuple(map(int, sizes)), memory)))
"""

SHAPES = {"images": (4, 1, 192, 160), "recurrent": (64, 1, 1024, 32)}


def can_forget_the_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return sys.platform == "linux"


@pytest.mark.skipif(not can_forget_the_peak(), reason="the system does not tell a peak anew")
@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("network", SHAPES)
def test_a_process_takes_what_was_planned(network, memory):
    """Within 10 % or 32 MiB, from before `build` to the peak of step three."""
    command = [sys.executable, "-c", SCRIPT, network, memory, *map(str, SHAPES[network])]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken, planned, again = json.loads(said)
    assert abs(taken - planned) < max(planned / 10, 32 << 20), (taken >> 20, planned >> 20)
    assert planned > 48 << 20
    if network == "images" and memory == "low":
        assert again > 0.05


@pytest.mark.parametrize(
    "memory", ["slow", "4 apples", "GiB", "-1GiB", "0", 0, -5, True, 1.5, None]
)
def test_words_that_are_no_memory_are_refused_at_build(memory):
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(x, 3))
    with pytest.raises(AttributeValueError, match="memory="):
        net.build(optimizer=eddl.Adam(), loss="categorical_cross_entropy", memory=memory)


def test_the_summary_and_the_plan_say_it():
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(x, 3))
    assert "memory fast" in net.summary()
    net.build(optimizer=eddl.Adam(), loss="categorical_cross_entropy", memory="8MB")
    assert net.memory == 8_000_000
    assert "memory 8000000" in net.summary()
    assert net.memory_plan((2, 4)).total < 8_000_000
    assert np.isfinite(net.train_batch(np.zeros((2, 4), "float32"), np.zeros(2, int))["loss"])
