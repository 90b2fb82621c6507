"""The Python blocks of the READMEs run as they stand."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = [
    (f"{readme.parent.name}/{readme.name}#{number}", block)
    for readme in (ROOT / "README.md", *(ROOT / p / "README.md" for p in ("ecvl", "eddl")))
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", readme.read_text(), re.S))
]


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_python_blocks(name, block, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "demo-out" in block:
        shutil.copytree(request.getfixturevalue("finished").out, "demo-out")
        source = request.getfixturevalue("source") / "phantom-1.0"
        shutil.copy(source / "ct.nii.gz", "ct.nii.gz")
    exec(compile(block, name, "exec"), {})
