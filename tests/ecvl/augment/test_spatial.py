"""Spatial augmentations one by one against their definitions."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from ecvl import GeometryError, Image, ParameterError, Sample, augment


def test_shear_is_scipys(smooth: Any) -> None:
    image = smooth(axes="yx")
    ours = augment.Shear(x=10, y=0, fill=0)(image, seed=1).array
    lean = np.tan(np.deg2rad(10))
    matrix = np.array([[1, 0], [-lean, 1]])
    centre = (np.array(image.shape) - 1) / 2
    theirs = scipy.ndimage.affine_transform(
        image.array, matrix, offset=centre - matrix @ centre, order=1
    )
    assert np.abs(ours - theirs)[4:-4, 6:-6].max() < 1e-3


def test_an_affine_is_its_parts(smooth: Any) -> None:
    image = smooth()
    whole = augment.Affine(
        degrees=7, scale=1.1, shear=0, translate=(2, 2), axes="zyx", fill="edge"
    )(image, seed=1)
    parts = augment.Sequential(
        [
            augment.Scale(1.1, "zyx", fill="edge"),
            augment.Rotate(7, "z", fill="edge"),
            augment.Rotate(7, "x", fill="edge"),
            augment.Rotate(7, "y", fill="edge"),
        ]
    )(image, seed=1)
    linear = whole.affine[:3, :3]
    np.testing.assert_allclose(linear, parts.affine[:3, :3], atol=1e-9)
    # The content's centre has gone 2 mm further along each axis.
    centre = (np.array(image.shape) - 1) / 2
    np.testing.assert_allclose(whole.index(image.world(centre)), centre + 2, atol=1e-9)


def test_an_affine_may_stretch(smooth: Any) -> None:
    image = smooth()
    turn = augment.Affine(0, (0.5, 2), 0, 0, axes="zyx", isotropic=False)
    sample = turn(Sample(image), seed=1)
    factors = sample.history[0]["scale"]
    np.testing.assert_allclose(
        sample.image.spacing, [1 / factors[letter] for letter in "zyx"], atol=1e-9
    )
    assert len(set(factors.values())) == 3


def test_transpose_swaps_sizes_and_spacings() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    image = Image(array, "zyx", np.diag([1, 2, 3, 1]))
    for axes, order in (("yx", (0, 2, 1)), ("zx", (2, 1, 0)), ("zy", (1, 0, 2))):
        turned = augment.Transpose(axes, p=1)(image, seed=1)
        assert np.array_equal(turned, array.transpose(order))
        assert turned.spacing == tuple(np.array(image.spacing)[list(order)])
    with pytest.raises(ParameterError, match="two axes"):
        augment.Transpose("x")


def test_each_axis_is_mirrored_by_its_own_chance() -> None:
    image = Image(np.arange(4).reshape(2, 2), "yx")
    turn = augment.Mirror("yx", p=0.5)
    seen = {turn(image, seed=1, sample=n).array.tobytes() for n in range(40)}
    assert len(seen) == 4


def test_crops() -> None:
    array = np.arange(6 * 8 * 10).reshape(6, 8, 10)
    image = Image(array, "zyx")
    assert np.array_equal(augment.CentreCrop(4)(image, seed=1), array[:, 2:6, 3:7])
    assert np.array_equal(augment.CentreCrop((2, 4, 4))(image, seed=1), array[2:4, 2:6, 3:7])
    padded = augment.CentreCrop((8, 12), fill=-1)(image, seed=1).array
    assert np.array_equal(padded, np.pad(array, ((0, 0), (0, 0), (1, 1)), constant_values=-1))
    odd = augment.CentreCrop((9, 10), fill=-1)(image, seed=1).array
    assert np.array_equal(odd, np.pad(array, ((0, 0), (0, 1), (0, 0)), constant_values=-1))
    starts = set()
    for n in range(200):
        sample = augment.RandomCrop((5, 7, 9))(Sample(image), seed=1, sample=n)
        z, y, x = sample.history[0]["start"]
        assert np.array_equal(sample.image, array[z : z + 5, y : y + 7, x : x + 9])
        starts.add((z, y, x))
    assert len(starts) == 8
    with pytest.raises(GeometryError, match="axes 'yx'"):
        augment.RandomCrop((1, 2, 3))(Image(np.zeros((4, 4)), "yx"), seed=1)
    for size in (0, 2.5, (3,), (1, 2, 3, 4), "4", True):
        with pytest.raises(ParameterError, match="size"):
            augment.RandomCrop(size)  # type: ignore[arg-type]


def test_crops_by_label_hold_the_label() -> None:
    values = np.zeros((30, 40), np.uint8)
    values[3:5, 30:33], values[20, 10] = 1, 2
    image, labels = Image(values.astype(np.float32), "yx"), Image(values, "yx", kind="labels")
    for n in range(20):
        _, part = augment.CropByLabel(8, values=(2,))(image, labels, seed=1, sample=n)
        assert part.array[4, 4] == 2
    turn = augment.Sequential([augment.Rotate((-30, 30)), augment.CropByLabel(9)])
    present = [turn(image, labels, seed=1, sample=n)[1].array.max() for n in range(40)]
    # A single voxel may fall between the voxels of the turned grid.
    assert np.mean(np.array(present) > 0) > 0.8
    both = [augment.CropByLabel(8)(image, labels, seed=2, sample=n)[1] for n in range(60)]
    assert 15 < sum(2 in part.array for part in both) < 45
    never = [augment.CropByLabel(8, ratio=0)(image, labels, seed=2, sample=n)[1] for n in range(60)]
    assert sum(2 in part.array for part in never) < 10
    empty = labels.replace(array=np.zeros_like(values))
    assert augment.CropByLabel(8)(image, empty, seed=1)[0].shape == (8, 8)
    with pytest.raises(GeometryError, match="labels to crop by"):
        augment.CropByLabel(8)(image, seed=1)


@pytest.mark.parametrize("shape", [(1, 200, 200), (30, 90, 90)])
def test_elastic_displacements_have_the_deviation(shape: Any) -> None:
    from ecvl.augment.chain import Chain

    turn = augment.Elastic(100, 6)
    image = Image(np.zeros(shape, np.float32), "zyx", np.diag([1, 1, 2, 1]))
    field, _ = turn.draw(np.random.default_rng(0), Chain([image]))
    nodes = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")[::-1], -1).reshape(-1, 3)
    beside = field.at(nodes[::7]) * (1, 1, 2)  # type: ignore[union-attr]
    expected = 100 / (np.sqrt(12 * np.pi) * 6)
    for axis in range(2 if shape[0] == 1 else 3):
        assert beside[:, axis].std() == pytest.approx(expected, rel=0.15)
    assert shape[0] > 1 or not beside[:, 2].any()


def test_a_grid_distortion_keeps_the_ends_and_is_straight_between() -> None:
    image = Image(np.tile(np.arange(100, dtype=np.float32), (60, 1)), "yx")
    sample = augment.GridDistortion(5, fill="edge")(Sample(image), seed=1)
    widths = np.array(sample.history[0]["widths"][0])
    assert widths.sum() == pytest.approx(5)
    edges = np.concatenate([[0], np.cumsum(widths)]) * 20 - 0.5
    expected = np.interp(np.arange(100), np.arange(6) * 20 - 0.5, edges)
    np.testing.assert_allclose(
        sample.image.array, np.tile(np.clip(expected, 0, 99), (60, 1)), atol=1e-3
    )


def test_an_optical_distortion_is_its_formula() -> None:
    height, width = 60, 100
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    ramp = Image(np.stack([x, y]).astype(np.float32), "cyx", np.diag([1, 2, 1, 1]))
    sample = augment.OpticalDistortion(0.2, (0.1, 0.1), fill=-9)(Sample(ramp), seed=1)
    dx, dy = x - (width - 1) / 2 - 0.1 * width, y - (height - 1) / 2 - 0.1 * height
    # The longer side is that along y: 60 pixels of 2 mm.
    factor = 1 + 0.2 * (dx**2 + (2 * dy) ** 2) / 120**2
    wanted = np.stack([x + dx * (factor - 1), y + dy * (factor - 1)])
    found = sample.image.array
    inside = (found > -8).all(axis=0) & (np.clip(wanted, 0, 59) == wanted)[1]
    assert inside.mean() > 0.5
    near = np.clip(wanted[0], 0, width - 1)
    np.testing.assert_allclose(found[0][inside], near[inside], atol=2e-3)
    np.testing.assert_allclose(found[1][inside], wanted[1][inside], atol=2e-3)


def test_lines_bend_with_the_picture_and_back(smooth: Any) -> None:
    image = smooth((1, 80, 80), axes="yx")
    turn = augment.Sequential(
        [
            augment.Rotate((20, 20)),
            augment.Elastic(60, 8),
            augment.RandomCrop(64),
            augment.Scale((1.2, 1.2)),
            augment.GridDistortion(4, (-0.2, 0.2)),
            augment.Flip("x", p=1),
        ]
    )
    places = np.array([[40, 40], [30, 50], [45, 33.5]])
    sample = Sample(image, points={"a": places}, boxes={"b": [[[38, 38], [44, 42]]]})
    once, apart = turn(sample, seed=3), augment.Sequential(turn.steps, fuse=False)(sample, seed=3)
    for there in (once, apart):
        values = scipy.ndimage.map_coordinates(there.image.array, there.points["a"].T, order=1)
        theirs = scipy.ndimage.map_coordinates(image.array, places.T, order=1)
        np.testing.assert_allclose(values, theirs, atol=1)
        back = there.invert()
        np.testing.assert_allclose(back.points["a"], places, atol=0.05)
        middle = (slice(34, 46),) * 2
        assert np.abs(back.image.array - image.array)[middle].max() < 1
        assert back.bends == () and len(there.bends) in (1, 2)
    np.testing.assert_allclose(once.points["a"], apart.points["a"], atol=0.1)
    middle = (slice(12, -12),) * 2
    assert np.abs(once.image.array - apart.image.array)[middle].max() < 2


def test_turning_a_sheared_grid_is_rigid_in_the_patient() -> None:
    image = Image(np.zeros((40, 40), np.float32), "yx")
    turn = augment.Sequential([augment.Shear(20, 0), augment.Rotate(30)])
    for fuse in (True, False):
        affine = augment.Sequential(turn.steps, fuse=fuse)(image, seed=1).affine
        shear = augment.Shear(20, 0)(image, seed=1).affine
        inner = np.linalg.inv(shear[:2, :2]) @ affine[:2, :2]
        rigid = shear[:2, :2] @ inner @ np.linalg.inv(shear[:2, :2])
        np.testing.assert_allclose(rigid @ rigid.T, np.eye(2), atol=1e-9)
