"""Whether bfloat16 is worth anything on this processor, found out by trying.

Tiles (AMX) multiply it several times as fast as float32; vectors alone (AVX-512 with bfloat16)
twice as fast on some processors and at half the speed on others, whatever their flags say, and
kernels chosen by flags that lie end the process. So a convolution and its gradients are run in both
types, once, by a child process that may die of it: `python -m eddl.backends.onednn.halves`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eddl.backends.onednn.handles import channels_last, describe, longs
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    CONVOLUTION_DIRECT,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Library,
    Refused,
    load,
)

WORTH = 0.8
"""The share of float32's time that bfloat16 may take at most: below it conversions pay, too."""
SECONDS = 60.0


def why_not(library: Library, precision: str) -> str:
    """Why products are not computed in a half here; nothing where they are."""
    if precision == "float16":
        return (
            "processors compute float16 no faster than float32, and oneDNN has no fast gradients "
            "of that type"
        )
    return judged(measured(library.path))


def judged(found: dict[str, Any]) -> str:
    """What speaks against bfloat16 in the findings of a trial."""
    if "reason" in found:
        return str(found["reason"])
    ratio = found["bfloat16"] / found["float32"]
    if ratio > WORTH:
        return (
            f"convolutions in that type ({found['kernel']}) take {ratio:.2f} of float32's time on "
            "this processor, which has no tiles (AMX) for it or hides them"
        )
    return ""


@lru_cache
def measured(path: str) -> dict[str, Any]:
    """The findings of a trial in a process of its own: seconds by type, or a reason."""
    if getattr(sys, "frozen", False):
        return {"reason": "it has to be tried first, and there is no Python here to try it"}
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "EDDL_DNNL": path, "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", "eddl.backends.onednn.halves"], env=environment, cwd=root,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"reason": f"a trial of it could not be made: {error}"}
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return {"reason": f"a trial of it was ended by the processor or the system ({name})"}
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"reason": f"a trial of it failed: {done.stderr.strip()[-300:]}"}
    return found


def trial(library: Library) -> dict[str, Any]:
    """Seconds that a convolution with stride 2 and its gradients take on one thread, by type."""
    library.dnnl.omp_set_num_threads(1)
    runs: dict[str, Callable[[], None]] = {}
    for dtype in ("float32", "bfloat16"):
        try:
            runs[dtype], kernel = _convolution(library, dtype)
        except Refused:
            return {"reason": f"oneDNN has no {dtype} kernels for this processor"}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(6):
        for dtype, run in runs.items():
            start = time.thread_time()
            run()
            best[dtype] = min(best[dtype], time.thread_time() - start)
    return {**best, "kernel": kernel}


def _convolution(library: Library, dtype: str) -> tuple[Callable[[], None], str]:
    large, small, filters = (4, 64, 56, 56), (4, 64, 28, 28), (64, 64, 3, 3)
    geometry = [longs((2, 2)), longs((0, 0)), longs((1, 1)), longs((1, 1))]
    x, y = (describe(library, dims, channels_last(dims), dtype) for dims in (large, small))
    w = describe(library, filters, None, dtype)
    plain = attributes(library)
    forward = Kernel(library, "convolution_forward", library.engine, FORWARD_TRAINING,
                     CONVOLUTION_DIRECT, x, w, None, y, *geometry, plain)  # fmt: skip
    data = Kernel(library, "convolution_backward_data", library.engine, CONVOLUTION_DIRECT, x, w,
                  y, *geometry, forward, plain)  # fmt: skip
    weights = Kernel(library, "convolution_backward_weights", library.engine, CONVOLUTION_DIRECT,
                     x, describe(library, filters), None, y, *geometry, forward,
                     plain)  # fmt: skip
    calls = []
    for made, arguments in (
        (forward, {SRC: x, WEIGHTS: forward.descriptor(WEIGHTS), DST: y}),
        (data, {DIFF_DST: y, WEIGHTS: data.descriptor(WEIGHTS), DIFF_SRC: x}),
        (weights, {SRC: x, DIFF_DST: y, DIFF_WEIGHTS: weights.descriptor(DIFF_WEIGHTS)}),
    ):
        zeros = {n: (d, np.zeros(d.nbytes, np.uint8)) for n, d in arguments.items()}
        calls.append(made.bind(zeros, np.zeros(made.scratch, np.uint8)))

    def run() -> None:
        for call in calls:
            call()

    return run, forward.implementation


if __name__ == "__main__":
    print(json.dumps(trial(load())))
