"""TIFF: any type and number of pages, by tifffile; pages that it cannot unpack by Pillow or OpenCV.

* Pages of one shape and type are stacked along z, or along the axis that `pages=` names; ImageJ's
  stacks and files written here say themselves what their pages are.
* Resolution tags with a unit are the spacing; 72 and 96 dots an inch, which programs write that
  know nothing, are not.
* Written files hold everything but the value range and `meta`: the geometry stands in a note.

Held by `tests/ecvl/test_tiff.py`.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecvl.affines import Affine
from ecvl.errors import FormatError, KindError, ParameterError
from ecvl.image import Image, Kind
from ecvl.io import notes
from ecvl.io.files import opened_plain, written_atomically
from ecvl.io.lazy import LazyImage
from ecvl.io.pixels import (
    Alpha,
    beginning,
    checked_alpha,
    chosen_page,
    decoding,
    require_sensible,
)
from ecvl.io.registry import Format, Info, register
from ecvl.io.scaling import smallest_integer_type
from ecvl.io.tiff_pages import (
    ALPHA,
    COLOURS,
    PALETTE,
    RGB,
    page_bits,
    page_pixels,
    page_size,
    pixel_count,
    require_page,
)
from ecvl.regions import Box

Pages = Literal["z", "t", "n"]
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MILLIMETRES = {2: 25.4, 3: 10.0}
UNITS = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "inch": 25.4,
    "um": 1e-3,
    "µm": 1e-3,
    "\\u00b5m": 1e-3,
    "micron": 1e-3,
    "nm": 1e-6,
}


def tiff_read(path: Path, **options: Any) -> Image:
    """Read a TIFF file: what `ecvl.read` does.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.tif"
        >>> tiff_write(path, Image(np.zeros((2, 3, 4), np.float32), "zyx"))
        >>> tiff_read(path)
        Image(image zyx 2×3×4 float32, spacing 1×1×1 mm, RAS)
    """
    return tiff_lazy(path, **options).load()


def tiff_lazy(
    path: Path,
    *,
    kind: Kind | None = None,
    raw: bool = False,
    page: int | None = None,
    pages: Pages = "z",
    alpha: Alpha = "drop",
    trusted: bool = False,
) -> LazyImage:
    """Read the tags of a TIFF file, and its pages where they are indexed.

    Args:
        path: the file.
        kind: "image" or "labels"; by default what a note says, else "image".
        raw: palettes as indices, white-is-zero and CMYK as stored.
        page: read this page alone.
        pages: the axis along which pages are stacked, where the file does not say.
        alpha: "drop" or "keep".
        trusted: believe sizes that the file's bytes can hold only if it is nearly blank.

    Raises:
        FormatError: the file is damaged, or its pages differ and `page` does not choose one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.tif"
        >>> tiff_write(path, Image(np.zeros((2, 3, 4), np.float32), "zyx"))
        >>> tiff_lazy(path)[1].shape
        (3, 4)
    """
    checked_alpha(alpha)
    if pages not in ("z", "t", "n"):
        raise ParameterError(f"expected pages='z', 't' or 'n', received {pages!r}")
    with _opened(path) as tif:
        layout = _layout(tif, path, page, pages, trusted)
        kind = kind or layout["kind"]
        take = partial(page_pixels, path=path, raw=raw, kind=kind, alpha=alpha, trusted=trusted)
        start = take(tif, layout["first"])
    lead: tuple[int, ...] = layout["lead"]
    shape = lead + start.shape
    axes = layout["letters"] + ("yx" if start.ndim == 2 else "yxc")
    meta: dict[str, Any] = {"source": {"format": "tiff", "path": str(path)}}
    if "t" in axes:
        meta["time_step"] = layout["time_step"]

    def decode(box: Box) -> NDArray[Any]:
        ends = tuple(slice(*part) for part in box)
        if math.prod(lead) == 1:
            return start.reshape(shape)[ends]
        found = np.empty([stop - begin for begin, stop in box], start.dtype)
        with _opened(path) as tif:
            for place in np.ndindex(found.shape[: len(lead)]):
                index = tuple(begin + step for (begin, _), step in zip(box, place, strict=False))
                number = int(np.ravel_multi_index(index, lead))
                pixels = start if not number else take(tif, layout["first"] + number)
                if pixels.shape != start.shape or pixels.dtype != start.dtype:
                    raise FormatError(f"expected pages of one sort in {path.name!r}")
                found[place] = pixels[ends[len(lead) :]]
        return found

    names = layout["label_names"] if kind == "labels" else None
    return LazyImage(decode, axes, shape, layout["affine"], kind, meta, names)


def tiff_info(
    path: Path, *, page: int | None = None, pages: Pages = "z", trusted: bool = False
) -> Info:
    """Read the tags of a TIFF file: what `ecvl.info` gives.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.tif"
        >>> tiff_write(path, Image(np.zeros((2, 3, 4), np.float32), "zyx"))
        >>> tiff_info(path).shape
        (2, 3, 4)
    """
    with _opened(path) as tif:
        layout = _layout(tif, path, page, pages, trusted)
        first = tif.pages[layout["first"]]
        y, x, samples = page_size(first)
        photometric, count = int(first.photometric), len(tif.pages)
        compression = str(getattr(first.compression, "name", first.compression)).lower()
        dtype = np.dtype(np.uint8 if photometric == PALETTE else first.dtype)
        dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
        alpha = samples == 2 and int(first.extrasamples[-1]) in ALPHA
    colour = photometric in (RGB, PALETTE, *COLOURS)
    channels = 3 if colour else 1 if alpha else samples
    shape = layout["lead"] + ((y, x, channels) if channels > 1 else (y, x))
    axes = layout["letters"] + ("yxc" if channels > 1 else "yx")
    details = {"pages": count, "compression": compression}
    return Info(
        "tiff",
        axes,
        shape,
        dtype.newbyteorder("="),
        layout["affine"],
        layout["kind"],
        layout["time_step"] if "t" in axes else None,
        details,
    )


def tiff_write(path: Path, image: Image, compression: str | None = "deflate") -> None:
    """Write an image of any axes and type as a TIFF file; nothing is lost but `meta`.

    Args:
        path: ends in .tif or .tiff.
        image: its last axes have to be "yx" or "yxc"; the others become pages.
        compression: "deflate", or `None`.

    Raises:
        FormatError: y and x are not last but for c.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.tif"
        >>> tiff_write(path, Image(np.zeros((2, 3, 4), np.int16), "zyx", np.diag([2, 3, 4, 1])))
        >>> tiff_read(path).spacing
        (4.0, 3.0, 2.0)
    """
    import tifffile

    if compression not in ("deflate", None):
        raise ParameterError(f"expected compression='deflate' or None, received {compression!r}")
    axes = image.axes
    if not axes.endswith(("yx", "yxc")):
        raise FormatError(
            f"expected axes that end in yx or yxc for TIFF, received {axes!r}; transpose first"
        )
    array = image.array
    if image.kind == "labels" and array.dtype.itemsize == 8:
        array = array.astype(smallest_integer_type(int(array.min()), int(array.max())))
    if array.dtype.itemsize == 8 and array.dtype.kind in "iu":
        raise KindError(f"TIFF readers do not know {image.dtype}; convert with array.astype")
    colour = axes.endswith("c")
    if colour and image.kind == "labels":
        raise KindError(f"TIFF holds labels of one channel a pixel, received {axes!r}")
    lead = image.shape[: -3 if colour else -2]
    frame = image.shape[len(lead) :]
    rgb = colour and frame[-1] in (3, 4) and array.dtype.kind == "u"
    extra = ["unassalpha"] * (frame[-1] - 3) if rgb else ["unspecified"] * (frame[-1] - 1)
    extra = extra if colour else []
    y, x = image.spacing[-2:]
    options: dict[str, Any] = {
        "photometric": "rgb" if rgb else "minisblack",
        "planarconfig": "contig" if colour else None,
        "extrasamples": extra or None,
        "compression": "adobe_deflate" if compression else None,
        "software": False,
        "metadata": None,
        "resolution": (10 / x, 10 / y),
        "resolutionunit": "centimeter",
    }
    text = notes.written(image)
    flat = array.reshape(-1, *frame)
    with written_atomically(path) as stream, decoding(path):
        big = array.nbytes > 1 << 31
        with tifffile.TiffWriter(stream, bigtiff=big) as writer:
            for number, pixels in enumerate(flat):
                writer.write(pixels, description=text if text and not number else None, **options)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    with opened_plain(path) as stream, decoding(path):
        # OME documents may name other files, so they are not looked at.
        with tifffile.TiffFile(stream, is_ome=False) as tif:
            yield tif


def _layout(tif: Any, path: Path, page: int | None, pages: Pages, trusted: bool) -> dict[str, Any]:
    """Work out which pages are read, as which axes, and where they stand."""
    size = path.stat().st_size
    count = len(tif.pages)
    if not count or count > size // 18:
        raise FormatError(f"expected pages in {path.name!r}, received {count}")
    taken, first = chosen_page(page, count, path.name)
    start = tif.pages[first]
    require_page(start, path)
    require_sensible(pixel_count(start) * taken, page_bits(start), path, trusted)
    description = _description(tif.pages[0])
    note = notes.noted(description)
    found: dict[str, Any] = {
        "first": first,
        "lead": (),
        "letters": "",
        "kind": "image",
        "label_names": None,
        "time_step": None,
        "affine": _plane(start),
    }
    y, x, samples = page_size(start)
    if note is not None and page is None:
        rank = 3 if note.axes.endswith("c") else 2
        frame = (y, x, samples) if rank == 3 else (y, x)
        lead = note.shape[:-rank]
        if note.shape[len(lead) :] == frame and math.prod(lead) == taken:
            return found | {
                "lead": lead,
                "letters": note.axes[: len(lead)],
                "kind": note.kind,
                "label_names": note.label_names,
                "time_step": note.time_step,
                "affine": note.affine,
            }
    if page is None and description.startswith("ImageJ="):
        stack = _imagej(description, taken)
        if stack is not None:
            return found | stack | {"affine": _imagej_affine(description, start)}
    if taken == 1:
        return found
    sorts = {(page_size(one), one.dtype, int(one.photometric)) for one in _each(tif, taken)}
    if len(sorts) > 1:
        raise FormatError(
            f"expected pages of one shape and type in {path.name!r}, received {len(sorts)} sorts "
            f"in {taken} pages; take one with page=, or open a slide with ecvl.open_slide"
        )
    return found | {"lead": (taken,), "letters": pages}


def _each(tif: Any, count: int) -> Iterator[Any]:
    for number in range(count):
        yield tif.pages[number]


def _description(page: Any) -> str:
    tag = page.tags.get("ImageDescription")
    return tag.value if tag is not None and isinstance(tag.value, str) else ""


def _plane(page: Any) -> Affine:
    unit = page.tags.get("ResolutionUnit")
    factor = MILLIMETRES.get(int(unit.value) if unit is not None else 2)
    lengths = [_length(page, name) for name in ("YResolution", "XResolution")]
    return notes.plane([n * factor if n and factor else None for n in lengths])


def _length(page: Any, name: str) -> float | None:
    tag = page.tags.get(name)
    value = tag.value if tag is not None else None
    if isinstance(value, tuple) and len(value) == 2 and all(value):
        return float(value[1]) / float(value[0])
    return None


def _imagej(description: str, count: int) -> dict[str, Any] | None:
    """Return the axes of an ImageJ stack, if its numbers fit the pages that are there."""
    sizes = [int(_field(description, name) or 1) for name in ("frames", "slices", "channels")]
    if math.prod(sizes) != count:
        return None
    kept = [(letter, size) for letter, size in zip("tzc", sizes, strict=True) if size > 1]
    step = _field(description, "finterval")
    return {
        "lead": tuple(size for _, size in kept),
        "letters": "".join(letter for letter, _ in kept),
        "time_step": step if step and 0 < step < math.inf else None,
    }


def _imagej_affine(description: str, page: Any) -> Affine:
    unit = re.search(r"^unit=(.*)$", description, re.M)
    factor = UNITS.get(unit[1].strip().lower()) if unit else None
    lengths = [_length(page, name) for name in ("YResolution", "XResolution")]
    affine = notes.plane([n * factor if n and factor else None for n in lengths])
    depth = _field(description, "spacing")
    if factor and depth and 1e-7 < depth * factor < 1e4:
        affine[2, 2] = depth * factor
    return affine


def _field(description: str, name: str) -> float | None:
    found = re.search(rf"^{name}=(\d{{1,9}}(?:\.\d{{1,12}})?)\s*$", description, re.M)
    return float(found[1]) if found else None


def _recognises(path: Path) -> bool:
    return beginning(path)[:4] in STARTS


register(
    Format(
        name="tiff",
        extensions=(".tif", ".tiff"),
        recognises=_recognises,
        read=tiff_read,
        info=tiff_info,
        write=tiff_write,
        lazy=tiff_lazy,
        options=("page", "pages", "alpha", "trusted"),
        info_options=("page", "pages", "trusted"),
        write_options=("compression",),
    )
)
