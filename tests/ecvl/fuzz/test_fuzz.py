"""A bounded sample of the mutants; `harness.py` runs as many as wanted.

The corpus is its recipe: `seeds.py` makes the files, `mutate.py` the mutants by number, so that any
failure can be made again from the seed's name and the number.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ecvl
from ecvl.io import FORMATS

HERE = Path(__file__).parent
MUTANTS = int(os.environ.get("ECVL_FUZZ_MUTANTS", "6"))


def _harness(*arguments: str) -> dict[str, object]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, HERE / "harness.py", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_every_format_has_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    from seeds import SEEDS

    assert len(SEEDS) >= 50
    assert {name.split()[0] for name in SEEDS} == set(FORMATS)


def test_a_number_makes_the_same_mutant_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    from mutate import mutant

    content = bytes(range(256)) * 3
    made = [mutant(content, number, 5) for number in range(40)]
    assert made == [mutant(content, number, 5) for number in range(40)]
    assert len(set(made)) > 35


@pytest.mark.parametrize(("name", "number"), [("dicom j2k lossy", 50497), ("dicom frames", 50932)])
def test_mutants_that_once_broke_a_promise(name: str, number: int) -> None:
    found = _harness("--mutants", "1", "--first", str(number), "--seeds", f"^{name}$")
    assert (found["mutants"], found["failures"]) == (1, [])


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_mutants_are_read_or_refused(name: str) -> None:
    found = _harness("--seeds", f"^{name} ", "--mutants", str(MUTANTS))
    assert found["failures"] == []
    assert found["mutants"]


def test_mutants_of_slides_are_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openslide")
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.syspath_prepend(HERE)
    from mutate import mutant

    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (96, 80, 3)).astype(np.uint8)
    with tifffile.TiffWriter(path) as writer:
        for level in (pixels, pixels[::2, ::2]):
            writer.write(level, tile=(16, 16), photometric="rgb", metadata=None)
    content, refusals = path.read_bytes(), []
    for number in range(MUTANTS // 2):
        path.write_bytes(mutant(content, number, 11))
        try:
            with ecvl.open_slide(path) as slide:
                slide.region((10, 10), (30, 30))
                slide.thumbnail(20)
        except ecvl.EcvlError as error:
            refusals.append(str(error))
    assert not any("\n" in message for message in refusals)
