"""TIFF and slides in TIFF: what the pictures need stays, and every other byte becomes zero.

The directories are walked, the entries that decoding needs are kept, and a description is cut down
to the sizes in it. Label and macro pictures of slides are unlinked. Then the file is copied: bytes
that something kept points to as they are, all others as zeros, so that nothing is left in between.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ecvl.deidentify.handlers import Handler, Task, register
from ecvl.deidentify.pictures import BURNED_IN
from ecvl.deidentify.volumes import place
from ecvl.errors import FormatError

KEPT = frozenset({
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282,
    283, 284, 288, 289, 290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324,
    325, 330, 332, 334, 336, 338, 339, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520,
    521, 529, 530, 531, 532, 32995, 32996, 32997, 32998,
})  # fmt: skip
NAMES = {
    269: "DocumentName", 270: "ImageDescription", 271: "Make", 272: "Model", 285: "PageName",
    305: "Software", 306: "DateTime", 315: "Artist", 316: "HostComputer", 700: "XMP",
    33432: "Copyright", 33723: "IPTC", 34377: "Photoshop", 34665: "EXIF", 34675: "ICC profile",
    34853: "GPS",
}  # fmt: skip
DESCRIPTION, STRIPS, STRIP_BYTES, TILES, TILE_BYTES, SUBDIRECTORIES = 270, 273, 279, 324, 325, 330
JPEG_START, JPEG_LENGTH = 513, 514
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
         17: 8, 18: 8}  # fmt: skip
CODES = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
# Slides whose other pictures and texts lie elsewhere.
FOREIGN = re.compile(rb"<scn|DPUfsImport|PHILIPS|<OME", re.IGNORECASE)
HAMAMATSU = 65420
LABELS = re.compile(rb"(?:^|[\s|])(label|macro)|Label[ _]Image|Label_Image", re.IGNORECASE)
# Of descriptions: sizes and magnification (Aperio), and the layout of stacks (ImageJ).
SAFE = re.compile(
    rb"(?:AppMag|MPP)\s*=\s*[\d.]+|"
    rb"(?:ImageJ|images|channels|slices|frames|spacing|finterval|min|max)=[\d.e+-]+\w?|"
    rb"hyperstack=true|mode=(?:grayscale|color|composite)|unit=(?:mm|cm|um|micron|pixel)",
    re.IGNORECASE,
)
MOST_ENTRIES, MOST_DIRECTORIES = 4096, 65536
CHUNK = 1 << 20


@dataclass
class Layout:
    """What of a file is kept: spans of it as they are, and bytes written over it.

    Attributes:
        spans: (start, stop) of bytes that stay.
        patches: what stands where instead.

    Example:
        >>> Layout([(0, 8)], {}).spans
        [(0, 8)]
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    patches: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """An entry of a directory.

    Attributes:
        tag, kind, count: as TIFF says.
        raw: its bytes.
        start: where its value lies.
        size: how long that is.
        inside: whether it lies in the entry itself.

    Example:
        >>> Entry(256, 4, 1, b"", 10, 4, True).size
        4
    """

    tag: int
    kind: int
    count: int
    raw: bytes
    start: int
    size: int
    inside: bool


class Walk:
    """Reads directories of TIFF and BigTIFF in either byte order.

    Args:
        stream: the file.

    Raises:
        FormatError: it is none.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.end = stream.seek(0, 2)
        head = self.at(0, 16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = struct.unpack_from(f"{order or '<'}H", head, 2)[0]
        if not order or version not in (42, 43):
            raise FormatError("expected a TIFF header")
        self.order, self.big = order, version == 43
        self.header = 16 if self.big else 8
        self.pointer = "Q" if self.big else "I"
        self.link = 8 if self.big else 4

    def at(self, start: int, count: int) -> bytes:
        """Return bytes of the file."""
        if start < 0 or start + count > max(self.end, 16):
            raise FormatError("expected offsets within the TIFF file, received one beyond it")
        self._stream.seek(start)
        return self._stream.read(count)

    def number(self, start: int, code: str) -> int:
        """Return a number of the file."""
        size = struct.calcsize(code)
        return int(struct.unpack(f"{self.order}{code}", self.at(start, size))[0])

    def entries(self, start: int) -> tuple[list[Entry], int]:
        """Return the entries of a directory, and where the link to the next stands."""
        wide = 8 if self.big else 2
        count = self.number(start, "Q" if self.big else "H")
        size = 20 if self.big else 12
        if count > MOST_ENTRIES:
            raise FormatError(f"expected at most {MOST_ENTRIES} entries, received {count}")
        found = []
        for index in range(count):
            place_of = start + wide + index * size
            raw = self.at(place_of, size)
            tag, kind = struct.unpack_from(f"{self.order}HH", raw)
            (number,) = struct.unpack_from(f"{self.order}{self.pointer}", raw, 4)
            length = number * SIZES.get(kind, 1)
            inside = length <= self.link
            value = place_of + 4 + self.link
            if not inside:
                (value,) = struct.unpack_from(f"{self.order}{self.pointer}", raw, 4 + self.link)
                if value + length > self.end:
                    raise FormatError("expected values within the TIFF file, received one beyond")
            found.append(Entry(tag, kind, number, raw, value, length, inside))
        return found, start + wide + count * size

    def values(self, entry: Entry) -> list[int]:
        """Return the whole numbers of an entry."""
        code = CODES.get(entry.kind)
        if code is None:
            return []
        content = self.at(entry.start, entry.size)
        return list(struct.unpack(f"{self.order}{entry.count}{code}", content))


def write(task: Task, stream: IO[bytes]) -> str:
    """Write a TIFF file of its pictures alone, without labels and macros of slides.

    Raises:
        FormatError: it is damaged, or a slide of a sort that is not handled.
    """
    with task.path.open("rb") as source:
        walk = Walk(source)
        layout = _layout(walk, task)
        _copy(source, stream, layout, walk.end)
    task.report.not_checked(BURNED_IN)
    return place(task, ".svs" if task.path.suffix.lower() == ".svs" else ".tif")


def _layout(walk: Walk, task: Task) -> Layout:
    layout = Layout([(0, walk.header)])
    link = 8 if walk.big else 4
    seen: set[int] = set()
    for start in _chain(walk, walk.number(link, walk.pointer), seen):
        entries, after = walk.entries(start)
        if _is_label(walk, entries):
            task.report.note("label or macro picture", "removed")
            continue
        layout.patches[link] = struct.pack(f"{walk.order}{walk.pointer}", start)
        link = _keep(walk, start, entries, after, layout, task, seen)
    layout.patches[link] = bytes(walk.link)
    return layout


def _chain(walk: Walk, start: int, seen: set[int]) -> Iterator[int]:
    while start:
        if start in seen or len(seen) > MOST_DIRECTORIES:
            raise FormatError("expected a chain of directories, received one that bites its tail")
        seen.add(start)
        yield start
        _, after = walk.entries(start)
        start = walk.number(after, walk.pointer)


def _keep(
    walk: Walk,
    start: int,
    entries: list[Entry],
    after: int,
    layout: Layout,
    task: Task,
    seen: set[int],
) -> int:
    """Keep what a directory needs; return where its link to the next stands now."""
    kept: list[bytes] = []
    for entry in entries:
        if entry.tag == DESCRIPTION:
            kept += _description(walk, entry, layout, task)
            continue
        if entry.tag not in KEPT:
            task.report.note(NAMES.get(entry.tag, f"tag {entry.tag}"), "removed")
            continue
        kept.append(entry.raw)
        if not entry.inside:
            layout.spans.append((entry.start, entry.start + entry.size))
        if entry.tag == SUBDIRECTORIES:
            for below in walk.values(entry):
                seen.add(below)
                inner, end = walk.entries(below)
                link = _keep(walk, below, inner, end, layout, task, seen)
                layout.patches[link] = bytes(walk.link)
    for offsets, counts in (
        (STRIPS, STRIP_BYTES), (TILES, TILE_BYTES), (JPEG_START, JPEG_LENGTH),
    ):  # fmt: skip
        layout.spans += _data(walk, entries, offsets, counts)
    count = struct.pack(f"{walk.order}{'Q' if walk.big else 'H'}", len(kept))
    layout.patches[start] = count + b"".join(kept)
    layout.spans.append((start, after + walk.link))
    link = start + len(layout.patches[start])
    if after > link:
        layout.patches[link + walk.link] = bytes(after - link)
    return link


def _description(walk: Walk, entry: Entry, layout: Layout, task: Task) -> list[bytes]:
    """The entry with a description of nothing but sizes, in the place of the old one."""
    words = [found.group() for found in SAFE.finditer(walk.at(entry.start, entry.size))]
    said = walk.at(entry.start, entry.size)
    short = b"|".join([b"Aperio", *words]) if said.startswith(b"Aperio") else b"\n".join(words)
    task.report.note("ImageDescription", "cut down to sizes" if words else "removed")
    if not words or entry.inside or len(short) + 1 > entry.size:
        return []
    layout.spans.append((entry.start, entry.start + entry.size))
    layout.patches[entry.start] = short.ljust(entry.size, b"\0")
    return [entry.raw]


def _data(walk: Walk, entries: list[Entry], offsets: int, counts: int) -> Iterator[tuple[int, int]]:
    by_tag = {entry.tag: entry for entry in entries}
    if offsets in by_tag:
        starts = walk.values(by_tag[offsets])
        sizes = walk.values(by_tag[counts]) if counts in by_tag else []
        if len(starts) != len(sizes):
            raise FormatError("expected as many lengths of strips as offsets in the TIFF file")
        yield from ((a, min(a + size, walk.end)) for a, size in zip(starts, sizes, strict=True))


def _is_label(walk: Walk, entries: list[Entry]) -> bool:
    by_tag: dict[int, Any] = {entry.tag: entry for entry in entries}
    if HAMAMATSU in by_tag:
        raise FormatError("a slide of a sort that is not handled; export it as another")
    if DESCRIPTION not in by_tag:
        return False
    said = walk.at(by_tag[DESCRIPTION].start, min(by_tag[DESCRIPTION].size, CHUNK))
    if FOREIGN.search(said):
        raise FormatError("a slide or OME file of a sort that is not handled; export it as another")
    # Tiles are tissue.
    return TILES not in by_tag and LABELS.search(said) is not None


def _copy(source: IO[bytes], target: IO[bytes], layout: Layout, end: int) -> None:
    """Copy spans, write patches over them, and zeros everywhere else."""
    at = 0
    for start, stop in _merged(layout.spans, end):
        _zeros(target, start - at)
        source.seek(start)
        at = start
        while at < stop:
            got = source.read(min(CHUNK, stop - at))
            if not got:
                break
            target.write(_patched(got, at, layout.patches))
            at += len(got)
    _zeros(target, end - at)


def _patched(content: bytes, at: int, patches: dict[int, bytes]) -> bytes:
    made = bytearray(content)
    for start, patch in patches.items():
        low, high = max(start, at), min(start + len(patch), at + len(content))
        if low < high:
            made[low - at : high - at] = patch[low - start : high - start]
    return bytes(made)


def _merged(spans: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        start, stop = min(start, end), min(stop, end)
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        elif stop > start:
            found.append((start, stop))
    return found


def _zeros(target: IO[bytes], count: int) -> None:
    while count > 0:
        target.write(bytes(min(CHUNK, count)))
        count -= CHUNK


def _recognises(path: Path, start: bytes) -> bool:
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


register(Handler("tiff", _recognises, write))
