"""The table of every public processing function: what it takes, gives, and does to geometry.

A function enters it by `@processing(...)` above its definition, and is left as it is. The table
drives `tests/ecvl/process/test_contract.py`, which fails for a function without an example there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Takes = Literal["image", "labels", "any", "value"]
Gives = Literal["image", "labels", "same", "value"]
Geometry = Literal["keeps", "follows", "moves", "none"]
Type = Literal["same", "float", "own"]

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        function: the function itself.
        takes: the kind of its first argument; "any" for images and labels, "value" for what is no
            `ecvl.Image`.
        gives: the kind of its result; "same" for that of the first argument, "value" for what is
            no `ecvl.Image`.
        geometry: "keeps" the grid; "follows" for a new grid on which every point of the patient is
            where it was; "moves" what is at a point; "none" for what has no grid.
        dtype: "same" as the input's, "float" for a real type of at least 32 bits, or its "own".
        each: whether every channel and time point is worked on alone.
        ranks: the numbers of spatial axes that it takes.
        least: the fewest voxels along an axis (z may always have one).
        channels: how many the image must have; any, or none at all, for 0.
    """

    function: Callable[..., Any]
    takes: Takes
    gives: Gives
    geometry: Geometry
    dtype: Type
    each: bool
    ranks: tuple[int, ...]
    least: int
    channels: int

    @property
    def name(self) -> str:
        """The public name."""
        return self.function.__name__


FUNCTIONS: dict[str, Entry] = {}


def processing(
    takes: Takes,
    gives: Gives,
    *,
    geometry: Geometry = "keeps",
    dtype: Type = "same",
    each: bool = True,
    ranks: tuple[int, ...] = (2, 3),
    least: int = 1,
    channels: int = 0,
) -> Callable[[Function], Function]:
    """Enter a function into the table.

    Example:
        >>> FUNCTIONS["window"].gives
        'image'
    """

    def enter(function: Function) -> Function:
        entry = Entry(function, takes, gives, geometry, dtype, each, ranks, least, channels)
        FUNCTIONS[entry.name] = entry
        return function

    return enter
