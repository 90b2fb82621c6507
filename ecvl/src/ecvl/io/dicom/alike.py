"""The headers of a series are alike: each is read as its differences from the one before.

Two files that agree from the start of an element to some byte agree in every element up to there,
as what a byte means depends on the bytes before it alone. So the first disagreement is looked for,
the one element that it falls into is read from the new file, and the comparison goes on behind it.
Whatever cannot be followed so (elements that come and go, values of undefined length, another
encoding) is left to pydicom.

Held by `tests/ecvl/test_dicom_alike.py` against pydicom, on mutants too.
"""

from bisect import bisect_right
from pathlib import Path
from struct import unpack_from
from typing import Any

import numpy as np

from ecvl.io.dicom.files import IMPLICIT_LITTLE, UNDEFINED_LENGTH, DicomFile, PixelElement

# How much longer than the first one's a header may be.
SLACK = 1 << 12
LONGEST_HEADER = 1 << 20
# Elements that say how to read the others.
CHARACTER_SET, TRANSFER_SYNTAX = 0x00080005, 0x00020010


class Template:
    """A parsed file as the pattern of the next ones.

    Args:
        file: a file with pixel data in a little-endian encoding; others match nothing.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> from ecvl.io.dicom.files import parsed
        >>> path = Path(get_testdata_file("CT_small.dcm"))
        >>> Template(parsed(path)).read(path).dataset.Rows
        128
    """

    def __init__(self, file: DicomFile) -> None:
        from pydicom.dataset import Dataset
        from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

        self._file = file
        self._long = {vr.encode() for vr in EXPLICIT_VR_LENGTH_32}
        self._implicit = file.syntax == IMPLICIT_LITTLE
        self._starts: list[int] = []
        self._tags: list[Any] = []
        self._content = b""
        meta = getattr(file.dataset, "file_meta", None)
        if (
            file.inflated is not None
            or file.pixels is None
            or file.pixels.offset > LONGEST_HEADER
            or not file.dataset.original_encoding[1]
            or not isinstance(meta, Dataset)
        ):
            return
        with file.path.open("rb") as stream:
            self._content = stream.read(file.pixels.offset)
        values = [
            (element.value_tell if element.is_raw else element.file_tell, tag)
            for part in (meta, file.dataset)
            for tag, element in part.items()
        ]
        for tell, tag in sorted(values, key=lambda pair: pair[0] or 0):
            start = self._start(tell, tag) if tell else None
            if start is None:
                self._content = b""
                return
            self._starts.append(start)
            self._tags.append(tag)
        end = self._start(file.pixels.offset, None)
        if end is None:
            self._content = b""
            return
        self._starts.append(end)

    def read(self, path: Path) -> DicomFile | None:
        """Return a file whose header is like the template's, or `None` where it is not."""
        if not self._content:
            return None
        with path.open("rb") as stream:
            content = stream.read(len(self._content) + SLACK)
            size = stream.seek(0, 2)
        found = self._differences(content)
        if found is None:
            return None
        changes, at = found
        pixels = self._pixels(content, at, size)
        if pixels is None:
            return None
        return DicomFile(path, self._changed(changes), self._file.syntax, pixels)

    def _start(self, tell: int, tag: Any) -> int | None:
        """Where the element begins whose value is at `tell`."""
        for length in (8, 12):
            head = self._content[tell - length : tell]
            implicit = self._implicit and not (tag is not None and tag.group == 2)
            if len(head) < length or (implicit and length == 12):
                continue
            group, number = unpack_from("<HH", head)
            found = group << 16 | number
            same = group == 0x7FE0 if tag is None else found == tag
            long = not implicit and head[4:6] in self._long
            if same and (length == 12) == long:
                return tell - length
        return None

    def _differences(self, content: bytes) -> tuple[dict[Any, Any], int] | None:
        from pydicom.dataelem import RawDataElement

        ours = np.frombuffer(self._content, np.uint8)
        theirs = np.frombuffer(content, np.uint8)
        changes: dict[Any, Any] = {}
        here = there = 0
        end = self._starts[-1]
        while True:
            count = min(end - here, len(theirs) - there)
            same = ours[here : here + count] == theirs[there : there + count]
            differs = int(same.argmin()) if count else 0
            if not count or same[differs]:
                if count < end - here:
                    return None
                return changes, there + count
            index = bisect_right(self._starts, here + differs) - 1
            if index < 0:
                return None
            tag = self._tags[index]
            start = there + self._starts[index] - here
            implicit = self._implicit and tag.group != 2
            if len(content) < start + 12 or start < there:
                return None
            group, number = unpack_from("<HH", content, start)
            if group << 16 | number != tag or tag in (CHARACTER_SET, TRANSFER_SYNTAX):
                return None
            code = b"" if implicit else content[start + 4 : start + 6]
            if implicit:
                (length,), value = unpack_from("<I", content, start + 4), start + 8
            elif code in self._long:
                (length,), value = unpack_from("<I", content, start + 8), start + 12
            else:
                (length,), value = unpack_from("<H", content, start + 6), start + 8
            if length == UNDEFINED_LENGTH or value + length > len(content):
                return None
            if not implicit and code != self._content[self._starts[index] + 4 :][:2]:
                return None
            changes[tag] = RawDataElement(
                tag,
                None if implicit else code.decode("ascii"),
                length,
                content[value : value + length],
                value,
                implicit,
                True,
            )
            here, there = self._starts[index + 1], value + length

    def _pixels(self, content: bytes, at: int, size: int) -> PixelElement | None:
        assert self._file.pixels is not None
        first = self._file.pixels
        head = self._content[self._starts[-1] : first.offset]
        if content[at : at + len(head) - 4] != head[:-4] or len(content) < at + len(head):
            return None
        (length,) = unpack_from("<I", content, at + len(head) - 4)
        offset = at + len(head)
        encapsulated = length == UNDEFINED_LENGTH
        there = size - offset
        found = there if encapsulated else min(length, there)
        if encapsulated != first.encapsulated or found <= 0:
            return None
        return PixelElement(first.keyword, first.vr, offset, found, encapsulated)

    def _changed(self, changes: dict[Any, Any]) -> Any:
        """The template's data set with other elements; those it shares are parsed once for all."""
        from pydicom.dataset import Dataset, FileMetaDataset

        first = self._file.dataset
        body = dict(first.items())
        meta = dict(first.file_meta.items())
        for tag, element in changes.items():
            (meta if tag.group == 2 else body)[tag] = element
        dataset = Dataset(body)
        implicit, little = first.original_encoding
        dataset.set_original_encoding(implicit, little, first.original_character_set)
        dataset.file_meta = FileMetaDataset(meta)
        return dataset
