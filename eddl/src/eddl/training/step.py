"""The one primitive: a step runs a graph and, where it minimizes, updates parameters.

It has a *gradients* part, which computes outputs and leaves every gradient at its place in the
slabs (or adds it to memory of its own, over several micro-batches), and an *update* part, which
clips, runs the optimizers and commits new states (running statistics, counts of metrics), all or
none: where the loss or a gradient is not finite everything stays as it was.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eddl import devices
from eddl.compiler import (
    Backend,
    Budget,
    Evaluation,
    Handover,
    Program,
    Slabs,
    compile_graph,
    copied,
    training_form,
)
from eddl.errors import AttributeValueError, DeviceError, GradientError, ShapeError, StateError
from eddl.graph import Constant, Graph, State, Type, Value
from eddl.losses import target_check
from eddl.ops.differentiation import gradients
from eddl.ops.table import PRIVATE, apply, copy_node, integers
from eddl.optimizers import Optimizer, rate_at
from eddl.tensors import as_host_array
from eddl.training.budget import read_memory
from eddl.training.interrupt import between_steps
from eddl.training.shares import refuse_fallbacks
from eddl.training.state import Averages, Group, LossScale, Rules, TrainingState, begin_training
from eddl.training.store import Arena, flat_state, runs
from eddl.training.updates import update_graph

Array = np.ndarray[Any, Any]
PRECISIONS = ("float32", "bfloat16", "float16")
Signature = tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]
"""The element type and the sizes of each array."""

KEEP = 8
"""Programs kept for different input shapes, least recently used first out."""

MICRO = 1 << 32
"""A step's number and the micro-batch's make one counter for random numbers: low and high word."""


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
        self._programs: dict[Signature, Program | Evaluation] = {}
        self._update_program: Program | Evaluation | None = None
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
        self._bounds = [np.full((), np.inf) for _ in self.state.groups]
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
        flows = self._graph.outputs[self._count :]
        offsets = (g.offset(p) for g in self.state.groups for p in g.parameters)
        self._handover = Handover(dict(zip(flows, offsets, strict=not accumulate)),
                                  self.state.gradient_bytes)  # fmt: skip

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
        lost = bool(self._handover.places) and not self._handover.waits
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
        program = self.update_program
        with between_steps():
            (fine,) = program.run([np.asarray(rate) for rate in rates])
        if not fine:
            losses = all(np.isfinite(group.total) for group in state.groups)
            self._refuse(quietly=losses and before > 1)
        return bool(fine)

    def discard(self) -> None:
        """Forget the gradients and new states gathered since the last update."""
        self.state.micro[...] = 0
        if self._handover.places:
            self._slabs.forget(self._handover)

    def compute(self, *arrays: Any) -> list[Array]:
        """The outputs alone; nothing is changed."""
        if self.state.micro or self._handover.places:
            self.discard()
        results = self._run(arrays)
        if self._handover.places:
            self.discard()
        return results

    def gradients(self, *arrays: Any) -> tuple[list[Array], list[Array]]:
        """The outputs, and a copy of each parameter's gradient; nothing is changed."""
        self.discard()
        found: list[Array] = []
        with self._slabs.lock:
            results = self._run(arrays)
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

    def program(self, *types: Type) -> Program | Evaluation:
        """The compiled gradients part for inputs of static types."""
        key = tuple((type.dtype, type.sizes) for type in types)
        found = self._programs.pop(key, None)
        if found is None:
            found = self._compile(types)
            while len(self._programs) >= KEEP:
                self._programs.pop(next(iter(self._programs)))
        self._programs[key] = found
        return found

    @property
    def kernels(self) -> dict[str, dict[str, int]]:
        """The kernels of each compiled program, by the types of its inputs."""
        programs = {
            ", ".join(repr(Type(*pair)) for pair in signature): program
            for signature, program in self._programs.items()
        }
        programs |= {"update": self._update_program} if self._update_program is not None else {}
        return {name: p.kernels for name, p in programs.items() if isinstance(p, Program)}

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What arrays are given for."""
        return self._graph.inputs

    @property
    def update_program(self) -> Program | Evaluation:
        """The compiled update part of a step that minimizes."""
        if self._update_program is None:
            self._update_program = self._compile_update()
        return self._update_program

    @property
    def resident(self) -> int:
        """Bytes that outlive a step: slots, averages, waiting states and gathered gradients
        (parameters apart)."""
        return self.state.nbytes + sum(memory.nbytes for _, memory in self._waiting)

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

    def _run(self, arrays: Sequence[Any]) -> list[Array]:
        data, known = arrays, _signature(arrays)
        if known not in self._programs:  # else arrays of these types have been looked at
            data = self._fitting(arrays)
        for index, check in self._checks:
            check(data[index])
        if self._max_bytes is None:
            return self._launch(known, data)
        with self._backend.within(self._max_bytes):
            return self._launch(known, data)

    def _launch(self, known: Signature | None, data: Sequence[Array]) -> list[Array]:
        """Run the program that is known by a signature, or the one for what has none."""
        found = None if known is None else self._programs.pop(known, None)
        if known is None or found is None:
            program = self.program(*(Type(array.dtype, array.shape) for array in data))
        else:
            program = self._programs[known] = found
        if self._handover.places or self._waiting or self._accumulate:
            return self._gather(program, data)
        return program.run(data)

    def _gather(self, program: Program | Evaluation, data: Sequence[Array]) -> list[Array]:
        """Run a program that leaves gradients or new states."""
        if not self.state.micro:
            self._begin()
        with self._slabs.lock:
            if self._handover.places and isinstance(self.update_program, Program):
                self._slabs.reserve(self.update_program.plan.slabs)
            return program.run(data)

    def _fitting(self, arrays: Sequence[Any]) -> list[Array]:
        """The caller's tensors as arrays that fit the inputs."""
        inputs = self._graph.inputs
        if len(arrays) != len(inputs):
            raise AttributeValueError(
                f"received {len(arrays)} arrays, expected {len(inputs)}: "
                f"{[value.name for value in inputs]}"
            )
        data = [fit(array, value) for array, value in zip(arrays, inputs, strict=True)]
        _check_batch(inputs, data)
        return data

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

    def _compile(self, types: Sequence[Type]) -> Program | Evaluation:
        program = compile_graph(
            self._graph,
            dict(zip(self._graph.inputs, types, strict=True)),
            self._backend,
            self._slabs,
            memory_of=self._memory_of,
            handover=self._handover,
            precision=self._precision,
            memory=self._allowed(),
            taken=self._taken(types),
            poison=self._poison,
        )
        if not self._fallback:
            refuse_fallbacks(program, self._graph, self._device)
        return program

    def _compile_update(self) -> Program | Evaluation:
        bounds = None if self._accumulate else self._bounds
        graph, gradients = update_graph(self.state, self._waiting, bounds)
        self._handover.places.update(gradients)
        return compile_graph(
            graph,
            {rate: rate.type for rate in graph.inputs},
            self._backend,
            self._slabs,
            memory_of=self._memory_of,
            handover=self._handover,
            poison=self._poison,
        )

    def _allowed(self) -> str | Budget:
        if isinstance(self._memory, str):
            return self._memory
        update = self.update_program if self.state.groups else None
        beside = update.plan.transient if isinstance(update, Program) else 0
        return Budget(self._memory, beside)

    def _taken(self, types: Sequence[Type]) -> int:
        """The bytes of all that outlives a step for inputs of these types."""
        update = self.update_program if self.state.groups else None
        kept = update.plan.kept if isinstance(update, Program) else 0
        states = sum(state.type.nbytes for state in self.states)
        return states + self.resident + copied(types) + kept

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


def _signature(arrays: Sequence[Any]) -> Signature | None:
    """What a program is found by; nothing where not all are arrays of NumPy."""
    for array in arrays:
        if not isinstance(array, np.ndarray):
            return None
    return tuple([(array.dtype, array.shape) for array in arrays])


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


def fit(array: Any, value: Value) -> Array:
    """The caller's tensor as a host array of an input's type; copied only if its type differs."""
    host = as_host_array(array, what=f"input {value.name}")
    if len(host.shape) != value.rank or any(
        isinstance(size, int) and size != got
        for size, got in zip(value.shape, host.shape, strict=True)
    ):
        raise ShapeError(
            f"input {value.name}: received the shape {host.shape}, expected {value.type} with the "
            "batch axis first"
        )
    if 0 in host.shape:
        raise ShapeError(
            f"input {value.name}: received the shape {host.shape}, which holds nothing; expected "
            "at least one sample"
        )
    if host.dtype == value.dtype:
        return host
    if value.dtype.kind == "f" or np.can_cast(host.dtype, value.dtype, "same_kind"):
        return host.astype(value.dtype)
    raise ShapeError(
        f"input {value.name}: received elements of type {host.dtype}, expected {value.dtype}"
    )


def _check_batch(inputs: Sequence[Value], data: Sequence[Array]) -> None:
    """Named sizes must agree over the inputs."""
    seen: dict[str, tuple[int, Any]] = {}
    pairs = itertools.chain.from_iterable(
        ((value, size, got) for size, got in zip(value.shape, array.shape, strict=True))
        for value, array in zip(inputs, data, strict=True)
        if not isinstance(value, Constant)
    )
    for value, size, got in pairs:
        if isinstance(size, str):
            first = seen.setdefault(size, (got, value.name))
            if first[0] != got:
                raise ShapeError(
                    f"received {got} for the size {size!r} of input {value.name} and {first[0]} "
                    f"for that of input {first[1]}; expected equal numbers"
                )
