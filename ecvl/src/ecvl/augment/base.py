"""What every augmentation is: a small frozen object with ranges, called on what it should turn.

* `turn(image, seed=7)`, `turn(image, mask, seed=7)` and `turn(sample, seed=7)` return what they
  were given. Images and labels of one call are transformed alike.
* Every random decision comes from Philox, keyed by seed and epoch, with sample and operation as its
  counter: nothing else (no global state, no number of workers) can change it.

Held by `tests/ecvl/augment/test_contract.py`, generated for every class of the table.
"""

import dataclasses
import functools
from typing import Any, overload

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from ecvl.augment.chain import Chain
from ecvl.errors import KindError, ParameterError
from ecvl.image import Image
from ecvl.process.pull import checked_fill
from ecvl.sample import Sample, require_one_grid
from ecvl.serial import checked_pair, is_number, to_entry

Planned = tuple[int, "Operation"]
Key = tuple[int, int, int]
Record = dict[str, Any]

# The random numbers of what draws none.
NOTHING: Any = None

# How many a seed, an epoch and the number of a sample have.
KEY_BITS = 64


class Augmentation:
    """Anything that can be called on images, labels and samples."""

    @property
    def streams(self) -> int:
        """How many streams of random numbers it may draw from."""
        raise NotImplementedError

    def plan(self, first: int, key: Key) -> list[Planned]:
        """Return the single operations to be done, in order, each with the number of its stream.

        Args:
            first: the number of its first stream.
            key: the seed, the epoch and the number of the sample, that `generator` takes.
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
        key = seed, epoch, sample
        if not (
            type(seed) is type(epoch) is type(sample) is int
            and not (seed | epoch | sample) >> KEY_BITS
        ):
            key = _checked(seed=seed, epoch=epoch, sample=sample)
        if isinstance(given, Image) and not more:
            return self._alone(given, key)
        if isinstance(given, Sample) and not more:
            return self._turned_sample(given, key)
        images: list[Any] = [given, *more]
        for image in images:
            if not isinstance(image, Image):
                raise KindError(
                    f"expected ecvl.Image objects or one ecvl.Sample, received "
                    f"{type(image).__name__}"
                )
        require_one_grid(images)
        chain = Chain(images)
        self._carry_out(chain, key)
        return tuple(chain.images)

    def _alone(self, image: Image, key: Key) -> Image:
        """Return a single image after it."""
        chain = Chain([image])
        self._carry_out(chain, key)
        return chain.images[0]

    def _turned_sample(self, given: Sample, key: Key) -> Sample:
        chain = Chain([*given.images.values(), *given.labels.values()])
        done = self._carry_out(chain, key)
        history = [{"op": type(operation).__name__, **record} for operation, record in done]
        count = len(given.images)
        return given.changed(
            dict(zip(given.images, chain.images[:count], strict=True)),
            dict(zip(given.labels, chain.images[count:], strict=True)),
            (*given.history, *history),
            bends=chain.bends,
        )

    def _carry_out(self, chain: Chain, key: Key) -> list[tuple["Operation", Record]]:
        """Do to images what is planned, and return the operations with what they drew."""
        done = []
        dice: _Dice | None = None
        planned = self.plan(0, key)
        apart = len(planned) > 1 and not self.fuses
        for number, operation in planned:
            chance = operation.chance
            if chance < 1 or operation.draws:
                dice = dice or _taken()
                rng = dice.thrown_for(key, number)
                if rng.random() >= chance:
                    continue
            else:
                rng = NOTHING
            record = operation.perform(chain, rng)
            if record is not None:
                done.append((operation, record))
            if apart:
                chain.carry_out()
        if dice is not None:
            _SPARE.append(dice)
        chain.carry_out()
        return done


class Operation(Augmentation):
    """A single augmentation.

    Attributes:
        p: the probability that it does anything.
        draws: whether it draws random numbers beyond that which decides if anything is done.
    """

    p: float
    draws: bool = True

    @property
    def chance(self) -> float:
        """The probability that it is asked to do anything."""
        return self.p

    @property
    def streams(self) -> int:
        """One."""
        return 1

    def plan(self, first: int, key: Key) -> list[Planned]:
        """Return itself."""
        return [(first, self)]

    def perform(self, chain: Chain, rng: np.random.Generator) -> Record | None:
        """Do it to images, or let them remember it, and return what was drawn in plain objects.

        `None` stands for nothing done.
        """
        raise NotImplementedError

    def _alone(self, image: Image, key: Key) -> Image:
        """Return a single image after it."""
        image, chance = image.settled(), self.chance
        if chance == 1 and not self.draws:
            return self.turned(image, NOTHING)
        dice = _taken()
        rng = dice.thrown_for(key, 0)
        if rng.random() < chance:
            image = self.turned(image, rng)
        _SPARE.append(dice)
        return image

    def turned(self, image: Image, rng: np.random.Generator) -> Image:
        """Return one settled image after it: what `perform` does to many, by a shorter way."""
        chain = Chain([image])
        self.perform(chain, rng)
        chain.carry_out()
        return chain.images[0]

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


def _checked(**keys: Any) -> Key:
    for name, value in keys.items():
        if not isinstance(value, int | np.integer) or int(value) >> KEY_BITS:
            raise ParameterError(f"expected {name} as a whole number from 0, received {value!r}")
    seed, epoch, sample = map(int, keys.values())
    return seed, epoch, sample


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


class _Dice:
    """A generator that is set anew again and again, many times quicker than making one."""

    __slots__ = ("_bits", "_place", "_rng", "_state")

    def __init__(self) -> None:
        self._bits: Any = philox((0, 0), (0, 0))
        self._rng = np.random.Generator(self._bits)
        self._state = _state((0, 0), (0, 0, 0, 0))
        self._place = self._state["state"]

    def thrown_for(self, key: Key, operation: int) -> np.random.Generator:
        """Return what `generator` gives, until the next call."""
        seed, epoch, sample = key
        place = self._place
        place["key"] = seed, epoch
        place["counter"] = 0, 0, sample, operation
        self._bits.state = self._state
        return self._rng


# Those that no one has at the moment.
_SPARE: list[_Dice] = []


def _taken() -> _Dice:
    try:
        return _SPARE.pop()
    except IndexError:
        return _Dice()


class _NoEntropy(ISeedSequence):
    """What keeps Philox from asking the system for entropy that it does not need."""

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> Any:
        return np.zeros(n_words, dtype)


_NO_ENTROPY: Any = _NoEntropy()


def philox(key: tuple[int, int], counter: tuple[int, int]) -> np.random.Philox:
    """Return NumPy's Philox of a key, with the upper half of its counter given.

    Example:
        >>> philox((1, 2), (3, 4)).random_raw() == philox((1, 2), (3, 4)).random_raw()
        True
    """
    bits = np.random.Philox(_NO_ENTROPY)
    bits.state = _state(key, (0, 0, *counter))
    return bits


def _state(key: tuple[int, int], counter: tuple[int, int, int, int]) -> Any:
    return {
        "bit_generator": "Philox",
        "state": {"counter": counter, "key": key},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }


def drawn(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """Return a number between two ends, each as likely.

    Example:
        >>> drawn(generator(1, 0, 0, 0), (2.0, 2.0))
        2.0
    """
    low, high = ends
    return low + (high - low) * float(rng.random())
