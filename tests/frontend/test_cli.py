"""The command line, in this process; `tests/end_to_end` runs it as people do."""

import numpy as np
import pytest

import ecvl
from deephealth import __version__
from deephealth.cli import main


@pytest.fixture
def said(capsys):
    def run(*arguments):
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def scan(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    ecvl.NiftiWrite(tmp_path / "scan.nii.gz", ecvl.Image(values, "zyx"))
    return tmp_path / "scan.nii.gz"


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"deephealth {__version__}\n"


@pytest.mark.parametrize("command", ["demo", "predict", "run", "check", "tool", "data"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert command in capsys.readouterr().out


def test_the_options_of_the_demo_are_the_documents_parameters(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    text = capsys.readouterr().out
    for option in ("--out", "--epochs", "--device", "--seed", "--data", "--resume"):
        assert option in text


def test_the_operations_are_listed(said):
    code, out, _ = said("tool")
    assert code == 0
    assert "read_image" in out.split()


def test_an_operation_reads_and_writes_by_its_ports(said, scan, tmp_path):
    copy = tmp_path / "copy.nii.gz"
    code, _, err = said("tool", "read_image", "--source", scan, "--out-volume", copy)
    assert (code, err) == (0, "")
    assert np.array_equal(ecvl.read(copy), ecvl.read(scan))


def test_an_operation_takes_lists_and_mappings_as_yaml(said, scan, tmp_path):
    (tmp_path / "groups.json").write_text('{"bones": [3, 4]}')
    grouped = tmp_path / "grouped.nii.gz"
    arguments = ["--labels", scan, "--groups", tmp_path / "groups.json", "--out-labels", grouped]
    assert said("tool", "group_labels", *arguments)[0] == 0
    assert np.flatnonzero(np.asarray(ecvl.read(grouped))).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tool", "read_image", "--source", "missing"], "missing does not exist"),
        (["run", "missing.yml", "--out", "x"], "cannot be read"),
        (["run", "scan.txt", "--out", "x"], "ends in"),
        (["check", "missing.yml"], "cannot be read"),
        (["predict", "m", "s", "-o", "nowhere/l.nii.gz"], "nowhere does not exist"),
        (["demo", "--epochs", "1.5"], "whole number"),
    ],
)
def test_what_goes_wrong_is_one_line(said, arguments, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("deephealth: ")
    assert err.count("\n") == 1
    assert word in err
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_toolkit_is_exit_code_1(said, scan, monkeypatch):
    from deephealth.operations import CATALOGUE

    def broken(source, member="", series=None):
        raise KeyError("oops")

    one = CATALOGUE["read_image"]
    monkeypatch.setitem(CATALOGUE._operations, "read_image", type(one)(**{**vars(one), "function": broken}))  # fmt: skip  # noqa: E501
    code, _, err = said("tool", "read_image", "--source", scan)
    assert code == 1
    assert "unexpected KeyError" in err
    assert "Traceback" not in err


def test_a_document_runs_with_settings(said, scan, tmp_path):
    (tmp_path / "d.yml").write_text(
        "schema: deephealth/pipeline/v1\n"
        "parameters: {scan: {type: path}}\n"
        "steps:\n"
        "  - {id: source, op: open_path, params: {path: $scan}}\n"
        "  - {id: labels, op: read_labels, inputs: {source: source.source}}\n"
        "  - {id: w, op: write_labels, params: {path: l.nii.gz}, inputs: {labels: labels.labels}}\n"
    )
    out = tmp_path / "out"
    code, printed, err = said("run", tmp_path / "d.yml", "--set", f"scan={scan}", "--out", out)
    assert (code, err) == (0, "")
    assert "l.nii.gz" in printed
    assert np.array_equal(ecvl.read(out / "l.nii.gz"), ecvl.read(scan))
    assert said("run", tmp_path / "d.yml", "--set", "scan", "--out", out)[0] == 2
    assert said("check", tmp_path / "d.yml")[0] == 2


def test_data_is_listed_with_its_licence(said):
    code, out, _ = said("data", "list")
    assert code == 0
    assert "Apache-2.0" in out
