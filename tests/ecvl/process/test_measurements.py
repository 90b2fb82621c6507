"""Region measurements against formulas, SimpleITK and brute force."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

import ecvl
from ecvl import GeometryError, Image, KindError, ParameterError

RNG = np.random.default_rng(10)
SPACING = (2.5, 1.1, 0.8)


def _ellipsoid(radii: Any, spacing: Any = SPACING, affine: Any = None) -> Image:
    shape = [int(2 * r / s) + 5 for r, s in zip(radii, spacing, strict=True)]
    axes = [
        ((np.arange(n) - (n - 1) / 2 + 0.13) * s / r)
        for n, s, r in zip(shape, spacing, radii, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    inside = sum(axis**2 for axis in grid) <= 1
    affine = np.diag([*spacing[::-1], 1.0, 1.0][:4]) if affine is None else affine
    return Image(inside.astype(np.uint8), "zyx"[-len(shape) :], affine, kind="labels")


def test_a_ball_has_its_formulas(oblique: Any) -> None:
    row = ecvl.measure(_ellipsoid((12, 12, 12), affine=oblique))[0]
    assert row["volume_mm3"] == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)
    assert row["surface_mm2"] == pytest.approx(4 * np.pi * 12**2, rel=0.02)
    assert row["sphericity"] == pytest.approx(1, abs=0.02)
    assert row["equivalent_diameter_mm"] == pytest.approx(24, rel=0.01)
    assert row["feret_mm"] == pytest.approx(24, abs=2.5)
    for n in (1, 2, 3):
        assert row[f"axis_{n}_mm"] == pytest.approx(24 * np.sqrt(0.8), rel=0.02)


def test_an_ellipsoid_has_three_axes(oblique: Any) -> None:
    image = _ellipsoid((20, 8, 12), affine=oblique)
    row = ecvl.measure(image)[0]
    for n, radius in enumerate((20, 12, 8)):
        assert row[f"axis_{n + 1}_mm"] == pytest.approx(2 * radius * np.sqrt(0.8), rel=0.02)
    centre = image.world(ndi.center_of_mass(image.array))
    np.testing.assert_allclose([row[f"centroid_{a}_mm"] for a in "xyz"], centre, atol=1e-9)


def test_a_disc_has_its_formulas() -> None:
    row = ecvl.measure(_ellipsoid((15, 15), (1.1, 0.8)))[0]
    assert row["area_mm2"] == pytest.approx(np.pi * 15**2, rel=0.01)
    assert row["perimeter_mm"] == pytest.approx(2 * np.pi * 15, rel=0.02)
    assert row["circularity"] == pytest.approx(1, abs=0.03)
    assert row["axis_1_mm"] == pytest.approx(30, rel=0.02)
    assert row["axis_2_mm"] == pytest.approx(30, rel=0.02)
    assert "axis_3_mm" not in row and "volume_mm3" not in row


def test_shapes_are_simpleitks() -> None:
    import SimpleITK as sitk

    blobs = ndi.gaussian_filter(RNG.normal(size=(14, 30, 32)), (1, 2, 3)) > 0.02
    labels = Image(ndi.label(blobs)[0], "zyx", np.diag([*SPACING[::-1], 1.0]), kind="labels")
    picture = sitk.GetImageFromArray(labels.array.astype(np.uint16))
    picture.SetSpacing(SPACING[::-1])
    theirs = sitk.LabelShapeStatisticsImageFilter()
    theirs.Execute(picture)
    rows = ecvl.measure(labels)
    assert [row["label"] for row in rows] == list(theirs.GetLabels())
    for row in rows:
        label = row["label"]
        assert row["volume_mm3"] == pytest.approx(theirs.GetPhysicalSize(label))
        moments = np.maximum(theirs.GetPrincipalMoments(label)[::-1], 0)
        axes = [row[f"axis_{n}_mm"] for n in (1, 2, 3)]
        np.testing.assert_allclose(axes, 4 * np.sqrt(moments), rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(
            [row[f"centroid_{a}_mm"] for a in "xyz"], theirs.GetCentroid(label), atol=1e-6
        )
        x, y, z, width, height, depth = theirs.GetBoundingBox(label)
        assert (row["box_x_start"], row["box_x_stop"]) == (x, x + width)
        assert (row["box_y_start"], row["box_y_stop"]) == (y, y + height)
        assert (row["box_z_start"], row["box_z_stop"]) == (z, z + depth)


def test_feret_is_brute_force(oblique: Any) -> None:
    for seed in range(3):
        inside = np.random.default_rng(seed).random((4, 5, 6)) < 0.15
        inside[1, 1, 1] = True
        labels = Image(inside.astype(np.uint8), "zyx", oblique, kind="labels")
        points = [
            np.array(place) + side * np.eye(3)[axis] / 2
            for place in np.argwhere(inside)
            for axis in range(3)
            for side in (-1, 1)
        ]
        world = labels.world(np.array(points))
        longest = max(np.linalg.norm(a - b) for a, b in combinations(world, 2))
        assert ecvl.measure(labels)[0]["feret_mm"] == pytest.approx(longest)


def test_values_are_numpys_for_every_channel() -> None:
    labels = Image(RNG.integers(0, 3, (4, 5, 6)).astype(np.uint8), "zyx", kind="labels",
                   label_names={2: "liver"})  # fmt: skip
    image = Image(RNG.normal(size=(4, 5, 6, 2)), "zyxc")
    image.array[0, 0, 0, 0] = np.nan
    rows = ecvl.measure(labels, image, percentiles=(10, 50))
    assert [(row["c"], row["label"]) for row in rows] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert "name" not in rows[0] and rows[1]["name"] == "liver"
    for row in rows:
        values = image.array[..., row["c"]][labels.array == row["label"]]
        values = values[np.isfinite(values)]
        assert row["mean"] == pytest.approx(values.mean())
        assert row["sd"] == pytest.approx(values.std())
        assert (row["minimum"], row["maximum"]) == (values.min(), values.max())
        assert (row["p10"], row["p50"]) == pytest.approx(tuple(np.percentile(values, (10, 50))))
        assert all(type(v) in (int, float, str) for v in row.values())


def test_labels_of_time_points_share_an_image() -> None:
    labels = Image(np.ones((2, 3, 3), np.uint8), "tyx", kind="labels")
    rows = ecvl.measure(labels, Image(np.full((3, 3), 7.0), "yx"))
    assert [(row["t"], row["mean"]) for row in rows] == [(0, 7.0), (1, 7.0)]
    both = Image(np.stack([np.zeros((3, 3)), np.ones((3, 3))]), "tyx")
    assert [row["mean"] for row in ecvl.measure(labels, both)] == [0, 1]


def test_what_does_not_fit_is_refused() -> None:
    labels = Image(np.ones((2, 3, 3), np.uint8), "tyx", kind="labels")
    cases: list[tuple[Any, Any, str]] = [
        (lambda: ecvl.measure(labels, labels), KindError, "image"),
        (lambda: ecvl.measure(labels, Image(np.zeros((3, 4)), "yx")), GeometryError, "one grid"),
        (lambda: ecvl.measure(labels, Image(np.zeros((3, 3, 3)), "yxc")), GeometryError, "axes"),
        (lambda: ecvl.measure(labels, percentiles=(101,)), ParameterError, "percentiles"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()
