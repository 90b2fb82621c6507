"""Model: building, training, sharing, evaluating, refusing."""

import numpy as np
import pytest

import eddl
from eddl import layers
from eddl.errors import EddlError


def small(seed=0, classes=3, **build):
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(layers.relu(layers.dense(x, 16)), classes), seed=seed)
    options = {"optimizer": eddl.Adam(1e-2), "loss": "categorical_cross_entropy"}
    net.build(**{**options, **build})
    return net


def blobs(count=60, seed=0):
    r = np.random.default_rng(seed)
    labels = r.integers(0, 3, count)
    return (r.standard_normal((count, 4)) + 2 * np.eye(3, 4)[labels]).astype("float32"), labels


def test_fit_learns_and_the_history_says_so():
    data, labels = blobs()
    net = small(metrics=["accuracy"])
    history = net.fit(data, labels, epochs=30, batch_size=16, validation=blobs(seed=1))
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["val_accuracy"][-1] > 0.85
    assert {len(column) for column in history.values()} == {30}


def test_evaluate_changes_nothing_and_is_exact_over_any_batches():
    data, labels = blobs()
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(layers.batch_norm(layers.dense(x, 8)), 3))
    net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy", metrics=["accuracy"])
    net.fit(data, labels, epochs=2)
    before = net.weights()
    scores = [net.evaluate(data, labels, batch_size=b) for b in (7, 13, 60)]
    assert len({s["accuracy"] for s in scores}) == 1
    np.testing.assert_allclose([s["loss"] for s in scores], scores[0]["loss"], rtol=1e-5)
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, before[name])


def test_loss_and_gradients_commit_nothing():
    data, labels = blobs()
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(layers.batch_norm(layers.dense(x, 8)), 3))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    before = net.weights()
    loss, gradients = net.loss_and_gradients(data, labels)
    again, _ = net.loss_and_gradients(data, labels)
    assert loss == again
    assert set(gradients) == {net.names[p] for p in net.parameters}
    for name, array in net.weights().items():
        np.testing.assert_array_equal(array, before[name])
    step = {n: before[n] - np.float32(0.1) * g for n, g in gradients.items()}
    net.train_batch(data, labels)
    for name, array in step.items():
        np.testing.assert_allclose(net.weights()[name], array, rtol=1e-6, atol=1e-7)


def test_a_model_is_a_layer_and_shares_its_weights():
    x = eddl.Input((4,))
    encoder = eddl.Model(x, layers.dense(x, 5, name="encoder"))
    a, b = eddl.Input((4,), name="a"), eddl.Input((4,), name="b")
    siamese = eddl.Model([a, b], encoder(a) - encoder(b))
    assert siamese.parameters == encoder.parameters
    data = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    np.testing.assert_array_equal(siamese.predict(data, data), np.zeros((3, 5)))
    encoder.set_weights({"encoder.bias": np.ones(5)})
    np.testing.assert_allclose(
        siamese.predict(data, 0 * data), encoder.predict(data) - 1, rtol=1e-6
    )


def test_batch_statistics_are_chained_when_a_model_is_called_twice():
    x = eddl.Input((2,))
    norm = eddl.Model(x, layers.batch_norm(x, momentum=0.5, name="norm"))
    a, b = eddl.Input((2,), name="a"), eddl.Input((2,), name="b")
    both = norm(a) + norm(b)
    loss = eddl.losses.mean_squared_error(both, a)
    step = eddl.Step([a, b], [loss], [(loss, norm.parameters, eddl.SGD(1e-9))])
    ones = np.ones((4, 2), "float32")
    step(4 * ones, 8 * ones)
    np.testing.assert_allclose(norm.weights()["norm.mean"], [5.0, 5.0])  # (0 + 4) / 2, (2 + 8) / 2


def test_a_final_softmax_is_recognised_and_not_doubled():
    x = eddl.Input((4,))
    logits = layers.dense(x, 3)
    data, labels = blobs()
    losses, outputs = [], []
    for net in (eddl.Model(x, logits), eddl.Model(x, layers.softmax(logits))):
        net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
        losses.append(net.evaluate(data, labels)["loss"])
        outputs.append(net.predict(data))
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*outputs)
    np.testing.assert_allclose(outputs[0].sum(1), 1, rtol=1e-6)


def test_weights_depend_on_seed_and_name_alone():
    first, same, other = small(), small(), small(seed=1)
    for name, array in first.weights().items():
        np.testing.assert_array_equal(array, same.weights()[name])
    assert any((a != b).any() for a, b in zip(
        first.weights().values(), other.weights().values(), strict=True))  # fmt: skip


def test_build_does_not_touch_weights():
    net = small()
    before = net.weights()
    net.build(optimizer=eddl.SGD(1.0), loss="categorical_cross_entropy")
    assert all((before[n] == a).all() for n, a in net.weights().items())


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: eddl.Input((0,)), "at least 1"),
        (lambda: small(loss="cross"), "expected one of"),
        (lambda: small(metrics=["f1"]), "expected one of"),
        (lambda: small(optimizer=eddl.Adam(-1.0)), "above 0"),
        (lambda: small().predict(np.zeros((2, 5), "float32")), "received the shape"),
        (lambda: small().predict(np.zeros((2, 4), "complex64")), "complex64"),
        (lambda: small().fit(np.zeros((2, 4)), np.zeros(3, int)), "equal numbers"),
        (lambda: small().fit(np.zeros((2, 4)), np.zeros(2)), "int64"),
        (lambda: small().fit([]), "without a batch"),
        (lambda: small().fit([1]), "images and labels"),
        (lambda: small().train_batch(np.zeros((0, 4), "float32"), np.zeros(0, int)), "nothing"),
        (lambda: small().set_weights({"nothing": np.zeros(1)}), "'nothing'"),
        (lambda: eddl.Model(eddl.Input((3,)), layers.relu(eddl.Input((3,)))), "not given"),
        (lambda: eddl.Model(3, 4), "symbolic"),
        (lambda: layers.conv(np.zeros((1, 2, 3)), 4, 3), "symbolic tensor"),
        (lambda: layers.conv(eddl.Input((3, 8, 8)), 4, (3, 3, 3)), "2 of them"),
        (lambda: layers.conv(eddl.Input((3, 8, 8)), 4, 3, padding="full"), "'full'"),
        (lambda: eddl.Model(x := eddl.Input((3,)), x).fit(np.zeros((1, 3)), [0]), "not built"),
        (lambda: eddl.Model(x := eddl.Input((3,)), x)(np.zeros((1, 3))), "predict"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_line(act, words):
    with pytest.raises(EddlError, match=words) as error:
        act()
    assert "\n" not in str(error.value)


def test_a_batch_of_one_trains():
    data, labels = blobs(1)
    assert np.isfinite(small().train_batch(data, labels)["loss"])


def test_summary_lists_nodes_and_parameters():
    text = small().summary()
    assert "Gemm" in text
    assert "131 parameters in 4 tensors" in text
    assert "no fallbacks" in text


def test_summary_counts_the_arithmetic_for_given_shapes():
    x = eddl.Input((3, None, None))
    net = eddl.Model(x, layers.relu(layers.conv(x, 8, 3, use_bias=False)))
    text = net.summary((2, 3, 10, 10))
    conv, relu = 2 * 2 * 8 * 100 * 27, 2 * 8 * 100
    assert f"{conv:,}" in text
    assert f"{conv + relu:,} FLOPs forward" in text
    net.freeze()
    assert "216 of them frozen" in net.summary()


def test_a_prediction_like_one_before_is_looked_at_all_the_same():
    """Arrays of known types go straight to their program; all others are fitted or refused."""
    data, _ = blobs(6)
    net = small()
    expected = net.predict(data)
    kept = expected.copy()
    assert expected.base is None
    for given in (data, data.tolist(), np.asfortranarray(data), data[::-1][::-1]):
        np.testing.assert_array_equal(net.predict(given), kept)
    np.testing.assert_allclose(net.predict(data.astype("f8")), kept, rtol=1e-6)
    net.predict(-data)
    np.testing.assert_array_equal(expected, kept)
    np.testing.assert_allclose(net.predict(data, batch_size=4), kept, rtol=1e-5)
    for given, said in [((data[:, :3],), "shape"), ((data[:0],), "nothing"),
                        ((data, data), "expected 1"), ((), "0 inputs"),
                        ((data.astype("complex64"),), "type complex64")]:  # fmt: skip
        with pytest.raises(EddlError, match=said):
            net.predict(*given)
    for size in (0, -2):
        with pytest.raises(EddlError, match="at least 1"):
            net.predict(data, batch_size=size)
    weights = net.weights()
    net.set_weights({name: 0 * array for name, array in weights.items()})
    np.testing.assert_allclose(net.predict(data), np.full((6, 3), 1 / 3), rtol=1e-6)
    net.set_weights(weights)
    np.testing.assert_array_equal(net.predict(data), kept)
