"""How long does a training step of a U-Net take, against PyTorch's eager mode?

eddl, PyTorch contiguous and PyTorch with channels last, two threads and the same OpenMP settings
each, static inputs, fused Adam, the same network, batch and loss: first step by step in turn in one
process, then each in processes of its own, in turn, too. Prints one JSON object: medians of wall
seconds and of processor seconds, the least seconds, and the ratios of medians. Options: `--filters
32 --size 128 --batch 4 --rank 2 --rounds 9 --device cpu --processes 3`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

THREADS = 2
os.environ.setdefault("EDDL_NUM_THREADS", str(THREADS))
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import eddl  # noqa: E402

DEPTH, CLASSES = 4, 2
PEERS = ("torch contiguous", "torch channels last")
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
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=(*PEERS, "eddl"))
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    sizes = (options.size,) * options.rank
    data = np.random.default_rng(0).standard_normal((options.batch, 1, *sizes)).astype("float32")
    labels = (data[:, 0] > 0).astype("int64")
    x = eddl.Input((1, *sizes))
    net = eddl.Model(x, eddl.zoo.unet(x, classes=CLASSES, filters=options.filters, depth=DEPTH))
    net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy", device=options.device)
    makers = {
        "eddl": lambda: lambda: net.train_batch(data, labels),
        **{
            name: lambda layout=layout: torch_step(
                UNet(options.filters, options.rank), data, labels, layout
            )
            for name, layout in zip(
                PEERS, (torch.contiguous_format, LAST[options.rank]), strict=True
            )
        },
    }
    if options.only:
        print(json.dumps(timed({options.only: makers[options.only]()}, options.rounds)))
        return
    together = timed({name: make() for name, make in makers.items()}, options.rounds)
    alone: dict[str, list[list[float]]] = {name: [] for name in makers}
    for _ in range(options.processes):
        for name, found in alone.items():
            command = [sys.executable, *sys.argv, "--only", name]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found.extend(json.loads(said)[name])
    print(
        json.dumps(
            {
                "network": f"U-Net, {options.filters} filters, {DEPTH} levels, {data.shape}",
                "threads": THREADS,
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "default"),
                "load": round(os.getloadavg()[0], 2),
                "in one process": summary(together),
                "each in its own process": summary(alone) if options.processes else "not asked for",
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


def timed(actions, rounds):
    """Wall and processor seconds of each action's rounds, taken in turn."""
    found: dict[str, list[list[float]]] = {name: [] for name in actions}
    for turn in range(rounds + 2):
        for name, action in actions.items():
            began = time.perf_counter(), time.process_time()
            action()
            if turn > 1:  # the first ones compile and warm up
                found[name].append([time.perf_counter() - began[0], time.process_time() - began[1]])
    return found


def summary(found):
    """Medians, least values, and the ratios of medians to the peers'."""
    wall = {name: statistics.median(w for w, _ in rows) for name, rows in found.items()}
    work = {name: statistics.median(p for _, p in rows) for name, rows in found.items()}
    return {
        "seconds": {name: round(value, 4) for name, value in wall.items()},
        "least seconds": {name: round(min(w for w, _ in rows), 4) for name, rows in found.items()},
        "processor seconds": {name: round(value, 4) for name, value in work.items()},
        "ratio to torch contiguous": round(wall["eddl"] / wall[PEERS[0]], 3),
        "ratio to torch's best": round(wall["eddl"] / min(wall[name] for name in PEERS), 3),
        "ratio of processor time to torch contiguous": round(work["eddl"] / work[PEERS[0]], 3),
    }


if __name__ == "__main__":
    main()
