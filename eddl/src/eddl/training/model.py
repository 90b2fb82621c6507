"""`Model`: a graph with names and states, and everything one does with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eddl import losses as loss_functions
from eddl import metrics as metric_functions
from eddl.compiler import Slabs, check_differentiable
from eddl.devices import backend
from eddl.errors import AttributeValueError, ShapeError, StateError, TypeMismatchError
from eddl.graph import Graph, Input, Node, State, Type, Value
from eddl.losses import Loss
from eddl.metrics import Metric
from eddl.ops.table import apply, copy_node
from eddl.optimizers import Optimizer
from eddl.tensors import as_host_array
from eddl.training import surgery
from eddl.training.checkpoint import write_atomically
from eddl.training.loop import History, run_evaluation, run_training
from eddl.training.names import assign_names
from eddl.training.plot import to_svg
from eddl.training.report import MemoryReport, memory_report, summarise
from eddl.training.step import Group, Step, begin_group
from eddl.training.store import flat_state, place

Array = np.ndarray[Any, Any]


def write_file(
    model: Model, path: str | Path, *, metadata: Mapping[str, str], opset: int | None
) -> None:
    """How `save` writes; the package puts its ONNX room here, which this room does not know."""
    raise StateError("no file format is installed: import eddl, not a part of it")


class Model:
    """A network: inputs, outputs and the states between them.

    Parameters: `inputs` and `outputs`, one symbolic tensor or several; `seed`, from which the first
    weights are drawn, each by its name; `name`; `metadata`, strings that files carry; `max_bytes`,
    what the values of one run may take, by default the memory that is free.
    A model is itself a layer: calling it with symbolic tensors shares its weights.

    >>> import eddl, numpy as np
    >>> x = eddl.Input((4,))
    >>> net = eddl.Model(x, eddl.layers.dense(x, 3))
    >>> net.build(optimizer=eddl.Adam(1e-2), loss="categorical_cross_entropy")
    >>> net.predict(np.zeros((2, 4), "float32")).shape
    (2, 3)
    """

    def __init__(
        self,
        inputs: Value | Sequence[Value],
        outputs: Value | Sequence[Value],
        *,
        seed: int = 0,
        name: str = "model",
        metadata: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.inputs = _values(inputs, "inputs")
        self.outputs = _values(outputs, "outputs")
        self.name = name
        self.metadata = dict(metadata or {})
        self.graph = Graph(self.inputs, self.outputs)
        strangers = [v for v in self.graph.leaves if isinstance(v, Input) and v not in self.inputs]
        if strangers:
            raise AttributeValueError(
                f"the outputs depend on inputs that were not given: {strangers}; expected every "
                "eddl.Input that they use among the model's inputs"
            )
        self.names = assign_names(self.graph)
        self.states = [leaf for leaf in self.graph.leaves if isinstance(leaf, State)]
        place(self.states, {state: self.names[state] for state in self.states}, seed)
        self._seed = seed
        self._max_bytes = max_bytes
        self._device = "cpu"
        self._slabs = Slabs(backend("cpu"))
        self._predict: Step | None = None
        self._train: dict[tuple[Any, ...], tuple[Step, _Counters]] = {}
        self._evaluate: dict[tuple[Any, ...], tuple[Step, _Counters]] = {}
        self._optimizer: Optimizer | None = None
        self._groups: list[Group] = []
        self._loss: Loss | None = None
        self._activation: str | None = None
        self._metrics: list[Metric] = []

    @property
    def parameters(self) -> list[State]:
        """The states that training changes, in the order of the graph: all but frozen ones."""
        return [state for state in self.states if state.trainable and not state.frozen]

    def node_name(self, node: Node) -> str:
        """The name of a node of the graph: its layer's."""
        return node.label.given or self.names[node.outputs[0]].rsplit(":", 1)[0]

    def weights(self) -> dict[str, Array]:
        """A copy of every state, parameters and running statistics, by name."""
        return {self.names[state]: state.storage.view().copy() for state in self.states}

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Replace states by name; all shapes are checked before anything changes."""
        by_name = {self.names[state]: state for state in self.states}
        checked = {}
        for name, array in weights.items():
            if name not in by_name:
                raise AttributeValueError(
                    f"received the weight {name!r}, expected some of {sorted(by_name)}"
                )
            data = np.asarray(array)
            if data.shape != by_name[name].type.sizes:
                raise ShapeError(
                    f"{name}: received the shape {data.shape}, expected {by_name[name].type.sizes}"
                )
            checked[name] = data
        for name, data in checked.items():
            by_name[name].storage.view()[...] = data

    def freeze(self, *names: str) -> None:
        """Keep parameters as they are: by name, a layer's (`"conv"`), or a group's (`"encoder/"`);
        all without a name. Frozen batch normalization uses its running statistics and leaves them
        alone. Models that share the parameters share the rest."""
        self._set_frozen(names, frozen=True)

    def unfreeze(self, *names: str) -> None:
        """Let parameters learn again; all without a name."""
        self._set_frozen(names, frozen=False)

    def _set_frozen(self, names: Sequence[str], *, frozen: bool) -> None:
        for state in surgery.chosen_parameters(self, names):
            state.frozen = frozen
        self._forget_programs()

    def cut(self, name: str) -> Model:
        """The network up to a layer or value, which becomes the output; weights are shared.

        >>> import eddl
        >>> x = eddl.Input((4,))
        >>> net = eddl.Model(x, eddl.layers.dense(eddl.layers.dense(x, 8, name="body"), 2))
        >>> net.cut("body").outputs[0].shape
        ('batch', 8)
        """
        output = surgery.find_value(self, name)
        return Model(surgery.inputs_of(self, [output]), output, name=self.name)

    def replace_head(self, name: str, build: Callable[[Value], Value], *, seed: int = 0) -> Model:
        """The network up to a layer or value, and from there what `build` makes of it.

        Parameters: `name`, where to cut; `build`, a function of symbolic tensors; `seed`, of the
        new weights. Everything before is shared with this model.
        """
        output = build(surgery.find_value(self, name))
        return Model(
            surgery.inputs_of(self, [output]), output, seed=seed, name=self.name,
            metadata=self.metadata,
        )  # fmt: skip

    def trainability(self) -> list[surgery.Finding]:
        """What makes the graph less trainable than its author's was; empty when nothing does."""
        return surgery.findings(self)

    def make_trainable(self) -> Model:
        """The network with what can be repaired repaired: a free batch axis, and weights that
        stood as constants as parameters."""
        inputs, outputs = surgery.repaired(self)
        return Model(inputs, outputs, name=self.name, metadata=self.metadata)

    def plot(self, path: str | Path) -> None:
        """Draw the network as SVG."""
        if Path(path).suffix.lower() != ".svg":
            raise AttributeValueError(f"plot: received {path}, expected a name that ends in .svg")
        write_atomically(path, to_svg(self).encode())

    def __call__(self, *inputs: Value) -> Value | tuple[Value, ...]:
        """Apply the network to other symbolic tensors, sharing its states."""
        if len(inputs) != len(self.inputs):
            raise AttributeValueError(f"received {len(inputs)} inputs, expected {len(self.inputs)}")
        for given, own in zip(inputs, self.inputs, strict=True):
            if not isinstance(given, Value):
                raise TypeMismatchError(
                    f"received {type(given).__name__}, expected a symbolic tensor; arrays go into "
                    "predict"
                )
            if given.rank != own.rank or given.dtype != own.dtype:
                raise ShapeError(f"received {given.type} for input {own.name}, expected {own.type}")

        def copy(node: Node, values: tuple[Value | None, ...]) -> Sequence[Value]:
            return copy_node(node, values)

        graph = self.graph.transform(copy, dict(zip(self.inputs, inputs, strict=True)))
        return graph.outputs[0] if len(graph.outputs) == 1 else graph.outputs

    def build(
        self,
        *,
        optimizer: Optimizer,
        loss: str | Loss,
        metrics: Sequence[str | Metric] = (),
        device: str = "cpu",
    ) -> None:
        """Say how to train: weights stay as they are, a new optimizer begins anew.

        Parameters: `optimizer`; `loss`, a name (which takes logits) or a function of symbolic
        prediction and target; `metrics`, names or objects; `device`. Raises `GradientError`, naming
        node, operator and path, where the parameters' gradients would have to flow through an
        operator that has none.
        """
        if len(self.outputs) != 1:
            raise AttributeValueError(
                f"build: received a model with {len(self.outputs)} outputs, expected one; write "
                "an eddl.Step for several"
            )
        check_differentiable(self.outputs, self.parameters)
        self._loss, self._activation = loss_functions.get(loss)
        self._metrics = [metric_functions.get(metric) for metric in metrics]
        self._optimizer = optimizer
        if device != self._device:
            self._slabs = Slabs(backend(device))
            self._device = device
        self._groups = []
        self._forget_programs()

    def _forget_programs(self) -> None:
        """Compile anew, and begin the optimizer anew where its parameters changed."""
        self._train, self._evaluate, self._predict = {}, {}, None
        if self._groups and list(self._groups[0].parameters) != self.parameters:
            self._groups = []

    @property
    def logits(self) -> Value:
        """What the loss takes: the output, or what lies beneath a final softmax of its kind."""
        output = self.outputs[0]
        node = output.node
        if self._activation and node is not None and node.op == self._activation:
            beneath = node.inputs[0]
            assert beneath is not None
            return beneath
        return output

    @property
    def predictions(self) -> tuple[Value, ...]:
        """The outputs, with the softmax appended that the loss implies."""
        if self._activation and self.logits is self.outputs[0]:
            options = {"axis": 1} if self._activation == "Softmax" else {}
            return (apply(self._activation, self.logits, **options),)
        return self.outputs

    def fit(
        self,
        data: Any,
        targets: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        seed: int = 0,
        validation: Any = None,
        callbacks: Sequence[Any] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool | None = None,
    ) -> History:
        """Train.

        Parameters: `data` and `targets`, arrays; or `data` alone, an iterable of batches (objects
        with `images` and `labels`, or pairs) that is gone through once an epoch; `epochs`, how many
        in all; `batch_size` and `seed`, for arrays; `validation`, data of the same forms, looked at
        after each epoch; `callbacks`, functions `(epoch, logs)`; `checkpoint`, a file written after
        each epoch, whole or not at all; `resume`, whether to go on from it where it exists;
        `progress`, whether to draw a bar (by default in a terminal).
        Returns the history: a list for each of loss, metrics and learning_rate.
        """
        self._built()
        return run_training(
            self, data, targets, epochs=epochs, batch_size=batch_size, seed=seed,
            validation=validation, callbacks=callbacks, checkpoint=checkpoint, resume=resume,
            progress=progress,
        )  # fmt: skip

    def evaluate(self, data: Any, targets: Any = None, *, batch_size: int = 32) -> dict[str, float]:
        """The loss and the metrics over data in inference form; nothing is changed."""
        self._built()
        return run_evaluation(self, data, targets, batch_size=batch_size)

    def predict(self, *inputs: Any, batch_size: int = 32) -> Any:
        """The outputs for arrays, in batches, with the softmax the loss implies."""
        if self._predict is None:
            self._predict = Step(
                self.inputs, self.predictions, training=False, device=self._device,
                slabs=self._slabs, max_bytes=self._max_bytes,
            )  # fmt: skip
        arrays = [np.asarray(x) if isinstance(x, (list, tuple)) else x for x in inputs]
        if not arrays or len({len(x) for x in arrays}) != 1:
            raise ShapeError(f"predict: received {len(arrays)} inputs, expected arrays of one size")
        parts = [
            self._predict(*(x[start : start + batch_size] for x in arrays))
            for start in range(0, max(len(arrays[0]), 1), batch_size)
        ]
        if len(parts) > 1 and any(np.ndim(o) == 0 or len(o) != batch_size for o in parts[0]):
            raise ShapeError(
                f"predict: the outputs do not have the batch as their first axis, so that batches "
                f"of {batch_size} cannot be joined; call it with batch_size={len(arrays[0])}"
            )
        results = [
            part[0] if len(part) == 1 else np.concatenate(part) for part in zip(*parts, strict=True)
        ]
        return results[0] if len(results) == 1 else results

    def train_batch(self, inputs: Any, targets: Any) -> dict[str, float]:
        """One step on one batch; returns its loss and metrics."""
        step, counters = self.training_step(targets)
        counters.reset()
        loss, *rows = step(*_several(inputs), targets)
        counters.add(rows)
        return {"loss": float(loss), **counters.results()}

    def loss_and_gradients(self, inputs: Any, targets: Any) -> tuple[float, dict[str, Array]]:
        """The loss of a batch and the gradient of each parameter by name; nothing is changed."""
        step, _ = self.training_step(targets)
        outputs, gradients = step.gradients(*_several(inputs), targets)
        names = [self.names[p] for p in step.groups[0].parameters]
        return float(outputs[0]), dict(zip(names, gradients, strict=True))

    @property
    def groups(self) -> list[Group]:
        """The optimizer's state: what it remembers of each parameter, and its count of steps."""
        optimizer, _ = self._built()
        if not self._groups:
            self._groups = [begin_group(self.parameters, optimizer)]
        return self._groups

    def training_step(self, targets: Any) -> tuple[Step, _Counters]:
        """The step that trains on targets of this type and rank, and its metrics' counters."""
        return self._step_for(targets, self._train, training=True)

    def evaluation_step(self, targets: Any) -> tuple[Step, _Counters]:
        """The step that only counts."""
        return self._step_for(targets, self._evaluate, training=False)

    def _step_for(
        self, targets: Any, cache: dict[tuple[Any, ...], tuple[Step, _Counters]], *, training: bool
    ) -> tuple[Step, _Counters]:
        optimizer, loss = self._built()
        array = as_host_array(targets, what="targets")
        integral, rank = array.dtype.kind in "iu", array.ndim
        key = (integral, rank)
        if key not in cache:
            dtype = np.dtype("int64") if integral else self.outputs[0].dtype
            target = Input(Type(dtype, ("batch", *[None] * (rank - 1))), name="target")
            value = loss(self.logits, target)
            counters = _Counters(self._metrics, self.logits, target)
            minimize = [(value, self.parameters, optimizer)] if training else []
            step = Step(
                [*self.inputs, target], [value, *counters.rows], minimize, updates=counters.updates,
                training=training, device=self._device, slabs=self._slabs,
                groups=self.groups if training else None, seed=self._seed,
                max_bytes=self._max_bytes,
            )  # fmt: skip
            cache[key] = step, counters
        return cache[key]

    def _built(self) -> tuple[Optimizer, Loss]:
        if self._optimizer is None or self._loss is None:
            raise StateError("the model is not built: call build(optimizer=..., loss=...) first")
        return self._optimizer, self._loss

    def save(
        self,
        path: str | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        opset: int | None = None,
    ) -> None:
        """Write the network as ONNX, whole or not at all, with the softmax the loss implies."""
        write_file(self, path, metadata={**self.metadata, **(metadata or {})}, opset=opset)

    @property
    def device(self) -> str:
        """The device that `build` chose."""
        return self._device

    def summary(self, *shapes: Sequence[int]) -> str:
        """A table of the nodes with output types and parameters, and, for `shapes` (one a model
        input, with the batch axis), with sizes and arithmetic."""
        return summarise(self, shapes)

    def memory_plan(self, *shapes: Sequence[int], target: Any = None) -> MemoryReport:
        """The bytes a training step will use, before the first one is run.

        Parameters: `shapes`, one a model input, with the batch axis; `target`, an array or
        `(shape, dtype)` of the targets; class indices of the output's shape when left out.
        """
        return memory_report(self, shapes, target)


class _Counters:
    """The metrics of one step: their states, what moves them, and their results."""

    def __init__(self, metrics: Iterable[Metric], prediction: Value, target: Value) -> None:
        self.metrics = list(metrics)
        self.states: list[dict[str, State]] = []
        self.updates: dict[State, Value] = {}
        self.rows: list[Value] = []
        self._gathered: list[tuple[Metric, str, list[Array]]] = []
        for metric in self.metrics:
            initial = metric.init(prediction)
            if metric_functions.gathers(metric):
                batch = metric.update({}, prediction, target)
                self.rows += [batch[key] for key in initial]
                self._gathered += [(metric, key, [array]) for key, array in initial.items()]
                self.states.append({})
                continue
            states = {key: flat_state(array, f"{metric.name} {key}")
                      for key, array in initial.items()}  # fmt: skip
            new = metric.update(states, prediction, target)
            self.updates.update({states[key]: new[key] for key in states})
            self.states.append(states)

    def reset(self) -> None:
        """Begin to count anew."""
        for states in self.states:
            for state in states.values():
                state.storage.view()[...] = 0
        for _, _, parts in self._gathered:
            del parts[1:]

    def add(self, rows: Iterable[Array]) -> None:
        """Append a batch's rows, in the order of `rows`."""
        for (_, _, parts), array in zip(self._gathered, rows, strict=True):
            parts.append(array)

    def results(self) -> dict[str, float]:
        """Each metric from its counts, or from the rows it gathered."""
        found = {}
        for metric, states in zip(self.metrics, self.states, strict=True):
            counts = {key: state.storage.view() for key, state in states.items()}
            rows = {k: np.concatenate(p) for m, k, p in self._gathered if m is metric}
            found[metric.name] = metric.result({**counts, **rows})
        return found


def _values(values: Value | Sequence[Value], what: str) -> tuple[Value, ...]:
    listed = tuple(values) if isinstance(values, (tuple, list)) else (values,)
    empty = not listed and what == "outputs"
    if empty or not all(isinstance(v, Value) for v in listed):
        raise TypeMismatchError(
            f"Model: received {values!r} as {what}, expected symbolic tensors: eddl.Input or what "
            "layers return"
        )
    return listed


def _several(inputs: Any) -> Sequence[Any]:
    return inputs if isinstance(inputs, (tuple, list)) else (inputs,)
