"""`Model`: a graph with names and states, and everything one does with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from eddl.compiler import Slabs, check_differentiable
from eddl.devices import backend
from eddl.errors import (
    AttributeValueError,
    DeviceError,
    ShapeError,
    StateError,
    TypeMismatchError,
)
from eddl.graph import Graph, Input, Node, State, Value
from eddl.losses import Loss
from eddl.ops.table import copy_node
from eddl.optimizers import Optimizer
from eddl.tensors import as_host_array
from eddl.training import surgery
from eddl.training.callbacks import PeriodicCheckpoint
from eddl.training.checkpoint import restore_weights, write_atomically
from eddl.training.feed import listed
from eddl.training.heads import Head, make_heads, plain_heads
from eddl.training.lock import Lock, Turn
from eddl.training.loop import History, run_evaluation, run_prediction, run_training
from eddl.training.names import assign_names
from eddl.training.plot import to_svg
from eddl.training.report import MemoryReport, memory_report, summarise
from eddl.training.setup import Choices, Setup
from eddl.training.shares import programs, sizes_of
from eddl.training.step import Step
from eddl.training.store import place
from eddl.training.windows import run_windows

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
        self._heads = plain_heads(self)
        self._setup: Setup | None = None
        self.lock = Lock()
        self.turn = Turn(self.lock)

    @property
    def parameters(self) -> list[State]:
        """The states that training changes, in the order of the graph: all but frozen ones."""
        return [state for state in self.states if state.trainable and not state.frozen]

    def node_name(self, node: Node) -> str:
        """The name of a node of the graph: its layer's."""
        return node.label.given or self.names[node.outputs[0]].rsplit(":", 1)[0]

    def weights(self) -> dict[str, Array]:
        """A copy of every state, parameters and running statistics, by name."""
        with self.lock:
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
        with self.lock:
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
        with self.turn, self.lock:
            for state in surgery.chosen_parameters(self, names):
                state.frozen = frozen
            self._predict = None
            if self._setup is not None:
                self._setup.forget_programs()

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
        loss: str | Loss | Sequence[Any] | Mapping[str, Any],
        loss_weights: Sequence[float] | Mapping[str, float] | None = None,
        metrics: Any = (),
        device: str = "cpu",
        rates: Any = None,
        regularizers: Any = None,
        constraints: Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        nonfinite: str = "skip",
        precision: str = "float32",
        memory: str | int = "fast",
        fallback: bool = True,
    ) -> None:
        """Say how to train: weights stay as they are, a new optimizer begins anew.

        Parameters: `optimizer`; `loss`, a name (which takes logits) or a function of symbolic
        prediction and target; `metrics`, names or objects; `device`. For several outputs, which are
        called as their layers, `loss`, `loss_weights` and `metrics` are lists with an entry for
        each or dicts by name (a loss of `None` or left out: the output is not trained on), and the
        targets of a batch a tuple.

        `rates` (factors of the learning rate), `regularizers` and `constraints` are dicts by name,
        as in `freeze`, later entries over earlier ones, or one for all parameters; the latter two
        are named ("l2", "max_norm") or functions, such as `eddl.constraints.L2(1e-4)`. Regularizers
        join the loss that is minimised; the loss that is reported is that of the data alone, in
        training as in evaluation. `clip_norm` and `clip_value` bound gradients; see `eddl.Rules`.

        `accumulate`, how many micro-batches an update gathers: in `fit` as many batches, in
        `train_batch` that many parts of the batch; the step is that of the whole, whatever their
        sizes, but for batch normalization, which sees micro-batches. `ema`, such as 0.999, keeps
        averages of parameters and running statistics (`averaged`). `nonfinite`, where a loss or
        gradient is not finite: "skip" the step, which leaves everything as it was and warns the
        first time, or "raise". `precision` is what products compute in, with parameters, losses
        and statistics in float32: "bfloat16", which is refused with the reason where the device
        does not have it or float32 would be faster, trains, evaluates and predicts; "float16"
        trains, with a loss scale. `fallback`, whether the host may compute what the device should
        and cannot (`summary` lists it); with False `DeviceError` names those nodes, now where the
        inputs' sizes are fixed, else when a batch of new sizes comes.

        `memory`, what a training step may hold: "fast" gives up only values that cost next to
        nothing to compute again (2.5 % of the step's work, and nothing where values take less than
        512 MiB); "low" gives up what it can for a fifth of the work; a budget such as
        "4GiB", "500MB" or a number of bytes is met with as little of that as it takes. Results are
        the same to the bit. A budget is for `memory_plan(...).total`; where it cannot be met, the
        first step raises `MemoryLimitError` with the least that can.

        Raises `GradientError`, naming node, operator and path, where the parameters' gradients
        would have to flow through an operator that has none.
        """
        heads = make_heads(self, loss, loss_weights, metrics)
        learned = [head.logits for head in heads if head.loss is not None]
        check_differentiable(learned, self.parameters)
        slabs = self._slabs if device == self._device else Slabs(backend(device))
        choices = Choices(rates, regularizers, constraints, clip_norm, clip_value, ema, nonfinite)
        setup = Setup(self, optimizer, heads, choices, accumulate, precision, memory, slabs,
                      self._seed, self._max_bytes, fallback)  # fmt: skip
        with self.turn, self.lock:
            before = self._slabs, self._device, self._heads, self._setup, self._predict
            self._slabs, self._device = slabs, device
            self._heads, self._setup, self._predict = heads, setup, None
            sizes = None if fallback else sizes_of(self)
            if sizes is not None:
                try:
                    programs(self, sizes)
                except DeviceError:
                    self._slabs, self._device, self._heads, self._setup, self._predict = before
                    raise

    def built(self) -> Setup:
        """What `build` made."""
        if self._setup is None:
            raise StateError("the model is not built: call build(optimizer=..., loss=...) first")
        return self._setup

    @property
    def logits(self) -> Value:
        """What the (first) loss takes: an output, or what lies beneath a final softmax."""
        trained = [head for head in self._heads if head.loss is not None]
        return (trained or self._heads)[0].logits

    @property
    def inference(self) -> Step:
        """The step that predicts."""
        if self._predict is None:
            self._predict = Step(
                self.inputs, self.predictions, training=False, device=self._device,
                precision=self._setup.inference_precision if self._setup else "float32",
                slabs=self._slabs, max_bytes=self._max_bytes,
                fallback=self._setup is None or self._setup.fallback,
            )  # fmt: skip
        return self._predict

    @property
    def is_built(self) -> bool:
        """Whether `build` said how to train."""
        return self._setup is not None

    @property
    def heads(self) -> Sequence[Head]:
        """What is asked of each output."""
        return self._heads

    @property
    def predictions(self) -> tuple[Value, ...]:
        """The outputs, with the softmax or sigmoid appended that their losses imply."""
        return tuple(head.prediction for head in self._heads)

    def fit(
        self,
        data: Any,
        targets: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        validation: Any = None,
        callbacks: Sequence[Any] = (),
        checkpoint: str | Path | PeriodicCheckpoint | None = None,
        resume: bool = False,
        progress: bool | None = None,
    ) -> History:
        """Train.

        Parameters: `data` and `targets`, tensors (tuples or lists of them for models with several
        inputs or outputs); or `data` alone, an iterable of batches (objects with `images` and
        `labels`, or pairs) that is gone through once an epoch; `epochs`, how many in all;
        `batch_size` and `seed`, for arrays; `steps_per_epoch`, batches an epoch of data that may
        have no end; `validation`, data of the same forms, looked at after each epoch (with the
        averaged weights, where the model has them); `callbacks`, `eddl.Callback` objects or
        functions `(epoch, logs)`; `checkpoint`, a file written after each epoch and when the
        keyboard interrupts, or an `eddl.PeriodicCheckpoint`; `resume`, whether to go on from it
        where it exists; `progress`, whether to draw a bar (by default in a terminal).
        Returns the history: a list for each of loss, metrics and learning_rate, an entry an epoch.
        Steps that were skipped count in none. A training that a callback ended is finished: to
        resume it trains no further.

        Other threads may predict, evaluate and save meanwhile, between two steps; a second training
        of this model waits for the end of the first.
        """
        with self.turn:
            return run_training(
                self, data, targets, epochs=epochs, batch_size=batch_size, seed=seed,
                steps_per_epoch=steps_per_epoch, validation=validation, callbacks=callbacks,
                checkpoint=checkpoint, resume=resume, progress=progress,
            )  # fmt: skip

    def evaluate(self, data: Any, targets: Any = None, *, batch_size: int = 32) -> dict[str, float]:
        """The loss and the metrics over data in inference form; nothing is changed."""
        with self.lock:
            return run_evaluation(self, data, targets, batch_size=batch_size)

    def predict(self, *inputs: Any, batch_size: int = 32) -> Any:
        """The outputs for arrays, in batches, with the softmax the loss implies."""
        with self.lock:
            return run_prediction(self.inference, inputs, batch_size)

    def predict_windows(
        self,
        volume: Any,
        window: int | Sequence[int] | None = None,
        *,
        overlap: float | Sequence[float] = 0.5,
        blending: str = "gaussian",
        batch_size: int = 1,
        padding: str = "zeros",
        mirror: Sequence[int] = (),
        reduce: str | Callable[[Array], Array] | None = None,
        out: Any = None,
        progress: bool | Callable[[int, int], object] | None = None,
    ) -> Any:
        """What `predict` gives for windows of one large volume, blended, in bounded memory.

        Parameters: `volume`, one sample [channels, space...] ([space...] where the network takes
        one channel), an array or anything with a shape that can be sliced (`np.memmap`,
        `ecvl.read(..., lazy=True)`), each plane of which is read once; `window`, its size along
        each spatial axis or one for all, by default that of the network's input; `overlap`, the
        least share of a window that the next one covers, one an axis or for all: windows are spread
        evenly, the last one ends with the volume; `blending`, how much a window counts: "gaussian"
        (a standard deviation of 1/8 of the window around its middle) or "constant"; `batch_size`,
        windows computed at once; `padding`, what surrounds a volume smaller than the window:
        "zeros" or "edge", the nearest voxel; `mirror`, spatial axes (the first is 0) along which
        windows are also reflected, for the mean of all 2^n predictions; `reduce`, of finished
        planes [outputs, planes, ...]: "labels" for the class of the greatest score (of one output:
        whether it is above 0.5), so that a volume of all scores never exists, or a function that
        gives [planes, ...] or [anything, planes, ...]; `out`, what to write to instead of a new
        array; `progress`, whether to draw a bar (by default in a terminal), or a function of the
        windows that are done and their number, which may raise to stop.

        Returns [outputs, space...], or what `reduce` makes of that. Beside it, the input and the
        scores of one row of windows are held (as many planes as a window), and what `predict`
        needs.

        >>> import eddl, numpy as np
        >>> x = eddl.Input((1, None, None, None))
        >>> net = eddl.Model(x, eddl.layers.conv(x, 2, 3))
        >>> scan = np.zeros((40, 24, 24), "int16")
        >>> net.predict_windows(scan, (16, 16, 16)).shape
        (2, 40, 24, 24)
        >>> net.predict_windows(scan, (16, 16, 16), reduce="labels").dtype
        dtype('uint8')
        """
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise AttributeValueError(
                f"predict_windows: the network has {len(self.inputs)} inputs and "
                f"{len(self.outputs)} outputs, expected one of each; join inputs as channels, and "
                "take one output by cut(name)"
            )

        def predict(batch: Array) -> Array:
            found: Array = self.predict(batch, batch_size=len(batch))
            return found

        with self.lock:
            return run_windows(
                predict, self.inputs[0], volume, window, overlap=overlap, blending=blending,
                batch_size=batch_size, padding=padding, mirror=mirror, reduce=reduce, out=out,
                progress=progress,
            )  # fmt: skip

    def train_batch(self, inputs: Any, targets: Any) -> dict[str, float]:
        """One step on one batch, in `accumulate` parts; returns its loss and metrics."""
        with self.turn, self.lock:
            return self.built().train(*self._batch(inputs, targets))

    def loss_and_gradients(self, inputs: Any, targets: Any) -> tuple[float, dict[str, Array]]:
        """The loss of a batch and the gradient of each parameter by name; nothing is changed.

        Both are the data's: regularizers and clipping come after."""
        data, labels = self._batch(inputs, targets)
        with self.turn, self.lock:
            step = self.built().find(labels, training=True).step
            outputs, gradients = step.gradients(*data, *labels)
        names = [self.names[p] for p in step.groups[0].parameters]
        return float(outputs[0]), dict(zip(names, gradients, strict=True))

    def _batch(self, inputs: Any, targets: Any) -> tuple[list[Array], list[Array]]:
        counts = self.built().counts
        return (
            [as_host_array(x, what="inputs") for x in listed(inputs, counts[0], "inputs")],
            [as_host_array(x, what="targets") for x in listed(targets, counts[1], "targets")],
        )

    def averaged(self) -> AbstractContextManager[None]:
        """While the block lasts the averages that `build(ema=...)` keeps stand where the weights
        do, in `predict`, `evaluate`, `weights` and `save`; without them it does nothing.

        >>> import eddl
        >>> x = eddl.Input((4,))
        >>> net = eddl.Model(x, eddl.layers.dense(x, 3))
        >>> net.build(optimizer=eddl.Adam(), loss="categorical_cross_entropy", ema=0.99)
        >>> with net.averaged():
        ...     smooth = net.weights()
        """
        return _averaged(self)

    def all_weights(self) -> dict[str, Array]:
        """Copies of the states and of their averages, by kind and name, as checkpoints call
        them."""
        with self.lock:
            found = {f"state/{name}": array for name, array in self.weights().items()}
            for state, average in self._averages().items():
                found[f"average/{self.names[state]}"] = average.copy()
        return found

    def set_all_weights(self, weights: Mapping[str, Array]) -> None:
        """Put back what `all_weights` gave."""
        with self.lock:
            self.set_weights({n[6:]: a for n, a in weights.items() if n.startswith("state/")})
            for state, average in self._averages().items():
                average[...] = weights.get(f"average/{self.names[state]}", average)

    def _averages(self) -> dict[State, Array]:
        averages = self._setup.state.averages if self._setup is not None else None
        return {} if averages is None else {s: averages.view(s) for s in averages.states}

    def restore(self, path: str | Path) -> None:
        """Take the weights of a checkpoint, and its averages where this model keeps any; the
        optimizer is left alone (`fit(resume=True)` takes it, too)."""
        restore_weights(self, path)

    @property
    def skipped_steps(self) -> int:
        """How many steps changed nothing since their loss or a gradient was not finite."""
        return int(self.built().state.skipped)

    def save(
        self,
        path: str | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        opset: int | None = None,
    ) -> None:
        """Write the network as ONNX, whole or not at all, with the softmax the loss implies."""
        with self.lock:
            write_file(self, path, metadata={**self.metadata, **(metadata or {})}, opset=opset)

    @property
    def device(self) -> str:
        """The device that `build` chose."""
        return self._device

    @property
    def memory(self) -> str | int:
        """What `build` allowed a training step to hold: "fast", "low" or bytes."""
        return "fast" if self._setup is None else self._setup.memory

    def summary(self, *shapes: Sequence[int]) -> str:
        """A table of the nodes with output types and parameters, and, for `shapes` (one a model
        input, with the batch axis), with sizes and arithmetic.

        For these shapes, or one sample where the inputs' sizes are fixed, it counts the calls that
        the device makes for inference and, once the model is built, for training, and names each
        fallback with its reason: work of the device that is left to the host.
        """
        with self.lock:
            return summarise(self, shapes)

    def memory_plan(self, *shapes: Sequence[int], target: Any = None) -> MemoryReport:
        """The bytes a training step will use, before the first one is run.

        Parameters: `shapes`, one a model input, with the batch axis, of a micro-batch; `target`, an
        array or `(shape, dtype)` of the targets, or a list of them for several outputs; class
        indices of the output's shape when left out.
        """
        with self.lock:
            return memory_report(self, shapes, target)


@contextmanager
def _averaged(model: Model) -> Iterator[None]:
    with model.lock:
        averages = model.built().state.averages if model.is_built else None
        with nullcontext() if averages is None else averages.swapped():
            yield


def _values(values: Value | Sequence[Value], what: str) -> tuple[Value, ...]:
    listed = tuple(values) if isinstance(values, (tuple, list)) else (values,)
    empty = not listed and what == "outputs"
    if empty or not all(isinstance(v, Value) for v in listed):
        raise TypeMismatchError(
            f"Model: received {values!r} as {what}, expected symbolic tensors: eddl.Input or what "
            "layers return"
        )
    return listed
