"""The zoo's networks once more, as PyTorch modules whose parameters stand in the order of ours.

`take` copies the parameters of an `eddl.Model`, so that both compute the same from the first step
on; `tests/parity/test_twins.py` holds that they do.
"""

from typing import Any

import torch
from torch import nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def take(twin: nn.Module, model: Any) -> nn.Module:
    """Give a twin the parameters of our model; both must have as many, of the same sizes."""
    theirs = list(twin.parameters())
    ours = [torch.from_numpy(model.weights()[model.names[p]]) for p in model.parameters]
    if any(isinstance(part, nn.LSTM) for part in twin.modules()):
        ours = _lstm(*ours[:3]) + ours[3:]
    received, expected = ([p.numel() for p in found] for found in (theirs, ours))
    if received != expected:
        raise ValueError(f"the twin's parameters have {received} numbers, ours {expected}")
    with torch.no_grad():
        for target, source in zip(theirs, ours, strict=True):
            target.copy_(source.reshape(target.shape))
    return twin


def _lstm(w: torch.Tensor, r: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
    """ONNX's gates input, output, forget, cell as PyTorch's input, forget, cell, output."""

    def turned(x: torch.Tensor) -> torch.Tensor:
        i, o, f, c = x.chunk(4)
        return torch.cat([i, f, c, o])

    return [turned(x) for x in (w[0], r[0], *b[0].chunk(2))]


def step(channels: int, filters: int, size: int, rank: int = 2, **options: Any) -> nn.Sequential:
    """Convolution, norm, ReLU."""
    return nn.Sequential(*bare(channels, filters, size, rank, **options), nn.ReLU(inplace=True))


def bare(channels: int, filters: int, size: int, rank: int = 2, **options: Any) -> nn.Sequential:
    options = {"padding": (size - 1) // 2, "bias": False, **options}
    return nn.Sequential(CONV[rank](channels, filters, size, **options), NORM[rank](filters))


class UNet(nn.Module):
    def __init__(self, rank: int, classes: int, filters: int, depth: int = 4) -> None:
        super().__init__()
        widths = [filters << level for level in range(depth)]

        def block(channels: int, width: int) -> nn.Sequential:
            return nn.Sequential(*step(channels, width, 3, rank), *step(width, width, 3, rank))

        self.pool = POOL[rank](2)
        self.down = nn.ModuleList(block(c, f) for c, f in zip([1, *widths], widths, strict=False))
        self.back = nn.ModuleList(
            nn.ModuleList([UP[rank](2 * f, f, 2, stride=2), block(2 * f, f)])
            for f in reversed(widths[:-1])
        )
        self.head = CONV[rank](filters, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, down in enumerate(self.down):
            x = down(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for up, join in self.back:
            x = join(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


class Stage(nn.Module):
    """V-Net's convolutions, to whose last the stage's input is added."""

    def __init__(self, channels: int, width: int, count: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.ModuleList([bare(width if number else channels, width, 5, 3), nn.PReLU(width)])
            for number in range(count)
        )

    def forward(self, x: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        for number, (turn, activate) in enumerate(self.steps):
            x = turn(x)
            x = activate(x + beside if number == len(self.steps) - 1 else x)
        return x


class VNet(nn.Module):
    def __init__(self, classes: int, filters: int = 16) -> None:
        super().__init__()
        down, up = (1, 2, 3, 3, 3), (3, 3, 2, 1)
        self.repeats = filters
        self.first = Stage(1, filters, down[0])
        self.down = nn.ModuleList()
        for level, count in enumerate(down[1:], 1):
            width = filters << level
            turn = bare(width // 2, width, 2, 3, stride=2, padding=0)
            self.down.append(
                nn.ModuleList([nn.Sequential(turn, nn.PReLU(width)), Stage(width, width, count)])
            )
        self.up = nn.ModuleList()
        for level, count in zip(reversed(range(len(up))), up, strict=True):
            width = filters << level
            below = 2 * width if level == len(up) - 1 else 4 * width
            turn = nn.Sequential(
                nn.ConvTranspose3d(below, width, 2, stride=2, bias=False),
                nn.BatchNorm3d(width), nn.PReLU(width),
            )  # fmt: skip
            self.up.append(nn.ModuleList([turn, Stage(2 * width, 2 * width, count)]))
        self.head = nn.Conv3d(2 * filters, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x, torch.cat([x] * self.repeats, 1))
        skips = [x]
        for turn, stage in self.down:
            x = turn(x)
            x = stage(x, x)
            skips.append(x)
        skips.pop()
        for turn, stage in self.up:
            x = torch.cat([turn(x), skips.pop()], 1)
            x = stage(x, x)
        return self.head(x)


class Residual(nn.Module):
    """A block of ResNet: basic, or a bottleneck."""

    def __init__(self, channels: int, filters: int, stride: int, *, deep: bool) -> None:
        super().__init__()
        wide = 4 * filters if deep else filters
        if deep:
            parts = [step(channels, filters, 1), step(filters, filters, 3, stride=stride),
                     bare(filters, wide, 1)]  # fmt: skip
        else:
            parts = [step(channels, filters, 3, stride=stride), bare(filters, wide, 3)]
        self.body = nn.Sequential(*parts)
        self.beside = None
        if stride > 1 or channels != wide:
            self.beside = bare(channels, wide, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        beside = x if self.beside is None else self.beside(x)
        return nn.functional.relu(self.body(x) + beside, inplace=True)


def stem() -> list[nn.Module]:
    return [step(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1)]


def head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def resnet(depth: int, classes: int) -> nn.Sequential:
    counts = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
    parts, channels = stem(), 64
    for stage, count in enumerate(counts):
        filters = 64 << stage
        for number in range(count):
            stride = 2 if stage and not number else 1
            parts.append(Residual(channels, filters, stride, deep=depth >= 50))
            channels = 4 * filters if depth >= 50 else filters
    return nn.Sequential(*parts, *head(channels, classes))


class Dense(nn.Sequential):
    """A layer of DenseNet, which joins what it makes to what it sees."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            *step(channels, 128, 1), nn.Conv2d(128, 32, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, super().forward(x)], 1)


def densenet121(classes: int) -> nn.Sequential:
    parts, channels = stem(), 64
    for block, layers in enumerate((6, 12, 24, 16)):
        if block:
            half = nn.Conv2d(channels, channels // 2, 1, bias=False)
            parts += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), half, nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(layers):
            parts.append(Dense(channels))
            channels += 32
    parts += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, *head(channels, classes))


class LSTM(nn.Module):
    """The last step of an LSTM, classified."""

    def __init__(self, features: int, units: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, units, batch_first=True)
        self.head = nn.Linear(units, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def mlp(classes: int, units: int = 1024) -> nn.Sequential:
    parts: list[nn.Module] = []
    for features in (784, units, units):
        parts += [nn.Linear(features, units), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.Linear(units, classes))
