"""The one door to the checks: `nox -s tests`, `nox -s parity`, `nox -s lint`, `nox -s bench`."""

from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "parity"]
nox.options.reuse_existing_virtualenvs = True

PACKAGES = ("./ecvl[codecs,fast,slides]", "./eddl", "./frontend")
TEST_TOOLS = (
    "pytest>=8.3",
    "hypothesis>=6.100",
    "onnxruntime>=1.20",
    "scipy>=1.13",
    "tensorboardX>=2.6",
)
TORCH = "torch==2.13.0"
PEERS = ("albumentations==2.0.8", "batchgenerators", "monai", "onnxruntime", "openvino", "scipy",
         "torchio")  # fmt: skip


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite and the examples in the docstrings; no framework is installed."""
    session.install(*PACKAGES, *TEST_TOOLS)
    everything = ["tests", "ecvl/src", "eddl/src", "frontend/src", "--ignore=tests/parity"]
    session.run("pytest", *(session.posargs or everything))


@nox.session
def parity(session: nox.Session) -> None:
    """The engine's numbers against PyTorch's."""
    session.install(*PACKAGES, *TEST_TOOLS, TORCH, "onnxscript>=0.5", "keras>=3.8")
    session.run("pytest", *(session.posargs or ["tests/parity"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and the boundaries between the rooms."""
    session.install(
        *PACKAGES,
        "ruff==0.17.6",
        "mypy==2.4.1",
        "import-linter==2.16",
        "types-PyYAML",
        "types-tqdm",
    )
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks, each against the best peer; results as JSON."""
    session.install(*PACKAGES, TORCH, *PEERS)
    for script in session.posargs or sorted(map(str, Path("benchmarks").glob("e*_*.py"))):
        session.run("python", script)
