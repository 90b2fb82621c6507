"""The demo from the command line to its files, on synthetic patients."""

import json
import re

import nibabel
import numpy as np

FILES = ["model.onnx", "report.html", "report.json", "second-patient-labels.nii.gz"]


def visible(folder):
    return sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))


def test_the_demo_writes_its_files_and_prints_its_table(finished):
    out, done, _ = finished
    assert visible(out) == FILES
    assert done.stderr == ""
    assert "agreement with the drawing" in done.stdout
    assert "Not for clinical use." in done.stdout
    for organ in ("liver", "spleen", "kidneys", "bones"):
        assert re.search(rf"^{organ}( +[\d.]+){{4}}$", done.stdout, re.MULTILINE)


def test_the_figures_are_those_of_the_table(finished):
    out, done, _ = finished
    figures = json.loads((out / "report.json").read_text())
    assert [case["name"] for case in figures["cases"]] == ["held-out blocks", "second patient"]
    for case in figures["cases"]:
        for scores in case["dice"].values():
            assert all(f"{score:.2f}" in done.stdout for score in scores.values())
    assert figures["parameters"] == {"epochs": 6, "seed": 0, "device": "cpu"}
    assert len(figures["training"]["loss"]) == 6


def test_the_report_is_one_file_that_names_no_one(finished):
    out = finished.out
    page = (out / "report.html").read_text()
    assert "agreement with the drawing" in page
    assert "Not for clinical use." in page
    assert all(link.startswith("data:") for link in re.findall(r'(?:src|href)="([^"]*)"', page))
    for name in FILES:
        content = (out / name).read_bytes()
        assert b"Winterbottom" not in content
        assert b"9876543210" not in content


def test_the_second_patients_labels_lie_on_the_series(finished, source):
    out = finished.out
    image = nibabel.load(out / "second-patient-labels.nii.gz")
    assert image.shape == (60, 50, 16)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert set(np.unique(image.dataobj)) <= {0, 1, 2, 3, 4}


def test_a_finished_run_is_left_alone_or_shown_again(finished, deephealth, demo_arguments):
    out, done, _ = finished
    before = {name: (out / name).read_bytes() for name in FILES}
    refused = deephealth(*demo_arguments, "--out", out)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "--resume" in refused.stderr
    again = deephealth(*demo_arguments, "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert (out / "model.onnx").read_bytes() == before["model.onnx"]
    other = deephealth(*demo_arguments, "--out", out, "--resume", "--seed", "5")
    assert other.returncode == 2
    assert "seed 0, received 5" in other.stderr


def test_without_network_and_cache_one_line_says_so(deephealth, tmp_path):
    done = deephealth("demo", "--out", tmp_path / "out", folder=tmp_path)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "--data" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_the_data_is_exit_code_3(deephealth, tmp_path):
    (tmp_path / "data").mkdir()
    done = deephealth("demo", "--out", tmp_path / "out", "--data", tmp_path / "data")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


def test_the_demo_is_an_ordinary_document(deephealth, source, tmp_path):
    from importlib import resources

    text = resources.files("deephealth.pipelines.builtin").joinpath("demo.yml").read_text()
    (tmp_path / "mine.yml").write_text(text)
    settings = {"epochs": 1, "data": source, "manifest": source / "phantom.yml"}
    pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    done = deephealth("run", tmp_path / "mine.yml", *pairs, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert visible(tmp_path / "out") == FILES
