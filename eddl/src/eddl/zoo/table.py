"""The list of topologies: what each is for, where it comes from, and its published size.

A topology is registered where it is written; `tests/eddl/zoo` builds, trains, saves and counts
every one that is listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Value

Build = TypeVar("Build", bound=Callable[..., Any])


@dataclass(frozen=True)
class Topology:
    """A network of the zoo.

    `name`, for `zoo.get`; `task`, "classification", "segmentation", "generation" or "similarity";
    `use`, what it is good for; `source`, its paper; `ranks`, the spatial ranks it takes; `build`,
    the function; `shapes` and `options`, the inputs (without the batch axis) and arguments for
    which `parameters` is the number of parameters; `counted`, how that compares with what was
    published.
    """

    name: str
    task: str
    use: str
    source: str
    ranks: tuple[int, ...]
    build: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]
    parameters: int
    counted: str


TABLE: dict[str, Topology] = {}


def topology(
    *,
    task: str,
    use: str,
    source: str,
    ranks: tuple[int, ...],
    shapes: tuple[tuple[int, ...], ...],
    options: dict[str, Any],
    sizes: dict[str, tuple[int, dict[str, Any]]],
    counted: str,
) -> Callable[[Build], Build]:
    """Put a function into the list: `sizes` maps each name to its parameters and its arguments."""

    def register(build: Build) -> Build:
        for name, (parameters, own) in sizes.items():
            TABLE[name] = Topology(
                name, task, use, source, ranks, partial(build, **own) if own else build, shapes,
                options, parameters, counted,
            )  # fmt: skip
        return build

    return register


def list() -> tuple[Topology, ...]:
    """All networks of the zoo, by task and name.

    >>> [row.name for row in list() if row.task == "similarity"]
    ['siamese']
    """
    return tuple(sorted(TABLE.values(), key=lambda row: (row.task, row.name)))


def get(name: str) -> Callable[..., Any]:
    """The function that builds a network of the list, its size bound.

    >>> import eddl
    >>> get("resnet18")(eddl.Input((3, 64, 64)), classes=2).shape
    ('batch', 2)
    """
    if name not in TABLE:
        raise AttributeValueError(
            f"received the topology {name!r}, expected one of {sorted(TABLE)}"
        )
    return TABLE[name].build


def checked(name: str, x: Value, ranks: tuple[int, ...], **numbers: int) -> None:
    """Refuse inputs of another rank and numbers below 1."""
    if not isinstance(x, Value) or x.rank - 2 not in ranks:
        received = x.type if isinstance(x, Value) else type(x).__name__
        raise ShapeError(
            f"{name}: received {received}, expected a symbolic tensor [N, C, space...] with "
            f"{' or '.join(map(str, ranks))} spatial axes"
        )
    if any(value < 1 for value in numbers.values()):
        raise AttributeValueError(
            f"{name}: received {', '.join(f'{k}={v}' for k, v in numbers.items())}; expected at "
            "least 1 of each"
        )
