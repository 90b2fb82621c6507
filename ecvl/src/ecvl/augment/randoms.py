"""Many random numbers, quickly: bits in keyed blocks, and distributions made of them.

Bits come from SFC64 (Doty-Humphrey 2010), which is twice as quick as Philox, in blocks: each is
seeded by a key that Philox gave and its own number. So what stands at a place depends on the key
alone and neither on the number of threads nor on their order.

Whole-number noise (for whole-number pixels) is drawn by inverting its distribution function: 16
random bits look up a table, and the few that fall where the function steps are settled by further
bits, so probabilities are exact to 2**-48. Real noise is made of uniform numbers of 32 bits.

Held by `tests/ecvl/augment/test_randoms.py` against scipy.stats.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

BLOCK = 1 << 16
TABLE_SIZE = 1 << 16

# Numbers that are left out, beyond the twelve that NumPy leaves out, until a seed is spread well.
WARM = 8

Floats = NDArray[np.float32]


class _Seed(ISeedSequence):
    """The three words of a state of SFC64 as they are."""

    def __init__(self, words: tuple[int, int, int]) -> None:
        self._words = np.array(words, np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> Any:
        return self._words


class Source:
    """Random bits for the pixels of one image, keyed by a generator.

    Example:
        >>> source = Source(np.random.Generator(np.random.Philox(1)))
        >>> source.words(3).dtype, len(source.words(3))
        (dtype('uint64'), 3)
    """

    def __init__(self, rng: np.random.Generator) -> None:
        first, second = rng.integers(0, 1 << 63, 2, dtype=np.uint64).tolist()
        self._key = first, second
        self._calls = 0

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return `count` words of 64 bits; every call gives further ones."""
        self._calls += 1
        seed: Any = _Seed((*self._key, self._calls))
        return np.asarray(np.random.SFC64(seed).random_raw(WARM + count)[WARM:])

    def halves(self, count: int) -> NDArray[np.uint16]:
        """Return `count` numbers of 16 bits."""
        return self.words(-(-count // 4)).view(np.uint16)[:count]

    def bernoulli(self, chance: float, count: int) -> NDArray[np.bool_]:
        """Return `count` truth values, each true with a chance that is exact to 2**-48.

        Example:
            >>> Source(np.random.Generator(np.random.Philox(1))).bernoulli(1, 2)
            array([ True,  True])
        """
        halves = self.halves(count)
        step = int(np.floor(chance * TABLE_SIZE))
        if step >= TABLE_SIZE:
            return np.ones(count, np.bool_)
        found = halves < np.uint16(step)
        if rest := chance * TABLE_SIZE - step:
            doubtful = np.flatnonzero(halves == step)
            found[doubtful] = self._fractions(len(doubtful)) < rest
        return found

    def either(self, chance: float, count: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return two sets of `count` places that have none in common, each of half the chance.

        Example:
            >>> first, second = Source(np.random.Generator(np.random.Philox(1))).either(1, 9)
            >>> bool((first ^ second).all())
            True
        """
        halves = self.halves(count)
        step = int(np.floor(chance / 2 * TABLE_SIZE))
        rest = chance / 2 * TABLE_SIZE - step
        found = []
        for numbers in (halves, ~halves):
            if step >= TABLE_SIZE // 2:
                chosen = numbers < np.uint16(TABLE_SIZE // 2)
            else:
                chosen = numbers < np.uint16(step)
                if rest:
                    doubtful = np.flatnonzero(numbers == step)
                    chosen[doubtful] = self._fractions(len(doubtful)) < rest
            found.append(chosen)
        return found[0], found[1]

    def choices(
        self, cumulative: NDArray[np.float64], values: NDArray[Any], count: int
    ) -> NDArray[Any]:
        """Return values drawn by their probabilities.

        Args:
            cumulative: the probabilities of the first value, of the first two, ...
            values: int16 or float32.
            count: how many.

        Example:
            >>> source = Source(np.random.Generator(np.random.Philox(1)))
            >>> source.choices(np.array([0.0, 1.0]), np.array([5, 7], np.int16), 3)
            array([7, 7, 7], dtype=int16)
        """
        import cv2

        last = len(values) - 1
        places = np.clip(cumulative[:last] * TABLE_SIZE, 0, TABLE_SIZE)
        firsts = np.ceil(places).astype(np.intp)
        table = np.repeat(values, np.diff(firsts, prepend=0, append=TABLE_SIZE))
        unsettled = np.nan if table.dtype == np.float32 else np.int16(-(1 << 15))
        table[firsts[firsts > places] - 1] = unsettled
        halves = self.halves(count)
        word = np.float32 if table.dtype == np.float32 else np.uint16
        found = cv2.LUT(halves.reshape(1, -1), table.view(word).reshape(1, -1))
        found = found.reshape(-1).view(table.dtype)
        doubtful = np.flatnonzero(found != found if word == np.float32 else found == unsettled)
        exact = (halves[doubtful] + self._fractions(len(doubtful))) / TABLE_SIZE
        found[doubtful] = values[np.minimum(np.searchsorted(cumulative, exact, "right"), last)]
        return np.asarray(found)

    def uniforms(self, count: int) -> Floats:
        """Return numbers between 0 and 1."""
        return _open_uniform(self.words(-(-count // 2)).view(np.uint32)[:count])

    def normals(self, count: int, deviation: float = 1.0) -> Iterator[tuple[slice, Floats]]:
        """Give normal numbers of a standard deviation, block by block (Box and Muller 1958)."""
        for place in blocks(count):
            size = place.stop - place.start
            pairs = -(-size // 2)
            words = self.words(pairs).view(np.uint32)
            radius, turn = _open_uniform(words[:pairs]), words[pairs:].astype(np.float32)
            np.log(radius, out=radius)
            radius *= np.float32(-2 * deviation**2)
            np.sqrt(radius, out=radius)
            turn *= np.float32(2 * np.pi * 2.0**-32)
            values = np.empty(2 * pairs, np.float32)
            np.cos(turn, out=values[:pairs])
            np.sin(turn, out=values[pairs:])
            values[:pairs] *= radius
            values[pairs:] *= radius
            yield place, values[:size]

    def laplaces(self, count: int) -> Iterator[tuple[slice, Floats]]:
        """Give Laplace numbers of standard deviation 1, block by block."""
        for place in blocks(count):
            size = place.stop - place.start
            words = self.words(-(-size // 2)).view(np.uint32)[:size]
            # The lowest bit is the sign, the others say how far out.
            values = _open_uniform(words | np.uint32(1))
            np.log(values, out=values)
            values *= np.float32(np.sqrt(0.5))
            values.view(np.uint32)[...] ^= words << np.uint32(31)
            yield place, values

    def _fractions(self, count: int) -> NDArray[np.float64]:
        if not count:
            return np.zeros(0)
        return np.asarray((self.words(count) >> np.uint64(11)) * 2.0**-53, np.float64)


def blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    """Give the pieces of an array that are worked on one after another, to stay in the cache.

    Example:
        >>> list(blocks(5, 3))
        [slice(0, 3, None), slice(3, 5, None)]
    """
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _open_uniform(words: NDArray[np.uint32]) -> Floats:
    """Return 32-bit words as numbers above 0 and up to 1."""
    values = words.astype(np.float32)
    values += np.float32(0.5)
    values *= np.float32(2.0**-32)
    return values
