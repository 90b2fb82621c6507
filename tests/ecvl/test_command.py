"""The command line: what it prints, what it writes, and how it fails."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecvl
from ecvl import Image
from ecvl.command import main


@pytest.fixture
def scan(volume: Any, tmp_path: Path) -> Path:
    ecvl.write(tmp_path / "scan.nii.gz", volume(dtype=np.float32))
    return tmp_path / "scan.nii.gz"


def test_info_in_words_and_as_json(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(scan)]) == 0
    said = capsys.readouterr().out
    assert "6×9×11 (zyx)" in said
    assert "2.5×1.1×0.8 mm" in said
    assert main(["info", str(scan), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shape"] == [6, 9, 11]
    assert found["details"]["compression"] == "gzip"
    np.testing.assert_allclose(found["affine"], ecvl.read(scan).affine)


def test_a_patient_is_named_only_when_asked(
    dicom_series: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dicom_series(np.zeros((3, 4, 5), np.int16), extra={"PatientID": "Secret-7"})
    for more in ([], ["--json"]):
        assert main(["info", str(folder), *more]) == 0
        assert "Secret" not in capsys.readouterr().out
        assert main(["info", str(folder), "--identifiers", *more]) == 0
        assert "Secret-7" in capsys.readouterr().out


def test_convert_changes_format_orientation_and_spacing(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ecvl.read(scan)
    for name in ("a.nrrd", "a.mha", "a.tif", "a.nii", "a.hdr"):
        assert main(["convert", str(scan), str(tmp_path / name)]) == 0
        assert np.array_equal(ecvl.read(tmp_path / name), before)
    out = str(tmp_path / "b.nii.gz")
    options = ["--orientation", "lps", "--spacing", "2", "2", "1", "--json"]
    assert main(["convert", str(scan), out, *options]) == 0
    said = json.loads(capsys.readouterr().out)
    after = ecvl.read(out)
    assert said["shape"] == list(after.shape)
    assert said["greatest_error"] == 0
    assert after.orientation == "LPS"
    expected = ecvl.resample(ecvl.reorient(before, "LPS"), spacing=(2, 2, 1))
    np.testing.assert_allclose(after, expected, rtol=1e-6)
    assert main(["convert", str(scan), out, "--spacing", "3"]) == 0


def test_the_error_of_a_lossy_format_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    ecvl.write(tmp_path / "a.png", Image(values, "yxc"))
    arguments = [str(tmp_path / "a.png"), str(tmp_path / "a.jpg"), "--quality", "40"]
    assert main(["convert", *arguments]) == 0
    assert "an error of at most" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "none.nii"], "no file or folder"),
        (["convert", "SCAN", "a.xyz"], "extension"),
        (["convert", "SCAN", "a.jpg"], "axes yx"),
        (["convert", "SCAN", "a.nii", "--orientation", "RRR"], "one letter each"),
        (["convert", "SCAN", "a.nii", "--spacing", "1", "2"], "in the order zyx"),
        (["convert", "SCAN", "a.nii", "--spacing", "0"], "above 0"),
        (["convert", "SCAN", "a.nii", "--kind", "labels"], "whole numbers"),
        (["convert", "SCAN", "a.nii", "--quality", "5"], "quality"),
        (["info", "SCAN", "--page", "3"], "page"),
    ],
)
def test_failures_are_one_line_and_a_code(
    scan: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(scan.parent)
    assert main([str(scan) if word == "SCAN" else word for word in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ecvl: ")
    assert said.count("\n") == 1
    assert message in said
    assert [p.name for p in scan.parent.iterdir()] == [scan.name]


def test_it_runs_as_a_module_without_heavy_libraries(scan: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ecvl.command", "--help"], capture_output=True, text=True, check=True
    )
    assert "convert" in done.stdout
