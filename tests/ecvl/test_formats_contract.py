"""What every format in the table promises: round trips, geometry, refusals, lazy equals eager.

A new row is covered by itself; one that writes has to say in `HOLDS` what its files keep.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import EcvlError, Image, LazyImage
from ecvl.io import FORMATS

# What comes back of an image besides its values: affine, kind, label names, time step. What a
# format does not hold comes back as the plain default.
EVERYTHING = {"affine", "kind", "names", "time"}
HOLDS: dict[str, set[str]] = {
    "nifti": EVERYTHING,
    "nrrd": EVERYTHING,
    "metaimage": {"affine", "kind", "time"},
    "tiff": EVERYTHING,
    "png": {"affine", "kind", "names"},
    "jpeg": set(),
    "bmp": set(),
    "webp": set(),
    "pnm": set(),
}
# Single precision in NIfTI-1, decimal text that is exact elsewhere.
AFFINE_TOLERANCE = {"nifti": 1e-5}
# A turn about each axis, voxels of 0.8×1.1×2.5 mm.
TURN = np.linalg.qr(np.array([[9.0, 1, -2], [-1, 8, 2], [2, -1, 9]]))[0]
OBLIQUE = np.eye(4)
OBLIQUE[:3] = np.column_stack([TURN * (-0.8, -1.1, -2.5), (-30.5, 12.25, 7)])
OTHER_TESTS = {"dicom": "its objects need more than an image; test_dicom*.py hold them"}

DTYPES = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64".split()
SHAPES = {
    "yx": (6, 7),
    "yxc": (6, 7, 3),
    "zyx": (3, 6, 7),
    "zyxc": (3, 6, 7, 3),
    "tzyx": (2, 3, 6, 7),
    "czyx": (2, 3, 6, 7),
    "nyx": (2, 6, 7),
}
WRITERS = [
    (name, extension)
    for name, entry in FORMATS.items()
    if entry.write and name not in OTHER_TESTS
    for extension in entry.extensions
]


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files need not reach the disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def _image(axes: str, dtype: str, kind: Any = "image", seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    values: Any
    if np.dtype(dtype).kind == "f":
        values = rng.normal(0, 100, SHAPES[axes])
    elif kind == "labels":
        values = rng.integers(0, 4, SHAPES[axes])
    else:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, SHAPES[axes], np.dtype(dtype), endpoint=True)
    names = {1: "one", 3: "drei"} if kind == "labels" else None
    meta = {"time_step": 0.25} if "t" in axes else {}
    affine = OBLIQUE if "z" in axes else np.diag([0.5, 0.75, 1, 1])
    return Image(values.astype(dtype), axes, affine, kind, meta, names)


def test_every_writer_says_what_it_holds() -> None:
    assert {name for name, _ in WRITERS} == set(HOLDS)


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize(("name", "extension"), WRITERS)
def test_what_is_written_comes_back(tmp_path: Path, name: str, extension: str, axes: str) -> None:
    cases = [_image(axes, dtype) for dtype in DTYPES]
    cases += [_image(axes, dtype, "labels") for dtype in ("uint8", "int64") if "c" not in axes]
    written, refusals = 0, []
    for image in cases:
        path = tmp_path / f"a{extension}"
        try:
            bound = ecvl.write(path, image)
        except (ecvl.FormatError, ecvl.KindError, ecvl.GeometryError) as error:
            refusals.append(str(error))
            assert not list(tmp_path.iterdir()), "a refused write leaves nothing"
            continue
        written += 1
        keep = {"alpha": "keep"} if "alpha" in FORMATS[name].options else {}
        back = ecvl.read(path, raw=True, kind=image.kind, **keep)
        _require_same(name, image, back, bound)
        said = ecvl.info(path)
        assert (said.format, said.axes, said.shape) == (name, back.axes, back.shape)
        np.testing.assert_array_equal(said.affine, back.affine)
        assert said.time_step == back.time_step
        if "kind" in HOLDS[name]:
            assert said.kind == image.kind
        for left in tmp_path.iterdir():
            left.unlink()
    assert not any("\n" in message for message in refusals)
    assert written or axes not in ("yx", "yxc") or (name, axes) in {("webp", "yx")}


def _require_same(name: str, image: Image, back: Image, bound: float) -> None:
    holds = HOLDS[name]
    assert (back.axes, back.shape) == (image.axes, image.shape)
    difference = np.abs(back.array.astype(np.float64) - image.array.astype(np.float64))
    assert difference.max() <= bound
    if image.kind == "image" and image.dtype != np.float16:
        assert back.dtype == image.dtype
    tolerance = AFFINE_TOLERANCE.get(name, 1e-12)
    if "affine" in holds:
        np.testing.assert_allclose(back.affine, image.affine, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(back.affine, np.eye(4))
    if "kind" in holds:
        assert back.kind == image.kind
    assert back.label_names == (image.label_names if "names" in holds else None)
    if "t" in image.axes:
        assert back.time_step == image.time_step


@pytest.mark.parametrize(("name", "extension"), WRITERS)
def test_the_same_image_gives_the_same_bytes(tmp_path: Path, name: str, extension: str) -> None:
    image = _image("yxc" if name == "webp" else "yx", "uint8")
    for file in "ab":
        folder = tmp_path / file
        folder.mkdir()
        ecvl.write(folder / f"same{extension}", image)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(("name", "extension"), WRITERS)
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, extension: str
) -> None:
    image = _image("yxc" if name == "webp" else "yx", "uint8")
    path = tmp_path / f"a{extension}"
    ecvl.write(path, image)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ecvl.FileError, match="No space left"):
        ecvl.write(path, image.replace(array=np.zeros_like(image.array)))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


KEYS: list[Any] = [
    ...,
    (0,),
    (slice(1, None), ...),
    (..., slice(2, 5)),
    (..., slice(None, None, -2), slice(1, None, 2)),
    (-1, ..., slice(3, 1, -1)),
]


def _files(folder: Path, name: str) -> list[Path]:
    """One file a kind of content that the format can hold, and what only other programs write."""
    found = []
    for number, (axes, dtype, kind) in enumerate(
        [(a, d, k) for a in SHAPES for d in ("uint8", "int16", "float32")
         for k in ("image", "labels") if k == "image" or d == "uint8"]
    ):  # fmt: skip
        for extension in FORMATS[name].extensions:
            path = folder / f"{number}{extension}"
            try:
                ecvl.write(path, _image(axes, dtype, kind))
            except EcvlError:
                continue
            found.append(path)
    return found


def _gif(folder: Path) -> list[Path]:
    from PIL import Image as Pillow

    rng = np.random.default_rng(0)
    frames = [Pillow.fromarray(rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)) for _ in range(3)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=40)
    return [folder / "a.gif"]


def _dicom(folder: Path) -> list[Path]:
    from pydicom.data import get_testdata_file

    return [
        Path(str(get_testdata_file(n, download=False))) for n in ("CT_small.dcm", "MR_small.dcm")
    ]


OTHERS = {"gif": _gif, "dicom": _dicom}


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_lazy_equals_eager(tmp_path: Path, name: str, raw: bool) -> None:
    files = OTHERS[name](tmp_path) if name in OTHERS else _files(tmp_path, name)
    assert files
    for path in files:
        whole, lazy = ecvl.read(path, raw=raw), ecvl.read(path, raw=raw, lazy=True)
        assert isinstance(lazy, LazyImage)
        assert (lazy.axes, lazy.shape, lazy.dtype) == (whole.axes, whole.shape, whole.dtype)
        assert (lazy.kind, lazy.label_names) == (whole.kind, whole.label_names)
        assert lazy.meta == whole.meta
        np.testing.assert_array_equal(np.asarray(lazy), whole)
        for key in KEYS:
            try:
                expected = whole[key]
            except ecvl.GeometryError:
                with pytest.raises(ecvl.GeometryError):
                    lazy[key]
                continue
            part = lazy[key]
            assert (part.axes, part.dtype, part.kind) == (
                expected.axes,
                expected.dtype,
                expected.kind,
            )
            np.testing.assert_array_equal(part, expected)
            np.testing.assert_array_equal(part.affine, expected.affine)
            assert part.meta == expected.meta


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    files = OTHERS[name](tmp_path) if name in OTHERS else _files(tmp_path, name)
    path = next(p for p in files if not p.name.endswith((".mhd", ".nhdr", ".hdr", ".img")))
    other = tmp_path / "other.xyz"
    other.write_bytes(path.read_bytes())
    assert ecvl.info(other).format == name
    np.testing.assert_array_equal(ecvl.read(other), ecvl.read(path))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_labels_are_whole_numbers_or_refused(tmp_path: Path, name: str) -> None:
    files = OTHERS[name](tmp_path) if name in OTHERS else _files(tmp_path, name)
    for path in files:
        try:
            labels = ecvl.read(path, kind="labels")
        except ecvl.FormatError:
            continue
        assert labels.kind == "labels"
        assert labels.dtype.kind in "iu"


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    ecvl.write(tmp_path / "a.png", _image("yx", "uint8"))
    with pytest.raises(ecvl.ParameterError, match=r"received .*'slope'"):
        ecvl.read(tmp_path / "a.png", slope=3)
    with pytest.raises(ecvl.ParameterError, match=r"received .*'quality'"):
        ecvl.write(tmp_path / "a.png", _image("yx", "uint8"), quality=3)
    with pytest.raises(ecvl.KindError, match=r"ecvl\.Image"):
        ecvl.write(tmp_path / "a.png", np.zeros((2, 2)))  # type: ignore[arg-type]


def test_nothing_warns(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ecvl.write(tmp_path / "a.tif", _image("zyx", "float32"))
        ecvl.read(tmp_path / "a.tif")
