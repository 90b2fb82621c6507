"""Several augmentations as one, and their JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecvl.augment.base import Augmentation, Operation
from ecvl.augment.table import AUGMENTATIONS
from ecvl.errors import ParameterError
from ecvl.serial import from_entry

DEEPEST = 20


@dataclass(frozen=True)
class Sequential(Augmentation):
    """Do one after another.

    Args:
        steps: augmentations, also other sequences.
        fuse: make one resampling of neighbouring spatial operations. `False` resamples each by
            itself, which blurs more and takes longer.

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

    steps: tuple[Augmentation, ...]
    fuse: bool = True

    def __init__(self, steps: Sequence[Augmentation], fuse: bool = True) -> None:
        for step in steps:
            if not isinstance(step, Augmentation):
                raise ParameterError(f"expected augmentations, received {type(step).__name__}")
        if not isinstance(fuse, bool):
            raise ParameterError(f"expected fuse to be True or False, received {fuse!r}")
        object.__setattr__(self, "steps", tuple(steps))
        object.__setattr__(self, "fuse", fuse)

    def operations(self) -> tuple[Operation, ...]:
        """Return all single operations, those of inner sequences too; `fuse` is the outermost's."""
        return tuple(operation for step in self.steps for operation in step.operations())

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
        return {
            "op": "Sequential",
            "fuse": self.fuse,
            "steps": [step.to_json() for step in self.steps],
        }


def from_json(document: Any) -> Augmentation:
    """Return the augmentation that `to_json` gave.

    Raises:
        ParameterError: a name or parameter is not known.

    Example:
        >>> from_json({"op": "Rotate", "degrees": [-5, 5]})
        Rotate(degrees=(-5.0, 5.0), axis='z', fill=None, p=1.0)
    """
    return _from_json(document, DEEPEST)


def _from_json(document: Any, depth: int) -> Augmentation:
    if not isinstance(document, Mapping) or document.get("op") != "Sequential":
        return from_entry(document, AUGMENTATIONS, "augmentation")
    steps = document.get("steps")
    if (
        not isinstance(steps, list | tuple)
        or document.keys() - {"op", "steps", "fuse"}
        or not depth
    ):
        raise ParameterError(
            "expected Sequential as an object with a list 'steps' and 'fuse', nested at most "
            f"{DEEPEST} deep, received {sorted(map(str, document))}"
        )
    return Sequential([_from_json(step, depth - 1) for step in steps], document.get("fuse", True))
