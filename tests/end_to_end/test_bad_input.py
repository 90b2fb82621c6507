"""What cannot be used gives one clear line, exit code 2, no traceback, and nothing written."""

import gzip
import shutil

import nibabel
import numpy as np
import onnx
import pytest

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def volume(path, shape=(20, 20, 20)):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.int16), AFFINE), path)


def missing(folder, source):
    return folder / "no-such-scan.nii.gz"


def text(folder, source):
    (folder / "text.nii.gz").write_text("this is no scan\n" * 100)
    return folder / "text.nii.gz"


def four_dimensional(folder, source):
    volume(folder / "series.nii.gz", (8, 8, 8, 5))
    return folder / "series.nii.gz"


def truncated(folder, source):
    volume(folder / "whole.nii.gz", (64, 64, 64))
    content = gzip.compress(np.random.default_rng(0).bytes(100_000))
    (folder / "cut.nii.gz").write_bytes(
        (folder / "whole.nii.gz").read_bytes()[:150] or content[:150]
    )
    return folder / "cut.nii.gz"


def promising(folder, source):
    volume(folder / "small.nii", (8, 8, 8))
    content = bytearray((folder / "small.nii").read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (folder / "promising.nii").write_bytes(content)
    return folder / "promising.nii"


def two_series(folder, source):
    first = source / "phantom-1.0" / "series"
    shutil.copytree(first, folder / "two")
    import pydicom

    for path in first.iterdir():
        one = pydicom.dcmread(path)
        one.SeriesInstanceUID = "1.2.3"
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = (
            f"{one.SOPInstanceUID[:60]}.9"
        )
        one.save_as(folder / "two" / f"other-{path.name}")
    return folder / "two"


def missing_slice(folder, source):
    shutil.copytree(source / "phantom-1.0" / "series", folder / "gap")
    (folder / "gap" / "07.dcm").unlink()
    return folder / "gap"


def empty_folder(folder, source):
    (folder / "empty").mkdir()
    return folder / "empty"


CASES = [
    missing,
    text,
    four_dimensional,
    truncated,
    promising,
    two_series,
    missing_slice,
    empty_folder,
]


def assert_refused(done):
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("deephealth: ")
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("make", CASES, ids=[make.__name__ for make in CASES])
def test_a_scan_that_cannot_be_used(make, finished, deephealth, source, tmp_path):
    scan = make(tmp_path, source)
    out = tmp_path / "out"
    out.mkdir()
    done = deephealth("predict", finished[0] / "model.onnx", scan, "-o", out / "labels.nii.gz")
    assert_refused(done)
    assert list(out.iterdir()) == []


def test_a_model_of_someone_else(deephealth, source, tmp_path):
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "other", [x], [y]),
        opset_imports=[onnx.helper.make_opsetid("", 21)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("other.onnx", "text.onnx", "missing.onnx"):
        scan = source / "phantom-1.0" / "ct.nii.gz"
        done = deephealth("predict", tmp_path / name, scan, "-o", tmp_path / "labels.nii.gz")
        assert_refused(done)
        assert not (tmp_path / "labels.nii.gz").exists()


@pytest.mark.parametrize("output", ["labels.png", "nowhere/labels.nii.gz", "scan.nii.gz"])
def test_an_output_that_cannot_be(output, finished, deephealth, tmp_path):
    volume(tmp_path / "scan.nii.gz")
    before = (tmp_path / "scan.nii.gz").read_bytes()
    model = finished[0] / "model.onnx"
    done = deephealth("predict", model, tmp_path / "scan.nii.gz", "-o", tmp_path / output)
    assert_refused(done)
    assert [one.name for one in tmp_path.iterdir()] == ["scan.nii.gz"]
    assert (tmp_path / "scan.nii.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--epochs", "many"], "whole number"),
        (["--epochs", "0"], "minimum"),
        (["--device", "abacus"], "abacus"),
        (["--seed", "-1"], "minimum"),
    ],
)
def test_settings_that_cannot_be(arguments, word, deephealth, demo_arguments, tmp_path):
    done = deephealth(*demo_arguments, *arguments, "--out", tmp_path / "out")
    assert_refused(done)
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(deephealth, demo_arguments, tmp_path):
    (tmp_path / "thesis.txt").touch()
    for more in ([], ["--resume"]):
        done = deephealth(*demo_arguments, "--out", tmp_path, *more)
        assert_refused(done)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_document_that_cannot_run(deephealth, tmp_path):
    (tmp_path / "d.yml").write_text(
        "schema: deephealth/pipeline/v1\nsteps: [{id: a, op: read_imag}]"
    )
    assert_refused(deephealth("run", tmp_path / "d.yml", "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    rows = deephealth("check", tmp_path / "d.yml")
    assert rows.returncode == 2
    assert "did you mean read_image?" in rows.stdout
