"""pydicom's decoders: which is asked, and where it runs.

The decoders in C and C++ run in child processes (`ecvl.io.isolation`): damaged files abort GDCM,
and CharLS can take minutes over a few bytes, so the time of the processor is limited, too. As
Python's lock does not reach there, several children decode at once.
"""

import os
import queue
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import one_line
from ecvl.io.isolation import Worker, limit_seconds

# The first of these that can do it is asked, and no other: the best kept and fastest come first.
PREFERRED = ("pylibjpeg", "pyjpegls", "pillow", "gdcm", "pydicom")
ISOLATED = frozenset({"pylibjpeg", "pyjpegls", "gdcm"})
MOST_CHILDREN = 2
# Seconds of the processor for a frame, and bytes that even slow decoders give in a second.
LEAST_SECONDS = 1
SLOWEST = 4_000_000


@cache
def plugins(syntax: str) -> tuple[str, ...]:
    """Return the decoders of a transfer syntax that are installed.

    Raises:
        NotImplementedError: the syntax is none that pydicom knows.

    Example:
        >>> "pylibjpeg" in plugins("1.2.840.10008.1.2.4.90")
        True
    """
    from pydicom.pixels import get_decoder

    return tuple(get_decoder(syntax).available_plugins)


def decode(content: bytes, *, syntax: str, plugin: str, **options: Any) -> NDArray[Any]:
    """Decode one frame: what runs in a child, too.

    Args:
        content: an encapsulated frame, or a plain one in an encoding that is not read directly.
        syntax: the UID of the transfer syntax.
        plugin: pydicom's name of the decoder, "" for plain frames.
        options: pydicom's decoding options.

    Raises:
        ValueError: the decoder gave up; other decoders raise errors of their own.

    Example:
        >>> options = {"rows": 1, "columns": 2, "samples_per_pixel": 1, "bits_allocated": 8,
        ...     "bits_stored": 8, "photometric_interpretation": "MONOCHROME2",
        ...     "pixel_representation": 0, "pixel_keyword": "PixelData", "planar_configuration": 0}
        >>> decode(b"ab", syntax="1.2.840.10008.1.2.1", plugin="", **options)
        array([[97, 98]], dtype=uint8)
    """
    from pydicom.pixels import get_decoder

    try:
        pixels, _ = get_decoder(syntax).as_array(
            content, decoding_plugin=plugin, number_of_frames=1, pixel_vr="OB", **options
        )
    except BaseException as error:
        # A panic of a decoder in Rust is no Exception.
        if type(error).__name__ == "PanicException":
            raise ValueError(one_line(error)) from None
        raise
    return np.asarray(pixels)


def decode_in_time(content: bytes, **options: Any) -> NDArray[Any]:
    """Decode one frame in a child, which ends when it takes far too long.

    Example:
        >>> decode_in_time.__name__
        'decode_in_time'
    """
    plugins(options["syntax"])  # What is imported first does not count.
    size = options["rows"] * options["columns"] * options["samples_per_pixel"]
    size *= max(options["bits_allocated"] // 8, 1)
    limit_seconds(LEAST_SECONDS + size / SLOWEST)
    return decode(content, **options)


def apart(name: str, content: bytes, **options: Any) -> Any:
    """Decode one frame in a child process.

    Raises:
        FormatError: the decoder gave up, crashed, or took too long or too much memory.
    """
    worker = _idle().get()
    try:
        return worker.call("dicom", name, content, **options)
    finally:
        _idle().put(worker)


@cache
def _idle() -> "queue.LifoQueue[Worker]":
    """Children that have nothing to do; the last used comes first, so that few are started."""
    found: queue.LifoQueue[Worker] = queue.LifoQueue()
    for _ in range(min(MOST_CHILDREN, os.cpu_count() or 1)):
        found.put(Worker())
    return found
