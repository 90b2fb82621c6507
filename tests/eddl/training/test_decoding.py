"""Step by step: an encoder hands its state to a decoder, which reads what it writes."""

import numpy as np
import pytest

import eddl
from eddl import layers

WORDS, UNITS = 9, 6
STATES = [np.random.default_rng(i).standard_normal((5, UNITS)).astype("float32") for i in (0, 1)]


def decoder(seed=0):
    words = eddl.Input((None,), dtype="int64", name="words")
    h, c = eddl.Input((UNITS,), name="h"), eddl.Input((UNITS,), name="c")
    x = layers.embedding(words, WORDS, 4, initializer="he_normal")
    y, state = layers.lstm(x, UNITS, initial_state=(h, c), return_sequences=True, return_state=True)
    logits = layers.dense(y, WORDS, initializer="he_normal")
    return eddl.Model([words, h, c], [logits, *state], seed=seed)


def test_greedy_decoding_is_what_the_whole_sequence_says():
    net = decoder()
    written = eddl.decode(net, STATES, 1, steps=7)
    read = np.concatenate([np.full((5, 1), 1), written[:, :-1]], axis=1)
    logits, *_ = net.predict(read, *STATES)
    np.testing.assert_array_equal(written, logits.argmax(-1))
    np.testing.assert_array_equal(eddl.decode(net, STATES, 1, steps=7, top_k=1, temperature=2.0),
                                  written)  # fmt: skip


def test_nothing_follows_an_end():
    net = decoder()
    whole = eddl.decode(net, STATES, 1, steps=9)
    end = int(whole[0, 2])
    written = eddl.decode(net, STATES, 1, steps=9, end=end)
    for ours, theirs in zip(written, whole, strict=True):
        places = np.flatnonzero(theirs == end)
        stop = places[0] + 1 if len(places) else len(theirs)
        np.testing.assert_array_equal(ours[:stop], theirs[: min(stop, len(ours))])
        assert (ours[stop:] == end).all()
    first = np.flatnonzero(whole[0] == end)[0]
    assert eddl.decode(net, [s[:1] for s in STATES], 1, steps=9, end=end).shape == (1, first + 1)


def test_drawing_follows_the_softmax_and_repeats():
    words, h = eddl.Input((1,), dtype="int64"), eddl.Input((3,), name="h")
    odds = np.log(np.asarray([0.6, 0.3, 0.1], "float32"))
    logits = layers.embedding(words, 3, 3) * 0.0 + odds
    net = eddl.Model([words, h], [logits, h])
    state = [np.zeros((4000, 3), "float32")]
    found = eddl.decode(net, state, 0, steps=2, temperature=1.0)
    shares = np.bincount(found.reshape(-1), minlength=3) / found.size
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.02)
    np.testing.assert_array_equal(found, eddl.decode(net, state, 0, steps=2, temperature=1.0))
    assert (found != eddl.decode(net, state, 0, steps=2, temperature=1.0, seed=1)).any()
    two = eddl.decode(net, state, 0, steps=2, temperature=1.0, top_k=2)
    assert set(np.unique(two)) == {0, 1}


@pytest.mark.parametrize(("change", "expected"), [
    ({"states": STATES[:1]}, "expected the inputs"),
    ({"steps": 0}, "at least one step"),
    ({"temperature": -1.0}, "temperature from 0"),
    ({"start": np.zeros(3, int)}, "expected one or 5"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(change, expected):
    arguments = {"states": STATES, "start": 1, "steps": 2, **change}
    with pytest.raises(eddl.EddlError, match=expected):
        eddl.decode(decoder(), arguments.pop("states"), arguments.pop("start"), **arguments)


def test_a_network_learns_to_write_backwards():
    """An encoder and a decoder, trained on given words, decode step by step what they learnt."""
    r = np.random.default_rng(0)
    count, length, units = 64, 3, 32
    source = r.integers(2, 7, (count, length))
    target = source[:, ::-1]
    read = np.concatenate([np.full((count, 1), 1), target[:, :-1]], axis=1)
    a = eddl.Input((length,), dtype="int64", name="source")
    _, state = layers.gru(layers.embedding(a, 7, 16), units, return_state=True)
    encoder = eddl.Model(a, state)
    b, h = eddl.Input((None,), dtype="int64", name="words"), eddl.Input((units,), name="h")
    x = layers.embedding(b, 7, 16)
    y, new = layers.gru(x, units, initial_state=h, return_sequences=True, return_state=True)
    writer = eddl.Model([b, h], [layers.dense(y, 7), *new])
    logits, _ = writer(b, encoder(a))
    classes = eddl.Input((None,), dtype="int64", name="classes")
    loss = eddl.losses.categorical_cross_entropy(layers.permute(logits, (0, 2, 1)), classes)
    parameters = [*encoder.parameters, *writer.parameters]
    step = eddl.Step([a, b, classes], [loss], [(loss, parameters, eddl.Adam(0.01))])
    for _ in range(200):
        value = float(step(source, read, target)[0])
    assert value < 0.1
    start = encoder.predict(source[:32])
    written = eddl.decode(writer, [start], 1, steps=length)
    assert (written == target[:32]).mean() > 0.95
