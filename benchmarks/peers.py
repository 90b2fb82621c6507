"""What the engine's benchmarks have in common: PyTorch's twins as peers, and the versions.

No framework is imported before a peer is made.
"""

import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

from measure import THREADS, Action, Peer, Row
from networks import Network

FORMS = {
    "eager": (False, False),
    "channels last": (True, False),
    "compiled": (False, True),
    "compiled channels last": (True, True),
}
"""How PyTorch runs: whether channels lie last, and whether the network is compiled."""


def twin(last: bool, compiled: bool, network: Network, model: Any) -> tuple[Any, Any, Any]:
    """The network in PyTorch with the weights of `model`, what runs it, and how its data lie."""
    import torch

    torch.set_num_threads(THREADS)
    layout = torch.contiguous_format
    if last:
        layout = {2: torch.channels_last, 3: torch.channels_last_3d}[network.space]
    made = network.twin(model).to(memory_format=layout)
    return made, torch.compile(made) if compiled else made, layout


def own_peer(make: Callable[[Network, Any], Action], device: str = "cpu") -> Peer:
    """A peer that is ours, on a device."""

    def load() -> object:
        import eddl

        return eddl.devices.backend(device)

    return Peer(make, load=load)


def torch_peers(
    make: Callable[[bool, bool, Network, Any], Action], prefix: str = "", forms: Any = FORMS
) -> dict[str, Peer]:
    """A peer for each form of PyTorch, made by `make(last, compiled, network, model)`."""

    def refuse(last: bool, network: Network) -> str:
        return "its values have no channels axis" if last and not network.space else ""

    return {
        f"{prefix}{form}": Peer(
            partial(make, *FORMS[form]), partial(refuse, FORMS[form][0]), ("torch", "twins")
        )
        for form in forms
    }


def versions(*others: str) -> Row:
    """Of this package, of PyTorch and of others."""
    import eddl

    return {
        "eddl": version("eddl"),
        "eddl runs on": eddl.devices.describe().split(" (")[0],
        **{name: version(name) for name in (*others, "torch")},
        "python": platform.python_version(),
    }
