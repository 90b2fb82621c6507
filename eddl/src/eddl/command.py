"""The command line: `eddl doctor [--conformance] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any


def describe() -> dict[str, Any]:
    """What this machine gives eddl: versions, processor, threads, devices.

    >>> list(describe()["devices"])
    ['cpu']
    """
    from eddl import devices
    from eddl.backends.array.threads import available

    return {
        "versions": {n: version(n) for n in ("eddl", "numpy", "onnx", "safetensors")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": available(),
        "devices": {"cpu": devices.describe()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser("eddl", description="Deep learning on ONNX graphs.")
    parser.add_argument("--version", action="version", version=version("eddl"))
    commands = parser.add_subparsers(required=True, metavar="command")
    doctor = commands.add_parser("doctor", help="what this machine has, and whether it works")
    doctor.add_argument(
        "--conformance", action="store_true", help="run ONNX's backend tests (about a minute)"
    )
    doctor.add_argument("--json", metavar="FILE", help="also write what was found to a file")
    options = parser.parse_args(arguments)
    found = describe()
    for name, value in found.items():
        print(f"{name:<10}{value if not isinstance(value, dict) else _pairs(value)}")
    if options.conformance:
        certificate = _certify()
        print(f"\n{certificate}")
        found["conformance"] = certificate.as_json()
    if options.json:
        from eddl.training.checkpoint import write_atomically

        write_atomically(options.json, json.dumps(found, indent=2).encode() + b"\n")
    return 0


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _certify() -> Any:
    from tqdm import tqdm

    from eddl.onnx.conformance import certify

    with tqdm(unit="case", disable=not sys.stderr.isatty(), leave=False) as bar:
        return certify(progress=lambda case: bar.update())
