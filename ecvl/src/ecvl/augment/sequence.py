"""Several augmentations as one: in a row, one of them, some of them; and their JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecvl.augment.base import Augmentation, Key, Planned, generator
from ecvl.augment.table import AUGMENTATIONS
from ecvl.errors import ParameterError
from ecvl.serial import from_entry, is_number

DEEPEST = 20


@dataclass(frozen=True, init=False)
class Container(Augmentation):
    """What has steps."""

    steps: tuple[Augmentation, ...]

    @property
    def streams(self) -> int:
        """One for itself, where it draws, and those of its steps."""
        return 1 + sum(step.streams for step in self.steps)

    def _store_steps(self, steps: Sequence[Augmentation]) -> None:
        if not isinstance(steps, list | tuple):
            raise ParameterError(f"expected a list of augmentations, received {steps!r}")
        for step in steps:
            if not isinstance(step, Augmentation):
                raise ParameterError(f"expected augmentations, received {type(step).__name__}")
        object.__setattr__(self, "steps", tuple(steps))

    def _store_chance(self, p: float) -> None:
        if not is_number(p) or not 0 <= p <= 1:
            raise ParameterError(f"expected a probability p from 0 to 1, received {p!r}")
        object.__setattr__(self, "p", float(p))

    def _firsts(self, first: int) -> list[int]:
        """Return the number of each step's first stream; its own stands before them."""
        numbers, number = [], first + 1
        for step in self.steps:
            numbers.append(number)
            number += step.streams
        return numbers


@dataclass(frozen=True, init=False)
class Sequential(Container):
    """Do one after another.

    Args:
        steps: augmentations, also other containers.
        fuse: make one resampling of neighbouring spatial operations. `False` resamples each by
            itself, which blurs more and takes longer. Only the outermost container's counts.

    Example:
        >>> import numpy as np
        >>> from ecvl import Image
        >>> from ecvl.augment import Flip, GammaContrast, Rotate
        >>> turn = Sequential([Rotate((-10, 10)), Flip(p=0.5), GammaContrast((0.5, 2))])
        >>> image = Image(np.zeros((8, 8), np.uint8), "yx")
        >>> mask = Image(np.zeros((8, 8), np.uint8), "yx", kind="labels")
        >>> image, mask = turn(image, mask, seed=7)
        >>> image.shape, mask.kind
        ((8, 8), 'labels')
    """

    fuse: bool

    def __init__(self, steps: Sequence[Augmentation], fuse: bool = True) -> None:
        self._store_steps(steps)
        if not isinstance(fuse, bool):
            raise ParameterError(f"expected fuse to be True or False, received {fuse!r}")
        object.__setattr__(self, "fuse", fuse)

    @property
    def streams(self) -> int:
        """Those of its steps: it draws nothing itself."""
        return sum(step.streams for step in self.steps)

    def plan(self, first: int, key: Key) -> list[Planned]:
        """Return what all steps plan, in order."""
        numbers = (number - 1 for number in self._firsts(first))
        return [
            planned
            for number, step in zip(numbers, self.steps, strict=True)
            for planned in step.plan(number, key)
        ]

    @property
    def fuses(self) -> bool:
        """Whether neighbouring spatial operations become one resampling."""
        return self.fuse

    def to_json(self) -> dict[str, Any]:
        """Return plain objects that `from_json` reads.

        Example:
            >>> from ecvl.augment import Flip
            >>> Sequential([Flip()]).to_json()
            {'op': 'Sequential', 'fuse': True, 'steps': [{'op': 'Flip', 'axes': 'x', 'p': 0.5}]}
        """
        steps = [step.to_json() for step in self.steps]
        return {"op": "Sequential", "fuse": self.fuse, "steps": steps}


@dataclass(frozen=True, init=False)
class OneOf(Container):
    """Do one of several, each as likely; its own probability still holds.

    Args:
        steps: augmentations, also other containers; at least one.
        p: the probability that any is done.

    Example:
        >>> from ecvl.augment import Elastic, GridDistortion, OpticalDistortion
        >>> bend = OneOf([Elastic(), GridDistortion(), OpticalDistortion()], p=0.5)
        >>> len(bend.steps), bend.p
        (3, 0.5)
    """

    p: float

    def __init__(self, steps: Sequence[Augmentation], p: float = 1.0) -> None:
        self._store_steps(steps)
        if not self.steps:
            raise ParameterError("expected at least one augmentation, received none")
        self._store_chance(p)

    def plan(self, first: int, key: Key) -> list[Planned]:
        """Return what the picked step plans."""
        rng = generator(*key, first)
        if rng.random() >= self.p:
            return []
        picked = int(rng.random() * len(self.steps))
        return self.steps[picked].plan(self._firsts(first)[picked], key)

    def to_json(self) -> dict[str, Any]:
        """Return plain objects that `from_json` reads.

        Example:
            >>> from ecvl.augment import Flip
            >>> OneOf([Flip()]).to_json()
            {'op': 'OneOf', 'p': 1.0, 'steps': [{'op': 'Flip', 'axes': 'x', 'p': 0.5}]}
        """
        return {"op": "OneOf", "p": self.p, "steps": [step.to_json() for step in self.steps]}


@dataclass(frozen=True, init=False)
class SomeOf(Container):
    """Do some of several, no one twice, in the order in which they stand.

    Args:
        steps: augmentations, also other containers.
        count: how many: a number or a range (low, high), each as likely.
        p: the probability that any is done.

    Example:
        >>> from ecvl.augment import Add, Flip, Rotate
        >>> SomeOf([Flip(), Rotate(), Add()], (1, 2)).count
        (1, 2)
    """

    count: tuple[int, int]
    p: float

    def __init__(
        self, steps: Sequence[Augmentation], count: int | tuple[int, int] = 1, p: float = 1.0
    ) -> None:
        self._store_steps(steps)
        ends = tuple(count) if isinstance(count, tuple | list) else (count, count)
        if (
            len(ends) != 2
            or not all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
            or not 0 <= ends[0] <= ends[1] <= len(self.steps)
        ):
            raise ParameterError(
                f"expected count as a number or a range from 0 to {len(self.steps)}, received "
                f"{count!r}"
            )
        object.__setattr__(self, "count", ends)
        self._store_chance(p)

    def plan(self, first: int, key: Key) -> list[Planned]:
        """Return what the picked steps plan, in order."""
        rng = generator(*key, first)
        if rng.random() >= self.p:
            return []
        count = self.count[0] + int(rng.random() * (self.count[1] - self.count[0] + 1))
        numbers = self._firsts(first)
        picked = sorted(rng.permutation(len(self.steps))[:count].tolist())
        return [
            planned for index in picked for planned in self.steps[index].plan(numbers[index], key)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain objects that `from_json` reads.

        Example:
            >>> from ecvl.augment import Flip
            >>> SomeOf([Flip()], 1).to_json()["count"]
            [1, 1]
        """
        steps = [step.to_json() for step in self.steps]
        return {"op": "SomeOf", "count": list(self.count), "p": self.p, "steps": steps}


CONTAINERS: dict[str, Callable[..., Augmentation]] = {
    "Sequential": Sequential,
    "OneOf": OneOf,
    "SomeOf": SomeOf,
}
PARAMETERS = {"Sequential": {"fuse"}, "OneOf": {"p"}, "SomeOf": {"count", "p"}}


def from_json(document: Any) -> Augmentation:
    """Return the augmentation that `to_json` gave.

    Raises:
        ParameterError: a name or parameter is not known.

    Example:
        >>> from_json({"op": "Rotate", "degrees": [-5, 5]})
        Rotate(degrees=(-5.0, 5.0), axis='z', centre=None, fill=None, p=1.0)
    """
    return _from_json(document, DEEPEST)


def _from_json(document: Any, depth: int) -> Augmentation:
    name = document.get("op") if isinstance(document, Mapping) else None
    if not isinstance(name, str) or name not in CONTAINERS:
        return from_entry(document, AUGMENTATIONS, "augmentation")
    steps = document.get("steps")
    if (
        not isinstance(steps, list | tuple)
        or document.keys() - {"op", "steps"} - PARAMETERS[name]
        or not depth
    ):
        raise ParameterError(
            f"expected {name} as an object with a list 'steps' and {sorted(PARAMETERS[name])}, "
            f"nested at most {DEEPEST} deep, received {sorted(map(str, document))}"
        )
    given = {key: value for key, value in document.items() if key not in ("op", "steps")}
    return CONTAINERS[name]([_from_json(step, depth - 1) for step in steps], **given)
