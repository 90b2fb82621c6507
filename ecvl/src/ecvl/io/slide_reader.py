"""The side of a slide that runs in the child: OpenSlide, asked by path (see `isolation`)."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FormatError


def answer(content: bytes, path: str, what: str, **asked: Any) -> Any:
    """Answer a question about a slide: "open", "region" or "associated".

    Example:
        >>> answer(b"", "missing.svs", "open")
        Traceback (most recent call last):
        ecvl.errors.FormatError: it is no slide that OpenSlide knows
    """
    slide = _opened(path)
    if what == "open":
        return _described(slide)
    if what == "associated":
        return np.asarray(slide.associated_images[asked["name"]].convert("RGB"))
    (y, x), (height, width) = asked["start"], asked["shape"]
    read = slide.read_region((x, y), asked["level"], (width, height))
    return _opaque(np.asarray(read), _background(slide))


@lru_cache(maxsize=4)
def _opened(path: str) -> Any:
    import openslide

    if not openslide.OpenSlide.detect_format(path):
        raise FormatError("it is no slide that OpenSlide knows")
    return openslide.OpenSlide(path)


def _described(slide: Any) -> dict[str, Any]:
    properties = slide.properties
    mpp = [_positive(properties.get(f"openslide.mpp-{axis}")) for axis in "yx"]
    return {
        "shapes": [(y, x) for x, y in slide.level_dimensions],
        "downsamples": list(slide.level_downsamples),
        "mpp": mpp if all(mpp) else None,
        "vendor": properties.get("openslide.vendor", ""),
        "objective": _positive(properties.get("openslide.objective-power")),
        "associated": sorted(slide.associated_images),
    }


def _positive(text: str | None) -> float | None:
    try:
        found = float(text or "nan")
    except ValueError:
        return None
    return found if 0 < found < math.inf else None


def _background(slide: Any) -> tuple[int, int, int]:
    text = slide.properties.get("openslide.background-color", "ffffff")
    try:
        red, green, blue = bytes.fromhex(text)
    except ValueError:
        return 255, 255, 255
    return red, green, blue


def _opaque(pixels: NDArray[np.uint8], background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Put what was not scanned on the background."""
    alpha = pixels[..., 3:]
    if (alpha == 255).all():
        return np.ascontiguousarray(pixels[..., :3])
    share = alpha.astype(np.float32) / 255
    mixed = pixels[..., :3] * share + np.array(background, np.float32) * (1 - share)
    return np.rint(mixed).astype(np.uint8)
