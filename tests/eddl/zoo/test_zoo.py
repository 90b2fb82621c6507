"""Every network of the zoo, at every rank it claims: its size, its training, its file."""

import numpy as np
import pytest

import eddl
from eddl import devices
from eddl.errors import EddlError, GradientError
from eddl.graph import Graph, State
from eddl.zoo.table import TABLE

SMALL = {
    "lenet": (28, {"classes": 3}),
    "alexnet": (63, {"classes": 3, "units": 8}),
    "vgg11": (32, {"classes": 3, "units": 8, "filters": 2}),
    "vgg16_bn": (32, {"classes": 3, "units": 8, "filters": 2}),
    "googlenet": (32, {"classes": 3}),
    "resnet18": (32, {"classes": 3, "filters": 2}),
    "resnet50": (32, {"classes": 3, "filters": 2}),
    "densenet121": (32, {"classes": 3}),
    "unet": (16, {"classes": 3, "filters": 2}),
    "unet3d": (8, {"classes": 3, "filters": 2}),
    "residual_unet": (16, {"classes": 3, "filters": 2}),
    "vnet": (16, {"classes": 3, "filters": 2, "kernel_size": 3}),
    "segnet": (32, {"classes": 3, "filters": 2}),
    "dcgan_generator": (1, {"channels": 2, "size": 8, "filters": 2}),
    "dcgan_discriminator": (8, {"filters": 2}),
    "siamese": (86, {}),
}
"""A size and options in which each function of the zoo trains in a moment."""

HEAVY = {"googlenet", "densenet121", "alexnet", "siamese"}
"""Those whose width cannot be changed: the third rank is left to the slow tests."""


def features(x):
    return eddl.layers.dense(eddl.layers.flatten(x), 4)


def small(name, rank):
    """Symbolic inputs, output and the sizes of a small network of the list."""
    row = TABLE[name]
    size, options = SMALL[name]
    channels = 5 if name == "dcgan_generator" else 2
    inputs = [eddl.Input((channels, *[size] * rank), name=f"x{i}") for i in range(len(row.shapes))]
    if name == "siamese" and rank != 2:
        options = {**options, "embed": features}
    return inputs, row.build(*inputs, **options)


def cases():
    for name in SMALL:
        for rank in TABLE[name].ranks:
            slow = name in HEAVY and rank == 3
            yield pytest.param(name, rank, marks=pytest.mark.slow if slow else ())


def test_every_function_has_a_small_form():
    functions = {getattr(row.build, "func", row.build) for row in eddl.zoo.list()}
    assert functions == {getattr(TABLE[n].build, "func", TABLE[n].build) for n in SMALL}


@pytest.mark.parametrize("row", eddl.zoo.list(), ids=lambda row: row.name)
def test_parameters_are_as_many_as_published(row):
    inputs = [eddl.Input(shape) for shape in row.shapes]
    graph = Graph(inputs, [row.build(*inputs, **row.options)])
    states = [leaf for leaf in graph.leaves if isinstance(leaf, State) and leaf.trainable]
    assert sum(state.type.count for state in states) == row.parameters
    assert row.use
    assert row.counted
    assert any(character.isdigit() for character in row.source)  # a year


@pytest.mark.parametrize(("name", "rank"), list(cases()))
def test_it_trains_and_its_file_gives_the_same(name, rank, tmp_path):
    inputs, output = small(name, rank)
    net = eddl.Model(inputs, output)
    r = np.random.default_rng(0)
    data = [r.standard_normal((2, *x.shape[1:])).astype("float32") for x in inputs]
    target = eddl.Input(output.shape[1:], name="target")
    loss = eddl.losses.mean_squared_error(output, target)
    step = eddl.Step([*inputs, target], [loss], [(loss, net.parameters, eddl.Adam(1e-3))])
    goal = r.standard_normal((2, *output.shape[1:])).astype("float32")
    _, gradients = step.gradients(*data, goal)
    still = [net.names[p] for p, g in zip(net.parameters, gradients, strict=True) if not g.any()]
    # A shift before batch statistics moves nothing, and a ReLU may be silent everywhere.
    assert len(still) <= max(1, 0.2 * len(gradients)), still
    assert all(np.isfinite(g).all() for g in gradients)
    before = net.weights()
    step(*data, goal)
    assert any((before[name] != array).any() for name, array in net.weights().items())
    expected = net.predict(*data)
    net.save(tmp_path / "net.onnx")
    again = eddl.load(tmp_path / "net.onnx")
    np.testing.assert_allclose(again.predict(*data), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_wrong_inputs_are_told(name):
    row = TABLE[name]
    flat = [eddl.Input((4,), name=f"x{i}") for i in range(len(row.shapes))]
    with pytest.raises(EddlError, match=r"expected a symbolic tensor"):
        row.build(*flat, **SMALL[name][1])


def test_unknown_names_are_told():
    with pytest.raises(EddlError, match="resnet18"):
        eddl.zoo.get("resnet19")
    with pytest.raises(EddlError, match="depth=19"):
        eddl.zoo.resnet(eddl.Input((3, 64, 64)), 2, depth=19)


@pytest.mark.parametrize(("name", "rank"), list(cases()))
def test_nothing_of_it_falls_back_on_the_host(name, rank):
    """`build` refuses a network of which the device would leave its work to NumPy."""
    try:
        devices.backend("cpu:onednn")
    except EddlError as error:
        pytest.skip(str(error))
    inputs, output = small(name, rank)
    net = eddl.Model(inputs, output)
    loss = "categorical_cross_entropy" if output.shape[1:2] == (3,) else "mean_squared_error"
    net.build(optimizer=eddl.Adam(1e-3), loss=loss, device="cpu:onednn", fallback=False)
    lines = net.summary().splitlines()
    told = [line for line in lines if line.startswith(("inference:", "training:", "update:"))]
    assert len(told) == 3
    assert all(line.endswith("no fallbacks") for line in told)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (name, what)
        for name in SMALL
        for what in ("nan in the data", "infinity in the data", "too large a weight")
        if name not in HEAVY and (name != "lenet" or "data" in what)  # whose tanh bounds all values
    ],
)
def test_a_step_that_is_not_finite_is_refused(name, what):
    """Whatever lies between, a rectifier or a pool, no value that is not finite gets lost."""
    inputs, output = small(name, TABLE[name].ranks[-1] if name == "unet3d" else 2)
    net = eddl.Model(inputs, output)
    net.build(optimizer=eddl.Adam(1e-3), loss="mean_squared_error", nonfinite="raise")
    r = np.random.default_rng(0)
    data = [r.standard_normal((2, *x.shape[1:])).astype("float32") for x in inputs]
    goal = r.standard_normal((2, *output.shape[1:])).astype("float32")
    net.train_batch(data[0] if len(data) == 1 else data, goal)
    if what == "too large a weight":
        first = next(n for n, w in net.weights().items() if w.ndim > 1)
        net.set_weights({first: np.full_like(net.weights()[first], 1e38)})
    else:
        data[0].reshape(-1)[data[0].size // 2] = np.nan if "nan" in what else np.inf
    before = net.weights()
    with pytest.raises(GradientError, match="not finite"):
        net.train_batch(data[0] if len(data) == 1 else data, goal)
    for key, array in net.weights().items():
        np.testing.assert_array_equal(array, before[key])
