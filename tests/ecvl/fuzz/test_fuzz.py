"""A bounded sample of the mutants; `harness.py` runs as many as wanted.

The corpus is its recipe: `seeds.py` makes the files, `mutate.py` the mutants by number, so that any
failure can be made again from the seed's name and the number.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


# pylibjpeg-rle, where somebody installed it, panics with what is no `Exception`.
LEFT_OUT = {"dicom": "(?!rle)"}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_mutants_are_read_or_refused(name: str) -> None:
    found = _harness("--seeds", f"^{name} {LEFT_OUT.get(name, '')}", "--mutants", str(MUTANTS))
    assert found["failures"] == []
    assert found["mutants"]
