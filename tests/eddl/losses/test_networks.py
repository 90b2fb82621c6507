"""Losses of several outputs, of triplets, and of two networks against each other."""

from __future__ import annotations

import numpy as np
import pytest

import eddl
from eddl import layers, losses
from eddl.errors import EddlError
from eddl.graph import Input, Type
from eddl.losses import ADVERSARIAL, DeepSupervision

from .rows import value

R = np.random.default_rng(0)


def run(function, *arrays):
    inputs = [Input(Type(a.dtype, ("batch", *a.shape[1:])), name=f"x{i}")
              for i, a in enumerate(arrays)]  # fmt: skip
    return float(eddl.Step(inputs, [function(*inputs)], training=False)(*arrays)[0])


@pytest.mark.parametrize("space", [(8,), (8, 4), (4, 8, 4)], ids=str)
def test_one_target_at_several_resolutions(space):
    sizes = [space, tuple(s // 2 for s in space), tuple(s // 4 for s in space)]
    outputs = [R.standard_normal((2, 3, *size)) for size in sizes]
    labels = R.integers(0, 3, (2, *space))
    loss = DeepSupervision("categorical_cross_entropy")
    found = run(lambda *v: loss(v[:-1], v[-1]), *outputs, labels)
    parts = []
    for output, size in zip(outputs, sizes, strict=True):
        index = [np.floor((np.arange(n) + 0.5) * (m / n) - 0.5 + 0.499).astype(int)
                 for n, m in zip(size, space, strict=True)]  # fmt: skip
        near = labels[(slice(None), *np.ix_(*index))]
        parts.append(value("categorical_cross_entropy", output, near))
    assert found == pytest.approx(np.dot(parts, [4 / 7, 2 / 7, 1 / 7]), rel=1e-10)
    assert run(lambda *v: DeepSupervision("dice", [1.0])([v[0]], v[1]), outputs[0],
               labels) == pytest.approx(value("dice", outputs[0], labels))  # fmt: skip


def test_floating_targets_are_resized_linearly():
    outputs = [np.zeros((2, 1, 8)), np.zeros((2, 1, 4))]
    target = np.repeat(R.random((2, 1, 4)), 2, axis=-1)
    loss = DeepSupervision("mean_absolute_error", weights=[0.0, 1.0])
    found = run(lambda *v: loss(v[:-1], v[-1]), *outputs, target)
    assert found == pytest.approx(target.mean(), rel=0.05)


def test_a_model_is_trained_at_several_resolutions():
    x = eddl.Input((1, 8, 8))
    body = layers.conv(x, 4, 3)
    fine = layers.conv(body, 3, 1, name="fine")
    coarse = layers.conv(layers.max_pool(body), 3, 1, name="coarse")
    net = eddl.Model(x, [fine, coarse])
    net.build(optimizer=eddl.Adam(0.05), loss=DeepSupervision("dice_cross_entropy"),
              metrics=["dice"])  # fmt: skip
    data = R.standard_normal((6, 1, 8, 8)).astype("float32")
    labels = (data[:, 0] > 0).astype(int) + (data[:, 0] > 1)
    history = net.fit(data, labels, epochs=12, batch_size=3, validation=(data, labels))
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert any(name.startswith("val_") and "dice" in name for name in history)
    shares = net.predict(data)
    assert [s.shape for s in shares] == [(6, 3, 8, 8), (6, 3, 4, 4)]
    for share in shares:
        np.testing.assert_allclose(share.sum(1), 1, rtol=1e-5)
    with pytest.raises(EddlError, match="received the label"):
        net.train_batch(data, labels + 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeepSupervision("dice", weights=[]),
        lambda: DeepSupervision("dice", weights=[-1.0, 2.0]),
        lambda: DeepSupervision("dice", weights=[0.0, 0.0]),
        lambda: DeepSupervision("dice", [1.0])([eddl.Input((3, 4))] * 2, eddl.Input((3, 4))),
        lambda: losses.generator_loss(eddl.Input((1,)), "magic"),
        lambda: losses.triplet_margin(*[eddl.Input((3,))] * 3, margin=0.0),
        lambda: losses.distance(eddl.Input(()), eddl.Input(())),
    ],
)
def test_what_cannot_work_is_refused(make):
    with pytest.raises(EddlError, match=r"received .*expected"):
        make()


def logistic(x):
    return np.logaddexp(0, x).mean()


KINDS = {
    "classic": (lambda r, f: logistic(-r) + logistic(f), lambda f: logistic(-f)),
    "least_squares": (lambda r, f: (((r - 1) ** 2).mean() + (f**2).mean()) / 2,
                      lambda f: ((f - 1) ** 2).mean() / 2),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
    "hinge": (lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
              lambda f: -f.mean()),
}  # fmt: skip


def test_every_adversarial_kind_has_a_row():
    assert set(ADVERSARIAL) == set(KINDS)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_the_adversarial_formulas(kind):
    real, fake = 2 * R.standard_normal((6, 1)), 2 * R.standard_normal((6, 1))
    critic, generator = KINDS[kind]
    assert run(lambda r, f: losses.critic_loss(r, f, kind), real, fake) == pytest.approx(
        critic(real, fake)
    )
    assert run(lambda f: losses.generator_loss(f, kind), fake) == pytest.approx(generator(fake))


def test_the_gradient_penalty_of_a_known_critic_and_its_derivative():
    """The critic v . tanh(w x): its slope by hand, the penalty's by central differences."""
    real, fake = R.standard_normal((5, 4)), R.standard_normal((5, 4))
    mix, w, v = R.random((5, 1)), R.standard_normal((4, 3)), R.standard_normal((3, 1))

    def penalty(weights):
        hidden = np.tanh((mix * real + (1 - mix) * fake) @ weights)
        slope = ((1 - hidden**2) * v.T) @ weights.T
        return ((np.linalg.norm(slope, axis=1) - 1) ** 2).mean()

    matrix = Input(Type("float64", w.shape), name="w")
    inputs = [Input(Type("float64", ("batch", *a.shape[1:]))) for a in (real, fake, mix)]
    critic = lambda x: eddl.ops.apply("Tanh", x @ matrix) @ v  # noqa: E731
    loss = losses.gradient_penalty(critic, *inputs)
    (slope,) = eddl.gradients(loss, [matrix])
    found = eddl.Step([*inputs, matrix], [loss, slope], training=False)(real, fake, mix, w)
    assert float(found[0]) == pytest.approx(penalty(w), rel=1e-10)
    direction = R.standard_normal(w.shape)
    numeric = (penalty(w + 1e-6 * direction) - penalty(w - 1e-6 * direction)) / 2e-6
    assert (found[1] * direction).sum() == pytest.approx(numeric, rel=1e-6)


def test_a_wasserstein_critic_learns():
    r = np.random.default_rng(3)
    real, fake, mix = eddl.Input((2,)), eddl.Input((2,)), eddl.Input((1,))
    x = eddl.Input((2,))
    critic = eddl.Model(x, layers.dense(layers.relu(layers.dense(x, 16)), 1))
    distance = losses.critic_loss(critic(real), critic(fake), "wasserstein")
    loss = distance + 10.0 * losses.gradient_penalty(critic, real, fake, mix)
    step = eddl.Step([real, fake, mix], [distance], [(loss, critic.parameters, eddl.Adam(0.01))])
    found = [
        float(step(r.normal(2, 1, (32, 2)).astype("float32"), r.normal(0, 1, (32, 2))
                   .astype("float32"), r.random((32, 1)).astype("float32"))[0])
        for _ in range(100)
    ]  # fmt: skip
    assert np.mean(found[-10:]) < -1.5  # the distance of the means is 2.83


def test_triplets_and_distances():
    a, b, c = (R.standard_normal((6, 2, 3)) for _ in range(3))
    near, far = (np.linalg.norm((a - o).reshape(6, -1), axis=1) for o in (b, c))
    assert run(losses.triplet_margin, a, b, c) == pytest.approx(
        np.maximum(0, 1 + near - far).mean()
    )
    x = eddl.Input((4,), dtype="float64")
    same = losses.distance(x, x * 1.0)
    (slope,) = eddl.gradients(same, [x])
    assert np.isfinite(eddl.Step([x], [slope], training=False)(np.ones((2, 4)))[0]).all()


def test_an_anchor_without_a_pair_counts_nowhere():
    x = R.standard_normal((3, 4))
    assert value("triplet", x, np.array([0, 1, 2])) == 0
    assert value("triplet", x, np.array([0, 0, 0])) == 0
    near = np.linalg.norm(x[0] - x[1])
    others = [np.linalg.norm(x[i] - x[2]) for i in (0, 1)]
    expected = np.mean([max(0, 1 + near - d) for d in others])
    assert value("triplet", x, np.array([5, 5, 7])) == pytest.approx(expected)
