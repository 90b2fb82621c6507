"""How long does a training step take, and how much memory, against PyTorch?

Every network of `networks.py`, with cross entropy and Adam, as PyTorch has it: eager with
contiguous tensors, eager with channels last, and compiled. PyTorch gets static inputs and its fused
Adam. `measure.py` says what runs how; the first losses of all must agree.

    python benchmarks/eddl_training.py [--networks unet32,vnet] [--peers eddl,eager] [--rounds 9]
    python benchmarks/eddl_training.py --networks unet32 --peers "eddl array,eager"

A run replaces those rows of `eddl_training.json` that it measured, and writes `eddl_training.md`.
"""

import itertools
from functools import partial
from typing import Any

from measure import Action, Benchmark, Row, cell, header, not_run, table
from networks import BATCHES, NETWORKS, Network
from peers import FORMS, own_peer, torch_peers, twin, versions

OURS = ("eddl", "eddl array")
PEERS = tuple(FORMS)

UNETS, VOLUMES, OTHERS = ("unet32", "unet16"), ("unet3d", "vnet"), ("resnet18", "resnet50",
         "densenet121", "lstm", "mlp")  # fmt: skip
"""Kinds of networks, by which aims differ."""

AIMS = {
    "eager": {**dict.fromkeys((*UNETS, *VOLUMES), (0.60, 0.68))},
    "best": {
        **dict.fromkeys(UNETS, (0.80, 0.85)),
        **dict.fromkeys(VOLUMES, (0.85, 0.95)),
        **dict.fromkeys(OTHERS, (0.90, 1.0)),
    },
    "memory of eager": dict.fromkeys(BATCHES, (0.75, 0.75)),
    "memory of channels last": dict.fromkeys(BATCHES, (0.85, 0.85)),
}
"""Ratios of our time and memory to PyTorch's: the goal and the floor."""


def ours(device: str, network: Network, model: Any) -> Action:
    import eddl

    model = model or network.model()
    model.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy", device=device)
    data, labels = network.batch()
    return lambda: model.train_batch(data, labels)["loss"]


def theirs(last: bool, compiled: bool, network: Network, model: Any) -> Action:
    import torch

    made, run, layout = twin(last, compiled, network, model)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-3, fused=True)
    data, labels = map(torch.from_numpy, network.batch())
    data = data.to(memory_format=layout)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(run(data), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def report(rows: list[Row], machine: Row) -> str:
    """Two tables: what was reached, and all that was measured."""
    by_key = {(row["network"], row["ours"], row["peer"]): row for row in rows}
    summary = []
    for (name, network), own in itertools.product(NETWORKS.items(), OURS):
        found = {p: row for p in PEERS if (row := by_key.get((name, own, p)))}
        if not found:
            continue
        line = [network.words, own]
        for kind in ("together", "alone"):
            ratios = {p: row[kind]["seconds ratio"] for p, row in found.items()
                      if "seconds ratio" in row.get(kind, {})}  # fmt: skip
            best = max(ratios, key=lambda p: ratios[p], default=None)
            line.append(f"{ratios['eager']:.2f}" if "eager" in ratios else "–")
            line.append(f"{ratios[best]:.2f} ({best})" if best else "–")
        line += [cell(found.get(p, {}), "alone", "growth ratio") for p in PEERS[:2]]
        line += ["" if own != OURS[0] else _aim(what, name) for what in AIMS]
        summary.append(line)
    whole = [
        [
            NETWORKS[row["network"]].words, row["ours"], row["peer"],
            *(cell(row, kind, key, scale=1e3, digits=1)
              for kind in ("together", "alone") for key in ("seconds", "processor")),
            *(cell(row, kind, f"{key} ratio")
              for kind in ("together", "alone") for key in ("seconds", "processor")),
            cell(row, "alone", "first"), cell(row, "alone", "growth", scale=2**-20, digits=0),
            cell(row, "alone", "growth ratio"), "–".join(map(str, row["load"])),
        ]
        for row in rows
    ]  # fmt: skip
    return "\n".join([
        "# A training step: eddl against PyTorch", "", header(rows, machine), "",
        "## Ratios of our time and memory to PyTorch's", "",
        "Of medians, step by step in turn (together), or each by itself (alone); the best "
        "is PyTorch's fastest. Memory is the growth from before the network is made, all libraries "
        "being loaded, to the peak of step three. Aims: the goal and, in brackets, the floor.", "",
        table(["network", "ours", "eager, together", "best, together", "eager, alone",
               "best, alone", "memory, eager", "memory, channels last",
               *(f"aim, {what}" for what in AIMS)], summary),
        "", "## All", "",
        "Milliseconds a step, medians, of wall and processor time; ratios of ours to the row's; "
        "the first step in seconds, from before the network is made; growth of memory in MiB; the "
        "load of the machine before and after.", "",
        table(["network", "ours", "peer", "together", "processor", "alone", "processor",
               "ratio together", "processor", "ratio alone", "processor", "first step", "memory",
               "ratio", "load"], whole, words=3),
        "", *not_run(rows), "",
    ])  # fmt: skip


def _aim(what: str, name: str) -> str:
    goal, floor = AIMS[what].get(name, (None, None))
    return "" if goal is None else f"{goal:.2f} [{floor:.2f}]"


BENCHMARK = Benchmark(
    __file__,
    {
        "eddl": own_peer(partial(ours, "cpu")),
        "eddl array": own_peer(partial(ours, "cpu:array"), "cpu:array"),
        **torch_peers(theirs),
    },
    ours=OURS,
    versions=versions,
    report=report,
    networks=BATCHES,
)

if __name__ == "__main__":
    BENCHMARK.main()
