"""NIfTI, NRRD and MetaImage: headers with free texts.

Of NIfTI the text fields are emptied and the extensions dropped, and everything else stays byte for
byte. NRRD and MetaImage have any number of fields, so they are written anew: geometry and stored
values, and nothing besides.
"""

import shutil
from pathlib import Path
from typing import IO

from ecvl.deidentify.handlers import Handler, Task, register
from ecvl.errors import FormatError
from ecvl.io.files import GZIP_MAGIC, opened

CHUNK = 1 << 20
# Of NIfTI-1 and -2: header size, place of the magic, of vox_offset, and the text fields.
HEADERS = {
    348: (344, 108, "<f", {"data_type": (4, 14), "db_name": (14, 32), "descrip": (148, 228),
                           "aux_file": (228, 252), "intent_name": (328, 344)}),
    540: (4, 168, "<q", {"descrip": (240, 320), "aux_file": (320, 344),
                         "intent_name": (508, 524)}),
}  # fmt: skip
MAGICS = (b"n+1\0", b"n+2\0")
FACES = "faces that can be seen in the pixels"


def place(task: Task, suffix: str) -> str:
    """Return the name under which a file appears whose patient is known from outside, if at all.

    Example:
        >>> from ecvl.deidentify.handlers import Options
        >>> from ecvl.deidentify.report import FileReport
        >>> from ecvl.deidentify.secret import Secret
        >>> path = Path("bob.nii")
        >>> task = Task(path, Secret(bytes(16)), Options(), None, FileReport(path, None, "nifti"))
        >>> place(task, ".nii").startswith("unknown/")
        True
    """
    folder = task.secret.pseudonym(task.patient) if task.patient else "unknown"
    return f"{folder}/{task.secret.name(task.path.name)}{suffix}"


def write_nifti(task: Task, stream: IO[bytes]) -> str:
    """Write a NIfTI file without its texts and extensions.

    Raises:
        FormatError: it is damaged, or one of a pair of files.
    """
    with task.path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    with opened(task.path) as source:
        if packed:
            from isal import igzip

            with igzip.IGzipFile(
                filename="", mode="wb", compresslevel=2, fileobj=stream, mtime=0
            ) as target:
                _copy_nifti(task, source, target)
        else:
            _copy_nifti(task, source, stream)
    task.report.not_checked(FACES)
    return place(task, ".nii.gz" if packed else ".nii")


def _copy_nifti(task: Task, source: IO[bytes], target: IO[bytes]) -> None:
    import struct

    head = bytearray(source.read(4))
    order = "<" if int.from_bytes(head, "little") in HEADERS else ">"
    size = int.from_bytes(head, "little" if order == "<" else "big")
    if size not in HEADERS:
        raise FormatError("expected a NIfTI header")
    head += source.read(size - 4)
    magic, offset_at, code, fields = HEADERS[size]
    if len(head) < size or bytes(head[magic : magic + 4]) not in MAGICS:
        raise FormatError("expected a NIfTI file in one piece; pairs are not handled")
    code = code.replace("<", order)
    (offset,) = struct.unpack_from(code, head, offset_at)
    for name, (start, end) in fields.items():
        if any(head[start:end]):
            head[start:end] = bytes(end - start)
            task.report.note(name, "emptied")
    extension = source.read(4)
    beyond = int(offset) - size - 4
    if beyond > 0 and any(extension):
        task.report.note("extensions", "removed")
    skipped = 0
    while skipped < beyond:
        got = len(source.read(min(CHUNK, beyond - skipped)))
        if not got:
            raise FormatError("expected voxels behind the header, received the end of the file")
        skipped += got
    struct.pack_into(code, head, offset_at, size + 4)
    target.write(bytes(head) + bytes(4))
    shutil.copyfileobj(source, target, CHUNK)


def write_anew(task: Task, stream: IO[bytes]) -> str:
    """Write NRRD or MetaImage anew from what is known to be geometry and values.

    Raises:
        FormatError: it is damaged, or holds what ecvl cannot.
    """
    from ecvl.io.registry import FORMATS

    suffix = {"nrrd": ".nrrd", "metaimage": ".mha"}[task.report.format]
    entry = FORMATS[task.report.format]
    image = entry.read(task.path, raw=True)
    if image.kind == "labels":
        image = image.replace(label_names=None)
    assert entry.write is not None
    made = Path(stream.name).with_suffix(suffix)
    try:
        entry.write(made, image.replace(meta={}))
        with made.open("rb") as source:
            shutil.copyfileobj(source, stream, CHUNK)
    finally:
        made.unlink(missing_ok=True)
    task.report.note("all texts", "removed")
    task.report.not_checked(FACES)
    return place(task, suffix)


def _is_nifti(path: Path, start: bytes) -> bool:
    if start[:2] == GZIP_MAGIC:
        try:
            with opened(path) as stream:
                start = stream.read(540)
        except Exception:
            return False
    return start[344:348] == MAGICS[0] or start[4:8] == MAGICS[1]


def _is_metaimage(path: Path, start: bytes) -> bool:
    from ecvl.io.registry import FORMATS

    return FORMATS["metaimage"].recognises(path)


register(Handler("nifti", _is_nifti, write_nifti))
register(Handler("nrrd", lambda path, start: start.startswith(b"NRRD"), write_anew))
register(Handler("metaimage", _is_metaimage, write_anew))
