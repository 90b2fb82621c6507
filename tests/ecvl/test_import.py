"""`import ecvl` is light and pulls no heavy library in."""

import subprocess
import sys

HEAVY = ("nibabel", "SimpleITK", "cv2", "pydicom", "scipy", "isal", "PIL", "tifffile", "openslide")


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_no_heavy_library() -> None:
    found = _python(f"import sys, ecvl; print([m for m in {HEAVY} if m in sys.modules])")
    assert found == "[]"


def test_import_adds_little_time_to_numpy() -> None:
    code = (
        "import time, numpy; t = time.perf_counter(); import ecvl; print(time.perf_counter() - t)"
    )
    # The promise is 0.3 s; the margin is for busy machines.
    assert min(float(_python(code)) for _ in range(2)) < 1.0


def test_every_public_name_is_there() -> None:
    import ecvl

    for name in ecvl.__all__:
        assert getattr(ecvl, name).__doc__, name
