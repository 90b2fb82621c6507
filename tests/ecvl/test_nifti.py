"""NIfTI against nibabel and SimpleITK, in both directions, and what may not be believed."""

import gzip
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

import ecvl
from ecvl import EcvlError, FormatError, GeometryError, Image, MissingFileError, NiftiWrite

ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "SLA", "AIL")
DATA = Path(nibabel.__file__).parent / "tests" / "data"
EXAMPLES = ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"]


def _nibabel(path: Path, values: Any, affine: Any, **header: Any) -> Path:
    made = nibabel.Nifti1Image(values, affine)
    for key, value in header.items():
        made.header[key] = value
    nibabel.save(made, path)
    return path


@pytest.mark.parametrize("name", EXAMPLES)
def test_nibabels_examples_read_as_nibabel_reads_them(name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip("this nibabel was installed without its test data")
    theirs = nibabel.load(DATA / name)
    ours = ecvl.read(DATA / name)
    np.testing.assert_allclose(ours.array, np.squeeze(theirs.get_fdata()).T, rtol=1e-6)
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    assert ours.orientation == "".join(nibabel.aff2axcodes(theirs.affine))
    assert ecvl.info(DATA / name).shape == ours.shape


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_odd_orientations_round_trip(volume: Any, tmp_path: Path, codes: str, suffix: str) -> None:
    image = ecvl.reorient(volume(), codes)
    path = tmp_path / f"a{suffix}"
    ecvl.write(path, image)
    back = ecvl.read(path)
    assert np.array_equal(back, image)
    assert back.dtype == image.dtype
    assert back.orientation == codes
    np.testing.assert_allclose(back.affine, image.affine, rtol=1e-6, atol=1e-5)

    theirs = nibabel.load(path)
    assert np.array_equal(np.asanyarray(theirs.dataobj).T, image)
    sform, scode = theirs.get_sform(coded=True)
    qform, qcode = theirs.get_qform(coded=True)
    assert (int(scode), int(qcode)) == (1, 1)
    np.testing.assert_allclose(sform, image.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(qform, image.affine, rtol=1e-4, atol=1e-4)
    assert theirs.header.get_xyzt_units()[0] == "mm"

    itk = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(itk), image)
    lps = np.array(itk.TransformIndexToPhysicalPoint((3, 2, 1)))
    np.testing.assert_allclose(image.world((1, 2, 3)), lps * (-1, -1, 1), atol=1e-3)


@pytest.mark.parametrize(
    "dtype",
    "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32".split(),
)
def test_every_type_round_trips(tmp_path: Path, dtype: str) -> None:
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    values = np.array([[limits.min, limits.max, 0, 1]], dtype)
    ecvl.write(tmp_path / "a.nii.gz", Image(values, "yx"))
    back = ecvl.read(tmp_path / "a.nii.gz")
    assert back.dtype == dtype
    assert np.array_equal(back, values)


def test_big_endian_and_nifti2(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4), header), tmp_path / "big.nii")
    nibabel.save(nibabel.Nifti2Image(values.T, np.eye(4)), tmp_path / "two.nii.gz")
    for name in ("big.nii", "two.nii.gz"):
        back = ecvl.read(tmp_path / name)
        assert np.array_equal(back, values)
        assert back.dtype.isnative
    long = Image(np.zeros((1, 40_000), np.uint8), "yx")
    ecvl.write(tmp_path / "long.nii.gz", long)
    assert ecvl.read(tmp_path / "long.nii.gz").shape == long.shape
    assert isinstance(nibabel.load(tmp_path / "long.nii.gz"), nibabel.Nifti2Image)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("yx", (3, 4)), ("tzyx", (2, 3, 4, 5)), ("czyx", (3, 2, 4, 5)), ("ctzyx", (3, 2, 2, 4, 5))],
)
def test_axes_round_trip(tmp_path: Path, axes: str, shape: Any) -> None:
    image = Image(np.arange(np.prod(shape), dtype=np.int32).reshape(shape), axes)
    image.meta["time_step"] = 2.5
    ecvl.write(tmp_path / "a.nii", image)
    back = ecvl.read(tmp_path / "a.nii")
    assert back.axes == axes
    assert np.array_equal(back, image)
    if "t" in axes:
        assert back.meta["time_step"] == 2.5
    assert ecvl.info(tmp_path / "a.nii").axes == axes


def test_colour_is_read(tmp_path: Path) -> None:
    rgb = np.zeros((4, 3, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    rgb["G"] = 7
    _nibabel(tmp_path / "a.nii", rgb, np.eye(4))
    back = ecvl.read(tmp_path / "a.nii")
    assert (back.axes, back.shape) == ("zyxc", (2, 3, 4, 3))
    assert np.array_equal(back.array[..., 1], np.full((2, 3, 4), 7))
    assert ecvl.info(tmp_path / "a.nii").shape == back.shape


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [
        (1, 0, "int16"),
        (1, -1024, "int16"),
        (2, 0, "uint8"),
        (100, 0, "uint16"),
        (0.5, 0, "float32"),
        (0, 5, "int16"),
        (np.nan, 5, "int16"),
        (1, 0.5, "float32"),
    ],
)
def test_scaling_is_nibabels_in_an_honest_type(
    tmp_path: Path, slope: float, intercept: float, dtype: str
) -> None:
    values = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    path = _nibabel(tmp_path / "a.nii", values, np.eye(4))
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, slope, intercept)
    path.write_bytes(content)
    back = ecvl.read(path)
    assert back.dtype == dtype
    np.testing.assert_allclose(back.array, nibabel.load(path).get_fdata().T, rtol=1e-6)
    assert np.array_equal(ecvl.NiftiRead(path, raw=True), values.T)


def test_labels_keep_their_kind_and_are_whole(volume: Any, tmp_path: Path) -> None:
    labels = volume(kind="labels", dtype=np.uint8)
    ecvl.write(tmp_path / "labels.nii.gz", labels)
    assert ecvl.read(tmp_path / "labels.nii.gz").kind == "labels"
    assert ecvl.info(tmp_path / "labels.nii.gz").kind == "labels"
    whole = labels.array.astype(np.float64).T
    _nibabel(tmp_path / "whole.nii", whole, np.eye(4))
    read = ecvl.read(tmp_path / "whole.nii", kind="labels")
    assert (read.kind, read.dtype) == ("labels", np.uint8)
    assert ecvl.read(tmp_path / "whole.nii").dtype == np.float32
    for bad in (0.5, np.nan, np.inf):
        whole[1, 1, 1] = bad
        _nibabel(tmp_path / "bad.nii", whole, np.eye(4))
        with pytest.raises(FormatError, match="whole numbers"):
            ecvl.read(tmp_path / "bad.nii", kind="labels")


def test_a_sheared_affine_is_written_as_sform_only(volume: Any, tmp_path: Path) -> None:
    affine = volume().affine.copy()
    affine[:3, 2] += (0.4, 0, 0)
    ecvl.write(tmp_path / "a.nii", Image(np.zeros((2, 3, 4)), "zyx", affine))
    theirs = nibabel.load(tmp_path / "a.nii")
    assert int(theirs.header["qform_code"]) == 0
    np.testing.assert_allclose(ecvl.read(tmp_path / "a.nii").affine, affine, rtol=1e-6)


def test_the_same_image_gives_the_same_bytes(volume: Any, tmp_path: Path) -> None:
    image = volume()
    ecvl.write(tmp_path / "a.nii.gz", image)
    time.sleep(1.1)
    ecvl.write(tmp_path / "b.nii.gz", image.replace(meta={"common": {"PatientName": "Secret"}}))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert b"Secret" not in gzip.decompress((tmp_path / "b.nii.gz").read_bytes())


def test_dimensions_can_be_demanded(tmp_path: Path) -> None:
    ecvl.write(tmp_path / "a.nii", Image(np.zeros((2, 3, 4, 5)), "tzyx"))
    with pytest.raises(GeometryError, match="3 dimensions") as caught:
        ecvl.read(tmp_path / "a.nii", dimensions=3)
    assert "tzyx" in str(caught.value)
    assert ecvl.read(tmp_path / "a.nii", dimensions=4).shape == (2, 3, 4, 5)


def _with(content: bytes, at: int, form: str, *values: Any) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


DAMAGE = {
    "empty": lambda b: b"",
    "text": lambda b: b"this is not an image\n" * 50,
    "short": lambda b: b[:-10],
    "header only": lambda b: b[:200],
    "zero dim": lambda b: _with(b, 42, "<h", 0),
    "negative dim": lambda b: _with(b, 42, "<h", -5),
    "no dims": lambda b: _with(b, 40, "<h", 0),
    "too many dims": lambda b: _with(b, 40, "<h", 9),
    "huge": lambda b: _with(b, 42, "<hhh", 30000, 30000, 30000),
    "unknown type": lambda b: _with(b, 70, "<h", 999),
    "complex": lambda b: _with(b, 70, "<hh", 32, 64),
    "float128": lambda b: _with(b, 70, "<hh", 1536, 128),
    "nan affine": lambda b: _with(b, 280, "<f", np.nan),
    "flat affine": lambda b: _with(b, 280, "<ffff", 0, 0, 0, 0),
    "nan offset": lambda b: _with(b, 108, "<f", np.nan),
    "negative offset": lambda b: _with(b, 108, "<f", -400.0),
    "far offset": lambda b: _with(b, 108, "<f", 1e9),
    "pair": lambda b: _with(b, 344, "4s", b"ni1\0"),
    "analyze": lambda b: _with(b, 344, "4s", b"\0\0\0\0"),
}


@pytest.fixture
def plain(tmp_path: Path) -> bytes:
    ecvl.write(tmp_path / "plain.nii", Image(np.ones((4, 5, 6), np.int16), "zyx"))
    return (tmp_path / "plain.nii").read_bytes()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_line(plain: bytes, tmp_path: Path, damage: str, zipped: bool) -> None:
    content = DAMAGE[damage](plain)
    path = tmp_path / ("bad.nii.gz" if zipped else "bad.nii")
    path.write_bytes(gzip.compress(content) if zipped else content)
    for act in (ecvl.read, ecvl.NiftiRead):
        with pytest.raises(EcvlError) as caught:
            act(path)
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) > 40
        assert "bad.nii" in message


def test_damaged_gzip(plain: bytes, tmp_path: Path) -> None:
    whole = gzip.compress(plain)
    flipped = bytearray(whole)
    flipped[-6] ^= 255
    for content in (whole[:-20], whole[:40], whole[:3], bytes(flipped)):
        (tmp_path / "bad.nii.gz").write_bytes(content)
        with pytest.raises(FormatError, match=r"truncated or damaged"):
            ecvl.read(tmp_path / "bad.nii.gz")
    (tmp_path / "text.nii.gz").write_text("hello")
    with pytest.raises(FormatError, match="no image in a format known"):
        ecvl.read(tmp_path / "text.nii.gz")


def test_extra_bytes_and_wrong_names_do_no_harm(plain: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(plain + b"tail" * 100)
    (tmp_path / "b.txt").write_bytes(gzip.compress(plain + b"\0" * 5000))
    for name in ("a.png", "b.txt"):
        assert ecvl.read(tmp_path / name).shape == (4, 5, 6)


def test_a_promise_of_gigabytes_asks_for_no_memory(plain: bytes, tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(_with(plain, 42, "<hhh", 20000, 20000, 20000)))
    tracemalloc.start()
    with pytest.raises(FormatError, match="promises"):
        ecvl.read(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nothing\.nii"):
        ecvl.read(tmp_path / "nothing.nii")
    with pytest.raises(FileNotFoundError):
        ecvl.info(tmp_path / "nothing.nii")
    with pytest.raises(MissingFileError, match="folder"):
        ecvl.write(tmp_path / "none" / "a.nii", Image(np.zeros((2, 2)), "yx"))
    with pytest.raises(FormatError, match="extension"):
        ecvl.write(tmp_path / "a.text", Image(np.zeros((2, 2)), "yx"))
    with pytest.raises(FormatError, match="axes"):
        ecvl.write(tmp_path / "a.nii", Image(np.zeros((2, 2, 3)), "nyx"))
    with pytest.raises(EcvlError, match="path"):
        ecvl.read(None)  # type: ignore[arg-type]
    ecvl.write(tmp_path / "a.nii", Image(np.zeros((2, 2)), "yx"))
    with pytest.raises(EcvlError, match=r"received .*series"):
        ecvl.read(tmp_path / "a.nii", series=3)
    with pytest.raises(EcvlError):
        ecvl.NiftiRead(tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nii"
    ecvl.write(path, Image(np.ones((2, 2)), "yx"))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ecvl.FileError, match="No space left"):
        ecvl.write(path, Image(np.zeros((2, 2)), "yx"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_write_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    code = """if True:
        import numpy as np, ecvl, sys
        values = np.random.default_rng(0).integers(0, 30000, (200, 512, 512)).astype(np.int16)
        image = ecvl.Image(values, 'zyx')
        print('ready', flush=True)
        ecvl.write(sys.argv[1], image)
    """
    path = tmp_path / "a.nii.gz"
    worker = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    worker.stdout.readline()
    deadline = time.monotonic() + 20
    while not any(p.stat().st_size for p in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.005)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert not path.exists()


def test_writing_refuses_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ecvl.KindError, match=r"ecvl\.Image"):
        NiftiWrite(tmp_path / "a.nii", np.zeros((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(FormatError, match=r"\.nii"):
        NiftiWrite(tmp_path / "a.mha", Image(np.zeros((2, 2)), "yx"))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("pair", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
def test_pairs_are_read_from_either_file(
    tmp_path: Path, zipped: bool, order: Any, pair: Any
) -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    end = ".gz" if zipped else ""
    header = pair.header_class(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    made = pair(values.T, np.diag([2, 3, 4, 1]), header)
    made.to_filename(tmp_path / f"a.img{end}")
    for name in ("a.img", "a.hdr"):
        back = ecvl.read(tmp_path / (name + end))
        assert np.array_equal(back, values)
        assert back.spacing == (4, 3, 2)
    (tmp_path / f"a.img{end}").unlink()
    with pytest.raises(MissingFileError, match="beside"):
        ecvl.read(tmp_path / f"a.hdr{end}")


def test_pairs_are_written(volume: Any, tmp_path: Path) -> None:
    image = volume()
    ecvl.write(tmp_path / "a.img", image)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdr", "a.img"]
    assert np.array_equal(ecvl.read(tmp_path / "a.hdr"), image)
    assert np.array_equal(np.asanyarray(nibabel.load(tmp_path / "a.img").dataobj).T, image)
    itk = sitk.ReadImage(str(tmp_path / "a.hdr"))
    assert np.array_equal(sitk.GetArrayFromImage(itk), image)


@pytest.mark.parametrize(
    ("axes", "shape"), [("yxc", (4, 5, 3)), ("zyxc", (2, 4, 5, 4)), ("tzyxc", (2, 2, 4, 5, 3))]
)
def test_colour_is_written(tmp_path: Path, axes: str, shape: Any) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    ecvl.write(tmp_path / "a.nii.gz", Image(values, axes))
    back = ecvl.read(tmp_path / "a.nii.gz")
    assert back.axes == axes
    assert np.array_equal(back, values)
    theirs = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
    assert theirs.dtype.names == tuple("RGBA"[: shape[-1]])
    for place, letter in enumerate(theirs.dtype.names):
        assert np.array_equal(theirs[letter].T, values[..., place])


def test_complex_voxels_are_read_by_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(5, 4, 3)) + 1j * rng.normal(size=(5, 4, 3))).astype(np.complex64)
    path = _nibabel(tmp_path / "a.nii", values, np.eye(4))
    parts = {"real": np.real, "imaginary": np.imag, "magnitude": np.abs, "phase": np.angle}
    for part, function in parts.items():
        found = ecvl.read(path, part=part)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, function(values).T, rtol=1e-6)
    with pytest.raises(FormatError, match="which part"):
        ecvl.read(path)
    with pytest.raises(EcvlError, match="only for complex"):
        ecvl.read(_nibabel(tmp_path / "b.nii", np.zeros((2, 2, 2)), np.eye(4)), part="real")


def test_label_names_travel_in_an_extension(volume: Any, tmp_path: Path) -> None:
    names = {1: "left lung", 2: "ö"}
    image = volume(kind="labels", dtype=np.uint8).replace(label_names=names)
    for name in ("a.nii", "a.nii.gz", "a.hdr"):
        ecvl.write(tmp_path / name, image)
        assert ecvl.read(tmp_path / name).label_names == names
        assert ecvl.read(tmp_path / name, kind="image").label_names is None
        assert np.array_equal(np.asanyarray(nibabel.load(tmp_path / name).dataobj).T, image)
    itk = sitk.ReadImage(str(tmp_path / "a.nii"))
    assert np.array_equal(sitk.GetArrayFromImage(itk), image)
    content = (tmp_path / "a.nii").read_bytes()
    for bad in (b'{"ecvl": 3        ', b'{"ecvl"            ', b'{"ecvl":{"label_n":'):
        (tmp_path / "b.nii").write_bytes(content.replace(b'{"ecvl": {"label_n', bad[:18]))
        assert ecvl.read(tmp_path / "b.nii").label_names is None
    (tmp_path / "b.nii").write_bytes(_with(content, 352, "<i", 1 << 30))
    assert ecvl.read(tmp_path / "b.nii").label_names is None


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e3), ("micron", 1e-3), ("mm", 1)])
def test_lengths_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    made = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.diag([2, 3, 4, 1]))
    made.header.set_xyzt_units(unit)
    nibabel.save(made, tmp_path / "a.nii")
    np.testing.assert_allclose(ecvl.read(tmp_path / "a.nii").spacing, np.array([4, 3, 2]) * factor)


def test_time_steps_and_form_codes_round_trip(tmp_path: Path) -> None:
    made = nibabel.Nifti1Image(np.zeros((3, 4, 5, 6), np.int16), np.eye(4))
    made.header.set_xyzt_units("mm", "msec")
    made.header["pixdim"][4] = 1500
    made.set_sform(np.eye(4), code=4)
    made.set_qform(np.diag([2, 2, 2, 1]), code=1)
    nibabel.save(made, tmp_path / "a.nii")
    image = ecvl.read(tmp_path / "a.nii")
    assert image.time_step == ecvl.info(tmp_path / "a.nii").time_step == 1.5
    assert image.spacing == (1, 1, 1)
    ecvl.write(tmp_path / "b.nii", image)
    back = nibabel.load(tmp_path / "b.nii")
    assert back.get_sform(coded=True)[1] == 4
    assert back.header.get_zooms()[3] == 1.5


def test_version_2_holds_the_affine_exactly(volume: Any, tmp_path: Path) -> None:
    image = volume()
    ecvl.write(tmp_path / "a.nii", image, version=2)
    assert np.array_equal(ecvl.read(tmp_path / "a.nii").affine, image.affine)
    assert ecvl.info(tmp_path / "a.nii").details["version"] == 2
    wide = Image(np.zeros((1, 40_000), np.uint8), "yx")
    ecvl.write(tmp_path / "wide.nii", wide)
    assert ecvl.info(tmp_path / "wide.nii").details["version"] == 2
    with pytest.raises(FormatError, match="32767"):
        ecvl.write(tmp_path / "wide.nii", wide, version=1)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("slope", "intercept"), [(2, -7), (0.5, 1), (1, 0)])
def test_a_part_has_the_type_of_the_whole(
    tmp_path: Path, suffix: str, slope: float, intercept: float
) -> None:
    values = np.zeros((30, 20, 10), np.int16)
    values[0, 0, 0] = 9000
    path = _nibabel(tmp_path / f"a{suffix}", values, np.eye(4))
    made = nibabel.load(path)
    made.header.set_slope_inter(slope, intercept)
    other = tmp_path / f"b{suffix}"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), made.header), other)
    lazy, whole = ecvl.read(other, lazy=True), ecvl.read(other)
    part = lazy[4, 2:9]
    assert lazy.dtype == part.dtype == whole.dtype
    assert np.array_equal(part, whole[4, 2:9])


def test_lazy_labels_refuse_fractions_anywhere(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 4), np.float32)
    values[0, 0, 3] = 300
    path = _nibabel(tmp_path / "a.nii", values, np.eye(4))
    assert ecvl.read(path, kind="labels", lazy=True)[0].dtype == np.uint16
    values[0, 0, 3] = 0.5
    path = _nibabel(tmp_path / "b.nii", values, np.eye(4))
    with pytest.raises(FormatError, match="whole numbers"):
        ecvl.read(path, kind="labels", lazy=True)[0]
