"""Transforms: points and images go the same way, there and back, through files and joins."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

import ecvl
from ecvl import FormatError, GeometryError, Image, ParameterError, Transform
from ecvl.process.lattice import Lattice

RNG = np.random.default_rng(11)


def _matrix(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] += rng.uniform(-0.1, 0.1, (3, 3))
    matrix[:3, 3] = rng.uniform(-3, 3, 3)
    return matrix


def _lattice(degree: int, seed: int = 0, sheared: bool = False) -> Lattice:
    rng = np.random.default_rng(seed)
    affine = np.diag([6.0, 5.0, 7.0, 1.0])
    affine[:3, 3] = -8
    if sheared:
        affine[0, 1] = 1.5
    return Lattice(rng.uniform(-1.5, 1.5, (3, 7, 8, 9)).astype(np.float32), affine, degree)


@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.parametrize("sheared", [False, True])
def test_lattices_are_simpleitks(degree: int, sheared: bool) -> None:
    lattice = _lattice(degree, sheared=sheared)
    points = RNG.uniform(-15, 50, (500, 3))
    theirs = lattice.to_sitk()
    expected = np.array([theirs.TransformPoint(p.tolist()) for p in points])
    ours = points + lattice.at(points)
    assert np.abs(ours - points).max() > 0.5 and (ours == points).all(axis=1).any()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 3])
def test_flat_lattices_work_on_planes(degree: int) -> None:
    field = RNG.uniform(-1, 1, (3, 1, 8, 9)).astype(np.float32)
    field[2] = 0
    lattice = Lattice(field, np.diag([4.0, 4, 1, 1]), degree)
    points = RNG.uniform(5, 22, (100, 3)) * (1, 1, 0)
    theirs = lattice.to_sitk()
    expected = np.array([theirs.TransformPoint(p.tolist()) for p in points])
    np.testing.assert_allclose(points + lattice.at(points), expected, atol=1e-5)


def test_points_and_images_go_the_same_way(smooth: Any) -> None:
    image = smooth()
    image = image.replace(affine=np.diag([1, 1.2, 1.5, 1]))
    transform = Transform([_matrix(), _lattice(3)])
    moved = ecvl.warp(image, transform, interpolation="cubic")
    voxels = RNG.integers(5, np.array(image.shape) - 5, (200, 3))
    there = image.index(transform.points(image.world(voxels)))
    from scipy.ndimage import map_coordinates

    expected = map_coordinates(image.array.astype(float), there.T, order=3, mode="nearest")
    inside = ((there > 3) & (there < np.array(image.shape) - 4)).all(axis=1)
    found = moved.array[tuple(voxels.T)]
    assert inside.sum() > 100
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.05)
    labels = Image((image.array > 60).astype(np.uint8), "zyx", image.affine, kind="labels")
    warped = ecvl.warp(labels, transform)
    agreement = (warped.array == (moved.array > 60)).mean()
    assert warped.kind == "labels" and agreement > 0.97


def test_a_matrix_is_a_change_of_affine(smooth: Any) -> None:
    image, matrix = smooth(), _matrix(3)
    moved = ecvl.warp(image, Transform([matrix]), fill=0)
    renamed = image.replace(affine=np.linalg.inv(matrix) @ image.affine)
    theirs = ecvl.resample(renamed, like=image, fill=0)
    inside = (theirs.array > 0) & (moved.array > 0)
    np.testing.assert_allclose(moved.array[inside], theirs.array[inside], atol=0.05)
    assert inside.mean() > 0.5


@pytest.mark.parametrize("degree", [1, 3])
def test_there_and_back(degree: int) -> None:
    rough = _lattice(degree)
    soft = ndi.gaussian_filter(rough.displacements, (0, 1.5, 1.5, 1.5)) * 4
    transform = Transform([_matrix(1), Lattice(soft, rough.affine, degree), _matrix(2)])
    inner = RNG.uniform(5, 20, (300, 3))
    back = transform.then(transform.inverse())
    np.testing.assert_allclose(back.points(inner), inner, atol=0.1)
    assert np.abs(transform.points(inner) - inner).max() > 2
    exact = Transform([_matrix(1)])
    np.testing.assert_allclose(exact.then(exact.inverse()).matrix, np.eye(4), atol=1e-12)


def test_folded_space_has_no_way_back() -> None:
    field = np.zeros((3, 1, 1, 6), np.float32)
    field[0, 0, 0] = 0, 0, 9, -9, 0, 0
    with pytest.raises(GeometryError, match="fold"):
        Transform([Lattice(field, np.diag([2.0, 1, 1, 1]), 1)]).inverse()


def test_files_hold_it_exactly(tmp_path: Path) -> None:
    transform = Transform([_matrix(1), _lattice(3), _lattice(1, 5), _matrix(2)])
    transform.save(tmp_path / "there.json")
    again = Transform.load(tmp_path / "there.json")
    points = RNG.uniform(0, 20, (50, 3))
    assert np.array_equal(again.points(points), transform.points(points))
    assert again.to_json() == json.loads(json.dumps(transform.to_json()))
    assert repr(again) == "Transform(matrix, displacements 7×8×9, displacements 7×8×9, matrix)"


GOOD = Transform([_matrix(1), _lattice(1)]).to_json()


def _broken(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "parts": [GOOD["parts"][1] | changes]}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"version": 2, "parts": []},
        {"version": 1, "parts": [[]]},
        {"version": 1, "parts": [{}] * 65},
        {"version": 1, "parts": [{"matrix": [[1]]}]},
        {"version": 1, "parts": [{"matrix": [[0.0] * 4] * 4}]},
        {"version": 1, "parts": [{"matrix": [["1"] * 4] * 4}]},
        _broken(degree=2),
        _broken(degree=True),
        _broken(shape=[7, 8]),
        _broken(shape=[7, 8, 1 << 40]),
        _broken(shape=[-7, -8, 9]),
        _broken(shape=[7.0, 8, 9]),
        _broken(displacements="AAAA"),
        _broken(displacements="é" * len(GOOD["parts"][1]["displacements"])),
        _broken(displacements="/" * len(GOOD["parts"][1]["displacements"])),
        _broken(more=1),
    ],
)
def test_hostile_documents_are_refused(document: Any, tmp_path: Path) -> None:
    with pytest.raises((ParameterError, GeometryError), match="expected"):
        Transform.from_json(document)
    (tmp_path / "bad.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="no transform"):
        Transform.load(tmp_path / "bad.json")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe", b"[" * 100000, b"{"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(FormatError, match="no transform"):
            Transform.load(tmp_path / "bad.json")


def test_what_does_not_fit_is_refused(smooth: Any) -> None:
    flat = smooth(axes="yx")
    lift = np.eye(4)
    lift[2, 3] = 3
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.warp(flat, Transform([lift])), GeometryError, "plane"),
        (lambda: ecvl.warp(flat, np.eye(4)), ParameterError, "Transform"),
        (lambda: Transform([np.zeros((4, 4))]), GeometryError, "last row"),
        (lambda: Transform().points([1, 2, 3]), GeometryError, "shape"),
        (lambda: Transform([_lattice(1)]).matrix, GeometryError, "displacements"),
        (lambda: Lattice(np.zeros((3, 2, 2, 2)), np.eye(4), 3), GeometryError, "at least 4"),
        (lambda: Lattice(np.full((3, 2, 2, 2), np.nan), np.eye(4), 1), GeometryError, "finite"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
