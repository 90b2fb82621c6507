"""Whole trainings against PyTorch's: same weights, same batches, fifty steps that halve the loss.

In float32 trainings part once rounding turns a single ReLU, torch's own too. How far is measured:
torch with one thread and with two, and torch in float32 against torch in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import eddl
from eddl import layers

STEPS = 50


@dataclass(frozen=True)
class Case:
    """A network twice: ours from symbolic inputs, theirs as a module.

    `batch` draws inputs and targets; `loss` and `theirs_loss` are of (outputs, target); `convert`
    takes our parameters in order and gives theirs in order.
    """

    shapes: tuple[tuple[int, ...], ...]
    ours: Callable
    theirs: Callable
    batch: Callable
    rate: float
    loss: Callable = eddl.losses.categorical_cross_entropy
    theirs_loss: Callable = nn.functional.cross_entropy
    convert: Callable = list


def space_of(rank):
    return (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d) if rank == 2 else (
        nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.MaxPool3d)  # fmt: skip


def cnn(x):
    x = layers.max_pool(layers.relu(layers.conv(x, 6, 3)))
    x = layers.max_pool(layers.relu(layers.conv(x, 8, 3, padding="valid", strides=1, group=2)))
    return layers.dense(layers.relu(layers.dense(layers.flatten(x), 16)), 3)


class TorchCNN(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 3),
        )  # fmt: skip


class TorchUNet(nn.Module):
    """`eddl.zoo.unet`, its modules made in the order of our parameters."""

    def __init__(self, rank, channels=2, classes=3, filters=6, depth=3):
        super().__init__()
        conv, up, norm, pool = space_of(rank)

        def block(c, f):
            return nn.Sequential(
                conv(c, f, 3, padding=1, bias=False), norm(f), nn.ReLU(),
                conv(f, f, 3, padding=1, bias=False), norm(f), nn.ReLU(),
            )  # fmt: skip

        self.pool = pool(2)
        widths = [filters << level for level in range(depth)]
        self.down = nn.ModuleList(
            block(c, f) for c, f in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList()
        for f in reversed(widths[:-1]):
            self.up += [up(2 * f, f, 2, stride=2), block(2 * f, f)]
        self.head = conv(filters, classes, 1)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for grow, block in zip(self.up[::2], self.up[1::2], strict=True):
            x = block(torch.cat([skips.pop(), grow(x)], 1))
        return self.head(x)


class Stage(nn.Module):
    """Convolutions with norm and PReLU, to whose last the input is added."""

    def __init__(self, below, width, count):
        super().__init__()
        self.steps = nn.ModuleList()
        for number in range(count):
            made = nn.Conv3d(below if not number else width, width, 3, padding=1, bias=False)
            self.steps.append(nn.ModuleList([made, nn.BatchNorm3d(width), nn.PReLU(width)]))

    def forward(self, x, beside):
        for number, (conv, norm, act) in enumerate(self.steps):
            x = norm(conv(x))
            x = act(x + beside if number == len(self.steps) - 1 else x)
        return x


class TorchVNet(nn.Module):
    """`eddl.zoo.vnet` of two levels, its modules made in the order of our parameters."""

    def __init__(self):
        super().__init__()
        self.first = Stage(2, 4, 1)
        self.down = nn.Sequential(
            nn.Conv3d(4, 8, 2, stride=2, bias=False), nn.BatchNorm3d(8), nn.PReLU(8)
        )
        self.second = Stage(8, 8, 2)
        self.up = nn.Sequential(
            nn.ConvTranspose3d(8, 4, 2, stride=2, bias=False), nn.BatchNorm3d(4), nn.PReLU(4)
        )
        self.third = Stage(8, 8, 1)
        self.head = nn.Conv3d(8, 3, 1)

    def forward(self, x):
        skip = self.first(x, x.repeat(1, 2, 1, 1, 1))
        x = self.down(skip)
        x = self.up(self.second(x, x))
        x = torch.cat([x, skip], 1)
        return self.head(self.third(x, x))


def lstm(x):
    return layers.dense(layers.lstm(x, 8), 3)


class TorchLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def encoder_decoder(source, target):
    _, state = layers.lstm(source, 8, return_state=True)
    decoded = layers.lstm(target, 8, initial_state=state, return_sequences=True)
    return layers.permute(layers.dense(decoded, 3), (0, 2, 1))


class TorchEncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(4, 8, batch_first=True)
        self.decoder = nn.LSTM(3, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, source, target):
        return self.head(self.decoder(target, self.encoder(source)[1])[0]).movedim(-1, 1)


def gates(array):
    """ONNX's order of gates, i o f c, as torch's i f g o."""
    i, o, f, c = np.split(array, 4)
    return np.concatenate([i, f, c, o])


def from_lstms(arrays):
    """W, R and B [1, ...] of each LSTM as weight_ih, weight_hh, bias_ih and bias_hh."""
    found = []
    for array in arrays:
        if array.ndim == 3:
            found.append(gates(array[0]))
        elif array.ndim == 2 and array.shape[0] == 1:
            found += [gates(part) for part in np.split(array[0], 2)]
        else:
            found.append(array)
    return found


def points(r, dtype, space):
    data = r.standard_normal((3, 2, *space)).astype(dtype)
    return [data], (data[:, 0] > 0.3).astype("int64") + (data[:, 1] > 0.5)


def pictures(r, dtype):
    data = r.standard_normal((6, 2, 16, 16)).astype(dtype)
    labels = np.arange(6) % 3
    data[:, 0] += labels[:, None, None] - 1
    return [data], labels


def rows(r, dtype):
    data = r.standard_normal((6, 7, 4)).astype(dtype)
    return [data], (data[:, :, 0].sum(1) > 0).astype("int64") + (data[:, -1, 1] > 0)


def sentences(r, dtype):
    source = r.standard_normal((4, 5, 4)).astype(dtype)
    said = (source[:, :, 0] > 0).astype("int64") + (source[:, :, 1] > 0.5)
    before = np.eye(3, dtype=dtype)[np.pad(said, ((0, 0), (1, 0)))[:, :-1]]
    return [source, before], said


def dice(logits, target):
    probability = logits.softmax(1)
    one_hot = nn.functional.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    axes = [a for a in range(logits.ndim) if a != 1]
    both = (probability * one_hot).sum(axes)
    score = (2 * both + 1) / (probability.sum(axes) + one_hot.sum(axes) + 1)
    return 1 - score[1:].mean() + nn.functional.cross_entropy(logits, target)


def volumes(x):
    return eddl.zoo.vnet(x, classes=3, filters=4, kernel_size=3, down=(1, 2), up=(1,))


MASKS = {"loss": eddl.losses.dice_cross_entropy, "theirs_loss": dice}
CASES = {
    "cnn": Case(((2, 16, 16),), cnn, TorchCNN, pictures, 5e-3),
    "unet": Case(((2, 16, 24),), lambda x: eddl.zoo.unet(x, 3, filters=6, depth=3),
                 lambda: TorchUNet(2), lambda r, t: points(r, t, (16, 24)), 5e-3, **MASKS),
    "unet3d": Case(((2, 8, 16, 8),), lambda x: eddl.zoo.unet(x, 3, filters=6, depth=3),
                   lambda: TorchUNet(3), lambda r, t: points(r, t, (8, 16, 8)), 5e-3, **MASKS),
    "vnet": Case(((2, 8, 8, 8),), volumes, TorchVNet, lambda r, t: points(r, t, (8, 8, 8)), 1e-2,
                 **MASKS),
    "lstm": Case(((7, 4),), lstm, TorchLSTM, rows, 2e-2, convert=from_lstms),
    "encoder-decoder": Case(((5, 4), (5, 3)), encoder_decoder, TorchEncoderDecoder, sentences,
                            2e-2, convert=from_lstms),
}  # fmt: skip


def trainings(case, dtype, seed, *, threads=(1,), wide=False):
    """Our losses, torch's for each number of threads, and torch's in float64 if `wide`."""
    inputs = [eddl.Input(s, dtype=dtype, name=f"x{i}") for i, s in enumerate(case.shapes)]
    net = eddl.Model(inputs, case.ours(*inputs), seed=seed)
    net.build(optimizer=eddl.Adam(case.rate), loss=case.loss)
    weights = case.convert([p.storage.view().copy() for p in net.parameters])
    r = np.random.default_rng(seed)
    batches = [case.batch(r, dtype) for _ in range(2)]

    def theirs(dtype, count):
        torch.set_num_threads(count)
        other = case.theirs().to(getattr(torch, dtype))
        with torch.no_grad():
            for parameter, array in zip(other.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(array.reshape(parameter.shape)))
        optimizer = torch.optim.Adam(other.parameters(), lr=case.rate)
        found = []
        for step in range(STEPS):
            data, labels = batches[step % 2]
            optimizer.zero_grad()
            given = (torch.from_numpy(x.astype(dtype)) for x in data)
            loss = case.theirs_loss(other(*given), torch.from_numpy(labels))
            loss.backward()
            optimizer.step()
            found.append(float(loss.detach()))
        return np.array(found)

    found = [theirs(dtype, count) for count in threads]
    exact = theirs("float64", 1) if wide else None
    torch.set_num_threads(1)
    ours = np.array([net.train_batch(*batches[s % 2])["loss"] for s in range(STEPS)])
    return ours, found, exact


def farthest(losses, truth):
    return (abs(losses - truth) / truth).max()


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_in_float64_equal_torch(name):
    ours, (theirs,), _ = trainings(CASES[name], "float64", 0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    assert ours[-2:].mean() <= 0.5 * ours[:2].mean()


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_in_float32_stray_no_further_than_torch(name):
    """A rectifier or a maximum on the verge falls to either side by chance, in torch's own
    trainings as well, and parts what was equal to seven digits; an error shows whatever the seed.
    So the first step is held with each of three seeds, and all fifty with the middle one."""
    strayed, spread = [], 0.0
    for seed in (1, 2, 3):
        ours, (one, two), exact = trainings(CASES[name], "float32", seed, threads=(1, 2), wide=True)
        assert ours[0] == pytest.approx(one[0], rel=1e-6)
        strayed.append(farthest(ours, one))
        spread = max(spread, farthest(two, one), farthest(one, exact))
    assert np.median(strayed) <= max(1e-3, 3 * spread)
