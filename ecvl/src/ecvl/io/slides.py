"""Whole-slide images, by OpenSlide (the extra `slides`).

* A slide is not an image: its levels are lazy images, `region` and `tiles` give images, at a level
  or at any resolution in µm a pixel.
* Pixels are decoded in a child process (`isolation`), one a slide: slides come from outside.
* Label and macro pictures, which show names and numbers on the glass, and the scanner's own fields
  are left out, unless `identifiers=True`.
* The world's origin is the centre of the first pixel of level 0, x to the right and y down, in mm.

Held by `tests/ecvl/test_slides.py`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import FileError, GeometryError, MissingExtraError, ParameterError
from ecvl.image import Image
from ecvl.io.files import existing
from ecvl.io.isolation import Worker
from ecvl.io.lazy import LazyImage
from ecvl.regions import Box

SLIDE_SECONDS = 120.0
GREATEST_REGION = 1 << 28


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile of a slide.

    Attributes:
        start: its first pixel (y, x), in pixels of level 0.
        tissue: the share of it that is tissue, 0 to 1; `None` where no mask was used.
        image: its pixels, axes "yxc".
    """

    start: tuple[int, int]
    tissue: float | None
    image: Image


class Slide:
    """A whole-slide image; made by `open_slide`.

    Attributes:
        path: the file.
        levels: lazy images of axes "yxc", the finest first; `slide.levels[2][:100, :200]`.
        mpp: µm a pixel of level 0 along y and x, or `None` where the file does not say.
        meta: `source`, and in `common` the vendor and the objective's power.
    """

    def __init__(self, path: Path, identifiers: bool) -> None:
        self.path = path
        self._worker = Worker(seconds=SLIDE_SECONDS)
        said = self._ask("open")
        self.mpp: tuple[float, float] | None = tuple(said["mpp"]) if said["mpp"] else None
        self.downsamples: tuple[float, ...] = tuple(said["downsamples"])
        self.associated_names: tuple[str, ...] = tuple(said["associated"]) if identifiers else ()
        common = {"vendor": said["vendor"], "objective": said["objective"]}
        self.meta: dict[str, Any] = {
            "source": {"format": "slide", "path": str(path)},
            "common": common,
        }
        self.levels = tuple(
            self._level(number, tuple(shape)) for number, shape in enumerate(said["shapes"])
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of level 0 along y and x."""
        y, x = self.levels[0].shape[:2]
        return y, x

    def region(
        self,
        start: Sequence[int],
        shape: Sequence[int],
        *,
        level: int | None = None,
        mpp: float | None = None,
    ) -> Image:
        """Decode a part of the slide.

        Args:
            start: its first pixel (y, x), in pixels of level 0; it may lie outside.
            shape: pixels (y, x) of the result.
            level: the level to take; 0 by default.
            mpp: µm a pixel of the result instead: the next finer level is averaged down.

        Returns:
            A uint8 image of axes "yxc"; outside the slide it has the background's colour.

        Raises:
            ParameterError: both or wrong `level` and `mpp`, or the slide does not know its mpp.
            GeometryError: start and shape are not two whole numbers each, or too large.
            FormatError: the slide is damaged there.
        """
        (y, x), (height, width) = _pair(start, "start"), _pair(shape, "shape")
        if min(height, width) < 1 or height * width > GREATEST_REGION:
            raise GeometryError(
                f"expected a region of 1 to {GREATEST_REGION} pixels, received {height}×{width}"
            )
        if level is not None and mpp is not None:
            raise ParameterError("expected level or mpp, received both")
        factor = 1.0 if mpp is None else self._downsample(mpp)
        level = self._level_for(factor) if mpp is not None else self._checked(level or 0)
        if mpp is None:
            pixels = self._pixels((y, x), (height, width), level)
            return self._placed(pixels, (y, x), self.downsamples[level], self.downsamples[level])
        finer = factor / self.downsamples[level]
        source = [max(1, round(size * finer)) for size in (height, width)]
        pixels = self._pixels((y, x), source, level)
        import cv2

        if pixels.shape[:2] != (height, width):
            way = cv2.INTER_AREA if finer > 1 else cv2.INTER_LINEAR
            pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=way))
        return self._placed(pixels, (y, x), factor, factor)

    def thumbnail(self, size: int = 512) -> Image:
        """Return the whole slide with at most `size` pixels along its longer side."""
        if not isinstance(size, int) or size < 1:
            raise ParameterError(f"expected a size of at least 1, received {size!r}")
        import cv2

        factor = max(1.0, max(self.shape) / size)
        level = self._level_for(factor)
        whole = self.levels[level].load()
        y, x = (max(1, round(side / factor)) for side in self.shape)
        if whole.shape[:2] == (y, x):
            return whole
        pixels = np.asarray(cv2.resize(whole.array, (x, y), interpolation=cv2.INTER_AREA))
        return self._placed(pixels, (0, 0), self.shape[0] / y, self.shape[1] / x)

    def tissue_mask(self, size: int = 1024) -> Image:
        """Return labels of where tissue is: 1 where colour stands out of the glass.

        Saturation is parted by Otsu's threshold (Otsu 1979, but at least 20 of 255), then specks
        and holes below about 1/2000 of the picture go.

        Args:
            size: pixels of the mask along the longer side.
        """
        import cv2

        small = self.thumbnail(size)
        saturation = cv2.cvtColor(small.array, cv2.COLOR_RGB2HSV)[..., 1]
        saturation = cv2.medianBlur(saturation, 5)
        threshold, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        mask = (saturation > max(threshold, 20)).astype(np.uint8)
        least = mask.size // 2000
        mask = _without_specks(mask, least)
        mask = 1 - _without_specks(1 - mask, least)
        return small.replace(
            array=mask, axes="yx", kind="labels", label_names={1: "tissue"}, value_range=None
        )

    def tiles(
        self,
        size: int = 256,
        *,
        level: int | None = None,
        mpp: float | None = None,
        overlap: int = 0,
        tissue: float | None = 0.5,
        mask: Image | None = None,
    ) -> Iterator[Tile]:
        """Walk over the slide row by row in square tiles; whole ones only.

        Args:
            size: pixels of a tile along each side.
            level, mpp: as for `region`.
            overlap: pixels that neighbours share.
            tissue: the least share of tissue of a tile; `None` for all tiles.
            mask: where tissue is, as labels on any grid of the slide; `tissue_mask()` by default.

        Raises:
            ParameterError: an argument is out of range.
        """
        if not (isinstance(size, int) and size >= 1 and 0 <= overlap < size):
            raise ParameterError(f"expected 0 <= overlap < size, received {overlap} and {size}")
        if level is not None and mpp is not None:
            raise ParameterError("expected level or mpp, received both")
        factor = self._downsample(mpp) if mpp is not None else None
        factor = factor or self.downsamples[self._checked(level or 0)]
        if tissue is not None and mask is None:
            mask = self.tissue_mask()
        reach, step = size * factor, (size - overlap) * factor
        rows, columns = (
            range(int((side - reach) // step) + 1) if side >= reach else range(0)
            for side in self.shape
        )
        for row in rows:
            for column in columns:
                start = round(row * step), round(column * step)
                share = None
                if tissue is not None and mask is not None:
                    share = self._share(mask, start, reach)
                    if share < tissue:
                        continue
                image = self.region(start, (size, size), level=level, mpp=mpp)
                yield Tile(start, share, image)

    def associated(self, name: str) -> Image:
        """Return a label, macro or thumbnail picture; only where `identifiers=True` was given."""
        if name not in self.associated_names:
            raise ParameterError(
                f"expected one of {list(self.associated_names)}, received {name!r}; pictures of the"
                " glass need open_slide(path, identifiers=True)"
            )
        return Image(self._ask("associated", name=name), "yxc")

    def close(self) -> None:
        """End the process that reads the slide."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        y, x = self.shape
        resolution = f"{self.mpp[0]:.4g} µm a pixel" if self.mpp else "unknown resolution"
        return f"Slide({y}×{x}, {len(self.levels)} levels, {resolution})"

    def _ask(self, what: str, **asked: Any) -> Any:
        path = str(self.path.resolve())
        return self._worker.call("slide", self.path.name, path=path, what=what, **asked)

    def _pixels(self, start: Sequence[int], shape: Sequence[int], level: int) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self._ask(
            "region", start=list(start), shape=list(shape), level=level
        )
        return found

    def _level(self, number: int, shape: tuple[int, ...]) -> LazyImage:
        scale = self.downsamples[number]

        def decode(box: Box) -> NDArray[Any]:
            (top, bottom), (left, right), (first, last) = box
            start = round(top * scale), round(left * scale)
            return self._pixels(start, (bottom - top, right - left), number)[..., first:last]

        affine = self._affine((0, 0), scale, scale)
        return LazyImage(decode, "yxc", (*shape, 3), affine, meta=self.meta)

    def _placed(
        self, pixels: NDArray[np.uint8], start: Sequence[int], down: float, right: float
    ) -> Image:
        return Image(pixels, "yxc", self._affine(start, down, right), meta=self.meta)

    def _affine(self, start: Sequence[int], down: float, right: float) -> Affine:
        y, x = (step / 1000 for step in self.mpp) if self.mpp else (1.0, 1.0)
        affine = np.diag([x * right, y * down, 1.0, 1.0])
        affine[:2, 3] = (start[1] + (right - 1) / 2) * x, (start[0] + (down - 1) / 2) * y
        return affine

    def _share(self, mask: Image, start: tuple[int, int], reach: float) -> float:
        corners = np.array([start, (start[0] + reach, start[1] + reach)]) - 0.5
        y, x = (step / 1000 for step in self.mpp) if self.mpp else (1.0, 1.0)
        world = np.column_stack([corners[:, 1] * x, corners[:, 0] * y, np.zeros(2)])
        (top, left), (bottom, right) = np.rint(mask.index(world) + 0.5).astype(int)
        part = mask.array[max(top, 0) : max(bottom, top + 1), max(left, 0) : max(right, left + 1)]
        return float((part > 0).mean()) if part.size else 0.0

    def _downsample(self, mpp: float) -> float:
        if self.mpp is None:
            raise ParameterError("expected a slide that knows its µm a pixel; use level= instead")
        if not 0 < mpp < np.inf:
            raise ParameterError(f"expected mpp above 0, received {mpp}")
        return mpp / self.mpp[0]

    def _level_for(self, factor: float) -> int:
        """The coarsest level that is still as fine as asked for."""
        fine = [n for n, scale in enumerate(self.downsamples) if scale <= factor * 1.001]
        return fine[-1] if fine else 0

    def _checked(self, level: int) -> int:
        if not isinstance(level, int) or not 0 <= level < len(self.levels):
            raise ParameterError(f"expected a level below {len(self.levels)}, received {level!r}")
        return level


def open_slide(path: str | os.PathLike[str], *, identifiers: bool = False) -> Slide:
    """Open a whole-slide image: Aperio, Hamamatsu, Leica, MIRAX, Philips, Ventana, generic TIFF.

    Args:
        path: the file.
        identifiers: also give the label and macro pictures, which may name the patient.

    Raises:
        MissingExtraError: OpenSlide is not installed.
        MissingFileError: there is no such file.
        FormatError: it is no slide, or damaged.

    Example:
        >>> open_slide("missing.svs")
        Traceback (most recent call last):
        ecvl.errors.MissingFileError: there is no file or folder 'missing.svs'; check the path
    """
    found = existing(path)
    if not found.is_file():
        raise FileError(f"expected a file, received the folder {found.name!r}")
    if find_spec("openslide") is None:
        raise MissingExtraError("slides need OpenSlide: pip install 'ecvl[slides]'")
    return Slide(found, identifiers)


def _pair(values: Sequence[int], what: str) -> tuple[int, int]:
    try:
        first, second = values
        if int(first) == first and int(second) == second:
            return int(first), int(second)
    except (TypeError, ValueError, OverflowError):
        pass
    raise GeometryError(f"expected {what} as two whole numbers (y, x), received {values!r}")


def _without_specks(mask: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    import cv2

    _, labels, rows, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), 8)
    large = rows[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    kept: NDArray[np.uint8] = large[labels].astype(np.uint8)
    return kept
