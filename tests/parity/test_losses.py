"""Losses and their gradients against PyTorch's, in float64 and float32."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as f

import eddl
from eddl import losses
from eddl.graph import Input, Type

torch.set_num_threads(1)
R = np.random.default_rng(0)
SHAPES = [(6, 4), (5, 4, 3), (3, 4, 5, 2), (2, 4, 3, 2, 3)]
WEIGHTS = [0.5, 2.0, 3.0, 1.0]


def of_softmax(formula):
    """A formula of probabilities and one-hot labels as [positions, C]."""

    def loss(x, t):
        p = x.softmax(1).movedim(1, -1).reshape(-1, x.shape[1])
        return formula(p, f.one_hot(t.reshape(-1), x.shape[1]).to(p.dtype))

    return loss


def dice(p, t):
    return 1 - ((2 * (p * t).sum(0) + 1) / (p.sum(0) + t.sum(0) + 1))[1:].mean()


def generalised_dice(p, t):
    w = 1 / t.sum(0) ** 2
    size = (w * (p.sum(0) + t.sum(0))).sum()
    return 1 - (2 * (w * (p * t).sum(0)).sum() + 1e-5) / (size + 1e-5)


def tversky(p, t):
    both, found, missed = (p * t).sum(0), (p * (1 - t)).sum(0), ((1 - p) * t).sum(0)
    return (1 - (both + 1) / (both + 0.3 * found + 0.7 * missed + 1))[1:].mean()


def lovasz(errors, truth):
    errors, order = errors.sort(descending=True)
    truth = truth[order]
    left, outside = truth.sum() - truth.cumsum(0), (1 - truth).cumsum(0)
    jaccard = 1 - left / (truth.sum() + outside)
    return (errors.relu() * torch.diff(jaccard, prepend=jaccard.new_zeros(1))).sum()


def lovasz_softmax(p, t):
    return torch.stack([lovasz((t[:, c] - p[:, c]).abs(), t[:, c]) for c in range(4)]).mean()


def focal(x, t):
    each = f.cross_entropy(x, t, reduction="none")
    return ((1 - (-each).exp()) ** 2 * each).mean()


def binary_focal(x, t):
    each = f.binary_cross_entropy_with_logits(x, t, reduction="none")
    alpha = 0.25 * t + 0.75 * (1 - t)
    return (alpha * (1 - (-each).exp()) ** 2 * each).mean()


def lovasz_hinge(x, t):
    errors = (1 - x * (2 * t - 1)).movedim(1, 0).reshape(x.shape[1], -1)
    t = t.movedim(1, 0).reshape(x.shape[1], -1)
    return torch.stack([lovasz(a, b) for a, b in zip(errors, t, strict=True)]).mean()


def crammer(x, t):
    true = x.gather(1, t.unsqueeze(1)).squeeze(1)
    others = x.masked_fill(f.one_hot(t, 4).movedim(-1, 1).bool(), -1e9).amax(1)
    return (1 + others - true).relu().mean()


entropy = losses.categorical_cross_entropy
CLASSES = {
    "cross-entropy": (entropy, f.cross_entropy),
    "weighted": (partial(entropy, class_weights=WEIGHTS, label_smoothing=0.1),
                 lambda x, t: f.cross_entropy(x, t, x.new_tensor(WEIGHTS), label_smoothing=0.1)),
    "ignoring": (partial(entropy, ignore_label=2, class_weights=WEIGHTS),
                 lambda x, t: f.cross_entropy(x, t, x.new_tensor(WEIGHTS), ignore_index=2)),
    "ignoring, smooth": (partial(entropy, ignore_label=1, label_smoothing=0.2),
                         lambda x, t: f.cross_entropy(x, t, ignore_index=1, label_smoothing=0.2)),
    "focal": (losses.focal, focal),
    "categorical_hinge": (losses.categorical_hinge, crammer),
    "dice": (losses.dice, of_softmax(dice)),
    "generalised_dice": (losses.generalised_dice, of_softmax(generalised_dice)),
    "tversky": (losses.tversky, of_softmax(tversky)),
    "lovasz_softmax": (losses.lovasz_softmax, of_softmax(lovasz_softmax)),
}  # fmt: skip
SOFT = {
    "soft_cross_entropy": (losses.soft_cross_entropy, f.cross_entropy),
    "smooth": (partial(entropy, label_smoothing=0.1),
               lambda x, t: f.cross_entropy(x, t, label_smoothing=0.1)),
    "binary_cross_entropy": (partial(losses.binary_cross_entropy, positive_weight=3.0),
                             lambda x, t: f.binary_cross_entropy_with_logits(
                                 x, t, pos_weight=x.new_tensor(3.0))),
    "mean_squared_error": (losses.mean_squared_error, f.mse_loss),
    "mean_absolute_error": (losses.mean_absolute_error, f.l1_loss),
    "huber": (partial(losses.huber, delta=0.7), partial(f.huber_loss, delta=0.7)),
    "kl": (lambda p, t: losses.soft_cross_entropy(p, t) - losses.soft_cross_entropy(
        eddl.ops.apply("Log", t), t),
        lambda x, t: f.kl_div(x.log_softmax(1), t, reduction="none").sum(1).mean()),
}  # fmt: skip
BINARY = {
    "binary_focal": (partial(losses.binary_focal, alpha=0.25), binary_focal),
    "lovasz_hinge": (losses.lovasz_hinge, lovasz_hinge),
    "hinge": (losses.hinge, lambda x, t: (1 - (2 * t - 1) * x).relu().mean()),
}


def check(ours, theirs, x, t, tolerance, target_dtype=None):
    p = Input(Type(x.dtype, x.shape), name="p")
    y = Input(Type(t.dtype, t.shape), name="t")
    loss = ours(p, y)
    found = eddl.Step([p, y], [loss, *eddl.gradients(loss, [p])], training=False)(x, t)
    leaf = torch.tensor(x, requires_grad=True)
    other = theirs(leaf, torch.tensor(t).to(target_dtype) if target_dtype else torch.tensor(t))
    other.backward()
    np.testing.assert_allclose(found[0], other.detach().numpy(), rtol=tolerance)
    scale = abs(leaf.grad.numpy()).max()
    np.testing.assert_allclose(found[1], leaf.grad.numpy(), rtol=tolerance, atol=tolerance * scale)


KINDS = [("float64", 1e-11), ("float32", 2e-5)]


@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_losses_of_classes(name, shape, dtype, tolerance):
    x = 2 * R.standard_normal(shape).astype(dtype)
    labels = R.integers(0, 4, (shape[0], *shape[2:]))
    labels.reshape(-1)[:4] = range(4)
    check(*CLASSES[name], x, labels, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SOFT)
def test_losses_of_floating_targets(name, shape, dtype, tolerance):
    x = 2 * R.standard_normal(shape).astype(dtype)
    t = torch.tensor(R.standard_normal(shape)).softmax(1).numpy().astype(dtype)
    check(*SOFT[name], x, t, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_losses_of_yes_or_no(name, shape, dtype, tolerance):
    x = 2 * R.standard_normal(shape).astype(dtype)
    labels = R.integers(0, 2, shape)
    check(*BINARY[name], x, labels, tolerance, getattr(torch, dtype))


def test_logits_beyond_all_bounds():
    """Where PyTorch's stable forms stay finite, so do ours, with the same gradient."""
    x = np.array([[1e4, -1e4], [-90.0, 90.0], [0.0, 0.0], [-1e-8, 1e-8]], np.float32)
    labels = np.array([1, 0, 1, 0])
    check(entropy, f.cross_entropy, x, labels, 1e-6)
    t = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)
    check(losses.binary_cross_entropy, f.binary_cross_entropy_with_logits, x, t, 1e-6)


def test_the_wasserstein_penalty():
    """The derivative of a gradient's norm by the critic's weights, through two layers."""
    real, fake, mix = R.standard_normal((6, 5)), R.standard_normal((6, 5)), R.random((6, 1))
    w, v = R.standard_normal((5, 8)), R.standard_normal((8, 1))
    inputs = [Input(Type("float64", a.shape)) for a in (real, fake, mix, w, v)]
    critic = lambda x: eddl.ops.apply("Softplus", x @ inputs[3]) @ inputs[4]  # noqa: E731
    loss = losses.gradient_penalty(critic, *inputs[:3])
    ends = [loss, *eddl.gradients(loss, inputs[3:])]
    found = eddl.Step(inputs, ends, training=False)(real, fake, mix, w, v)
    tensors = [torch.tensor(a, requires_grad=True) for a in (real, fake, mix, w, v)]
    between = tensors[2] * tensors[0] + (1 - tensors[2]) * tensors[1]
    scores = f.softplus(between @ tensors[3]) @ tensors[4]
    (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    other = ((slope.norm(dim=1) - 1) ** 2).mean()
    other.backward()
    np.testing.assert_allclose(found[0], other.item(), rtol=1e-10)
    for ours, theirs in zip(found[1:], tensors[3:], strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-9, atol=1e-11)


def test_the_wasserstein_penalty_of_a_convolutional_critic():
    real, fake = R.standard_normal((2, 3, 2, 8, 8))
    mix = R.random((3, 1, 1, 1))
    w, u, v = (0.3 * R.standard_normal(s) for s in ((4, 2, 3, 3), (5, 4, 3, 3), (20, 1)))
    inputs = [Input(Type("float64", a.shape)) for a in (real, fake, mix, w, u, v)]
    how = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}

    def critic(x):
        for weight in inputs[3:5]:
            x = eddl.ops.apply("LeakyRelu", eddl.ops.apply("Conv", x, weight, **how), alpha=0.2)
        return eddl.ops.apply("Flatten", x) @ inputs[5]

    loss = losses.gradient_penalty(critic, *inputs[:3])
    ends = [loss, *eddl.gradients(loss, inputs[3:])]
    found = eddl.Step(inputs, ends, training=False)(real, fake, mix, w, u, v)
    tensors = [torch.tensor(a, requires_grad=True) for a in (real, fake, mix, w, u, v)]
    between = x = tensors[2] * tensors[0] + (1 - tensors[2]) * tensors[1]
    for weight in tensors[3:5]:
        x = f.leaky_relu(f.conv2d(x, weight, stride=2, padding=1), 0.2)
    (slope,) = torch.autograd.grad((x.flatten(1) @ tensors[5]).sum(), between, create_graph=True)
    other = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    other.backward()
    np.testing.assert_allclose(found[0], other.item(), rtol=1e-10)
    for ours, theirs in zip(found[1:], tensors[3:], strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-8, atol=1e-11)


def test_triplets():
    parts = [R.standard_normal((6, 5)) for _ in range(3)]
    inputs = [Input(Type("float64", a.shape)) for a in parts]
    loss = losses.triplet_margin(*inputs, margin=0.7)
    found = eddl.Step(inputs, [loss, *eddl.gradients(loss, inputs)], training=False)(*parts)
    tensors = [torch.tensor(a, requires_grad=True) for a in parts]
    other = f.triplet_margin_loss(*tensors, margin=0.7, eps=0.0)
    other.backward()
    np.testing.assert_allclose(found[0], other.item(), rtol=1e-9)
    for ours, theirs in zip(found[1:], tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-9, atol=1e-11)
