"""The one primitive: a step runs a graph and, where it minimizes, updates parameters.

It has a *gradients* part, which computes outputs and leaves every gradient at its place in the
slabs (or adds it to memory of its own, over several micro-batches), and an *update* part, which
clips, runs the optimizers and commits new states (running statistics, counts of metrics), all or
none: where the loss or a gradient is not finite everything stays as it was. A gradient that is much
larger than what it is made of is left to the update, which makes it when it needs it
(`eddl.compiler.defer`), unless all are wanted at once: gathered, clipped by their norm, or asked
for. `gradients.py` and `updates.py` write the parts as graphs, `parts.py` compiles them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eddl import devices
from eddl.compiler import Evaluation, Program, Slabs
from eddl.errors import ShapeError, StateError
from eddl.graph import State, Type, Value
from eddl.losses import target_check
from eddl.optimizers import Optimizer, rate_at
from eddl.training.budget import read_memory
from eddl.training.finite import refuse
from eddl.training.fitting import fitting
from eddl.training.gradients import gradients_part
from eddl.training.interrupt import between_steps
from eddl.training.parts import Compiled, Parts
from eddl.training.precision import check_precision
from eddl.training.state import Group, LossScale, Rules, TrainingState, begin_training

Array = np.ndarray[Any, Any]


class Step:
    """Run a graph; with `minimize`, train.

    Parameters: `inputs`, symbolic tensors in the order in which arrays are given; `outputs`, the
    values to return; `minimize`, triples (scalar loss, parameters, optimizer), each parameter in
    one of them; `updates`, states and their new values; `rules`, clipping, averages and the like;
    `accumulate`, whether gradients are gathered over several micro-batches (`add`) before an
    `update`; `training`, whether layers such as batch normalization run in their training form;
    `device`; `precision`, what products compute in, parameters always being float32: "float32",
    "bfloat16", or "float16" with a loss scale that finds itself; `memory`, what the step may hold:
    "fast", "low" or a budget, as in `Model.build`; `slabs`, transient memory to share with other
    steps; `state`, that of another step over the same parameters, to go on with its optimizers;
    `seed`, of the random numbers that dropout draws; `max_bytes`, what the values of a run may take
    (by default the memory that is free), beyond which `MemoryLimitError` is raised before any is
    allocated; `fallback`, whether the host may compute what the device should and cannot, else
    `DeviceError` names it when a program for new shapes is made.

    Labels that are no class of a loss are refused before anything is computed. A loss that is not
    finite, or a gradient that is not or whose sum overflows, changes nothing:
    the step is skipped, counted in `state.skipped`, and the first time a warning names it.

    >>> import eddl, numpy as np
    >>> x, y = eddl.Input((1,)), eddl.Input((1,))
    >>> model = eddl.Model(x, eddl.layers.dense(x, 1))
    >>> loss = eddl.losses.mean_squared_error(model.outputs[0], y)
    >>> step = eddl.Step([x, y], [loss], [(loss, model.parameters, eddl.SGD(0.1))])
    >>> data = np.ones((8, 1), "float32")
    >>> before, after = (float(step(data, 3 * data)[0]) for _ in range(2))
    >>> after < before
    True

    Two steps that share the parameters of two networks are an adversarial pair; one learns to tell
    what is real, the other to be taken for it:

    >>> noise, real = eddl.Input((2,)), eddl.Input((1,))
    >>> generator = eddl.Model(noise, eddl.layers.dense(noise, 1))
    >>> hidden = eddl.layers.tanh(eddl.layers.dense(real, 8))
    >>> critic = eddl.Model(real, eddl.layers.dense(hidden, 1))
    >>> fake, adam = generator(noise), eddl.Adam(1e-2)
    >>> def says(value, truth):
    ...     score = critic(value)
    ...     return eddl.losses.binary_cross_entropy(score, score * 0.0 + truth)
    >>> blame, praise = says(real, 1.0) + says(fake, 0.0), says(fake, 1.0)
    >>> learn = eddl.Step([noise, real], [blame], [(blame, critic.parameters, adam)])
    >>> fool = eddl.Step([noise], [praise], [(praise, generator.parameters, adam)])
    >>> random = np.random.default_rng(0)
    >>> for _ in range(3):
    ...     z = random.standard_normal((16, 2))
    ...     worse, better = learn(z, random.standard_normal((16, 1)) + 3), fool(z)
    """

    def __init__(
        self,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        minimize: Sequence[tuple[Value, Sequence[State], Optimizer]] = (),
        *,
        updates: Mapping[State, Value] | None = None,
        rules: Rules | None = None,
        accumulate: bool = False,
        training: bool = True,
        device: str = "cpu",
        precision: str = "float32",
        memory: str | int = "fast",
        slabs: Slabs | None = None,
        state: TrainingState | None = None,
        seed: int = 0,
        max_bytes: int | None = None,
        fallback: bool = True,
        poison: bool = False,
    ) -> None:
        backend = devices.backend(device)
        precision, memory = check_precision(precision, backend), read_memory(memory)
        for loss, _, _ in minimize:
            _check_loss(loss)
        self._checks = [
            (index, target_check(loss, value))
            for index, value in enumerate(inputs)
            if value.dtype.kind in "iu"
            for loss, _, _ in minimize
        ]
        rules = rules or Rules()
        self.state = state or begin_training([(p, o) for _, p, o in minimize], rules)
        if precision == "float16" and self.state.scale is None:
            self.state.scale = LossScale()
        self._part = gradients_part(
            inputs, outputs, [loss for loss, _, _ in minimize], self.state,
            updates=updates or {}, accumulate=accumulate, training=training, seed=seed,
            ema=rules.ema if state is None else None,
        )  # fmt: skip
        self._slabs = slabs or Slabs(backend)
        self._max_bytes = max_bytes
        self._compiled = Compiled(
            self._part, backend, self._slabs, device, precision, memory, fallback, poison
        )
        self._last: Parts | None = None
        """What ran last."""

    def __call__(self, *arrays: Any) -> list[Array]:
        """Compute the outputs, then update parameters and states; returns arrays of their own."""
        results = self.add(*arrays)
        self.update()
        return results

    def add(self, *arrays: Any) -> list[Array]:
        """The gradients part: compute the outputs and, with `accumulate`, add the gradients of a
        micro-batch to those since the last update. An error forgets what was gathered."""
        state = self.state
        if state.averages is not None and state.averages.active:
            raise StateError(
                "the averaged weights stand in for the model's: leave the averaged() block before "
                "training on"
            )
        if state.micro and not self._part.gathers:
            self.discard()
        try:
            results = self._run(arrays)
        except BaseException:
            self.discard()
            raise
        state.micro += 1
        return results

    def update(self) -> bool:
        """The update part, for all gradients since the last one; whether the step was finite.
        Ctrl-C takes effect when it is done."""
        state, last = self.state, self._last
        lost = self._part.hands_over and not (last and self._slabs.holds(last.left))
        if not state.micro or lost:
            raise StateError("update: received no gradients, expected a call of add before")
        state.micro[...] = 0
        if not state.groups:
            with between_steps():
                self._part.commit()
            return True
        rates = [rate_at(g.optimizer, int(g.count), state.history) for g in state.groups]
        scale = float(state.scale.scale) if state.scale is not None else 1.0
        program = self._compiled.update_after(last)
        with between_steps():
            (fine,) = program.run([np.asarray(rate) for rate in rates])
        if not fine:
            refuse(state, scale=scale)
        return bool(fine)

    def discard(self) -> None:
        """Forget the gradients and new states gathered since the last update."""
        self.state.micro[...] = 0
        left = None if self._last is None else self._last.left
        if left is not None:
            self._slabs.forget(left)

    def compute(self, *arrays: Any) -> list[Array]:
        """The outputs alone; nothing is changed."""
        if self.state.micro or self._part.hands_over:
            self.discard()
        results = self._run(arrays)
        if self._part.hands_over:
            self.discard()
        return results

    def gradients(self, *arrays: Any) -> tuple[list[Array], list[Array]]:
        """The outputs, and a copy of each parameter's gradient; nothing is changed."""
        self.discard()
        found: list[Array] = []
        with self._slabs.lock:
            results = self._run(arrays, whole=self._part.defers)
            for group in self.state.groups:
                weight = (float(group.weight) or 1.0) if self._part.gathers else 1.0
                weight *= float(self.state.scale.scale) if self.state.scale is not None else 1.0
                for parameter in group.parameters:
                    gradient = self._gradient(group.offset(parameter), parameter.type)
                    found.append((gradient / weight).astype(gradient.dtype))
            self.discard()
        return results, found

    @property
    def groups(self) -> list[Group]:
        """What each optimizer remembers."""
        return self.state.groups

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What arrays are given for."""
        return self._part.graph.inputs

    @property
    def states(self) -> Sequence[State]:
        """What the graph holds: parameters, running statistics, counts."""
        return self._part.states

    @property
    def resident(self) -> int:
        """Bytes that outlive a step: slots, averages, waiting states and gathered gradients
        (parameters apart)."""
        return self._part.resident

    @property
    def kernels(self) -> dict[str, dict[str, int]]:
        """The kernels of each compiled program, by the types of its inputs."""
        return self._compiled.kernels

    def programs(self, *types: Type) -> dict[str, Program | Evaluation]:
        """The compiled parts for inputs of static types, by name: "training" is what computes
        outputs and gradients, "update" what follows where parameters learn."""
        parts = self._compiled.of(types)
        found: dict[str, Program | Evaluation] = {"training": parts.gradients}
        return found if parts.update is None else found | {"update": parts.update}

    def program(self, *types: Type) -> Program | Evaluation:
        """The compiled gradients part, or all of a step that does not train."""
        return self.programs(*types)["training"]

    def _run(self, arrays: Sequence[Any], *, whole: bool = False) -> list[Array]:
        """The gradients part; with `whole`, every gradient is made."""
        found, data = self._compiled.known(arrays, whole=whole), arrays
        if found is None:
            data = fitting(arrays, self.inputs)
        for index, check in self._checks:
            check(data[index])
        if self._max_bytes is None:
            return self._launch(found, data, whole)
        with self._compiled.backend.within(self._max_bytes):
            return self._launch(found, data, whole)

    def _launch(self, found: Parts | None, data: Sequence[Array], whole: bool) -> list[Array]:
        """Run the program that is known, or the one for these arrays."""
        if found is None:
            types = [Type(array.dtype, array.shape) for array in data]
            found = self._compiled.of(types, whole=whole)
        self._last = found
        if not self._part.is_followed:
            return found.gradients.run(data)
        if not self.state.micro:
            self._part.begin()
        with self._slabs.lock:
            if self._part.hands_over and found.update is not None:
                self._slabs.reserve(found.update.plan.slabs)
            return found.gradients.run(data)

    def _gradient(self, offset: int, type: Type) -> Array:
        """The gradient at an offset among all: where they are gathered, or as the last program left
        it."""
        if self._part.gathers:
            return self.state.gathered_at(offset, type)
        backend = self._compiled.backend
        found: Array = backend.to_host(backend.view(self._slabs.memory[0], offset, type))
        return found


def _check_loss(loss: Value) -> None:
    if loss.type.rank != 0 or loss.dtype.kind != "f":
        raise ShapeError(f"received a loss of type {loss.type}, expected a floating scalar")
