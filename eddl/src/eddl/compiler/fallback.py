"""What counts as a fallback: a call that is the device's work and that the host makes.

A device is there for operators that read each element many times or gather many into one:
convolutions, pools, normalizations, products, recurrences, resampling. NumPy takes many times
longer over them. All else goes over memory once: elementwise chains, reductions, copies, views,
random numbers, the arithmetic of losses and of updates. On the processor the array backend does
that in cache-sized blocks, as fast as memory is; it is no makeshift, and does not count. Neither
does a call of the former kind for which the host's kernel is known to be the faster one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eddl.compiler.protocol import Backend, Call
from eddl.graph import Graph, Node
from eddl.ops.table import PRIVATE

WORK = frozenset(
    {
        *(("", name) for name in (
            "Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "Einsum", "Det", "DFT",
            "MaxPool", "MaxRoiPool", "RoiAlign", "BatchNormalization", "InstanceNormalization",
            "GroupNormalization", "LayerNormalization", "LSTM", "GRU", "RNN", "Loop", "Scan",
        )),
        *((PRIVATE, name) for name in (
            "ConvWeightGrad", "Product", "Inverse", "MaxPoolGrad", "SumPool", "SumPoolGrad",
            "BatchNormalizationGrad", "BatchNormalizationRelu", "BatchNormalizationReluGrad",
            "InstanceNormalizationGrad", "GroupNormalizationGrad", "LayerNormalizationGrad",
            "RoiAlignGrad", "Resample",
        )),
    }
)  # fmt: skip
"""The operators that are the device's work, by domain and name."""


@dataclass(frozen=True)
class Fallback:
    """A node that the host computes in the device's place, and why."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Shares:
    """How many calls a program makes on its device and on the host, and which of the latter are
    fallbacks. Views take no call; a program that is evaluated node by node counts nodes."""

    device: int
    host: int
    fallbacks: tuple[Fallback, ...]


def shares(calls: Iterable[Call], inlined: Sequence[Fallback]) -> Shares:
    """Count the calls of a program; `inlined` are operators that have none of their own."""
    made = [call for call in calls if not call.offer.views]
    hosts = [call for call in made if call.offer.host is not None]
    found = [Fallback(call.nodes[0], call.offer.host) for call in hosts if call.offer.host]
    return Shares(len(made) - len(hosts), len(hosts), (*inlined, *found))


def is_work(node: Node) -> bool:
    """Whether a node is the device's work."""
    return (node.domain, node.op) in WORK


def inlined_work(graph: Graph, backend: Backend) -> list[Fallback]:
    """The device's work for which the backend has no kernel: its body's many passes stand in."""
    return [
        Fallback(node, f"the {backend.name} backend has no kernel for it: computed in parts")
        for node in graph.nodes
        if is_work(node) and not backend.patterns(node) and not _of_work(node)
    ]


def _of_work(node: Node) -> bool:
    """Whether the parts of a node are the device's work themselves, and are counted as that."""
    return node.op in ("Gemm", "DeformConv", "Einsum", "LSTM", "GRU", "RNN")


def evaluated(graph: Graph, backend: Backend) -> Shares:
    """The shares of a graph whose shapes depend on data: the host computes it node by node."""
    count = sum(1 for _ in graph.nodes)
    if backend.evaluates:
        return Shares(count, 0, ())
    reason = "its shapes depend on data, so that it is computed node by node"
    found = tuple(Fallback(node, reason) for node in graph.nodes if is_work(node))
    return Shares(0, count, found)
