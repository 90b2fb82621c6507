"""How long does a training step of a U-Net take, against PyTorch's eager mode?

Rounds are taken in turn, so that all see the same load: eddl, PyTorch contiguous and PyTorch with
channels last, two threads and the same OpenMP settings each, static inputs, fused Adam, the same
network, batch and loss. Prints one JSON object: medians of wall seconds and of processor seconds,
and the ratios. Options: `--filters 32 --size 128 --batch 4 --rank 2 --rounds 9 --device cpu`.
"""

import argparse
import json
import os
import platform
import statistics
import time

THREADS = 2
os.environ.setdefault("EDDL_NUM_THREADS", str(THREADS))
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import eddl  # noqa: E402

DEPTH, CLASSES = 4, 2
CONV = {2: nn.Conv2d, 3: nn.Conv3d}
UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def block(channels: int, filters: int, rank: int) -> nn.Sequential:
    return nn.Sequential(
        CONV[rank](channels, filters, 3, padding=1, bias=False), NORM[rank](filters),
        nn.ReLU(inplace=True),
        CONV[rank](filters, filters, 3, padding=1, bias=False), NORM[rank](filters),
        nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, filters: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        widths = [filters << level for level in range(DEPTH)]
        self.down = nn.ModuleList(
            block(c, f, rank) for c, f in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(UP[rank](2 * f, f, 2, stride=2) for f in reversed(widths[:-1]))
        self.join = nn.ModuleList(block(2 * f, f, rank) for f in reversed(widths[:-1]))
        self.head = CONV[rank](filters, CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, down in enumerate(self.down):
            x = down(POOL[self.rank](x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def torch_step(model, data, labels, layout):
    model = model.to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    tensor = torch.from_numpy(data).to(memory_format=layout)
    target = torch.from_numpy(labels)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(tensor), target).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("filters", 32), ("size", 128), ("batch", 4), ("rank", 2), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    sizes = (options.size,) * options.rank
    data = np.random.default_rng(0).standard_normal((options.batch, 1, *sizes)).astype("float32")
    labels = (data[:, 0] > 0).astype("int64")
    x = eddl.Input((1, *sizes))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=CLASSES, filters=options.filters, depth=DEPTH))
    net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy", device=options.device)
    actions = {
        "eddl": lambda: net.train_batch(data, labels),
        "torch contiguous": torch_step(
            UNet(options.filters, options.rank), data, labels, torch.contiguous_format
        ),
        "torch channels last": torch_step(
            UNet(options.filters, options.rank), data, labels, LAST[options.rank]
        ),
    }
    wall: dict[str, list[float]] = {name: [] for name in actions}
    processor: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(options.rounds + 2):
        for name, action in actions.items():
            began = time.perf_counter(), time.process_time()
            action()
            if turn > 1:  # the first ones compile and warm up
                wall[name].append(time.perf_counter() - began[0])
                processor[name].append(time.process_time() - began[1])
    medians = {name: statistics.median(values) for name, values in wall.items()}
    work = {name: statistics.median(values) for name, values in processor.items()}
    best = min(value for name, value in medians.items() if name != "eddl")
    print(
        json.dumps(
            {
                "network": f"U-Net, {options.filters} filters, {DEPTH} levels, {data.shape}",
                "threads": THREADS,
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "default"),
                "load": round(os.getloadavg()[0], 2),
                "seconds": {name: round(value, 4) for name, value in medians.items()},
                "processor seconds": {name: round(value, 4) for name, value in work.items()},
                "ratio to torch contiguous": round(
                    medians["eddl"] / medians["torch contiguous"], 3
                ),
                "ratio to torch's best": round(medians["eddl"] / best, 3),
                "ratio of processor time to torch contiguous": round(
                    work["eddl"] / work["torch contiguous"], 3
                ),
                "planned MiB": round(net.memory_plan(data.shape).total / 2**20, 1),
                "machine": platform.processor() or platform.machine(),
                "versions": {
                    "eddl": eddl.devices.describe() if options.device == "cpu" else options.device,
                    "torch": torch.__version__,
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
