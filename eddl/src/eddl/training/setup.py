"""How a model is trained: what `build` was told, and the steps and counts that follow from it."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eddl import constraints
from eddl.errors import AttributeValueError, TypeMismatchError
from eddl.graph import Input, State, Type, Value
from eddl.losses import target_check
from eddl.losses.parts import total_and_count
from eddl.ops.table import apply
from eddl.optimizers import Optimizer
from eddl.tensors import as_host_array
from eddl.training import surgery
from eddl.training.budget import read_memory
from eddl.training.counters import Counters, Score
from eddl.training.heads import Head
from eddl.training.precision import check_precision
from eddl.training.state import Averages, LossScale, Rules, TrainingState, begin_training
from eddl.training.step import Step

if TYPE_CHECKING:
    from eddl.training.model import Model

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Choices:
    """What `build` was told of the way parameters move, by their names."""

    rates: Any = None
    regularizers: Any = None
    constraints: Any = None
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    nonfinite: str = "skip"

    def rules(self, model: Model) -> Rules:
        """The same, by the parameters that learn now."""
        return Rules(
            self.clip_norm,
            self.clip_value,
            _by_parameter(model, self.rates),
            _by_parameter(model, self.regularizers, constraints.regularizer),
            _by_parameter(model, self.constraints, constraints.constraint),
            self.ema,
            self.nonfinite,
        )


@dataclass(frozen=True)
class Report:
    """What a batch adds to a score: losses, each with its weight in a mean over batches, and rows
    for metrics that gather them, by output."""

    losses: dict[str, tuple[float, float]]
    rows: dict[str, list[Array]]


class Pass:
    """One way through a model and its losses, for targets of certain types: a step that counts
    into a score."""

    def __init__(self, setup: Setup, targets: Sequence[Input], *, training: bool) -> None:
        model, heads = setup.model, setup.trained
        self.score = setup.scores[training]
        losses: list[Value] = []
        self._checks = []  # a step that trains has its own
        self._rows: dict[str, int] = {}
        updates: dict[State, Value] = {}
        rows: list[Value] = []
        for head, target in zip(heads, targets, strict=True):
            assert head.loss is not None
            losses.append(head.loss(head.logits, target))
            if not training:
                self._checks.append(target_check(losses[-1], target))
            counts, gathered = self.score.counters[head.name].updates(target)
            updates |= counts
            self._rows[head.name] = len(gathered)
            rows += gathered
        weighed = [v if h.weight == 1 else v * h.weight
                   for h, v in zip(heads, losses, strict=True)]  # fmt: skip
        total = functools.reduce(operator.add, weighed)
        several = len(heads) > 1
        self._names = ["loss", *(f"{head.name}_loss" for head in heads if several)]
        reported = [total, *(losses if several else ())]
        weights = {i: apply("Identity", mean[1]) for i, loss in enumerate(reported)
                   if (mean := total_and_count(loss))}  # fmt: skip
        self._weighed = list(weights)
        self.step = Step(
            [*model.inputs, *targets],
            [*reported, *weights.values(), *rows],
            [(total, model.parameters, setup.optimizer)] if training else [],
            updates=updates,
            accumulate=training and setup.accumulate > 1,
            training=training,
            device=model.device,
            precision=setup.precision if training else setup.inference_precision,
            memory=setup.memory if training else "fast",
            slabs=setup.slabs,
            state=setup.state if training else None,
            seed=setup.seed,
            max_bytes=setup.max_bytes,
            fallback=setup.fallback,
        )

    def add(self, inputs: Sequence[Any], targets: Sequence[Any]) -> Report:
        """The gradients part of the step on a batch; labels are checked before it."""
        labels = [as_host_array(target, what="targets") for target in targets]
        for check, array in zip(self._checks, labels, strict=False):
            check(array)
        outputs = iter(self.step.add(*inputs, *labels))
        losses = [float(next(outputs)) for _ in self._names]
        weights = {index: float(next(outputs)) for index in self._weighed}
        samples = len(labels[0])
        return Report(
            {name: (losses[i], weights.get(i, samples)) for i, name in enumerate(self._names)},
            {name: [next(outputs) for _ in range(count)] for name, count in self._rows.items()},
        )

    def update(self, reports: Sequence[Report]) -> bool:
        """The update part; what was reported since the last one counts if it was finite."""
        if not self.step.update():
            self.score.means.add(dict.fromkeys(self._names, (0.0, 0.0)))  # NaN if there is no other
            return False
        for report in reports:
            self.score.means.add(report.losses)
            for name, rows in report.rows.items():
                self.score.counters[name].add(rows)
        return True


class Setup:
    """A model with an optimizer, losses and metrics; made by `Model.build`."""

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        heads: Sequence[Head],
        choices: Choices,
        accumulate: int,
        precision: str,
        memory: str | int,
        slabs: Any,
        seed: int,
        max_bytes: int | None,
        fallback: bool,
    ) -> None:
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise AttributeValueError(
                f"build: received accumulate={accumulate!r}, expected a whole number of at least 1"
            )
        self.model, self.optimizer, self.choices = model, optimizer, choices
        self.precision = check_precision(precision, slabs.backend)
        self.memory = read_memory(memory)
        self.fallback = fallback
        self.accumulate, self.slabs, self.seed, self.max_bytes = accumulate, slabs, seed, max_bytes
        self.trained = [head for head in heads if head.loss is not None]
        self._state: TrainingState | None = None
        self._passes: dict[tuple[Any, ...], Pass] = {}
        self.scores = {
            training: Score({h.name: Counters(h.metrics, h.logits) for h in self.trained})
            for training in (True, False)
        }
        choices.rules(model)  # names and numbers are checked now

    @property
    def inference_precision(self) -> str:
        """What evaluating and predicting compute in: float16 is for training alone."""
        return "float32" if self.precision == "float16" else self.precision

    @property
    def counts(self) -> tuple[int, int]:
        """How many inputs and targets a sample has."""
        return len(self.model.inputs), len(self.trained)

    @property
    def state(self) -> TrainingState:
        """What training remembers; begun anew when other parameters learn than before."""
        parameters = self.model.parameters
        if self._state is None or list(self._state.groups[0].parameters) != parameters:
            rules = self.choices.rules(self.model)
            self._state = begin_training([(parameters, self.optimizer)], rules)
            if rules.ema is not None:
                statistics = [s for s in self.model.states
                              if not s.trainable and s.dtype.kind == "f"]  # fmt: skip
                self._state.averages = Averages([*parameters, *statistics], rules.ema)
            if self.precision == "float16":
                self._state.scale = LossScale()
        return self._state

    @property
    def kernels(self) -> dict[str, dict[str, int]]:
        """The kernels that training uses, as far as it is compiled, by program."""
        steps = [one.step for (training, *_), one in self._passes.items() if training]
        return {name: kernels for step in steps for name, kernels in step.kernels.items()}

    def forget_programs(self) -> None:
        """Compile anew at the next call."""
        self._passes = {}

    def train(self, inputs: Sequence[Array], targets: Sequence[Array]) -> dict[str, float]:
        """One step on one batch, in `accumulate` parts; its losses, skipped or not, and metrics."""
        score = self.scores[True]
        score.reset()
        self.state.micro[...] = 0
        size = len(targets[0])
        parts = min(self.accumulate, size) or 1
        reports: list[Report] = []
        for start, stop in itertools.pairwise(size * i // parts for i in range(parts + 1)):
            data, labels = ([a if parts == 1 else a[start:stop] for a in arrays]
                            for arrays in (inputs, targets))  # fmt: skip
            one = self.find(labels, training=True)
            reports.append(one.add(data, labels))
        if not one.update(reports):
            for report in reports:  # a caller by hand wants to see what was not finite
                score.means.add(report.losses)
        return score.results()

    def find(self, targets: Sequence[Any], *, training: bool) -> Pass:
        """The pass for targets of these types and ranks."""
        arrays = [as_host_array(target, what="targets") for target in targets]
        if len(arrays) != len(self.trained):
            names = [head.name for head in self.trained]
            raise TypeMismatchError(
                f"received {len(arrays)} targets, expected one for each of the outputs {names}"
            )
        kinds = [(array.dtype.kind in "iu", array.ndim) for array in arrays]
        key = (training, *kinds)
        if key not in self._passes:
            single = len(kinds) == 1
            inputs = [
                Input(
                    Type("int64" if integral else head.logits.dtype, _free(rank)),
                    name="target" if single else f"{head.name} target",
                )
                for head, (integral, rank) in zip(self.trained, kinds, strict=True)
            ]
            self._passes[key] = Pass(self, inputs, training=training)
        return self._passes[key]


def _free(rank: int) -> tuple[Any, ...]:
    return ("batch", *[None] * (rank - 1)) if rank else ()


def _by_parameter(
    model: Model, given: Any, read: Callable[[Any], Any] = lambda value: value
) -> dict[State, Any]:
    """Values by parameter from values by name, later ones over earlier; a single one is for all."""
    if given is None:
        return {}
    learning = model.parameters
    if not isinstance(given, Mapping):
        return dict.fromkeys(learning, read(given))
    found: dict[State, Any] = {}
    for name, value in given.items():
        found.update(dict.fromkeys(surgery.chosen_parameters(model, [name]), read(value)))
    return {parameter: found[parameter] for parameter in learning if parameter in found}
