"""Reads mutants in a process of its own and says which ones broke a promise.

    python tests/ecvl/fuzz/harness.py --mutants 3000 --seeds "png|jpeg" --first 0

runs 3000 mutants of each seed that fits, and prints one JSON object: how many were read, how many
refused, and every failure with the seed and number that make it again. A mutant is either read or
raises an `EcvlError` of one line, within 2 s of processor time, with at most 300 MB more memory
than the libraries need, without a signal and without leaving a file behind.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

SECONDS = 2.0
MEGABYTES = 300
HANGS = 60
FRESH = 77


Job = tuple[str, int]


def run(jobs: list[Job]) -> dict[str, Any]:
    """Run mutants by seed and number; a child that dies is replaced."""
    total: dict[str, Any] = {"mutants": 0, "read": 0, "refused": 0, "failed": 0, "failures": []}
    try:
        while jobs:
            jobs = jobs[_one_child(jobs, total) :]
    except KeyboardInterrupt:
        total["stopped"] = True
    return total


def _one_child(jobs: list[Job], total: dict[str, Any]) -> int:
    """Run a child until it is done or dead; returns how many jobs are behind it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "jobs.json").write_text(json.dumps(jobs))
        with (
            (Path(folder) / "errors.txt").open("w+") as errors,
            subprocess.Popen(
                [sys.executable, __file__, "--child"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=folder,
            ) as child,
        ):
            assert child.stdout is not None
            for line in child.stdout:
                end, why = json.loads(line)
                total["mutants"] += 1
                total[end] += 1
                if end == "failed":
                    total["failures"].append([*jobs[done], why])
                done += 1
            code = child.wait()
            if code not in (0, FRESH):
                errors.seek(0)
                last = errors.read().strip().splitlines()[-1:]
                name, number = jobs[done] if done < len(jobs) else ("", -1)
                total["failures"].append([name, number, f"exit status {code}: {last}"])
                total["mutants"] += 1
                total["failed"] += 1
                done += 1
    return done


def serve() -> None:
    """What a child does: one line of JSON a mutant."""
    import resource

    sys.path.insert(0, str(Path(__file__).parent))
    from mutate import mutant
    from seeds import SEEDS

    jobs = json.loads(Path("jobs.json").read_text())
    files: dict[str, list[tuple[Path, bytes]]] = {}
    for place, name in enumerate(dict.fromkeys(name for name, _ in jobs)):
        folder = Path(f"mutants{place}")
        folder.mkdir()
        files[name] = [(path, path.read_bytes()) for path in SEEDS[name](folder)]
        act(files[name][0][0])
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for name, number in jobs:
        path, content = files[name][number % len(files[name])]
        path.write_bytes(mutant(content, number, zlib.crc32(name.encode())))
        started = time.process_time()
        signal.alarm(HANGS)
        why = ""
        try:
            end = act(files[name][0][0])
        except Exception as error:
            end, why = "failed", f"{type(error).__name__}: {error}"[:200]
        signal.alarm(0)
        spent = time.process_time() - started
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline) / 1024
        if spent > SECONDS:
            end, why = "failed", f"took {spent:.1f} s"
        if grown > MEGABYTES:
            end, why = "failed", f"grew by {grown:.0f} MB"
        if len(list(path.parent.iterdir())) != len(files[name]):
            end, why = "failed", "left a file"
        print(json.dumps([end, why]), flush=True)
        path.write_bytes(content)
        if grown > MEGABYTES:
            # The peak only ever rises: go on in a fresh process.
            os._exit(FRESH)


def act(path: Path) -> str:
    """Read a file in every way; says whether any of them went through."""
    import numpy as np

    import ecvl

    end = "refused"
    for attempt in (ecvl.info, ecvl.read, lambda p: ecvl.read(p, lazy=True)[..., :2]):
        try:
            with np.errstate(all="ignore"):
                found = attempt(path)
                if isinstance(found, ecvl.Image):
                    float(np.asarray(found).sum())
            end = "read"
        except ecvl.EcvlError as error:
            if not str(error) or "\n" in str(error):
                raise RuntimeError(f"a message that is not one line: {error!r}") from None
    return end


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        serve()
        return 0
    sys.path.insert(0, str(Path(__file__).parent))
    from seeds import SEEDS

    parser = argparse.ArgumentParser(description="Mutants of image files, read.")
    parser.add_argument("--mutants", type=int, default=100, help="of each seed")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", default="", help="a regular expression")
    options = parser.parse_args()
    # What was found until it is stopped, by whatever, is printed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    numbers = range(options.first, options.first + options.mutants)
    total = run([(name, n) for name in SEEDS if re.search(options.seeds, name) for n in numbers])
    print(json.dumps(total, indent=1))
    return 1 if total["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
