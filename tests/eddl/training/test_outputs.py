"""Several outputs, custom steps, and whatever may be fed."""

import numpy as np
import pytest

import eddl
from eddl import layers, losses
from eddl.errors import EddlError
from eddl.ops import apply

R = np.random.default_rng(2)
DATA = R.standard_normal((10, 4)).astype("float32")
CLASSES = R.integers(0, 3, 10)
VALUES = R.standard_normal((10, 2)).astype("float32")


def two_headed(**options):
    x = eddl.Input((4,))
    body = layers.tanh(layers.dense(x, 6, name="body"))
    kind = layers.dense(body, 3, name="kind")
    value = layers.dense(body, 2, name="value")
    net = eddl.Model(x, [kind, value])
    defaults = {"loss": ["categorical_cross_entropy", "mean_squared_error"]}
    net.build(optimizer=eddl.SGD(0.1), **{**defaults, **options})
    return net


@pytest.mark.parametrize(
    "options",
    [
        {"loss_weights": [1.0, 0.25]},
        {"loss": {"value": "mean_squared_error", "kind": "categorical_cross_entropy"},
         "loss_weights": {"value": 0.25}},
    ],
)  # fmt: skip
def test_the_loss_is_the_weighed_sum_and_each_is_reported(options):
    net = two_headed(metrics={"kind": ["accuracy"]}, **options)
    scores = net.evaluate(DATA, (CLASSES, VALUES), batch_size=3)
    assert set(scores) == {"loss", "kind_loss", "value_loss", "kind_accuracy"}
    expected = scores["kind_loss"] + 0.25 * scores["value_loss"]
    assert scores["loss"] == pytest.approx(expected, rel=1e-6)
    kind, value = net.predict(DATA)
    np.testing.assert_allclose(kind.sum(1), 1, rtol=1e-5)
    assert scores["value_loss"] == pytest.approx(((value - VALUES) ** 2).mean(), rel=1e-5)
    entropy = -np.log(kind[np.arange(10), CLASSES]).mean()
    assert scores["kind_loss"] == pytest.approx(entropy, rel=1e-5)
    assert scores["kind_accuracy"] == (kind.argmax(1) == CLASSES).mean()
    history = net.fit(DATA, (CLASSES, VALUES), epochs=20, batch_size=5)
    assert history["loss"][-1] < history["loss"][0]
    net.memory_plan((5, 4), target=[CLASSES[:5], VALUES[:5]])


def test_an_output_without_a_loss_is_left_alone():
    net = two_headed(loss={"value": "mean_squared_error"})
    before = net.weights()
    net.train_batch(DATA, VALUES)
    changed = {n for n, a in net.weights().items() if (a != before[n]).any()}
    assert changed == {"body.weight", "body.bias", "value.weight", "value.bias"}


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: two_headed(loss=["mean_squared_error"]), "kind.*value"),
        (lambda: two_headed(loss={"kinds": "dice"}), "kinds.*among"),
        (lambda: two_headed(loss={}), "no loss"),
        (lambda: two_headed(metrics=["accuracy"]), "metrics"),
        (lambda: two_headed(loss_weights=2.0), "loss_weights"),
        (lambda: two_headed().train_batch(DATA, CLASSES), "2 tensors"),
        (lambda: two_headed().evaluate(DATA, (CLASSES,)), "2 tensors"),
        (lambda: two_headed().memory_plan((2, 4)), "no target"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(act, words):
    with pytest.raises(EddlError, match=words):
        act()


def test_a_generative_adversarial_network():
    """The classic pair: two steps that share both networks' parameters."""
    noise, real = eddl.Input((2,), name="noise"), eddl.Input((1,), name="real")
    generator = eddl.Model(noise, layers.dense(noise, 1), seed=1)
    hidden = layers.leaky_relu(layers.dense(real, 16), 0.2)
    critic = eddl.Model(real, layers.dense(hidden, 1), seed=2)
    fake = generator(noise)

    def says(value, truth):
        return losses.binary_cross_entropy(critic(value), critic(value) * 0.0 + truth)

    blame = says(real, 1.0) + says(fake, 0.0)
    praise = says(fake, 1.0)
    adam = eddl.Adam(5e-3, beta_1=0.5)
    learn = eddl.Step([noise, real], [blame], [(blame, critic.parameters, adam)])
    fool = eddl.Step([noise], [praise], [(praise, generator.parameters, adam)])
    r = np.random.default_rng(0)
    frozen = generator.weights()
    for number in range(600):
        z = r.standard_normal((64, 2)).astype("float32")
        learn(z, (3 + 0.5 * r.standard_normal((64, 1))).astype("float32"))
        if number == 0:
            for name, array in frozen.items():
                np.testing.assert_array_equal(generator.weights()[name], array)
        fool(z)
    made = generator.predict(r.standard_normal((2000, 2)).astype("float32"))
    assert abs(made.mean() - 3) < 0.5


def test_a_wasserstein_critic_with_gradient_penalty():
    """The penalty differentiates the critic's gradient once more; its slope comes close to 1."""
    real, fake = eddl.Input((1,), name="real"), eddl.Input((1,), name="fake")
    share = eddl.Input((1,), name="share")
    hidden = layers.leaky_relu(layers.dense(real, 16), 0.2)
    critic = eddl.Model(real, layers.dense(hidden, 1), seed=2)
    between = real * share + fake * (1.0 - share)
    (slope,) = eddl.gradients(critic(between), [between])
    size = apply("Sqrt", apply("ReduceSum", slope * slope, np.array([1]), keepdims=0) + 1e-12)
    mean = lambda value: apply("ReduceMean", value, keepdims=0)  # noqa: E731
    distance = mean(critic(real)) - mean(critic(fake))
    loss = 10.0 * mean((size - 1.0) * (size - 1.0)) - distance
    step = eddl.Step(
        [real, fake, share], [distance, mean(size)], [(loss, critic.parameters, eddl.Adam(5e-3))]
    )
    r = np.random.default_rng(0)
    for _ in range(400):
        batch = r.standard_normal((3, 64, 1)).astype("float32")
        found, slope_size = step(batch[0] + 2, batch[1], r.random((64, 1)).astype("float32"))
    assert slope_size == pytest.approx(1, abs=0.15)
    assert found == pytest.approx(2, abs=0.5)  # how far apart the two are


class Foreign:
    """A tensor of another library: nothing but DLPack."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __len__(self):
        return len(self.array)


class Batch:
    def __init__(self, images, labels):
        self.images, self.labels = images, labels


class Again:
    """Begins anew in each epoch."""

    def __iter__(self):
        return (pair for pair in halves())


def halves():
    return [(DATA[:5], CLASSES[:5]), (DATA[5:], CLASSES[5:])]


def single():
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(x, 3))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    return net


FEEDS = {
    "arrays": lambda: {"data": DATA, "targets": CLASSES, "batch_size": 10},
    "pair": lambda: {"data": (DATA, CLASSES), "batch_size": 10},
    "lists of numbers": lambda: {"data": DATA.tolist(), "targets": CLASSES.tolist(),
                                 "batch_size": 10},
    "list of arrays": lambda: {"data": list(DATA), "targets": list(CLASSES), "batch_size": 10},
    "one in a list": lambda: {"data": [DATA], "targets": [CLASSES], "batch_size": 10},
    "foreign": lambda: {"data": Foreign(DATA), "targets": Foreign(CLASSES), "batch_size": 10},
    "foreign batches": lambda: {"data": [(Foreign(DATA), Foreign(CLASSES))]},
    "batches": lambda: {"data": [Batch(DATA, CLASSES)]},
    "lists as batches": lambda: {"data": [[DATA, CLASSES]]},
    "nested": lambda: {"data": [((DATA,), (CLASSES,))]},
}  # fmt: skip


@pytest.mark.parametrize("feed", FEEDS)
def test_everything_that_feeds_gives_the_same_step(feed):
    expected, net = single(), single()
    expected.train_batch(DATA, CLASSES)
    history = net.fit(**FEEDS[feed]())
    assert history["loss"][0] == pytest.approx(single().evaluate(DATA, CLASSES)["loss"], rel=1e-6)
    for name, array in expected.weights().items():
        np.testing.assert_allclose(net.weights()[name], array, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("data", [halves(), Again(), iter(halves() * 3)])
def test_iterables_are_gone_through_once_an_epoch_or_by_steps(data):
    steps = 2 if not hasattr(data, "__len__") and not isinstance(data, Again) else None
    one, other = single(), single()
    one.fit(data, epochs=3, steps_per_epoch=steps)
    other.fit(halves() * 3)
    for name, array in one.weights().items():
        np.testing.assert_array_equal(array, other.weights()[name])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: single().fit(iter(halves()), epochs=2), "once"),
        (lambda: single().fit((p for p in halves()), epochs=2), "steps_per_epoch"),
        (lambda: single().fit(DATA, CLASSES, epochs=2, validation=iter(halves())), "once"),
        (lambda: single().fit(iter(halves()), epochs=2, steps_per_epoch=2), "ended after 0"),
        (lambda: single().fit(iter(halves()), steps_per_epoch=3), "ended after 2"),
        (lambda: single().fit([], steps_per_epoch=3), "ended after 0"),
        (lambda: single().fit(halves(), steps_per_epoch=0), "steps_per_epoch"),
        (lambda: single().fit(lambda: halves()), "iterable"),
        (lambda: single().fit([{"image": DATA, "label": CLASSES}]), "images and labels"),
        (lambda: single().fit([Batch(DATA, None)]), "without labels"),
        (lambda: single().fit(DATA, CLASSES[:4]), "equal numbers"),
        (lambda: single().fit(DATA, CLASSES, epochs=-1), "epochs"),
        (lambda: single().fit(DATA, CLASSES, batch_size=0), "batch_size"),
    ],
)
def test_what_cannot_feed_is_refused(act, words):
    with pytest.raises(EddlError, match=words):
        act()


def test_no_epochs_are_no_training():
    net = single()
    before = net.weights()
    assert net.fit(DATA, CLASSES, epochs=0) == {}
    np.testing.assert_array_equal(net.weights()["dense.weight"], before["dense.weight"])


def test_targets_of_two_types_are_not_gathered_into_one_step():
    net = single()
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy", accumulate=2)
    soft = np.eye(3, dtype="float32")[CLASSES]
    with pytest.raises(EddlError, match="micro-batches"):
        net.fit([(DATA, CLASSES), (DATA, soft)])
    net.fit([(DATA, soft), (DATA, soft), (DATA, CLASSES)])
