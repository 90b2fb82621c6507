"""Who may know whom: only `operations` imports ecvl and eddl, and the package loads neither."""

import ast
import subprocess
import sys
from pathlib import Path

import deephealth

ROOT = Path(deephealth.__file__).parent


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_only_operations_knows_ecvl_and_eddl():
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0]
        if room != "operations":
            assert not {"ecvl", "eddl"} & {name.split(".")[0] for name in imported(path)}, path


def test_report_and_data_know_no_other_room():
    for room in ("report", "data"):
        for path in (ROOT / room).rglob("*.py"):
            for name in imported(path):
                assert not name.startswith(("deephealth.operations", "deephealth.pipelines")), path


def test_importing_the_package_is_light():
    code = "import sys, deephealth; print(sorted({'ecvl', 'eddl', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
