"""One training is an anecdote: several runs of the same, their mean and deviation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eddl.errors import AttributeValueError, TypeMismatchError

Result = Mapping[str, float | Sequence[float]]


@dataclass(frozen=True)
class Repeated:
    """Results of several runs: of each run (`runs`, in the order of `seeds`), and over them `mean`
    and `deviation` (the sample's, with n - 1; NaN for one run)."""

    seeds: tuple[int, ...]
    runs: tuple[dict[str, float], ...]
    mean: dict[str, float]
    deviation: dict[str, float]

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {self.mean[name]:.4g} ± {self.deviation[name]:.2g} ({len(self.runs)} runs)"
            for name in self.mean
        )


def repeat(run: Callable[[int], Result], seeds: int | Iterable[int]) -> Repeated:
    """Do the same with several seeds.

    Parameters: `run`, a function of a seed that builds, trains and returns a history (of which the
    last epoch counts) or scores by name; `seeds`, or how many, from 0.

    >>> def run(seed):
    ...     return {"loss": [2.0, 1.0 + seed], "accuracy": 0.5}
    >>> print(repeat(run, 3))
    loss: 2 ± 1 (3 runs)
    accuracy: 0.5 ± 0 (3 runs)
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen:
        raise AttributeValueError(f"repeat: received seeds={seeds!r}, expected at least one")
    runs = tuple(_last(run(seed)) for seed in chosen)
    names = list(runs[0])
    if any(list(one) != names for one in runs):
        raise AttributeValueError(
            f"repeat: received results named {[list(one) for one in runs]}, expected the same "
            "names from every run"
        )
    columns = {name: [one[name] for one in runs] for name in names}
    several = len(runs) > 1
    return Repeated(
        chosen,
        runs,
        {name: statistics.fmean(column) for name, column in columns.items()},
        {name: statistics.stdev(column) if several else float("nan")
         for name, column in columns.items()},
    )  # fmt: skip


def _last(result: Result) -> dict[str, float]:
    if not isinstance(result, Mapping):
        raise TypeMismatchError(
            f"repeat: received {type(result).__name__}, expected the function to return a history "
            "or scores by name"
        )
    return {
        name: float(value[-1] if isinstance(value, Sequence) else value)
        for name, value in result.items()
    }
