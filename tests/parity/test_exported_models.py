"""Models that PyTorch exports, by both its exporters: loaded, run, differentiated, trained on."""

from __future__ import annotations

import io
import itertools
import warnings

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from torch import nn

import eddl

torch.set_num_threads(1)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=2, stride=2)
        self.up, self.norm = nn.ConvTranspose2d(8, 8, 2, stride=2), nn.GroupNorm(2, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.a(x)), 2)
        x = nn.functional.gelu(self.norm(self.up(self.b(x))))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 7, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(14, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.gru(self.lstm(x)[0])[0][:, -1])


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


MODELS = {
    "convolutions": (Convolutions, (4, 3, 16, 16)),
    "recurrent": (Recurrent, (4, 5, 6)),
    "transformer": (Transformer, (4, 5, 8)),
}


def export(model, x, dynamo):
    buffer = io.BytesIO()
    options = {"dynamic_shapes": ({0: "n"},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x,), buffer, input_names=["x"], output_names=["y"], dynamo=dynamo,
            verbose=False, **options, **({} if dynamo else {"do_constant_folding": False}),
        )  # fmt: skip
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_from_torch_runs_and_trains_on(name, dynamo):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model, x = make().eval(), torch.randn(*shape)
    with torch.no_grad():  # equal parameters would be exported as one
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    content = export(model, x, dynamo)
    net = eddl.load(content)
    data, labels = x.numpy().copy(), np.arange(len(x)) % 3
    (expected,) = InferenceSession(content).run(None, {"x": data})
    np.testing.assert_allclose(net.predict(data), expected, rtol=1e-4, atol=1e-5)

    net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy")
    _, ours = net.loss_and_gradients(data, labels)
    x.requires_grad_()
    nn.functional.cross_entropy(model(x), torch.from_numpy(labels)).backward()
    # Exporters repack recurrent weights; the input's gradient has gone through all of them.
    y = eddl.Input((), dtype="int64", name="y")
    loss = eddl.losses.categorical_cross_entropy(net.outputs[0], y)
    step = eddl.Step([*net.inputs, y], eddl.gradients(loss, net.inputs))
    back, expected = step.gradients(data, labels)[0][0], x.grad.numpy()
    assert np.linalg.norm(back - expected) <= 1e-3 * np.linalg.norm(expected)
    theirs = {n: p.grad.numpy() for n, p in model.named_parameters()}
    largest = max(np.linalg.norm(g) for g in theirs.values())
    compared = 0
    for n, gradient in theirs.items():
        if n in ours and ours[n].shape == gradient.shape:
            error = np.linalg.norm(ours[n] - gradient)
            assert error <= 1e-3 * max(np.linalg.norm(gradient), 1e-6 * largest), n
            compared += 1
    assert compared >= 2, sorted(ours)
    print(name, dynamo, f"{compared} of {len(theirs)} parameters by name")
    losses = [net.train_batch(data, labels)["loss"] for _ in range(10)]
    assert losses[-1] < losses[0]


def keras_models():
    import keras
    from keras import layers

    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = layers.MaxPooling2D()(y)
    y = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(8, 3)(y))
    yield "convolutions", keras.Model(x, layers.Dense(4)(y)), (4, 16, 16, 3)
    x = keras.Input((6, 5))
    y = layers.GRU(6)(layers.LSTM(7, return_sequences=True)(x))
    yield "recurrent", keras.Model(x, layers.Dense(3)(y)), (4, 6, 5)


@pytest.mark.filterwarnings("ignore")
def test_models_from_keras_run_and_train_on(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    for name, model, shape in keras_models():
        data = np.random.default_rng(0).standard_normal(shape).astype("float32")
        labels = np.arange(len(data)) % 3
        r = np.random.default_rng(1)
        for variable in model.weights:  # equal weights could not be told from each other
            variable.assign(np.asarray(variable) + 0.1 * r.standard_normal(variable.shape))
        model(data)
        model.export(tmp_path / f"{name}.onnx", format="onnx", verbose=False)
        net = eddl.load(tmp_path / f"{name}.onnx")
        session = InferenceSession(tmp_path / f"{name}.onnx")
        (expected,) = session.run(None, {session.get_inputs()[0].name: data})
        np.testing.assert_allclose(net.predict(data), expected, rtol=1e-4, atol=1e-5)

        tensor = torch.from_numpy(data).requires_grad_()
        nn.functional.cross_entropy(model(tensor), torch.from_numpy(labels)).backward()
        y = eddl.Input((), dtype="int64", name="y")
        loss = eddl.losses.categorical_cross_entropy(net.outputs[0], y)
        step = eddl.Step([*net.inputs, y], [loss, *eddl.gradients(loss, net.inputs)])
        gradient, theirs = step.gradients(data, labels)[0][1], tensor.grad.numpy()
        assert np.linalg.norm(gradient - theirs) <= 1e-3 * np.linalg.norm(theirs), name

        net.build(optimizer=eddl.Adam(1e-3), loss="categorical_cross_entropy")
        _, ours = net.loss_and_gradients(data, labels)
        weights, matched = net.weights(), 0
        largest = max(float(v.value.grad.norm()) for v in model.trainable_weights)
        for variable in model.trainable_weights:
            value, flow = variable.value.detach().numpy(), variable.value.grad.numpy()
            for order in itertools.permutations(range(value.ndim)):
                for own, array in weights.items():
                    if own in ours and np.array_equal(array, value.transpose(order)):
                        error = np.linalg.norm(ours[own] - flow.transpose(order))
                        assert error <= 1e-3 * max(np.linalg.norm(flow), 1e-6 * largest), own
                        matched += 1
        print(name, f"{matched} of {len(model.trainable_weights)} weights by content")
        assert matched >= len(model.trainable_weights) - 2, (name, matched)
        losses = [net.train_batch(data, labels)["loss"] for _ in range(10)]
        assert losses[-1] < losses[0], name
