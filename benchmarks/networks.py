"""The networks that the engine's benchmarks run, each with its twin in PyTorch.

No framework is imported before `twin` is called: a process that measures us alone has none.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eddl
from eddl import layers, zoo

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Network:
    """`words`, for tables; `shape` of a batch; `classes`; `ours`, from symbolic tensor to logits;
    `theirs`, given the module `twins`, the same network there; `dense`, a label for each pixel."""

    words: str
    shape: tuple[int, ...]
    classes: int
    ours: Callable[[Any], Any]
    theirs: Callable[[Any], Any]
    dense: bool = False

    def model(self) -> eddl.Model:
        """The network in this package, with its first weights."""
        x = eddl.Input(self.shape[1:])
        return eddl.Model(x, self.ours(x))

    def twin(self, model: eddl.Model | None = None) -> Any:
        """The network in PyTorch, with the weights of `model`."""
        import twins

        made = self.theirs(twins)
        return made if model is None else twins.take(made, model)

    def batch(self, samples: int | None = None) -> tuple[Array, Array]:
        """Noise and labels, the same at every call."""
        rng = np.random.default_rng(0)
        shape = (samples or self.shape[0], *self.shape[1:])
        data = rng.standard_normal(shape).astype("float32")
        if self.dense:
            return data, (data[:, 0] > 0).astype("int64")
        return data, rng.integers(0, self.classes, shape[0])

    @property
    def space(self) -> int:
        """How many spatial axes there are."""
        return len(self.shape) - 2 if len(self.shape) > 3 else 0


def mlp(x: Any) -> Any:
    for _ in range(3):
        x = layers.relu(layers.dense(x, 1024))
    return layers.dense(x, 10)


NETWORKS = {
    "unet32": Network(
        "U-Net, base 32", (4, 1, 128, 128), 2,
        lambda x: zoo.unet(x, 2, filters=32), lambda t: t.UNet(2, 2, 32), dense=True,
    ),
    "unet16": Network(
        "U-Net, base 16", (4, 1, 256, 256), 2,
        lambda x: zoo.unet(x, 2, filters=16), lambda t: t.UNet(2, 2, 16), dense=True,
    ),
    "unet3d": Network(
        "3-D U-Net, base 16", (1, 1, 64, 64, 64), 2,
        lambda x: zoo.unet(x, 2, filters=16), lambda t: t.UNet(3, 2, 16), dense=True,
    ),
    "vnet": Network(
        "V-Net", (1, 1, 64, 64, 64), 2,
        lambda x: zoo.vnet(x, 2), lambda t: t.VNet(2), dense=True,
    ),
    "resnet18": Network(
        "ResNet-18", (8, 3, 224, 224), 1000,
        lambda x: zoo.resnet(x, 1000, depth=18), lambda t: t.resnet(18, 1000),
    ),
    "resnet50": Network(
        "ResNet-50", (8, 3, 224, 224), 1000,
        lambda x: zoo.resnet(x, 1000, depth=50), lambda t: t.resnet(50, 1000),
    ),
    "densenet121": Network(
        "DenseNet-121", (8, 3, 224, 224), 1000,
        lambda x: zoo.densenet(x, 1000), lambda t: t.densenet121(1000),
    ),
    "lstm": Network(
        "LSTM, 256 units", (32, 100, 128), 10,
        lambda x: layers.dense(layers.lstm(x, 256), 10), lambda t: t.LSTM(128, 256, 10),
    ),
    "mlp": Network(
        "MLP, 3 x 1024 units", (100, 784), 10, mlp, lambda t: t.mlp(10),
    ),
}  # fmt: skip
"""By the names that the scripts' `--networks` takes."""

BATCHES = tuple(NETWORKS)
"""What trainings run."""

for name in ("resnet18", "resnet50", "densenet121", "mlp"):
    whole = NETWORKS[name]
    NETWORKS[f"{name}-1"] = replace(
        whole, words=f"{whole.words}, one sample", shape=(1, *whole.shape[1:])
    )
