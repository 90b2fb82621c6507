"""The files that mutants are made of: small, made here, at least one for each path of a reader.

DICOM's come from pydicom, which is installed with ecvl and carries them.
"""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
from PIL import Image as Pillow
from pydicom.data import get_testdata_file

import ecvl
from ecvl import Image
from ecvl.io import deep

# Each makes the files of a seed; the first is the one to read, and each of them is mutated.
Seed = Callable[[Path], list[Path]]
RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (13, 11)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (13, 11, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (13, 11, 3)).astype(np.uint16)
VOLUME = np.arange(3 * 5 * 7, dtype=np.int16).reshape(3, 5, 7)


def _written(name: str, image: Image, **options: Any) -> Seed:
    def make(folder: Path) -> list[Path]:
        path = folder / name
        ecvl.write(path, image, **options)
        others = sorted(p for p in folder.iterdir() if p != path)
        return [path, *others]

    return make


def _bytes(name: str, content: Callable[[], bytes]) -> Seed:
    def make(folder: Path) -> list[Path]:
        (folder / name).write_bytes(content())
        return [folder / name]

    return make


def _pillow(name: str, picture: Callable[[], Any], **options: Any) -> Seed:
    def make(folder: Path) -> list[Path]:
        picture().save(folder / name, **options)
        return [folder / name]

    return make


def _tifffile(values: Any, **options: Any) -> Seed:
    def make(folder: Path) -> list[Path]:
        tifffile.imwrite(folder / "a.tif", values, **options)
        return [folder / "a.tif"]

    return make


def _nibabel(name: str, values: Any, change: Any = None, cls: Any = nibabel.Nifti1Image) -> Seed:
    def make(folder: Path) -> list[Path]:
        made = cls(values, np.diag([2, 3, 4, 1]))
        if change:
            change(made)
        nibabel.save(made, folder / name)
        return [folder / name]

    return make


def _big_endian(made: Any) -> None:
    made.header.set_slope_inter(2, -1024)


def _swapped() -> bytes:
    header = nibabel.Nifti1Header(endianness=">")
    made = nibabel.Nifti1Image(VOLUME.T.astype(">i2"), np.eye(4), header)
    return made.to_bytes()


def _dicom(name: str) -> Seed:
    return _bytes("a.dcm", lambda: Path(str(get_testdata_file(name, download=False))).read_bytes())


NRRD = "type: short\ndimension: 3\nsizes: 7 5 3\nendian: little\nencoding: {}\n" + (
    "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n"
    "kinds: domain domain domain\nspace origin: (1,2,3)\n{}\n"
)
META = "ObjectType = Image\nNDims = 3\nDimSize = 7 5 3\nElementType = MET_SHORT\n" + (
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 1 2 3\n{}"
    "ElementDataFile = LOCAL\n"
)


def _nrrd(encoding: str, data: bytes, more: str = "") -> bytes:
    return b"NRRD0005\n" + NRRD.format(encoding, more).encode() + data


def _frames(mode: str) -> Callable[[], Any]:
    return lambda: Pillow.fromarray(COLOUR).convert(mode)


def _turned() -> Any:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


def _deep_ppm() -> bytes:
    return b"P6\n11 13\n65535\n" + DEEP.astype(">u2").tobytes()


def _text_ppm(kind: str, values: Any) -> bytes:
    return f"{kind}\n11 13\n255\n{' '.join(map(str, values.ravel()))}\n".encode()


IMAGE = Image(VOLUME, "zyx", np.diag([-1, -2, 3, 1]))
LABELS = Image(GREY % 3, "yx", kind="labels", label_names={1: "one", 2: "two"})
ANIMATED = {"save_all": True, "duration": 40}
MORE = [Pillow.fromarray(255 - COLOUR), Pillow.fromarray(COLOUR[::-1].copy())]
TEXT = " ".join(map(str, VOLUME.ravel())).encode()
RAW = VOLUME.tobytes()

SEEDS: dict[str, Seed] = {
    "nifti plain": _written("a.nii", IMAGE),
    "nifti gz": _written("a.nii.gz", IMAGE),
    "nifti 2": _written("a.nii", IMAGE, version=2),
    "nifti colour": _written("a.nii", Image(COLOUR[None], "zyxc")),
    "nifti 4d float": _written("a.nii.gz", Image(np.ones((2, 3, 4, 5), np.float32), "tzyx")),
    "nifti vectors": _written("a.nii", Image(np.ones((2, 3, 4, 5), np.float32), "czyx")),
    "nifti names": _written("a.nii", LABELS),
    "nifti pair": _written("a.hdr", IMAGE),
    "nifti scaled": _nibabel("a.nii", VOLUME.T, _big_endian),
    "nifti complex": _nibabel("a.nii", VOLUME.T.astype(np.complex64)),
    "nifti big-endian": _bytes("a.nii", _swapped),
    "nrrd gz": _written("a.nrrd", IMAGE),
    "nrrd detached": _written("a.nhdr", IMAGE),
    "nrrd names": _written("a.nrrd", LABELS),
    "nrrd raw": _bytes("a.nrrd", lambda: _nrrd("raw", RAW)),
    "nrrd text": _bytes("a.nrrd", lambda: _nrrd("text", TEXT)),
    "nrrd bzip2": _bytes("a.nrrd", lambda: _nrrd("bzip2", bz2.compress(RAW))),
    "nrrd skip": _bytes("a.nrrd", lambda: _nrrd("raw", b"ab\ncd" + RAW, "line skip: 1\n"
                                                                       "byte skip: 2\n")),
    "metaimage zlib": _written("a.mha", IMAGE),
    "metaimage detached": _written("a.mhd", IMAGE),
    "metaimage vectors": _written("a.mha", Image(COLOUR[None], "zyxc")),
    "metaimage raw": _bytes("a.mha", lambda: META.format("").encode() + RAW),
    "metaimage text": _bytes("a.mha", lambda: META.format("BinaryData = False\n").encode() + TEXT),
    "metaimage gz": _bytes("a.mha", lambda: META.format("CompressedData = True\n").encode()
                           + gzip.compress(RAW, mtime=0)),
    "png grey": _written("a.png", Image(GREY, "yx")),
    "png 16": _written("a.png", Image(DEEP[..., 0], "yx")),
    "png colour": _written("a.png", Image(COLOUR, "yxc")),
    "png deep": _written("a.png", Image(DEEP, "yxc")),
    "png note": _written("a.png", LABELS),
    "png palette": _pillow("a.png", _frames("P")),
    "png bits": _pillow("a.png", _frames("1")),
    "png alpha": _pillow("a.png", _frames("RGBA")),
    "png animated": _pillow("a.png", _frames("RGB"), append_images=MORE, **ANIMATED),
    "jpeg grey": _pillow("a.jpg", _frames("L")),
    "jpeg colour": _pillow("a.jpg", _frames("RGB")),
    "jpeg progressive": _pillow("a.jpg", _frames("RGB"), progressive=True),
    "jpeg cmyk": _pillow("a.jpg", _frames("CMYK")),
    "jpeg turned": _pillow("a.jpg", _frames("RGB"), **_turned()),
    "bmp colour": _pillow("a.bmp", _frames("RGB")),
    "bmp palette": _pillow("a.bmp", _frames("P")),
    "bmp bits": _pillow("a.bmp", _frames("1")),
    "gif one": _pillow("a.gif", _frames("P")),
    "gif animated": _pillow("a.gif", _frames("RGB"), append_images=MORE, **ANIMATED),
    "webp lossless": _pillow("a.webp", _frames("RGBA"), lossless=True),
    "webp lossy": _pillow("a.webp", _frames("RGB")),
    "webp animated": _pillow("a.webp", _frames("RGB"), append_images=MORE, **ANIMATED),
    "pnm grey": _pillow("a.pgm", _frames("L")),
    "pnm bits": _pillow("a.pbm", _frames("1")),
    "pnm text": _bytes("a.ppm", lambda: _text_ppm("P3", COLOUR)),
    "pnm text grey": _bytes("a.pgm", lambda: _text_ppm("P2", GREY)),
    "pnm deep": _bytes("a.ppm", _deep_ppm),
    "tiff volume": _written("a.tif", IMAGE),
    "tiff labels": _written("a.tif", LABELS),
    "tiff float": _tifffile(VOLUME.astype(np.float32), imagej=True),
    "tiff deep": _tifffile(DEEP),
    "tiff planar": _tifffile(np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate"),
    "tiff tiled": _tifffile(np.tile(COLOUR, (3, 4, 1)), tile=(16, 16), photometric="rgb"),
    "tiff big": _tifffile(GREY, bigtiff=True, byteorder=">"),
    "tiff lzw": _pillow("a.tif", _frames("RGB"), compression="tiff_lzw"),
    "tiff jpeg": _pillow("a.tif", _frames("RGB"), compression="jpeg"),
    "tiff fax": _pillow("a.tif", _frames("1"), compression="group4"),
    "tiff palette": _pillow("a.tif", _frames("P"), compression="packbits"),
    "tiff cmyk": _pillow("a.tif", _frames("CMYK")),
    "tiff deep lzw": _bytes("a.tif", lambda: deep.encode(DEEP, ".tiff")),
    "dicom explicit": _dicom("MR_small.dcm"),
    "dicom rle": _dicom("MR_small_RLE.dcm"),
    "dicom j2k": _dicom("MR_small_jp2klossless.dcm"),
    "dicom big-endian": _dicom("MR_small_bigendian.dcm"),
    "dicom implicit": _dicom("MR_small_implicit.dcm"),
    "dicom deflated": _dicom("image_dfl.dcm"),
    "dicom structures": _dicom("rtstruct.dcm"),
    "dicom jpeg lossless": _dicom("SC_rgb_jpeg_gdcm.dcm"),
    "dicom dose": _dicom("rtdose.dcm"),
    "dicom colour": _dicom("SC_rgb_small_odd.dcm"),
    "dicom jpeg": _dicom("SC_rgb_small_odd_jpeg.dcm"),
    "dicom jpeg lines": _dicom("SC_rgb_jpeg_dcmtk.dcm"),
    "dicom jpeg-ls": _dicom("MR_small_jpeg_ls_lossless.dcm"),
    "dicom jpeg-ls colour": _dicom("SC_rgb_jls_lossy_sample.dcm"),
    "dicom jpeg-ls near": _dicom("JPEGLSNearLossless_16.dcm"),
    "dicom j2k colour": _dicom("GDCMJ2K_TextGBR.dcm"),
    "dicom j2k lossy": _dicom("JPEG2000.dcm"),
    "dicom frames": _dicom("SC_rgb_rle_16bit_2frame.dcm"),
    "dicom bits": _dicom("liver_1frame.dcm"),
}  # fmt: skip
