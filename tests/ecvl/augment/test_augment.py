"""Augmentations one by one against their definitions, and fused against one after another."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import ecvl
from ecvl import Image, Sample, augment
from ecvl.augment.base import generator
from ecvl.augment.blur import whole_kernel
from ecvl.process import pull as pull_module


def test_gamma_is_the_specifications() -> None:
    image = Image(np.arange(256, dtype=np.uint8)[None], "yx")
    turned = augment.GammaContrast(1.7)(image, seed=1)
    expected = np.rint(255 * (np.arange(256) / 255) ** 1.7)
    assert np.abs(turned.array[0] - expected).max() <= 1
    assert (turned.array[0] == expected).mean() > 0.99
    hounsfield = Image(np.linspace(-1000, 1000, 50, dtype=np.float32)[None], "yx")
    bent = augment.GammaContrast(0.5)(hounsfield, seed=1).array
    np.testing.assert_allclose(
        bent, -1000 + 2000 * ((hounsfield.array + 1000) / 2000) ** 0.5, atol=1e-2
    )


def test_noise_has_the_deviation() -> None:
    image = Image(np.full((200, 200), 500, np.int16), "yx", value_range=(0, 1000))
    noisy = augment.AdditiveGaussianNoise(0.05)(image, seed=1).array
    assert noisy.std() == pytest.approx(50, rel=0.05)
    assert noisy.mean() == pytest.approx(500, abs=2)


def test_blur_is_scipys(volume: Any) -> None:
    image = volume(dtype=np.float32).replace(value_range=(-10, 10), affine=np.diag([2, 1, 3, 1]))
    blurred = augment.GaussianBlur(2.4)(image, seed=1).array
    theirs = scipy.ndimage.gaussian_filter(image.array, (0.8, 2.4, 1.2), mode="nearest", truncate=4)
    np.testing.assert_allclose(blurred, theirs, atol=0.01)


def test_multiply_and_add_work_from_the_low_end() -> None:
    image = Image(np.array([[-1000, 0, 1000]], np.int16), "yx")
    assert augment.Multiply(0.5)(image, seed=1).array.tolist() == [[-1000, -500, 0]]
    assert augment.Add(0.25)(image, seed=1).array.tolist() == [[-500, 500, 1000]]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_right_angles_are_exact(degrees: int) -> None:
    array = np.arange(49, dtype=np.int16).reshape(7, 7)
    turned = augment.Rotate(degrees)(Image(array, "yx"), seed=1)
    # NumPy turns y towards x, so the other way round.
    assert np.array_equal(turned, np.rot90(array, -degrees // 90))


def test_rotation_is_scipys(smooth: Any) -> None:
    image = smooth(axes="yx")
    turned = augment.Rotate(12, fill=0)(image, seed=1).array
    theirs = scipy.ndimage.rotate(image.array, -12, reshape=False, order=1)
    assert np.abs(turned - theirs)[4:-4, 4:-4].max() < 1e-3


def test_rotation_is_rigid_in_mm() -> None:
    disc = np.hypot(*np.meshgrid(np.arange(-20, 21) * 2.0, np.arange(-40, 41) * 1.0)) < 15
    image = Image(disc.astype(np.float32), "yx", np.diag([2, 1, 1, 1]))
    turned = augment.Rotate(37)(image, seed=1)
    assert np.abs((turned.array > 0.5) ^ disc).mean() < 0.02
    assert turned.spacing == pytest.approx(image.spacing)


@pytest.mark.parametrize(("axis", "plane"), [("z", (1, 2)), ("x", (0, 1)), ("y", (0, 2))])
def test_rotation_around_each_axis(axis: str, plane: Any) -> None:
    array = np.random.default_rng(0).normal(size=(5, 5, 5)).astype(np.float32)
    turned = augment.Rotate(90, axis=axis)(Image(array, "zyx"), seed=1)
    assert any(np.array_equal(turned, np.rot90(array, k, axes=plane)) for k in (1, -1))


def test_translation_is_in_mm_and_moves_forward() -> None:
    image = Image(np.arange(5)[None], "yx", np.diag([2, 1, 1, 1]))
    moved = augment.Translate(x=(4, 4), y=0, fill=9)(image, seed=1)
    assert moved.array.tolist() == [[9, 9, 0, 1, 2]]


def test_fill_rules() -> None:
    image = Image(np.array([[5, 6, 7]]), "yx")
    mask = Image(np.array([[1, 1, 1]]), "yx", kind="labels")
    for fill, expected in ((None, 5), (2, 2), ("edge", 5)):
        moved, labels = augment.Translate(x=(1, 1), y=0, fill=fill)(image, mask, seed=1)
        assert moved.array.tolist() == [[expected, 5, 6]]
        assert labels.array.tolist() == [[0, 1, 1]]


@pytest.fixture
def interpolations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    original = pull_module._interpolated

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(pull_module, "_interpolated", counted)
    return calls


def _chain(fuse: bool = True, fill: Any = None) -> augment.Sequential:
    return augment.Sequential(
        [
            augment.Rotate((-10, 10)),
            augment.Flip("y", p=1),
            augment.Scale((0.9, 1.1), fill=fill),
            augment.Translate(x=(-2, 2), y=(-2, 2), fill=fill),
        ],
        fuse=fuse,
    )


def test_neighbours_become_one_interpolation(smooth: Any, interpolations: list[int]) -> None:
    image = smooth(axes="yx")
    _chain()(image, seed=1)
    assert len(interpolations) == 1
    interpolations.clear()
    _chain(fuse=False)(image, seed=1)
    assert len(interpolations) == 3
    interpolations.clear()
    _chain(fill=0)(image, seed=1)
    assert len(interpolations) == 2
    interpolations.clear()
    augment.Sequential([augment.Rotate(), augment.Add(), augment.Rotate()])(image, seed=1)
    assert len(interpolations) == 2
    interpolations.clear()
    augment.Sequential([augment.Flip("x", p=1), augment.Flip("y", p=1)])(image, seed=1)
    assert not interpolations


@pytest.mark.parametrize("seed", range(5))
def test_fused_and_one_by_one_agree(smooth: Any, seed: int) -> None:
    image = smooth()
    mask = Image((image.array > 50).astype(np.uint8), "zyx", kind="labels")
    fused, fused_mask = _chain()(image, mask, seed=seed)
    single, single_mask = _chain(fuse=False)(image, mask, seed=seed)
    np.testing.assert_allclose(fused.affine, single.affine, atol=1e-9)
    middle = (slice(None), slice(5, -5), slice(5, -5))
    assert np.abs(fused.array - single.array)[middle].max() < 0.02 * np.ptp(image.array)
    # Labels may differ where a border runs, by the voxel that rounding twice is off.
    border = np.abs(fused.array - 50) < 20
    assert not (fused_mask.array != single_mask.array)[middle][~border[middle]].any()


def test_decisions_of_one_operation_do_not_move_those_of_another(volume: Any) -> None:
    angles = set()
    for p in (0, 1):
        turn = augment.Sequential([augment.Flip(p=p), augment.Rotate((-10, 10))])
        angles.add(turn(Sample(volume()), seed=4).history[-1]["degrees"])
    assert len(angles) == 1


def test_random_numbers_are_these_on_every_machine() -> None:
    rng = generator(7, 1, 2, 3)
    expected = np.random.Generator(np.random.Philox(counter=[0, 0, 2, 3], key=[7, 1]))
    assert rng.random() == expected.random()
    streams = {generator(s, e, n, o).random() for s, e, n, o in np.ndindex(3, 3, 3, 3)}
    assert len(streams) == 81


def test_one_of_picks_each_as_often() -> None:
    turn = augment.OneOf([augment.Flip("x", p=1), augment.Flip("y", p=1), augment.Add()], p=0.9)
    sample = Sample(Image(np.arange(4).reshape(2, 2), "yx"))
    done = [turn(sample, seed=1, sample=n).history for n in range(600)]
    names = [str({k: h[k] for k in ("op", "axes") if k in h}) for (h,) in filter(None, done)]
    counts = [names.count(name) for name in sorted(set(names))]
    assert len(counts) == 3 and min(counts) > 140 and max(counts) < 220
    assert 30 < done.count(()) < 90


def test_some_of_keeps_the_order_and_does_none_twice() -> None:
    steps = [augment.Flip("x", p=1), augment.Add(), augment.Multiply(), augment.Salt()]
    turn = augment.SomeOf(steps, (1, 3))
    sample = Sample(Image(np.arange(4).reshape(2, 2), "yx"))
    order = ["Flip", "Add", "Multiply", "Salt"]
    seen = set()
    for n in range(300):
        names = [entry["op"] for entry in turn(sample, seed=1, sample=n).history]
        assert names == [name for name in order if name in names]
        seen.add(tuple(names))
    assert len(seen) == 4 + 6 + 4


def test_what_is_picked_does_not_move_what_follows() -> None:
    sample = Sample(Image(np.arange(4).reshape(2, 2), "yx"))
    angles = set()
    for first in (augment.Flip(), augment.Flip(p=0)):
        turn = augment.Sequential([augment.OneOf([first, first]), augment.Rotate()])
        angles.add(turn(sample, seed=1).history[-1]["degrees"])
    assert len(angles) == 1


def test_rotation_around_a_place() -> None:
    image = Image(np.arange(25).reshape(5, 5), "yx")
    turned = augment.Rotate(90, centre=(0, 0), fill=-1)(image, seed=1).array
    assert turned[0, 0] == 0 and (turned[1:, 1:] == -1).all()
    with pytest.raises(ecvl.GeometryError, match="centre"):
        augment.Rotate(centre=(1, 2, 3))(image, seed=1)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_tables_are_looked_up_alike_by_each_library(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecvl.augment import lookup

    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    array = rng.integers(limits.min, limits.max, (40, 30, 3), endpoint=True).astype(dtype)
    table = rng.integers(limits.min, limits.max, limits.max - limits.min + 1).astype(dtype)
    expected = table[array.view(f"u{array.dtype.itemsize}")]
    assert np.array_equal(lookup.looked_up(array, table), expected)
    monkeypatch.setattr(lookup, "_translate", lambda: None)
    assert np.array_equal(lookup.looked_up(array, table), expected)
    assert np.array_equal(lookup.looked_up(array[::2, ::-1], table), expected[::2, ::-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ends", [(0, 1), (-1000, 3000), (9.99e5, 1e6)])
def test_lines_saturate_at_the_ends(dtype: str, ends: Any) -> None:
    values = np.linspace(ends[0], ends[1], 5000).astype(dtype)
    values[:2] = ends[0] - 5, ends[1] + 5
    image = Image(values[None], "yx", value_range=ends)
    width = ends[1] - ends[0]
    inside = np.clip(values.astype(np.float64), *ends)
    for turn, expected in (
        (augment.Add(0.3), inside + 0.3 * width),
        (augment.Brightness(-0.3), inside - 0.3 * width),
        (augment.Multiply(1.17), (inside - ends[0]) * 1.17 + ends[0]),
        (augment.Multiply(0), np.full(5000, ends[0])),
        (augment.Contrast(1e-4), values.mean(dtype=np.float64) + (inside - values.mean()) * 1e-4),
    ):
        changed = turn(image, seed=1).array
        # Exactly: values outside would be cut off again and again along a pipeline.
        assert changed.min() >= ends[0] and changed.max() <= ends[1]
        bound = 4 * np.finfo(dtype).eps * max(map(abs, ends)) + 1e-7 * width
        assert np.abs(changed[0] - np.clip(expected, *ends)).max() <= bound


def test_exponents_of_nothing_are_right() -> None:
    values = np.zeros((300, 300), np.float32)
    values[::2] = 0.25
    image = Image(values, "yx", value_range=(0, 1))
    for gamma, expected in ((0.5, 0.5), (2, 0.0625)):
        bent = augment.GammaContrast(gamma)(image, seed=1).array
        assert not bent[1::2].any()
        np.testing.assert_allclose(bent[::2], expected, rtol=1e-6)
    assert (augment.GammaContrast(0)(image, seed=1).array == 1).all()


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5, 7.0, 90.0])
def test_whole_kernels_are_gaussians(sigma: float) -> None:
    kernel = whole_kernel(sigma)
    assert kernel.sum() == 1 and kernel.min() >= 0
    assert np.array_equal(kernel, kernel[::-1]) and np.array_equal(256 * kernel % 1, 0 * kernel)
    index = np.arange(len(kernel)) - len(kernel) // 2
    assert np.sqrt((kernel * index**2).sum()) == pytest.approx(sigma, rel=0.1)


def test_colours_are_equalised_by_their_luminance() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(20, 120, (40, 50, 3)).astype(np.uint8)
    found = augment.HistogramEqualization(p=1)(Image(colours, "yxc"), seed=1).array
    grey = np.rint(colours @ [0.299, 0.587, 0.114]).astype(np.uint8)
    even = augment.HistogramEqualization(p=1)(Image(grey, "yx"), seed=1).array
    expected = np.clip(colours + (even.astype(int) - grey)[..., None], 0, 255)
    assert np.abs(found - expected).max() <= 8
    assert np.abs(found - expected).mean() < 0.1
