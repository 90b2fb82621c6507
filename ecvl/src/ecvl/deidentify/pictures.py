"""PNG and JPEG: the chunks and segments that make the picture stay, every other goes.

The orientation that EXIF says is kept, for without it the picture would stand on its side; colour
profiles go, as they hold texts.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ecvl.deidentify.handlers import Handler, Task, register
from ecvl.deidentify.volumes import place
from ecvl.errors import FormatError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD pHYs acTL fcTL fdAT".split()
)
# Start and tables of a frame, restart interval, scan: all that decoding needs, and Adobe's colours.
JPEG_KEPT = frozenset({*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xEE})
BURNED_IN = "text burned into the pixels"
ORIENTATION = 274
CHUNK = 1 << 20


def write_png(task: Task, stream: IO[bytes]) -> str:
    """Write a PNG of its picture alone.

    Raises:
        FormatError: it is damaged.
    """
    with task.path.open("rb") as source:
        stream.write(source.read(8))
        while len(head := source.read(8)) == 8:
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            if length > 1 << 31:
                raise FormatError("expected whole chunks in the PNG, received a damaged one")
            if name in PNG_KEPT:
                stream.write(head)
                _copy(source, stream, length + 4)
            else:
                content = source.read(length + 4)[:-4]
                task.report.note(name.decode("latin-1"), "removed")
                if name == b"eXIf" and (turned := orientation(content)) > 1:
                    stream.write(_chunk(b"eXIf", oriented(turned)))
                    task.report.note("orientation", "kept")
            if name == b"IEND":
                if source.read(1):
                    task.report.note("bytes behind the end", "removed")
                break
        else:
            raise FormatError("expected a whole PNG, received one that is cut short")
    task.report.not_checked(BURNED_IN)
    return place(task, ".png")


def write_jpeg(task: Task, stream: IO[bytes]) -> str:
    """Write a JPEG of its picture alone.

    Raises:
        FormatError: it is damaged.
    """
    content = task.path.read_bytes()
    stream.write(content[:2])
    ended = False
    for marker, segment, scan in _segments(content):
        if marker == 0xD9:
            stream.write(b"\xff\xd9")
            ended = True
        elif marker == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
            # Without the thumbnail, which may show more than the picture.
            stream.write(b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0")
        elif marker in JPEG_KEPT:
            stream.write(segment)
            stream.write(scan)
        else:
            task.report.note(_named(marker, segment), "removed")
            turned = orientation(segment[10:]) if segment[4:10] == b"Exif\0\0" else 1
            if turned > 1:
                body = b"Exif\0\0" + oriented(turned)
                stream.write(b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body)
                task.report.note("orientation", "kept")
    if not ended:
        raise FormatError("expected a whole JPEG, received one that is cut short")
    task.report.not_checked(BURNED_IN)
    return place(task, ".jpg")


def orientation(exif: bytes) -> int:
    """Return the orientation that EXIF's first directory says, 1 where it says none.

    Example:
        >>> orientation(oriented(6)), orientation(b"")
        (6, 1)
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for place_of in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place_of)
        if tag == ORIENTATION and kind == 3:
            return int(value) if 1 <= value <= 8 else 1
    return 1


def oriented(value: int) -> bytes:
    """Return EXIF that says an orientation and nothing else.

    Example:
        >>> len(oriented(6))
        26
    """
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, value, 0, 0)


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Markers, their segments with them, and the coded data that follow a scan's."""
    at = 2
    while at + 2 <= len(content):
        if content[at] != 0xFF:
            raise FormatError("expected a marker in the JPEG, received other bytes; it is damaged")
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            yield marker, b"", b""
            return
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2 or end > len(content):
            raise FormatError("expected whole segments in the JPEG, received one cut short")
        scan = end
        if marker == 0xDA:
            scan = _scan_end(content, end)
        yield marker, content[at:end], content[end:scan]
        at = scan


def _scan_end(content: bytes, at: int) -> int:
    """Where coded data end: at a marker that is neither a stuffed byte nor a restart."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            return len(content)
        following = content[at + 1]
        if following == 0 or 0xD0 <= following <= 0xD7:
            at += 2
        elif following == 0xFF:
            at += 1
        else:
            return at


def _named(marker: int, segment: bytes) -> str:
    if marker == 0xFE:
        return "comment"
    label = segment[4:12].split(b"\0")[0].decode("latin-1")
    known = label if label.isalpha() and label.isascii() and len(label) < 6 else ""
    return f"APP{marker - 0xE0} {known}".strip() if 0xE0 <= marker <= 0xEF else f"{marker:02X}"


def _copy(source: IO[bytes], target: IO[bytes], count: int) -> None:
    while count:
        got = source.read(min(CHUNK, count))
        if not got:
            raise FormatError("expected whole chunks in the PNG, received the end of the file")
        target.write(got)
        count -= len(got)


def _chunk(name: bytes, content: bytes) -> bytes:
    import zlib

    length = len(content).to_bytes(4, "big")
    return length + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def _is_jpeg(path: Path, start: bytes) -> bool:
    return start[:3] == b"\xff\xd8\xff"


register(Handler("png", lambda path, start: start.startswith(PNG_MAGIC), write_png))
register(Handler("jpeg", _is_jpeg, write_jpeg))
