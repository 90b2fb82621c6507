"""How long does a training step of a U-Net take on the array backend, against PyTorch's?

Prints one JSON object: the median seconds of rounds taken in turn, so that both see the same load,
with two threads each, the same weights' shapes, batch and loss.
"""

import json
import os
import statistics
import time

THREADS = 2
os.environ.setdefault("EDDL_NUM_THREADS", str(THREADS))
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import eddl  # noqa: E402

ROUNDS, BATCH, SIZE, FILTERS, DEPTH, CLASSES = 7, 4, 128, 32, 4, 2


def block(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
        nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = [FILTERS << level for level in range(DEPTH)]
        self.down = nn.ModuleList(block(c, f) for c, f in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * f, f, 2, stride=2) for f in reversed(widths[:-1])
        )
        self.join = nn.ModuleList(block(2 * f, f) for f in reversed(widths[:-1]))
        self.head = nn.Conv2d(FILTERS, CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, down in enumerate(self.down):
            x = down(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def main() -> None:
    torch.set_num_threads(THREADS)
    data = np.random.default_rng(0).standard_normal((BATCH, 1, SIZE, SIZE)).astype("float32")
    labels = (data[:, 0] > 0).astype("int64")
    x = eddl.Input((1, SIZE, SIZE))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=CLASSES, filters=FILTERS, depth=DEPTH))
    net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy")
    other = UNet()
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-3, fused=True)
    tensor, target = torch.from_numpy(data), torch.from_numpy(labels)

    def ours() -> None:
        net.train_batch(data, labels)

    def theirs() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(other(tensor), target).backward()
        optimizer.step()

    seconds: dict[str, list[float]] = {"eddl": [], "torch": []}
    for turn in range(ROUNDS + 1):
        for name, action in (("eddl", ours), ("torch", theirs)):
            began = time.perf_counter()
            action()
            if turn:  # the first one compiles
                seconds[name].append(time.perf_counter() - began)
    medians = {name: round(statistics.median(values), 4) for name, values in seconds.items()}
    print(
        json.dumps(
            {
                "network": f"U-Net, {FILTERS} filters, {DEPTH} levels, {data.shape}",
                "threads": THREADS,
                "load": os.getloadavg()[0],
                "seconds": medians,
                "ratio": round(medians["eddl"] / medians["torch"], 2),
                "planned_MiB": round(net.memory_plan(data.shape).total / 2**20, 1),
                "versions": {"eddl": "array backend", "torch": torch.__version__},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
