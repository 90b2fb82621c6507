"""Killed at any moment, the demo leaves nothing partial and goes on to the very same end."""

import json
import random
import signal
import subprocess
import sys
import time

import nibabel
import onnx
import pytest

FILES = ["model.onnx", "report.html", "report.json", "second-patient-labels.nii.gz"]


def figures(folder):
    content = json.loads((folder / "report.json").read_text())
    del content["timings"]
    return content


def assert_whole(folder):
    """Whatever stands under a final name can be read to its end."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        assert path.name in FILES
        if path.suffix == ".onnx":
            onnx.checker.check_model(onnx.load(path), full_check=True)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        else:
            assert nibabel.load(path).get_fdata().size


def killed_and_resumed(demo_arguments, environment, out, moments):
    """Start, kill after so many seconds, and go on, until a run ends; the number of kills."""
    kills = 0
    while True:
        command = [
            sys.executable,
            "-m",
            "deephealth",
            *demo_arguments,
            "--out",
            str(out),
            "--resume",
        ]
        last = not moments
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                timeout=600 if last else moments.pop(),
                check=False,
            )
        except subprocess.TimeoutExpired:  # subprocess.run has killed it with SIGKILL
            kills += 1
            assert_whole(out)
            continue
        assert done.returncode == 0, done.stderr
        if last:
            return kills


def check(finished, demo_arguments, environment, tmp_path, moments):
    out = tmp_path / "out"
    kills = killed_and_resumed(demo_arguments, environment, out, moments)
    assert_whole(out)
    assert sorted(one.name for one in out.iterdir() if not one.name.startswith(".")) == FILES
    assert not list(out.rglob(".partial-*"))
    assert (out / "model.onnx").read_bytes() == (finished[0] / "model.onnx").read_bytes()
    labels = "second-patient-labels.nii.gz"
    assert (out / labels).read_bytes() == (finished[0] / labels).read_bytes()
    assert figures(out) == figures(finished[0])
    return kills


def test_two_kills(finished, demo_arguments, environment, tmp_path):
    kills = 0
    for early in (1.0, 0.4, 0.15):  # where the machine had more to do before, the moments are late
        moments = [share * early * finished.seconds for share in (0.6, 0.5)]
        place = tmp_path / str(early)
        kills = kills or check(finished, demo_arguments, environment, place, moments)
    assert kills >= 1


@pytest.mark.slow
def test_ten_kills(finished, demo_arguments, environment, tmp_path):
    rng = random.Random(7)
    moments = [rng.uniform(0.05, 1.0) * finished.seconds for _ in range(10)]
    # A resumed run is shorter than a whole one, so late moments may find it finished.
    assert check(finished, demo_arguments, environment, tmp_path, moments) >= 3


@pytest.mark.slow
def test_kills_while_files_are_written(finished, demo_arguments, environment, tmp_path):
    """The last part of a run, where all files are written, over and over."""
    rng = random.Random(8)
    moments = [rng.uniform(0.8, 1.0) * finished.seconds for _ in range(4)]
    check(finished, demo_arguments, environment, tmp_path, moments)


def test_an_interruption_from_the_keyboard_is_one_line(demo_arguments, environment, tmp_path):
    command = [sys.executable, "-m", "deephealth", *demo_arguments, "--epochs", "500"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that started the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/.deephealth/unfinished/*/checkpoint*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert "--resume" in errors
    assert_whole(tmp_path / "out")
