"""Finding and loading oneDNN, and what happens where it cannot be."""

import subprocess
import sys
import textwrap

import pytest

from eddl import devices
from eddl.backends.onednn import library
from eddl.errors import DeviceError

try:
    LOADED = library.load()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)


def run(code, **environment):
    """Python code in a fresh process; what it prints, and its warnings."""
    import os

    inherited = {k: v for k, v in os.environ.items() if k not in library.WAITING}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(code)],
        env={**inherited, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_importing_eddl_loads_no_library():
    said, _ = run(
        """
        import eddl
        print("libdnnl" in open("/proc/self/maps").read())
        """
    )
    assert said == "False"


@pytest.mark.parametrize("path", ["/nowhere/libdnnl.so.3", "libm.so.6"])
def test_a_library_that_is_not_onednn_falls_back_with_one_warning(path):
    said, warned = run(
        """
        import eddl, numpy as np
        from eddl import devices
        for _ in range(3):
            x = eddl.Input((2,))
            net = eddl.Model(x, eddl.layers.dense(x, 1))
            net.build(optimizer=eddl.SGD(0.1), loss="mean_squared_error")
            net.train_batch(np.ones((4, 2), "f4"), np.ones((4, 1), "f4"))
        print(devices.backend("cpu").name, devices.describe())
        """,
        EDDL_DNNL=path,
    )
    assert said.startswith("array array (")
    assert path in said
    assert warned.count("NumPy computes") == 1


def test_the_environment_chooses_the_backend():
    said, warned = run(
        "from eddl import devices; print(devices.backend('cpu').name)", EDDL_BACKEND="array"
    )
    assert (said, warned) == ("array", "")
    with pytest.raises(DeviceError, match="cpu:array"):
        devices.backend("cpu:mkl")


@pytest.mark.parametrize(("given", "count"), [({}, "0"), ({"GOMP_SPINCOUNT": "1234"}, "1234")])
def test_threads_that_wait_sleep_unless_the_user_wants_otherwise(given, count):
    """libgomp reads its environment when it is loaded, and tells what it has read."""
    _, said = run(
        """
        import os
        from eddl.backends.onednn import load
        load().dnnl.omp_display_env(1)
        assert "OMP_WAIT_POLICY" not in os.environ
        """,
        **given,
    )
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("OpenMP is not libgomp")
    assert f"GOMP_SPINCOUNT = '{count}'" in said


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(library, "NEWEST", (3, 1))
    with pytest.raises(DeviceError, match="expected a version from"):
        library.Library(LOADED.path)


def test_a_version_that_was_not_tried_is_warned_of(monkeypatch):
    monkeypatch.setattr(library, "TRIED", (3, 13))
    with pytest.warns(RuntimeWarning, match="eddl was tested with 3.13 alone"):
        library.Library(LOADED.path)


def test_flags_of_the_processor_are_believed_only_with_their_tiles(monkeypatch, tmp_path):
    flags = tmp_path / "cpuinfo"
    flags.write_text("flags\t\t: fpu amx_tile amx_bf16\n")
    monkeypatch.setattr(library, "Path", lambda _: flags)
    monkeypatch.setattr(library, "_cpuid", lambda leaf, part: 0x1C)
    assert library._tiles_are_hidden()
    monkeypatch.setattr(library, "_cpuid", lambda leaf, part: 0x24)
    assert not library._tiles_are_hidden()
    flags.write_text("flags\t\t: fpu avx2\n")
    assert not library._tiles_are_hidden()


def test_the_processor_answers():
    assert library._cpuid(0, 0) >= 1
