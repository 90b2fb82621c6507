"""What PyTorch feeds, and clipped and gathered gradients, against PyTorch's own loop."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import eddl
from eddl import layers

R = np.random.default_rng(4)
DATA = R.standard_normal((24, 6)).astype("float32")
LABELS = R.integers(0, 3, 24)


def pair(**options):
    x = eddl.Input((6,))
    net = eddl.Model(x, layers.dense(layers.tanh(layers.dense(x, 8, name="a")), 3, name="b"))
    net.build(optimizer=eddl.SGD(0.3), loss="categorical_cross_entropy", **options)
    other = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    for module, name in ((other[0], "a"), (other[2], "b")):
        weight = torch.from_numpy(net.weights()[f"{name}.weight"])
        fits = weight.shape == module.weight.shape
        module.weight.data = weight.clone() if fits else weight.T.clone()
        module.bias.data = torch.from_numpy(net.weights()[f"{name}.bias"]).clone()
    return net, other


def torch_step(other, batches, clip_norm=None):
    optimizer = torch.optim.SGD(other.parameters(), 0.3)
    optimizer.zero_grad()
    total = sum(len(y) for _, y in batches)
    for x, y in batches:
        loss = torch.nn.functional.cross_entropy(other(x), y, reduction="sum") / total
        loss.backward()
    if clip_norm:
        torch.nn.utils.clip_grad_norm_(other.parameters(), clip_norm)
    optimizer.step()


def assert_same(net, other, rtol=1e-4):
    for module, name in ((other[0], "a"), (other[2], "b")):
        weight = module.weight.detach().numpy()
        mine = net.weights()[f"{name}.weight"]
        np.testing.assert_allclose(
            mine if mine.shape == weight.shape else mine.T, weight, rtol=rtol, atol=1e-6
        )
        np.testing.assert_allclose(
            net.weights()[f"{name}.bias"], module.bias.detach().numpy(), rtol=rtol, atol=1e-6
        )


@pytest.mark.parametrize("clip_norm", [None, 0.05, 100.0])
def test_gathered_and_clipped_gradients(clip_norm):
    net, other = pair(accumulate=3, clip_norm=clip_norm)
    for _ in range(10):
        net.train_batch(DATA[:20], LABELS[:20])
        parts = [slice(0, 6), slice(6, 13), slice(13, 20)]
        torch_step(other, [(torch.from_numpy(DATA[s]), torch.from_numpy(LABELS[s]))
                           for s in parts], clip_norm)  # fmt: skip
    assert_same(net, other)


def test_a_data_loader_feeds_as_it_is():
    loader = DataLoader(
        TensorDataset(torch.from_numpy(DATA), torch.from_numpy(LABELS)), batch_size=7
    )
    net, other = pair()
    history = net.fit(loader, epochs=2, validation=loader)
    for _ in range(2):
        for batch in loader:
            torch_step(other, [batch])
    assert_same(net, other)
    assert len(history["val_loss"]) == 2
    tensors, _ = pair()
    tensors.fit(torch.from_numpy(DATA), torch.from_numpy(LABELS), epochs=2, batch_size=24)
    assert tensors.predict(torch.from_numpy(DATA)).shape == (24, 3)
