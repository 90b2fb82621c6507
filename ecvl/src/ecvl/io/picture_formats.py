"""The table of picture formats that Pillow reads and writes, and what their first bytes say.

Held by `tests/ecvl/test_pictures.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ecvl.io.files import opened_plain
from ecvl.io.pixels import beginning

GREATEST_HEADER = 1 << 12


@dataclass(frozen=True)
class Picture:
    """A row of the table.

    Attributes:
        name: of the format.
        extensions: that writing knows; none where it is not written.
        starts: what the content begins with.
        plugin: Pillow's module and class.
        modes: the modes that are written.
        options: what `write` takes.
        inside: what stands at byte 8 besides, for RIFF files.
    """

    name: str
    extensions: tuple[str, ...]
    starts: tuple[bytes, ...]
    plugin: str
    modes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    inside: bytes = b""


PICTURES = (
    Picture("png", (".png",), (b"\x89PNG\r\n\x1a\n",), "PngImagePlugin:PngImageFile",
            ("L", "I;16", "LA", "RGB", "RGBA", "deep")),
    Picture("jpeg", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), "JpegImagePlugin:JpegImageFile",
            ("L", "RGB"), ("quality",)),
    Picture("bmp", (".bmp",), (b"BM",), "BmpImagePlugin:BmpImageFile", ("L", "RGB")),
    Picture("gif", (), (b"GIF87a", b"GIF89a"), "GifImagePlugin:GifImageFile"),
    Picture("webp", (".webp",), (b"RIFF",), "WebPImagePlugin:WebPImageFile", ("RGB", "RGBA"),
            ("quality",), b"WEBP"),
    Picture("pnm", (".pgm", ".ppm"), (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
            "PpmImagePlugin:PpmImageFile", ("L", "I;16", "RGB")),
)  # fmt: skip


def plugin(row: Picture) -> Callable[[Any], Any]:
    """Return Pillow's class for a format."""
    module, _, name = row.plugin.partition(":")
    found: Callable[[Any], Any] = getattr(import_module(f"PIL.{module}"), name)
    return found


def stored_bits(path: Path, row: Picture) -> int:
    """The bits of a pixel before it was compressed, where the header says: else 8."""
    start = beginning(path)
    if row.name != "png" or start[12:16] != b"IHDR" or len(start) < 26:
        return 8
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    return max(start[24] * channels.get(start[25], 1), 1)


def has_deep_colour(path: Path, row: Picture) -> bool:
    """Whether the picture has several channels of 16 bits, which Pillow would cut."""
    if row.name not in ("png", "pnm"):
        return False
    with opened_plain(path) as stream:
        start = stream.read(GREATEST_HEADER)
    if row.name == "png":
        return (
            start[12:16] == b"IHDR" and start[24:25] == b"\x10" and start[25:26] in b"\x02\x04\x06"
        )
    if start[:2] not in (b"P3", b"P6"):
        return False
    lines = (line.partition(b"#")[0] for line in start[2:].split(b"\n"))
    words = b" ".join(lines).split()[:3]
    return len(words) == 3 and words[2].isdigit() and int(words[2][:9]) > 255
