"""What every augmentation is: a small frozen object with ranges, called on what it should turn.

* `turn(image, seed=7)`, `turn(image, mask, seed=7)` and `turn(sample, seed=7)` return what they
  were given. Images and labels of one call are transformed alike.
* Every random decision comes from Philox, keyed by seed and epoch, with sample and operation as its
  counter: nothing else (no global state, no number of workers) can change it.

Held by `tests/ecvl/test_augment_contract.py`, generated for every class of the table.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, overload

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from ecvl.errors import KindError, ParameterError
from ecvl.image import Image
from ecvl.process.pull import checked_fill
from ecvl.sample import Sample
from ecvl.serial import checked_pair, is_number, to_entry

Streams = Callable[[int], np.random.Generator]
Planned = tuple[int, "Operation"]


class Augmentation:
    """Anything that can be called on images, labels and samples."""

    @property
    def streams(self) -> int:
        """How many streams of random numbers it may draw from."""
        raise NotImplementedError

    def plan(self, first: int, streams: Streams) -> list[Planned]:
        """Return the single operations to be done, in order, each with the number of its stream.

        Args:
            first: the number of its first stream.
            streams: from a number to the stream of random numbers.
        """
        raise NotImplementedError

    @property
    def fuses(self) -> bool:
        """Whether neighbouring spatial operations become one resampling."""
        return True

    def to_json(self) -> dict[str, Any]:
        """Return plain objects, lists and numbers that `ecvl.augment.from_json` reads.

        Example:
            >>> from ecvl.augment import Flip
            >>> Flip(p=1).to_json()
            {'op': 'Flip', 'axes': 'x', 'p': 1.0}
        """
        raise NotImplementedError

    def to_text(self) -> str:
        """Return the specification's text form, which `ecvl.augment.from_text` reads.

        Example:
            >>> from ecvl.augment import Rotate
            >>> Rotate((-5, 5)).to_text()
            'AugRotate angle=[-5,5]'
        """
        from ecvl.augment.text import to_text

        return to_text(self)

    @overload
    def __call__(
        self, given: Sample, /, *, seed: int, epoch: int = 0, sample: int = 0
    ) -> Sample: ...
    @overload
    def __call__(self, given: Image, /, *, seed: int, epoch: int = 0, sample: int = 0) -> Image: ...
    @overload
    def __call__(
        self, given: Image, /, *more: Image, seed: int, epoch: int = 0, sample: int = 0
    ) -> tuple[Image, ...]: ...

    def __call__(
        self, given: Image | Sample, /, *more: Image, seed: int, epoch: int = 0, sample: int = 0
    ) -> Any:
        """Return what was given, augmented.

        Args:
            given: an image, or a sample.
            more: further images and labels on the same grid.
            seed: the seed of all decisions, 0 or above.
            epoch: the pass over the data, 0 or above.
            sample: the number of the sample in the data, 0 or above.

        Raises:
            KindError: it is neither images nor a sample, or labels alone for an intensity
            operation.
            GeometryError: the images do not stand on one grid.
        """
        from ecvl.augment.run import run

        for name, value in (("seed", seed), ("epoch", epoch), ("sample", sample)):
            if not isinstance(value, int | np.integer) or not 0 <= value < 1 << 64:
                raise ParameterError(
                    f"expected {name} as a whole number from 0, received {value!r}"
                )
        keys = int(seed), int(epoch), int(sample)
        if isinstance(given, Sample) and not more:
            return run(self, given, *keys)
        images = (given, *more)
        for image in images:
            if not isinstance(image, Image):
                raise KindError(
                    f"expected ecvl.Image objects or one ecvl.Sample, received "
                    f"{type(image).__name__}"
                )
        turned = run(self, images, *keys)
        return turned[0] if len(turned) == 1 else turned


class Operation(Augmentation):
    """A single augmentation.

    Attributes:
        p: the probability that it does anything.
    """

    p: float

    @property
    def chance(self) -> float:
        """The probability that it is asked to do anything."""
        return self.p

    @property
    def streams(self) -> int:
        """One."""
        return 1

    def plan(self, first: int, streams: Streams) -> list[Planned]:
        """Return itself."""
        return [(first, self)]

    def to_json(self) -> dict[str, Any]:
        """Return its name and fields."""
        return to_entry(self)

    @classmethod
    def range_names(cls) -> tuple[str, ...]:
        """Return the names of the fields that are ranges of real numbers to draw from.

        Example:
            >>> from ecvl.augment import CoarseDropout
            >>> CoarseDropout.range_names()
            ('amount', 'size')
        """
        return _range_names(cls)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        self._check()

    def _check(self, **bounds: float | tuple[float, float]) -> None:
        """Store ranges as pairs of floats, and check them against `bounds` (least, or both)."""
        for name in self.range_names():
            bound = bounds.get(name)
            least, most = bound if isinstance(bound, tuple) else (bound, None)
            pair = checked_pair(getattr(self, name), name, least, most)
            object.__setattr__(self, name, pair)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.type is bool and not isinstance(value, bool):
                raise ParameterError(
                    f"expected {field.name} to be True or False, received {value!r}"
                )
            if field.name == "fill":
                checked_fill(value)
        if not is_number(self.p) or not 0 <= self.p <= 1:
            raise ParameterError(f"expected a probability p from 0 to 1, received {self.p!r}")
        object.__setattr__(self, "p", float(self.p))


@functools.cache
def _range_names(cls: Any) -> tuple[str, ...]:
    fields = dataclasses.fields(cls)
    return tuple(field.name for field in fields if field.type == tuple[float, float])


def generator(seed: int, epoch: int, sample: int, operation: int) -> np.random.Generator:
    """Return the random numbers of one operation on one sample, the same on every machine.

    Example:
        >>> generator(1, 0, 0, 0).random() == generator(1, 0, 0, 0).random()
        True
    """
    return np.random.Generator(philox((seed, epoch), (sample, operation)))


class _Key(ISeedSequence):
    """A key as it is. Given in another way, Philox asks the system for entropy and drops it."""

    def __init__(self, key: tuple[int, int]) -> None:
        self._key = np.array(key, np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> Any:
        return self._key


def philox(key: tuple[int, int], counter: tuple[int, int]) -> np.random.Philox:
    """Return NumPy's Philox of a key, with the upper half of its counter given.

    Example:
        >>> philox((1, 2), (3, 4)).random_raw() == philox((1, 2), (3, 4)).random_raw()
        True
    """
    given: Any = _Key(key)
    return np.random.Philox(given, counter=np.array([0, 0, *counter], np.uint64))


def drawn(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """Return a number between two ends, each as likely.

    Example:
        >>> drawn(generator(1, 0, 0, 0), (2.0, 2.0))
        2.0
    """
    low, high = ends
    return low + (high - low) * float(rng.random())
