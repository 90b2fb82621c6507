"""bfloat16: where it is computed and where refused; each kernel against float32 to a rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eddl
from eddl.backends.onednn import halves
from eddl.compiler import CHANNELS_LAST, PLAIN
from eddl.compiler.precision import CHOOSING, DATA, MOVING, NEAR, NORMS, PRODUCTS
from eddl.errors import DeviceError
from eddl.graph import Constant, Input, Type
from eddl.ops import TABLE, apply, entry, make_node

from ...ops.rows import ROWS
from .oracle import ARRAY, ONEDNN, compiled

HALF = np.dtype("bfloat16")
ROUNDING = 2.0**-8
WHY_NOT = ONEDNN.why_not("bfloat16")
computed = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def rounded(array):
    """What bfloat16 holds exactly, in float32."""
    array = np.asarray(array)
    return array.astype(HALF).astype("float32") if array.dtype.kind == "f" else array


def close(ours, theirs, roundings=1):
    assert ours.shape == theirs.shape
    if theirs.dtype.kind != "f":
        np.testing.assert_array_equal(ours, theirs)
        return
    scale = float(np.abs(theirs).max(initial=0, where=np.isfinite(theirs)))
    bound = roundings * ROUNDING
    np.testing.assert_allclose(ours.astype("float32"), theirs, rtol=bound, atol=bound * scale / 4)


def halved(row):
    """The node of a row on data in bfloat16, the same in float32, and their arrays."""
    arrays = [rounded(a) for a in row.inputs(np.random.default_rng(0))]
    data = DATA.get(row.op, range(len(arrays)))
    nodes, fed = [], []
    for half in (True, False):
        kinds = [HALF if half and i in data and a.dtype == np.float32 else a.dtype
                 for i, a in enumerate(arrays)]  # fmt: skip
        typed = [a.astype(kind) for a, kind in zip(arrays, kinds, strict=True)]
        values = [Constant(a) if i in row.constant else Input(Type(a.dtype, a.shape), name=f"x{i}")
                  for i, a in enumerate(typed)]  # fmt: skip
        nodes.append(make_node(row.op, *values, domain=row.domain, **row.attributes))
        fed.append([(v, a) for v, a in zip(values, typed, strict=True) if isinstance(v, Input)])
    return nodes, fed


def bears(row):
    """Whether the backend says that it computes a row's operator in bfloat16."""
    inputs = row.inputs(np.random.default_rng(0))
    if WHY_NOT or not any(np.asarray(a).dtype.kind == "f" for a in inputs):
        return False
    operator = TABLE[row.domain, row.op]
    follows = operator.formula is not None and not operator.float32
    if not follows and row.op not in PRODUCTS | MOVING | CHOOSING | NEAR | NORMS | DATA.keys():
        return False
    (node, _), _ = halved(row)
    return not node.outputs[0].type.opaque and ONEDNN.halves(node)


BORNE = [row for row in ROWS if bears(row)]


@computed
@pytest.mark.parametrize("row", BORNE, ids=[f"{i}-{row.name}" for i, row in enumerate(BORNE)])
def test_operators_round_their_results_once(row):
    (half, full), (own, wide) = halved(row)
    count = min(len(half.outputs), max(entry(half).outputs, 1))
    ours, theirs = (
        compiled([v for v, _ in fed], list(node.outputs[:count]), [a for _, a in fed], backend).run(
            [a for _, a in fed]
        )
        for node, fed, backend in ((half, own, ONEDNN), (full, wide, ARRAY))
    )
    for one, other in zip(ours, theirs, strict=True):
        close(one, other, 1 + (row.op == "SumPoolGrad"))  # which rounds the gradient, multiplied


@computed
def test_what_half_precision_is_for_is_computed_in_it():
    names = {row.op for row in BORNE}
    assert names >= {"Conv", "ConvTranspose", "ConvWeightGrad", "MaxPool", "MaxPoolGrad",
                     "BatchNormalizationRelu", "BatchNormalizationGrad", "Relu", "Add", "Concat",
                     "Slice", "Cast", "Where", "LayerNormalization", "LayerNormalizationGrad",
                     "PRelu", "PReluGrad", "SumPool", "SumPoolGrad"}  # fmt: skip
    assert names.isdisjoint({"Softmax", "LogSoftmax", "ReduceSum"})


def data(*shapes, seed=1):
    r = np.random.default_rng(seed)
    arrays = [rounded(r.standard_normal(shape)) for shape in shapes]
    return [Input(Type("float32", shape), name=f"x{i}") for i, shape in enumerate(shapes)], arrays


def flow(y, inputs):
    """With gradients, of a weight for each element that bfloat16 holds."""
    weight = rounded(np.random.default_rng(0).standard_normal(y.type.sizes))
    loss = apply("ReduceSum", y * apply("Identity", weight), keepdims=0)
    return [y, *make_node("Gradients", loss, *inputs, domain="eddl").outputs]


def check(inputs, outputs, arrays, roundings=1):
    expected = compiled(inputs, outputs, arrays, ARRAY).run(arrays)
    program = compiled(inputs, outputs, arrays, ONEDNN, precision="bfloat16", poison=True)
    for _ in range(2):
        for ours, theirs in zip(program.run(arrays), expected, strict=True):
            close(ours, theirs, roundings)
    return program


def halved_calls(program):
    return [call for call in program.plan.calls if any(v.dtype == HALF for v in call.outputs)]


@computed
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_convolutions_of_any_geometry(draw):
    pick = lambda *choices: draw.draw(st.sampled_from(choices))  # noqa: E731
    rank, group = pick(1, 2, 3), pick(1, 1, 2)
    each, filters = pick(1, 3, 16), group * pick(1, 7, 16)
    kernel, strides = ([pick(1, 2, 3) for _ in range(rank)] for _ in range(2))
    sizes = [k + pick(0, 3, 6) for k in kernel]
    pads = [pick(*range(k)) for k in kernel] * 2
    op = pick("Conv", "ConvTranspose")
    inputs, arrays = data(
        (pick(1, 2), group * each if op == "Conv" else filters, *sizes),
        (filters, each, *kernel),
        (filters if op == "Conv" else group * each,),
    )
    given_bias = inputs if pick(True, False) else inputs[:2]
    try:
        y = apply(op, *given_bias, group=group, strides=tuple(strides), pads=tuple(pads))
    except eddl.errors.EddlError:
        return  # paddings that leave nothing
    program = check(given_bias, flow(y, given_bias), arrays[: len(given_bias)])
    assert halved_calls(program) or group > 1 or min(each, filters) < 16


@computed
@pytest.mark.parametrize("strides", [(2, 1, 2), (2, 1, 1), (1, 1, 2)])
@pytest.mark.parametrize("kernel", [(1, 1, 2), (2, 1, 2), (1, 1, 1)])
def test_windows_that_leave_gaps(kernel, strides):
    inputs, arrays = data((1, 16, 13, 7, 16), (7, 16, *kernel))
    check(inputs, flow(apply("Conv", *inputs, strides=strides), inputs), arrays)


@computed
@pytest.mark.parametrize("shape", [(1, 16, 3, 3), (2, 32, 4, 4), (3, 48, 7), (1, 16, 3, 2, 4)])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_normalization_keeps_its_statistics_in_float32(shape, relu):
    inputs, arrays = data(shape, *[(shape[1],)] * 4)
    arrays[4] = np.abs(arrays[4]) + 0.125
    twice = apply("Conv", inputs[0], np.eye(shape[1], dtype="f4").reshape(
        shape[1], shape[1], *[1] * (len(shape) - 2)))  # fmt: skip
    node = make_node("BatchNormalization", twice, *inputs[1:], training_mode=1)
    y = apply("Relu", node.outputs[0]) if relu else node.outputs[0]
    program = check(inputs, [*flow(y, inputs[:3]), *node.outputs[1:3]], arrays, 2)
    kinds = {call.nodes[0].op: call for call in program.plan.calls}
    norm = kinds["BatchNormalizationRelu" if relu else "BatchNormalization"]
    assert [v.dtype.name for v in norm.outputs[:3]] == ["bfloat16", "float32", "float32"]


def between(shape, make, *vectors, roundings=4):
    """What `make` gives, with gradients, between convolutions that only pass elements on; the calls
    of its operator."""
    channels, space = shape[1], len(shape) - 2
    same = np.eye(channels, dtype="f4").reshape(channels, channels, *[1] * space)
    inputs, arrays = data(shape, *vectors)
    y = apply("Conv", make(apply("Conv", inputs[0], same), *inputs[1:]), same)
    outputs = flow(y, inputs)
    program = check(inputs, outputs, arrays, roundings)
    assert not any(call.offer.host for call in program.plan.calls)
    return program


def kinds_of(program):
    """The types of the first result of each operator."""
    return {call.nodes[0].op: call.outputs[0].dtype.name for call in program.plan.calls}


@computed
@pytest.mark.parametrize("shape", [(2, 16, 5, 4), (1, 32, 9, 8), (3, 48, 7), (1, 16, 3, 2, 4)])
@pytest.mark.parametrize("kind", ["Instance", "Group", "Layer"])
def test_normalizations_within_samples(kind, shape):
    options = {"Group": {"num_groups": 4}, "Layer": {"axis": 2}}.get(kind, {})
    size = shape[2:] if kind == "Layer" else (shape[1],)
    program = between(
        shape, lambda x, *v: apply(f"{kind}Normalization", x, *v, epsilon=1e-2, **options),
        size, size,
    )  # fmt: skip
    kinds = kinds_of(program)
    assert kinds[f"{kind}Normalization"] == kinds[f"{kind}NormalizationGrad"] == "bfloat16"


@computed
@pytest.mark.parametrize("shape", [(2, 16, 5, 4), (1, 32, 90, 80), (1, 16, 3, 2, 4)])
@pytest.mark.parametrize("each", [True, False])
def test_slopes(shape, each):
    slopes = (shape[1] if each else 1, *[1] * (len(shape) - 2))
    program = between(shape, lambda x, s: apply("PRelu", x, s), slopes)
    kinds = kinds_of(program)
    assert kinds.get("PRelu", "bfloat16") == kinds["PReluGrad"] == "bfloat16"


@computed
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("shape", [(2, 16, 5, 4), (1, 32, 7), (1, 16, 3, 2, 4)])
def test_resizing(shape, mode):
    scales = np.array([1, 1, *[2] * (len(shape) - 2)], "f4")
    program = between(shape, lambda x: apply("Resize", x, None, scales, mode=mode))
    assert kinds_of(program)["Resample"] == "bfloat16"
    inputs, arrays = data(shape)
    same = np.eye(shape[1], dtype="f4").reshape(shape[1], shape[1], *[1] * (len(shape) - 2))
    y = apply("Resize", apply("Conv", inputs[0], same), None, scales, mode=mode)
    assert kinds_of(check(inputs, [y], arrays, 3))["Resample"] == "bfloat16"


@computed
@pytest.mark.parametrize("shape", [(2, 16, 6, 4), (1, 35, 8), (1, 16, 4, 2, 4)])
def test_averages(shape):
    window = (2,) * (len(shape) - 2)
    program = between(shape, lambda x: apply("AveragePool", x, kernel_shape=window, strides=window))
    assert kinds_of(program)["SumPool"] == kinds_of(program)["SumPoolGrad"] == "bfloat16"


@computed
def test_rectifiers_and_their_gradients_are_exact_and_let_nan_through():
    x, y = data((4, 32, 24, 24), (4, 32, 24, 24))[1]
    x[0, 0, 0], y[0, 1, 0] = [[np.nan] * 24] * 2
    a, b = (Input(Type(HALF, x.shape), name=n) for n in "ab")
    total = apply("Relu", a + b)
    passed = apply("ReluGrad", a, b, domain="eddl")
    arrays = [x.astype(HALF), y.astype(HALF)]
    program = compiled([a, b], [total, passed, apply("Relu", a)], arrays, ONEDNN)
    assert [c.offer.kernel for c in program.plan.calls if c.nodes[0].op != "Identity"].count(
        "chains") == 3  # fmt: skip
    found = [r.astype("f4") for r in program.run(arrays)]
    with np.errstate(invalid="ignore"):
        expected = [np.maximum(rounded(x + y), 0), np.where(x > 0, y, 0), np.maximum(x, 0)]
    finite = np.isfinite(x) & np.isfinite(y)
    np.testing.assert_array_equal(found[1][finite], expected[1][finite])
    for index in (0, 2):
        np.testing.assert_array_equal(found[index], expected[index])


@computed
@pytest.mark.parametrize("source", [PLAIN, CHANNELS_LAST])
@pytest.mark.parametrize("target", [PLAIN, CHANNELS_LAST])
@pytest.mark.parametrize("kinds", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_casts_change_the_layout_in_passing(source, target, kinds):
    (before, after), shape = kinds, (2, 5, 3, 4)
    node = make_node("Cast", Input(Type(before, shape), name="x"), to=np.dtype(after))
    offer = next(p for p in ONEDNN.patterns(node) if len(p.ops) == 1).offer([node])
    assert any(a.inputs == (source,) and a.outputs == (target,) for a in offer.arrangements)
    full = np.random.default_rng(0).standard_normal(shape).astype(before)
    memory = [np.zeros(full.nbytes * 2, np.uint8) for _ in range(2)]
    x, y = (ONEDNN.view(m, 0, Type(kind, shape), layout)
            for m, kind, layout in zip(memory, kinds, (source, target), strict=True))  # fmt: skip
    x[...] = full
    offer.bind([x], [y], None)()
    np.testing.assert_array_equal(y, full.astype(after))


@computed
def test_weight_gradients_and_sums_stay_float32():
    """Of a gradient that is exact in bfloat16, since the head only chooses channels."""
    inputs, arrays = data((2, 16, 40, 40), (32, 16, 3, 3), (32,))
    head = np.eye(32, dtype="f4").reshape(32, 32, 1, 1)
    outputs = flow(apply("Conv", apply("Conv", *inputs), head), inputs)
    program = check(inputs, outputs, arrays, 2)
    chains = [tuple(node.op for node in call.nodes) for call in program.plan.calls]
    assert ("ConvWeightGrad", "Cast") in chains and ("Cast", "ReduceSum") in chains
    expected = compiled(inputs, outputs, arrays, ARRAY).run(arrays)
    for ours, theirs in list(zip(program.run(arrays), expected, strict=True))[2:]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@computed
def test_weights_are_rounded_on_the_way_to_the_kernels_layout():
    """Forward and backward for each, so that nothing is kept in between."""
    inputs, arrays = data((2, 16, 20, 20))
    weight = rounded(np.random.default_rng(2).standard_normal((32, 16, 3, 3)))
    w = Input(Type("float32", weight.shape), name="w")
    other = np.eye(32, dtype="f4").reshape(32, 32, 1, 1)
    outputs = flow(apply("Conv", apply("Relu", apply("Conv", *inputs, w)), other), [*inputs, w])
    program = check([*inputs, w], outputs, [*arrays, weight], 4)
    casts = [c for c in program.plan.calls if [v.name for v in c.inputs] == ["w"]]
    assert casts and all(c.nodes[0].op == "Cast" and "reorder" in c.offer.kernel for c in casts)
    assert all(program.plan.layout(c.outputs[0]).detail for c in casts)


@computed
def test_slopes_and_sums_with_the_input_take_half_the_memory():
    """As V-Net has them: nothing is cast to float32 and back between the convolutions."""
    inputs, arrays = data((1, 1, 40, 40), (32, 1, 3, 3), (32, 1, 1), (32, 32, 3, 3))
    x, first, slope, weight = inputs
    same = {"pads": (1, 1, 1, 1)}
    y = apply("Concat", *[x] * 32, axis=1) + apply("Conv", x, first, **same)
    for _ in range(4):
        y = apply("PRelu", apply("Conv", apply("PRelu", y, slope), weight, **same), slope)
    outputs = flow(y, inputs[1:])
    half, full = (compiled(inputs, outputs, arrays, ONEDNN, precision=kind).plan.transient
                  for kind in ("bfloat16", "float32"))  # fmt: skip
    assert half < 0.65 * full


SHAPE = (1, 32, 32)
IMAGES = np.random.default_rng(3).standard_normal((4, *SHAPE)).astype("float32")
TARGETS = (IMAGES[:, 0] > 0.3).astype("int64")


def network(precision, **options):
    x = eddl.Input(SHAPE)
    net = eddl.Model(x, eddl.zoo.unet(x, classes=2, filters=16, depth=3), seed=1)
    net.build(**{"optimizer": eddl.Adam(2e-3), "loss": "dice_cross_entropy", "metrics": ["dice"],
                 "device": "cpu:onednn", "precision": precision, **options})  # fmt: skip
    return net


@computed
def test_a_network_learns_as_in_float32_with_less_memory():
    nets = [network(precision) for precision in ("bfloat16", "float32")]
    losses = np.array([[net.train_batch(IMAGES, TARGETS)["loss"] for _ in range(8)]
                       for net in nets])  # fmt: skip
    assert losses[1, -1] < 0.85 * losses[1, 0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.03)
    half, full = (
        sum(parts.gradients.plan.slabs)
        for net in nets
        for one in net.built()._passes.values()
        for parts in one.step._compiled.kept.values()
    )
    assert half < 0.65 * full
    assert all(a.dtype == np.float32 for a in nets[0].weights().values())


@computed
def test_gradients_are_no_further_off_than_rounding_the_weights_alone_would_bring_them():
    def gradients(net):
        _, found = net.loss_and_gradients(IMAGES, TARGETS)
        return np.concatenate([g.ravel() for g in found.values()])

    half, full = network("bfloat16"), network("float32")
    ours, exact = gradients(half), gradients(full)
    full.set_weights({name: rounded(array) for name, array in full.weights().items()})
    yardstick = np.linalg.norm(gradients(full) - exact)
    assert 0 < np.linalg.norm(ours - exact) < 2 * yardstick


@computed
def test_killed_and_resumed_it_is_equal_bit_for_bit(tmp_path):
    whole, parts, resumed = (network("bfloat16", ema=0.9, clip_norm=1.0) for _ in range(3))
    path = tmp_path / "c.ckpt"
    history = whole.fit(IMAGES, TARGETS, epochs=4, batch_size=2)
    parts.fit(IMAGES, TARGETS, epochs=2, batch_size=2, checkpoint=path)
    found = resumed.fit(IMAGES, TARGETS, epochs=4, batch_size=2, checkpoint=path, resume=True)
    assert found == history
    for name, array in whole.all_weights().items():
        np.testing.assert_array_equal(resumed.all_weights()[name], array)
    assert whole.built().state.scale is None


@computed
def test_it_predicts_and_evaluates_and_saves_what_float32_would(tmp_path):
    half, full = network("bfloat16"), network("float32")
    np.testing.assert_allclose(half.predict(IMAGES), full.predict(IMAGES), atol=0.04)
    assert half.predict(IMAGES).dtype == np.float32
    assert np.abs(half.predict(IMAGES) - full.predict(IMAGES)).max() > 0
    ours, theirs = (net.evaluate(IMAGES, TARGETS) for net in (half, full))
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
    files = [tmp_path / f"{i}.onnx" for i in range(2)]
    for net, path in zip((half, full), files, strict=True):
        net.save(path)
    assert files[0].read_bytes() == files[1].read_bytes()


FAST = {"float32": 4.0, "bfloat16": 1.0, "kernel": "brgconv:avx512_core_amx"}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({**FAST, "bfloat16": 6.6, "kernel": "brgconv:avx512_core_bf16"}, r"avx512.*1\.65 of flo"),
        ({"reason": "a trial of it was ended by the processor or the system (SIGILL)"}, "SIGILL"),
        ({"reason": "oneDNN has no bfloat16 kernels for this processor"}, "no bfloat16 kernels"),
    ],
)
def test_it_is_refused_where_it_is_slower_or_ends_the_process(monkeypatch, found, reason):
    monkeypatch.setattr(halves, "measured", lambda path: found)
    with pytest.raises(DeviceError, match=rf"bfloat16.*{reason}.*\['float32'\]"):
        network("bfloat16")
    monkeypatch.setattr(halves, "measured", lambda path: FAST)
    network("bfloat16")


def test_a_trial_that_dies_says_so(monkeypatch, tmp_path):
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -ILL $$\n")
    dying.chmod(0o700)
    monkeypatch.setattr(halves.sys, "executable", str(dying))
    assert "SIGILL" in halves.judged(halves.measured.__wrapped__("libdnnl.so.3"))
    monkeypatch.setattr(halves.sys, "executable", str(tmp_path / "nothing"))
    assert "could not be made" in halves.judged(halves.measured.__wrapped__("libdnnl.so.3"))
    monkeypatch.undo()
    assert "trial of it failed" in halves.judged(halves.measured.__wrapped__("nowhere.so.3"))


def test_float16_is_for_the_array_backend():
    with pytest.raises(DeviceError, match=r"'float16'.*no faster than float32"):
        network("float16")
    with pytest.raises(DeviceError, match=r"'bfloat16'.*NumPy.*\['float32', 'float16'\]"):
        network("bfloat16", device="cpu:array")
