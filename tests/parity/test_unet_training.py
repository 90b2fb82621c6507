"""The whole training step against PyTorch's: same weights, batches, losses and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import eddl
from eddl import layers

torch.set_num_threads(1)  # two thread pools on two cores would wait for each other


class Block(nn.Module):
    def __init__(self, c: int, f: int, rank: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if rank == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.steps = nn.Sequential(
            conv(c, f, 3, padding=1, bias=False), norm(f), nn.ReLU(),
            conv(f, f, 3, padding=1, bias=False), norm(f), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x):
        return self.steps(x)


class TorchUNet(nn.Module):
    """The network of `eddl.zoo.unet`, its modules made in the order of our parameters."""

    def __init__(self, channels: int, classes: int, filters: int, depth: int, rank: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2) if rank == 2 else nn.MaxPool3d(2)
        up = nn.ConvTranspose2d if rank == 2 else nn.ConvTranspose3d
        head = nn.Conv2d if rank == 2 else nn.Conv3d
        widths = [filters << level for level in range(depth)]
        self.down = nn.ModuleList(
            Block(c, f, rank) for c, f in zip([channels, *widths], widths, strict=False)
        )
        ups = []
        for f in reversed(widths[:-1]):
            ups += [up(2 * f, f, 2, stride=2), Block(2 * f, f, rank)]
        self.up = nn.ModuleList(ups)
        self.head = head(filters, classes, 1)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.up[::2], self.up[1::2], strict=True):
            x = block(torch.cat([skips.pop(), grow(x)], 1))
        return self.head(x)


def torch_loss(logits, target):
    probability = logits.softmax(1)
    one_hot = nn.functional.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    axes = [a for a in range(logits.ndim) if a != 1]
    both = (probability * one_hot).sum(axes)
    dice = (2 * both + 1) / (probability.sum(axes) + one_hot.sum(axes) + 1)
    return 1 - dice[1:].mean() + nn.functional.cross_entropy(logits, target)


def pair(dtype: str, rank: int, rate: float):
    space = (16, 24) if rank == 2 else (8, 16, 8)
    x = eddl.Input((2, *space), dtype=dtype)
    net = eddl.Model(x, eddl.zoo.unet(x, classes=3, filters=6, depth=3))
    net.build(optimizer=eddl.Adam(rate), loss="dice_cross_entropy")
    other = TorchUNet(2, 3, 6, 3, rank).to(getattr(torch, dtype))
    ours = [net.weights()[net.names[p]] for p in net.parameters]
    with torch.no_grad():
        for parameter, array in zip(other.parameters(), ours, strict=True):
            parameter.copy_(torch.from_numpy(array))
    return net, other, torch.optim.Adam(other.parameters(), lr=rate), space


def batch(r, dtype, space):
    data = r.standard_normal((3, 2, *space)).astype(dtype)
    return data, (data[:, 0] > 0.3).astype("int64") + (data[:, 1] > 0.5)


def torch_losses(other, optimizer, data, labels, steps):
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch_loss(other(torch.from_numpy(data)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return np.array(found)


@pytest.mark.parametrize("rank", [2, 3])
def test_fifty_steps_in_float64_equal_torch(rank):
    net, other, optimizer, space = pair("float64", rank, 1e-3)
    data, labels = batch(np.random.default_rng(0), "float64", space)
    ours = np.array([net.train_batch(data, labels)["loss"] for _ in range(50)])
    np.testing.assert_allclose(ours, torch_losses(other, optimizer, data, labels, 50), rtol=1e-8)
    assert ours[-1] < 0.7 * ours[0]


@pytest.mark.parametrize("rank", [2, 3])
def test_fifty_steps_in_float32_stray_no_further_than_torch(rank):
    """Once rounding turns a single ReLU, trainings part: torch's own strays from float64 alike."""
    ours_strayed, torch_strayed = 0.0, 0.0
    for seed in (1, 3, 5):
        net, other, optimizer, space = pair("float32", rank, 1e-3)
        _, exact, exactly, _ = pair("float64", rank, 1e-3)
        with torch.no_grad():
            for wide, narrow in zip(exact.parameters(), other.parameters(), strict=True):
                wide.copy_(narrow.double())
        data, labels = batch(np.random.default_rng(seed), "float32", space)
        ours = np.array([net.train_batch(data, labels)["loss"] for _ in range(50)])
        theirs = torch_losses(other, optimizer, data, labels, 50)
        truth = torch_losses(exact, exactly, data.astype("float64"), labels, 50)
        assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
        ours_strayed = max(ours_strayed, (abs(ours - truth) / truth).max())
        torch_strayed = max(torch_strayed, (abs(theirs - truth) / truth).max())
    assert ours_strayed <= max(1e-3, 3 * torch_strayed)


@pytest.mark.parametrize("rank", [2, 3])
def test_gradients_equal_torch(rank):
    net, other, _, space = pair("float64", rank, 1e-3)
    data, labels = batch(np.random.default_rng(1), "float64", space)
    _, ours = net.loss_and_gradients(data, labels)
    torch_loss(other(torch.from_numpy(data)), torch.from_numpy(labels)).backward()
    for parameter, theirs in zip(net.parameters, other.parameters(), strict=True):
        np.testing.assert_allclose(
            ours[net.names[parameter]], theirs.grad.numpy(), rtol=1e-7, atol=1e-11
        )


def test_a_torch_tensor_is_read_without_a_copy():
    tensor = torch.arange(12.0).reshape(3, 4)
    array = eddl.tensors.as_host_array(tensor)
    assert array.ctypes.data == tensor.data_ptr()
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.relu(x))
    result = net.predict(tensor)
    np.testing.assert_array_equal(result, tensor.numpy())
    assert not np.shares_memory(result, array)


def test_torch_tensors_train_and_a_tensor_that_needs_detaching_is_named():
    x = eddl.Input((4,))
    net = eddl.Model(x, layers.dense(x, 2))
    net.build(optimizer=eddl.SGD(0.1), loss="categorical_cross_entropy")
    net.train_batch(torch.zeros(3, 4), torch.tensor([0, 1, 0]))
    with pytest.raises(eddl.EddlError, match="grad"):
        net.predict(torch.zeros(3, 4, requires_grad=True))


def test_bfloat16_is_refused_with_its_name():
    with pytest.raises(eddl.EddlError, match=r"(?i)bfloat16"):
        eddl.tensors.as_host_array(torch.zeros(3, dtype=torch.bfloat16))
