"""Activations that oneDNN computes in one pass, and their gradients.

Those are left to NumPy's formulas of which oneDNN's kernels hide what is not a number (the
exponential, the rectifier, the hard sigmoid), or are less accurate (the logarithm, soft plus).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eddl.backends.array.backend import alike
from eddl.backends.onednn.backend import OneDnnBackend, Yielded, kernel
from eddl.backends.onednn.elementwise import flattened
from eddl.backends.onednn.handles import Descriptor, describe, single
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    DIFF_DST,
    DIFF_SRC,
    DST,
    FLOATS,
    FORWARD_TRAINING,
    SRC,
    Refused,
)
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Node

FEWEST = 1 << 13
"""Elements below which NumPy's calls take no longer."""

ALGORITHMS: dict[str, Callable[[Mapping[str, Any]], tuple[int, float, float]]] = {
    "Elu": lambda how: (0x22, how["alpha"], 0),
    "Gelu": lambda how: (0x2B if how["approximate"] == "tanh" else 0x31, 0, 0),
    "HardSwish": lambda how: (0x34, 1 / 6, 0.5),
    "LeakyRelu": lambda how: (0x20, how["alpha"], 0),
    "Mish": lambda how: (0x33, 0, 0),
    "Sigmoid": lambda how: (0x29, 0, 0),
    "Swish": lambda how: (0x2C, how["alpha"], 0),
    "Tanh": lambda how: (0x21, 0, 0),
}
"""By operator: oneDNN's number and its two arguments, from the attributes."""


def computed(node: Node) -> bool:
    """Whether a node is an activation for which the kernel is better than a formula."""
    known = not node.domain and node.op in ALGORITHMS
    return known and node.outputs[0].dtype.name in FLOATS and node.outputs[0].type.count >= FEWEST


def _activation(backend: OneDnnBackend, node: Node) -> tuple[Kernel, Descriptor, tuple[Any, ...]]:
    x = node.inputs[0]
    assert x is not None
    if x.dtype.name not in FLOATS:
        raise Refused(f"received {x.type}; only {' and '.join(FLOATS)} are computed here")
    if x.type.count < FEWEST:
        raise Yielded("few elements")
    if node.op.startswith("LeakyRelu") and not node.attributes["alpha"]:
        raise Yielded("a rectifier")
    algorithm, *rest = ALGORITHMS[node.op.removesuffix("Grad")](node.attributes)
    numbers, library = [single(number) for number in rest], backend.library
    data = describe(library, [x.type.count], [1], x.dtype.name)
    made = Kernel(library, "eltwise_forward", library.engine, FORWARD_TRAINING, algorithm, data,
                  data, *numbers, attributes(library))  # fmt: skip
    return made, data, (algorithm, *numbers)


@kernel(*ALGORITHMS)
def activation(backend: OneDnnBackend, node: Node) -> Offer:
    """In the order of memory, whatever the layout."""
    made, data, _ = _activation(backend, node)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind(
            {SRC: (data, flattened(inputs[0])), DST: (data, flattened(outputs[0]))}, workspace
        )

    return Offer(made.implementation, bind, workspace=made.scratch, overwrites={0: (0,)},
                 arrangements=alike(node))  # fmt: skip


@kernel(*(f"{name}Grad" for name in ALGORITHMS), domain="eddl")
def activation_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """From what the activation was given."""
    hint, data, (algorithm, *numbers) = _activation(backend, node)
    library = backend.library
    made = Kernel(library, "eltwise_backward", library.engine, algorithm, data, data,
                  data, *numbers, hint, attributes(library))  # fmt: skip

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        x, flow, result = map(flattened, (*inputs, outputs[0]))
        return made.bind({SRC: (data, x), DIFF_DST: (data, flow), DIFF_SRC: (data, result)},
                         workspace)  # fmt: skip

    return Offer(made.implementation, bind, workspace=made.scratch, overwrites={0: (1, 0)},
                 arrangements=alike(node))  # fmt: skip
