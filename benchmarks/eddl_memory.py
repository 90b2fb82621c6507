"""How much memory does a training step take, against PyTorch's eager mode, and what does less cost?

Every network of `networks.py`, with cross entropy and Adam: how far resident memory grows from
before the network is made to the peak of the third step, each in processes of its own, with
`memory="fast"` and `memory="low"`, and what `memory_plan` said before. What computing values again
costs in time is measured step by step in turn. `measure.py` says what runs how.

    python benchmarks/eddl_memory.py [--networks unet32,vnet] [--peers "eddl,eddl low,eager"]

A run replaces those rows of `eddl_memory.json` that it measured, and writes `eddl_memory.md`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from eddl_training import theirs
from measure import Action, Benchmark, Row, cell, header, not_run, table
from networks import BATCHES, NETWORKS, Network
from peers import own_peer, torch_peers, versions

MODES = {"eddl": "fast", "eddl low": "low"}
AIMS = (("eddl", "eager", 0.75), ("eddl", "channels last", 0.85), ("eddl low", "eager", 0.45))
"""Ratios of growth that are aimed at; of the last, 0.50 is the floor."""
SLOWER = 1.35
"""What `low` may take of the time of `fast`."""
NEAR = 0.10, 32 << 20
"""How far memory may be from what was planned, code apart: a share of it, or bytes."""


def built(mode: str, network: Network, model: Any) -> Any:
    import eddl

    made = network.model()
    if model is not None:
        made.set_weights(model.weights())
    made.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy", memory=mode)
    return made


def ours(mode: str, network: Network, model: Any) -> Action:
    model = built(mode, network, model)
    data, labels = network.batch()
    return lambda: model.train_batch(data, labels)["loss"]


class Memory(Benchmark):
    """The same, with what was planned."""

    def _measured(self, name: str, peers: list[str]) -> list[Row]:
        network = NETWORKS[name]
        rows = super()._measured(name, peers)
        for row in rows:
            if row["peer"] in MODES:
                batch = network.batch()
                plan = built(MODES[row["peer"]], network, None).memory_plan(
                    network.shape, target=batch[1]
                )
                given = sum(array.nbytes for array in batch)
                row |= {"planned": plan.total, "again": plan.again, "given": given}
        return rows


def report(rows: Sequence[Row], machine: Row) -> str:
    """Growth in MiB, ratios, and the time that `low` takes."""
    lines = []
    for name in dict.fromkeys(row["network"] for row in rows):
        mine = {row["peer"]: row for row in rows if row["network"] == name}
        line = [NETWORKS[name].words, "x".join(map(str, NETWORKS[name].shape))]
        for peer in ("eager", "channels last", "eddl", "eddl low"):
            line.append(cell(mine.get(peer, {}), "alone", "growth", scale=2**-20, digits=0))
            if peer in MODES:
                line.append(cell(mine.get(peer, {}), "planned", scale=2**-20, digits=0))
                line.append(_beyond(mine.get(peer, {})))
        line += [_ratio(mine, one, other, "alone", "growth") for one, other, _ in AIMS]
        line += [_ratio(mine, "eddl low", "eddl", "together", kind)
                 for kind in ("seconds", "processor")]  # fmt: skip
        lines.append(line)
    head = ["network", "batch", "torch", "channels last", "eddl", "planned", "beyond", "low",
            "planned", "beyond",
            *(f"{one.removeprefix('eddl ')} / {other.replace('eager', 'torch')}"
              for one, other, _ in AIMS),
            "low's time", "its processor time"]  # fmt: skip
    aims = ", ".join(f"{one} / {other.replace('eager', 'torch')} {aim}" for one, other, aim in AIMS)
    return "\n\n".join(
        [
            "# Memory of a training step",
            f"{header(rows, machine)} MiB that resident memory grew by, from before the network is "
            "made, all libraries being loaded, to the peak of the third step, each in processes of "
            "its own; PyTorch in eager mode, contiguous and channels last, with fused Adam. Beyond "
            "what was planned is what else grew but code and the caller's batch (aim: "
            f"within {NEAR[0]:.0%} or {NEAR[1] >> 20} MiB, else in bold). "
            "`low` is `memory=\"low\"`; its time is a ratio to that of `memory=\"fast\"`, step by "
            "step in turn. Aims: "
            f"{aims}; low's time {SLOWER}.",
            table(head, lines),
            *not_run(rows),
        ]
    ) + "\n"  # fmt: skip


def _beyond(row: Row) -> str:
    """What memory grew by that neither the plan nor code nor the caller's batch explains; in bold
    where it is too much."""
    if "planned" not in row or "code" not in row.get("alone", {}):
        return "–"
    rest = row["alone"]["growth"] - row["alone"]["code"] - row["planned"] - row.get("given", 0)
    far = abs(rest) > max(NEAR[0] * row["planned"], NEAR[1])
    return f"**{rest / 2**20:.0f}**" if far else f"{rest / 2**20:.0f}"


def _ratio(rows: dict[str, Row], one: str, other: str, kind: str, what: str) -> str:
    values = [rows.get(peer, {}).get(kind, {}).get(what) for peer in (one, other)]
    return "–" if None in values else f"{values[0] / values[1]:.2f}"


if __name__ == "__main__":
    Memory(
        __file__,
        {
            **{name: own_peer(partial(ours, mode)) for name, mode in MODES.items()},
            **torch_peers(theirs, forms=("eager", "channels last")),
        },
        ours=("eddl",),
        versions=versions,
        report=report,
        networks=BATCHES,
    ).main()
