"""A dataset: samples that load when asked for, with named splits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecvl.errors import ParameterError
from ecvl.sample import Sample


class Item(Protocol):
    """Something that loads to a sample.

    Attributes:
        id: a name to report it by.
        group: what must not be split, such as a patient.
        volume: the volume it is a slice of, or "".
        position: which slice of the volume, from 0.
        reach: how many slices to each side of its own it looks at.
    """

    @property
    def id(self) -> str:
        """A name to report it by."""
        ...

    @property
    def group(self) -> str | None:
        """What must not be split."""
        ...

    @property
    def volume(self) -> str:
        """The volume it is a slice of."""
        ...

    @property
    def position(self) -> int:
        """Which slice of the volume it is."""
        ...

    @property
    def reach(self) -> int:
        """How many slices to each side it looks at."""
        ...

    def load(self) -> Sample:
        """Return the sample."""
        ...


class Dataset:
    """Samples in a fixed order, and which of them belong to which split.

    Args:
        items: what loads to samples.
        splits: split name to indices; an index stands in one split at most.

    Raises:
        ParameterError: two samples have one id, or an index is out of range or in two splits.

    Example:
        >>> from ecvl import Image
        >>> from ecvl.dataset import slices
        >>> data = slices(Image(np.zeros((4, 2, 2)), "zyx"), id="a")
        >>> len(data), data[1].id, data.splits
        (4, 'a/1', {})
    """

    def __init__(
        self, items: Sequence[Item], splits: Mapping[str, ArrayLike] | None = None
    ) -> None:
        self.items = tuple(items)
        ids: set[str] = set()
        for item in self.items:
            if item.id in ids:
                raise ParameterError(
                    f"expected samples of different ids, received {item.id!r} twice; give each "
                    "volume an id= of its own"
                )
            ids.add(item.id)
        self.splits: dict[str, NDArray[np.int64]] = {}
        taken: dict[int, str] = {}
        for name, indices in (splits or {}).items():
            numbers = np.asarray(indices)
            if numbers.size == 0:
                numbers = numbers.astype(np.int64)
            if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
                raise ParameterError(f"expected a list of indices for split {name!r}")
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self.items):
                raise ParameterError(
                    f"expected indices from 0 to {len(self.items) - 1} for split {name!r}, "
                    f"received {numbers.min()} to {numbers.max()}"
                )
            for number in numbers.tolist():
                if number in taken:
                    raise ParameterError(
                        f"expected each sample in one split, received index {number} in "
                        f"{taken[number]!r} and again in {name!r}"
                    )
                taken[number] = name
            self.splits[name] = numbers.astype(np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        return self.items[index].load()

    def __iter__(self) -> Iterator[Sample]:
        return (item.load() for item in self.items)

    def __add__(self, other: "Dataset") -> "Dataset":
        """Return the samples of both, those of `other` behind, with splits of one name joined."""
        splits = {name: indices.tolist() for name, indices in self.splits.items()}
        for name, indices in other.splits.items():
            splits.setdefault(name, []).extend((indices + len(self)).tolist())
        return Dataset(self.items + other.items, splits)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(indices)}" for name, indices in self.splits.items())
        return f"Dataset({len(self)} samples{': ' if sizes else ''}{sizes})"

    def part(self, name: str | None = None) -> NDArray[np.int64]:
        """Return the indices of a split, or of all samples for `None`.

        Raises:
            ParameterError: there is no such split.

        Example:
            >>> Dataset([]).part("training")
            Traceback (most recent call last):
            ecvl.errors.ParameterError: expected a split among none, received 'training'; ...
        """
        if name is None:
            return np.arange(len(self))
        if name not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise ParameterError(
                f"expected a split among {known}, received {name!r}; split the dataset first"
            )
        return self.splits[name]

    def with_splits(self, splits: Mapping[str, ArrayLike]) -> "Dataset":
        """Return the same samples with these splits.

        Example:
            >>> Dataset([]).with_splits({"test": []})
            Dataset(0 samples: test 0)
        """
        return Dataset(self.items, splits)

    def split_blocks(self, block: int = 8, every: int = 4, gap: int = 2) -> "Dataset":
        """Split the slices of each volume into "training" and "test" by blocks, with a gap.

        Neighbouring slices are nearly alike, so a slice-wise random split would test on what was
        trained on. Here every `every`-th block of `block` slices is held out, and training slices
        within `gap` slices of a held-out one are in no split.

        Args:
            block: slices a block, at least 1.
            every: which block is held out, at least 2.
            gap: at least twice the slices that a sample reaches to each side, so that no slice is
                seen by both.

        Raises:
            ParameterError: a number is too small.

        Example:
            >>> from ecvl import Image
            >>> from ecvl.dataset import slices
            >>> data = slices(Image(np.zeros((64, 2, 2)), "zyx")).split_blocks()
            >>> data
            Dataset(64 samples: training 42, test 16)
        """
        reach = max((item.reach for item in self.items), default=0)
        if block < 1 or every < 2 or gap < 2 * reach:
            raise ParameterError(
                f"expected block >= 1, every >= 2 and gap >= {2 * reach} (twice the neighbours), "
                f"received block={block}, every={every}, gap={gap}"
            )
        volumes: dict[str, list[int]] = {}
        for index, item in enumerate(self.items):
            volumes.setdefault(item.volume, []).append(index)
        training: list[int] = []
        test: list[int] = []
        for indices in volumes.values():
            positions = np.array([self.items[index].position for index in indices])
            held_out = positions // block % every == every - 1
            for index, position, out in zip(indices, positions, held_out, strict=True):
                if out:
                    test.append(index)
                elif not (np.abs(positions[held_out] - position) <= gap).any():
                    training.append(index)
        return self.with_splits({"training": training, "test": test})
