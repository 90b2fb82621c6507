"""The Python blocks of the READMEs run as they stand, each README's in one folder."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *(ROOT / package / "README.md" for package in ("ecvl", "eddl"))]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_python_blocks(readme, tmp_path, monkeypatch, request):
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        if "demo-out" in block:
            shutil.copytree(request.getfixturevalue("finished").out, "demo-out")
            source = request.getfixturevalue("source") / "phantom-1.0"
            shutil.copy(source / "ct.nii.gz", "ct.nii.gz")
        exec(compile(block, str(readme), "exec"), {})
