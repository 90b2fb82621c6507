"""Random numbers against the distributions that they claim to follow."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from ecvl import Image, augment
from ecvl.augment.randoms import BLOCK, Source, blocks

COUNT = 400_000


def source(seed: int = 0) -> Source:
    return Source(np.random.Generator(np.random.Philox(seed)))


def drawn(numbers: Any) -> Any:
    values = np.empty(COUNT, np.float32)
    for place, block in numbers:
        values[place] = block
    return values


def test_real_numbers_follow_their_distributions() -> None:
    normals = drawn(source().normals(COUNT))
    laplaces = drawn(source().laplaces(COUNT))
    uniforms = source().uniforms(COUNT)
    assert scipy.stats.kstest(normals, "norm").pvalue > 1e-3
    assert scipy.stats.kstest(laplaces, "laplace", (0, math.sqrt(0.5))).pvalue > 1e-3
    assert scipy.stats.kstest(uniforms, "uniform").pvalue > 1e-3
    for values in (normals, laplaces, uniforms - uniforms.mean()):
        neighbours = np.corrcoef(values[:-1], values[1:])[0, 1]
        halves = np.corrcoef(values[: BLOCK // 2], values[BLOCK // 2 : BLOCK])[0, 1]
        assert abs(neighbours) < 0.01 and abs(halves) < 0.03


@pytest.mark.parametrize("rate", [0.0003, 0.7, 12.5])
def test_choices_are_exact(rate: float) -> None:
    counts = np.arange(60, dtype=np.int16)
    cumulative = scipy.stats.poisson.cdf(counts, rate)
    for values in (counts, counts.astype(np.float32)):
        found = source(1).choices(cumulative, values, COUNT)
        expected = np.diff(cumulative, prepend=0) * COUNT
        seen = np.bincount(found.astype(int), minlength=60)
        assert scipy.stats.chisquare(
            [*seen[expected > 5], seen[expected <= 5].sum()],
            [*expected[expected > 5], COUNT - expected[expected > 5].sum()],
        ).pvalue > 1e-3  # fmt: skip


@pytest.mark.parametrize("chance", [0.0, 1e-5, 0.3, 1.0])
def test_chances_are_exact(chance: float) -> None:
    hits = sum(int(source(seed).bernoulli(chance, COUNT).sum()) for seed in range(5))
    assert scipy.stats.binomtest(hits, 5 * COUNT, chance).pvalue > 1e-3


def test_calls_differ_and_keys_decide() -> None:
    one, same, other = source(3), source(3), source(4)
    first = one.words(10)
    assert np.array_equal(first, same.words(10))
    assert not np.intersect1d(first, one.words(10)).size
    assert not np.intersect1d(first, other.words(10)).size


def test_blocks_cover_everything_once() -> None:
    assert np.concatenate([np.arange(99)[b] for b in blocks(99, 10)]).tolist() == list(range(99))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize(
    ("turn", "mean", "deviation"),
    [
        (augment.AdditiveGaussianNoise(0.04), 0, 0.04 * 255),
        (augment.AdditiveLaplaceNoise(0.04), 0, 0.04 * 255),
        (augment.AdditivePoissonNoise(9), 9, 3),
    ],
)
def test_noise_is_the_same_for_every_type(
    turn: Any, mean: float, deviation: float, dtype: str
) -> None:
    image = Image(np.full((300, 300), 120, dtype), "yx", value_range=(0, 255))
    noise = turn(image, seed=1).array.astype(float) - 120
    # Rounding adds a twelfth to the variance.
    rounding = 1 / 12 if dtype != "float32" and mean == 0 else 0
    assert noise.mean() == pytest.approx(mean, abs=5 * deviation / 300)
    assert noise.std() == pytest.approx(math.sqrt(deviation**2 + rounding), rel=0.02)


def test_noise_may_be_the_same_in_all_channels() -> None:
    image = Image(np.full((20, 20, 3), 120, np.uint8), "yxc")
    for dtype in ("uint8", "float32"):
        given = image.replace(array=image.array.astype(dtype), value_range=(0, 255))
        noisy = augment.AdditiveGaussianNoise(0.1, per_channel=False)(given, seed=1).array
        assert (noisy == noisy[..., :1]).all() and noisy.std() > 10
        noisy = augment.AdditiveGaussianNoise(0.1)(given, seed=1).array
        assert not (noisy == noisy[..., :1]).all()


@pytest.mark.parametrize("name", ["Dropout", "Pepper", "Salt", "SaltAndPepper", "ImpulseNoise"])
def test_the_amount_is_the_part_that_is_replaced(name: str) -> None:
    image = Image(np.full((200, 200, 3), 120, np.uint8), "yxc")
    array = augment.AUGMENTATIONS[name](0.2)(image, seed=1).array  # type: ignore[call-arg]
    assert (array != 120).mean() == pytest.approx(0.2, abs=0.01)
    together = (array == array[..., :1]).all()
    assert together == (name != "ImpulseNoise")
    if name in ("SaltAndPepper", "ImpulseNoise"):
        assert (array == 255).mean() == pytest.approx(0.1, abs=0.01)
