"""The one primitive: a step runs a graph and, where it minimizes, updates parameters.

It has a *gradients* part, which computes outputs and leaves every gradient at its place in the
slabs (or adds it to memory of its own, over several micro-batches), and an *update* part, which
clips, runs the optimizers and commits new states (running statistics, counts of metrics), all or
none: where the loss or a gradient is not finite everything stays as it was. A gradient that is much
larger than what it is made of is left to the update, which makes it when it needs it
(`eddl.compiler.defer`), unless all are wanted at once: gathered, clipped by their norm, or asked
for.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl import devices
from eddl.compiler import (
    Backend,
    Evaluation,
    Found,
    Handover,
    Program,
    Slabs,
    compile_graph,
    copied,
    too_little,
    training_form,
)
from eddl.errors import AttributeValueError, DeviceError, GradientError, ShapeError, StateError
from eddl.graph import Graph, State, Type, Value
from eddl.losses import target_check
from eddl.ops.bounds import LIMIT
from eddl.ops.differentiation import gradients
from eddl.ops.table import PRIVATE, apply, copy_node, integers
from eddl.optimizers import Optimizer, rate_at
from eddl.training.budget import read_memory
from eddl.training.fitting import Signature, fitting, signature_of
from eddl.training.interrupt import between_steps
from eddl.training.shares import refuse_fallbacks
from eddl.training.state import Averages, Group, LossScale, Rules, TrainingState, begin_training
from eddl.training.store import Arena, flat_state, runs
from eddl.training.updates import update_graph

Array = np.ndarray[Any, Any]
PRECISIONS = ("float32", "bfloat16", "float16")
KEEP = 8
"""Programs kept for different input shapes, least recently used first out."""

MICRO = 1 << 32
"""A step's number and the micro-batch's make one counter for random numbers: low and high word."""


@dataclass
class Parts:
    """A compiled step: the gradients part, and the update part, if there is one."""

    gradients: Program | Evaluation
    update: Program | None = None
    exact: Program | None = None
    """The update that reads all gradients, where a bound cannot say that they are finite."""

    @property
    def left(self) -> Handover | None:
        """The gradients that the first part leaves for the second."""
        return self.gradients.left if isinstance(self.gradients, Program) else None


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
        self._fallback, self._device = fallback, device
        self._backend = devices.backend(device)
        self._slabs = slabs or Slabs(self._backend)
        self._poison = poison
        self._max_bytes = max_bytes
        self._parts: dict[tuple[Signature, bool], Parts] = {}
        """By the types of arrays, and whether every gradient is made."""
        self._last: Parts | None = None
        """What ran last."""
        self._accumulate = accumulate
        self._precision = check_precision(precision, self._backend)
        self._memory = read_memory(memory)
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
        self._owners = [p for group in self.state.groups for p in group.parameters]
        self._count = len(outputs)
        moved_by = updates or {}
        leaves = Graph(inputs, [*outputs, *self._owners, *moved_by, *moved_by.values()]).leaves
        self.states = [leaf for leaf in leaves if isinstance(leaf, State)]
        self._bounds = [np.zeros(()) for _ in self.state.groups]
        self._defers = bool(self._owners) and not accumulate and self.state.clip_norm is None
        graph = self._gradients_graph(inputs, outputs, [loss for loss, _, _ in minimize])
        inner = set(graph.updates)
        graph = Graph(graph.inputs, graph.outputs, graph.updates | dict(moved_by))
        if training:
            graph = training_form(graph, self._moment(), seed=seed)
        moved = [s for s in graph.updates if isinstance(s, State) and s not in inner]
        statistics = [s for s in moved if s not in moved_by and s.dtype.kind == "f"]
        if rules.ema is not None and state is None:
            self.state.averages = Averages([*self._owners, *statistics], rules.ema)
        self._waiting = [
            (run, Arena(run.arena.dtype, run.stop - run.start).array)
            for run in runs(moved, lambda s: s in (self.state.averages or ()))
        ]
        places: dict[Value, Value] = {
            s: flat_state(memory[s.storage.start - run.start : s.storage.stop - run.start]
                          .reshape(s.storage.shape), "waiting")
            for run, memory in self._waiting for s in run.members
        }  # fmt: skip
        self._graph = graph.transform(copy_node, places)
        self._hands = bool(self._owners) and not accumulate

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
        if state.micro and not self._accumulate:
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
        state = self.state
        last = self._last
        lost = self._hands and (last is None or not self._slabs.holds(last.left))
        if not state.micro or lost:
            raise StateError("update: received no gradients, expected a call of add before")
        state.micro[...] = 0
        if not state.groups:
            with between_steps():
                for run, new in self._waiting:
                    run.part(run.arena.array)[...] = new
            return True
        rates = [rate_at(g.optimizer, int(g.count), state.history) for g in state.groups]
        before = float(state.scale.scale) if state.scale is not None else 1.0
        program = self._update_after(last)
        with between_steps():
            (fine,) = program.run([np.asarray(rate) for rate in rates])
        if not fine:
            losses = all(np.isfinite(group.total) for group in state.groups)
            self._refuse(quietly=losses and before > 1)
        return bool(fine)

    def discard(self) -> None:
        """Forget the gradients and new states gathered since the last update."""
        self.state.micro[...] = 0
        left = None if self._last is None else self._last.left
        if left is not None:
            self._slabs.forget(left)

    def compute(self, *arrays: Any) -> list[Array]:
        """The outputs alone; nothing is changed."""
        if self.state.micro or self._hands:
            self.discard()
        results = self._run(arrays)
        if self._hands:
            self.discard()
        return results

    def gradients(self, *arrays: Any) -> tuple[list[Array], list[Array]]:
        """The outputs, and a copy of each parameter's gradient; nothing is changed."""
        self.discard()
        found: list[Array] = []
        with self._slabs.lock:
            results = self._run(arrays, made=self._defers)
            for group in self.state.groups:
                weight = (float(group.weight) or 1.0) if self._accumulate else 1.0
                weight *= float(self.state.scale.scale) if self.state.scale is not None else 1.0
                for parameter in group.parameters:
                    gradient = self._gradient(group, parameter)
                    found.append((gradient / weight).astype(gradient.dtype))
            self.discard()
        return results, found

    @property
    def groups(self) -> list[Group]:
        """What each optimizer remembers."""
        return self.state.groups

    def programs(self, *types: Type) -> dict[str, Program | Evaluation]:
        """The compiled parts for inputs of static types, by name: "training" is what computes
        outputs and gradients, "update" what follows where parameters learn."""
        parts = self._parts_of(types)
        found: dict[str, Program | Evaluation] = {"training": parts.gradients}
        return found if parts.update is None else found | {"update": parts.update}

    def program(self, *types: Type) -> Program | Evaluation:
        """The compiled gradients part, or all of a step that does not train."""
        return self.programs(*types)["training"]

    @property
    def kernels(self) -> dict[str, dict[str, int]]:
        """The kernels of each compiled program, by the types of its inputs."""
        programs: dict[str, Program | Evaluation | None] = {}
        for (signature, made), parts in self._parts.items():
            name = ", ".join(repr(Type(*pair)) for pair in signature)
            name += ", every gradient made" if made and self._defers else ""
            programs |= {name: parts.gradients, f"update after {name}": parts.update}
        return {name: p.kernels for name, p in programs.items() if isinstance(p, Program)}

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What arrays are given for."""
        return self._graph.inputs

    @property
    def resident(self) -> int:
        """Bytes that outlive a step: slots, averages, waiting states and gathered gradients
        (parameters apart)."""
        return self.state.nbytes + sum(memory.nbytes for _, memory in self._waiting)

    def _parts_of(self, types: Sequence[Type], *, made: bool = False) -> Parts:
        """The compiled parts for static types; with `made`, the gradients part leaves no gradient
        to be made. Those least recently used are given up."""
        key = tuple([(type.dtype, type.sizes) for type in types]), made
        found = self._parts.pop(key, None)
        if found is None:
            found = self._compile(types, defers=self._defers and not made)
            while len(self._parts) >= KEEP:
                self._parts.pop(next(iter(self._parts)))
        self._parts[key] = found
        return found

    def _gradients_graph(
        self, inputs: Sequence[Value], outputs: Sequence[Value], losses: Sequence[Value]
    ) -> Graph:
        """Outputs, then (without accumulation) gradients; updates of what is summed, and (without
        it) of a bound on the squares of each optimizer's gradients."""
        wanted: list[Value] = []
        updates: dict[Value, Value] = {}
        for index, (loss, group) in enumerate(zip(losses, self.state.groups, strict=True)):
            total, weight = _parts(loss, inputs) if self._accumulate else (loss, None)
            sums = {flat_state(group.total, "total"): total}
            if weight is not None:
                sums[flat_state(group.weight, "weight")] = weight
            for state, value in sums.items():
                wide = apply("Cast", value, to="float64")
                updates[state] = state + wide if self._accumulate else wide
            if self.state.scale is not None:
                scale = flat_state(self.state.scale.scale, "scale")
                total = total * apply("Cast", scale, to=total.dtype)
            flows = gradients(total, group.parameters)
            if self._accumulate:
                held = [flat_state(self._gradient(group, p), "gradient") for p in group.parameters]
                updates |= {h: h + g for h, g in zip(held, flows, strict=True)}
            else:
                wanted += (apply("Identity", flow) for flow in flows)  # no two the same value
            if self._defers:
                bound = flat_state(self._bounds[index], "bound")
                updates[bound] = apply("SquareBound", *flows, domain=PRIVATE)
        return Graph(inputs, [*outputs, *wanted], updates)

    def _gradient(self, group: Group, parameter: State) -> Array:
        """The gradient of a parameter: its place where all are gathered, or a copy of what the
        last program left."""
        offset, type = group.offset(parameter), parameter.type
        if self._accumulate:
            return self.state.gathered_at(offset, type)
        found: Array = self._backend.to_host(
            self._backend.view(self._slabs.memory[0], offset, type)
        )
        return found

    def _moment(self) -> Value:
        """The counter of random numbers: the step, and the micro-batch in its high word."""
        groups = self.state.groups
        count = flat_state(groups[0].count if groups else np.zeros((), np.int64), "step")
        if not self._accumulate:
            return count
        return count + flat_state(self.state.micro, "micro-batch") * MICRO

    def _run(self, arrays: Sequence[Any], *, made: bool = False) -> list[Array]:
        data, signature, found = arrays, signature_of(arrays), None
        if signature is not None:
            found = self._parts.pop((signature, made), None)
        if found is not None and signature is not None:  # arrays of these types were looked at
            self._parts[signature, made] = found
        else:
            data = fitting(arrays, self._graph.inputs)
        for index, check in self._checks:
            check(data[index])
        if self._max_bytes is None:
            return self._launch(found, data, made)
        with self._backend.within(self._max_bytes):
            return self._launch(found, data, made)

    def _launch(self, found: Parts | None, data: Sequence[Array], made: bool) -> list[Array]:
        """Run the program that is known, or the one for these arrays."""
        if found is None:
            found = self._parts_of([Type(a.dtype, a.shape) for a in data], made=made)
        self._last = found
        if self._hands or self._waiting or self._accumulate:
            return self._gather(found, data)
        return found.gradients.run(data)

    def _gather(self, parts: Parts, data: Sequence[Array]) -> list[Array]:
        """Run a program that leaves gradients or new states."""
        if not self.state.micro:
            self._begin()
        with self._slabs.lock:
            if self._hands and parts.update is not None:
                self._slabs.reserve(parts.update.plan.slabs)
            return parts.gradients.run(data)

    def _begin(self) -> None:
        """Before the first micro-batch: sums are 0, and new states begin as the old ones."""
        for run, memory in self._waiting:
            memory[...] = run.part(run.arena.array)
        if self._accumulate:
            for group in self.state.groups:
                group.total[...] = group.weight[...] = 0
                for unit in group.units:
                    memory = self.state.gathered_at(unit.offset, Type("uint8", (unit.nbytes,)))
                    memory[...] = 0

    def _compile(self, types: Sequence[Type], *, defers: bool) -> Parts:
        groups = self.state.groups
        offsets = [group.offset(p) for group in groups for p in group.parameters]
        places = dict(enumerate(offsets, self._count))
        taken = self._taken(types)
        program = compile_graph(
            self._graph,
            dict(zip(self._graph.inputs, types, strict=True)),
            self._backend,
            self._slabs,
            memory_of=self._memory_of,
            left=Handover(places, self.state.gradient_bytes, defers) if self._hands else None,
            precision=self._precision,
            memory=self._memory,
            taken=taken,
            poison=self._poison,
        )
        if not self._fallback:
            refuse_fallbacks(program, self._graph, self._device)
        parts = Parts(program)
        if groups and defers == self._defers:
            parts.update = self._compile_update(parts.left)
            least = parts.update.plan.transient
            if isinstance(self._memory, int) and taken + least > self._memory:
                raise too_little(self._memory, taken, least)
        return parts

    def _compile_update(self, left: Handover | None, *, exact: bool = False) -> Program:
        """The update that follows a program which left this."""
        if self._accumulate and self._last is not None:
            assert self._last.update is not None
            return self._last.update  # what is gathered is the same for all
        tails, known = ((), ()) if left is None else (left.tails, left.bounded)
        bounded = {self._owners[i - self._count] for i in known} if not exact else set()
        graph, leaves = update_graph(
            self.state, self._waiting, gathered=self._accumulate, bounded=bounded,
            apart={self._owners[i - self._count] for i in tails},
            bounds=self._bounds if bounded else (),
        )  # fmt: skip
        number = {parameter: i for i, parameter in enumerate(self._owners, self._count)}
        numbers = {leaf: number[parameter] for leaf, parameter in leaves.items()}
        program = compile_graph(
            graph,
            {rate: rate.type for rate in graph.inputs},
            self._backend,
            self._slabs,
            memory_of=self._memory_of,
            found=None if left is None else Found(left, numbers),
            poison=self._poison,
        )
        assert isinstance(program, Program)
        return program

    def _update_after(self, parts: Parts | None) -> Program:
        """The update part that tells for sure whether gradients are finite."""
        if parts is None or parts.update is None:
            return self._compile_update(None)
        small = all(bound <= LIMIT for bound in self._bounds)
        lost = not all(np.isfinite(group.total) for group in self.state.groups)
        if small or lost or parts.left is None or not parts.left.bounded:
            return parts.update
        if parts.exact is None:
            parts.exact = self._compile_update(parts.left, exact=True)
        return parts.exact

    def _taken(self, types: Sequence[Type]) -> int:
        """The bytes of all that outlives a step for inputs of these types."""
        states = sum(state.type.nbytes for state in self.states)
        rates = [np.dtype(np.float64).itemsize for _ in self.state.groups]
        return states + self.resident + copied(types) + sum(rates)

    def _memory_of(self, state: State) -> Any:
        return self._backend.from_host(state.storage.view())

    def _refuse(self, *, quietly: bool) -> None:
        """What follows a step that was not finite; its update has changed nothing. Where a smaller
        scale of the loss may help, nothing is said."""
        state = self.state
        if quietly:
            state.skipped += 1
            return
        number = int(state.groups[0].count) + int(state.skipped) + 1
        what = f"step {number}: the loss or a gradient is not finite"
        if state.nonfinite == "raise":
            raise GradientError(
                f"{what}; nothing was changed. Look for values that are not finite in the batch, "
                "or take a lower learning rate or clip_norm"
            )
        state.skipped += 1
        if not state.warned:
            state.warned = True
            warnings.warn(
                f"{what}; the step was skipped and nothing changed, and so it will be where this "
                "happens again (nonfinite='raise' stops instead)",
                RuntimeWarning,
                stacklevel=3,
            )


def check_precision(precision: str, backend: Backend) -> str:
    """The precision, where the backend has it."""
    if precision not in PRECISIONS:
        raise AttributeValueError(f"received precision={precision!r}, expected one of {PRECISIONS}")
    reason = "" if precision == "float32" else backend.why_not(precision)
    if reason:
        others = [name for name in PRECISIONS[1:] if name != precision]
        computed = ["float32", *(name for name in others if not backend.why_not(name))]
        raise DeviceError(
            f"received precision={precision!r}, which the {backend.name} backend does not compute "
            f"here: {reason}; expected one of {computed}"
        )
    return precision


def _check_loss(loss: Value) -> None:
    if loss.type.rank != 0 or loss.dtype.kind != "f":
        raise ShapeError(f"received a loss of type {loss.type}, expected a floating scalar")


def _parts(loss: Value, inputs: Sequence[Value]) -> tuple[Value, Value]:
    """A loss as total and weight, over which micro-batches are summed: a mean's own, else the loss
    times the number of samples, and that number."""
    node = loss.node
    if node is not None and (node.domain, node.op) == (PRIVATE, "Average"):
        total, weight = node.inputs
        assert total is not None and weight is not None
        return total, weight
    batch = next((v for v in inputs if v.rank), None)
    if batch is None:
        return loss, apply("Cast", np.ones(()), to=loss.dtype)
    size = apply("Gather", apply("Shape", batch), integers([0]))
    samples = apply("Reshape", apply("Cast", size, to=loss.dtype), integers([]))
    return loss * samples, samples
