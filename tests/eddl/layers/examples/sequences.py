"""Recurrence, embedding and attention, against loops over samples and steps."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from eddl import layers

from .example import Example, normal
from .windows import convolved

N, T, F, H = 3, 5, 2, 4
X = (N, T, F)
LENGTHS = np.asarray([5, 2, 3])
PREFIX = np.arange(T)[None] < LENGTHS[:, None]
HOLES = np.asarray([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)


def fixed(array):
    return lambda r, s: array


def rnn_step(x, h, w, r, b):
    return (np.tanh(w @ x + r @ h[0] + b[:H] + b[H:]),)


def gru_step(x, h, w, r, b, after=True):
    (h,) = h
    wz, wr, wh = np.split(w @ x + b[: 3 * H], 3)
    rb = b[3 * H :]
    z = expit(wz + r[:H] @ h + rb[:H])
    reset = expit(wr + r[H : 2 * H] @ h + rb[H : 2 * H])
    if after:
        inner = reset * (r[2 * H :] @ h + rb[2 * H :])
    else:
        inner = r[2 * H :] @ (reset * h) + rb[2 * H :]
    return ((1 - z) * np.tanh(wh + inner) + z * h,)


def lstm_step(x, state, w, r, b):
    h, c = state
    i, o, f, g = np.split(w @ x + r @ h + b[: 4 * H] + b[4 * H :], 4)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def run(step, count, x, weights, alive=None, start=None, backwards=(False,), **how):
    """Outputs [N, T, directions x H] and final states [N, directions x H], a sample at a time."""
    w, r, *b = weights
    b = b[0] if b else np.zeros((len(w), 2 * w.shape[1]))
    alive = np.ones(x.shape[:2], bool) if alive is None else alive
    outputs = np.zeros((*x.shape[:2], len(backwards) * H))
    final = [np.zeros((len(x), len(backwards) * H)) for _ in range(count)]
    for n in range(len(x)):
        for d, back in enumerate(backwards):
            part = slice(d * H, (d + 1) * H)
            state = tuple(s[n, part] for s in start) if start else (np.zeros(H),) * count
            order = range(x.shape[1])
            for t in reversed(order) if back else order:
                if alive[n, t]:
                    state = step(x[n, t], state, w[d], r[d], b[d], **how)
                    outputs[n, t, part] = state[0]
            for place, value in zip(final, state, strict=True):
                place[n, part] = value
    return outputs, final


def recurrent(name, step, count):
    def layer(x, **options):
        return getattr(layers, name)(x, H, **options)

    def last(x, *weights, **how):
        return run(step, count, x, weights, **how)[1][0]

    def whole(x, *weights, **how):
        return run(step, count, x, weights, **how)[0]

    def all_of(x, *weights, **how):
        outputs, final = run(step, count, x, weights, **how)
        return [outputs, *final]

    def shown(x, **options):
        y, state = layer(x, return_sequences=True, return_state=True, **options)
        return [y, *state]

    both, data = (False, True), (normal, fixed(LENGTHS))
    states = ((N, H),) * count
    wide = ((N, 2 * H),) * count

    def handed(x, *rest):
        return shown(x, initial_state=rest[:count])

    def handed_oracle(x, *rest):
        return all_of(x, *rest[count:], start=rest[:count])

    def handed_both(x, *rest):
        return shown(x, initial_state=rest[:count], bidirectional=True)

    def handed_both_oracle(x, *rest):
        return all_of(x, *rest[count:], start=rest[:count], backwards=both)

    return [
        Example(name, lambda x: layer(x), last, (X,), data=normal, free=(1,)),
        Example(name, lambda x: layer(x, return_sequences=True), whole, (X,), data=normal,
                free=(1,), note="sequences"),
        Example(name, lambda x: layer(x, use_bias=False, reverse=True),
                lambda x, *w: last(x, *w, backwards=(True,)), (X,), data=normal,
                note="reverse"),
        Example(name, lambda x: shown(x, bidirectional=True),
                lambda x, *w: all_of(x, *w, backwards=both), (X,), data=normal,
                free=(1,), note="bidirectional"),
        Example(name, handed, handed_oracle, (X, *states), data=normal, note="state"),
        Example(name, handed_both, handed_both_oracle, (X, *wide), data=normal,
                note="both states"),
        Example(name, lambda x, n: shown(x, lengths=n, bidirectional=True),
                lambda x, n, *w: all_of(x, *w, alive=PREFIX, backwards=both),
                (X, (N,)), data=data, free=(1,), note="lengths"),
        Example(name, lambda x, m: shown(x, mask=m, bidirectional=True),
                lambda x, m, *w: all_of(x, *w, alive=HOLES, backwards=both),
                (X, (N, T)), data=(normal, fixed(HOLES)), free=(1,), note="mask"),
        Example(name, lambda x, m: layer(x, mask=m), lambda x, m, *w: last(x, *w, alive=HOLES),
                (X, (N, T)), data=(normal, fixed(HOLES)), note="last of mask"),
    ]  # fmt: skip


RECURRENT = [
    *recurrent("rnn", rnn_step, 1),
    *recurrent("gru", gru_step, 1),
    *recurrent("lstm", lstm_step, 2),
    Example("rnn", lambda x: layers.rnn(x, H, activation="relu"),
            lambda x, *w: run(lambda x, h, w, r, b: (np.maximum(
                w @ x + r @ h[0] + b[:H] + b[H:], 0),), 1, x, w)[1][0], (X,), data=normal,
            note="relu"),
    Example("gru", lambda x: layers.gru(x, H, reset_after=False),
            lambda x, *w: run(gru_step, 1, x, w, after=False)[1][0], (X,), data=normal,
            note="as in the paper"),
]  # fmt: skip


def words(r, shape):
    found = r.integers(1, 7, shape)
    found[:, -1] = 0
    return found


def waves(x):
    t, f = np.indices(x.shape[1:])
    angle = t / 100.0 ** (f // 2 * 2 / x.shape[2])
    return x + np.where(f % 2, np.cos(angle), np.sin(angle))


def masked_end(x):
    """An encoder that reads words until they end."""
    y, mask = layers.embedding(x, 7, F, mask_zero=True, dtype="float64")
    return layers.lstm(y, H, mask=mask)


def masked_end_oracle(x, table, *weights):
    vectors = np.where(x[..., None] != 0, table[x], 0)
    return run(lstm_step, 2, vectors, weights, alive=x != 0)[1][0]


EMBEDDED = [
    Example("embedding", lambda x: layers.embedding(x, 7, 3, dtype="float64"),
            lambda x, table: table[x], ((2, 5),), data=words, free=(1,)),
    Example("embedding", lambda x: layers.embedding(x, 7, 3, mask_zero=True, dtype="float64"),
            lambda x, table: [np.where(x[..., None] != 0, table[x], 0), x != 0], ((2, 5),),
            data=words, free=(1,), note="masked"),
    Example("embedding", masked_end, masked_end_oracle, ((3, 5),), data=words, note="into lstm",
            runtime="has no LSTM of float64"),
    Example("padding_mask", lambda x: layers.padding_mask(x), lambda x: x != 0, ((2, 5),),
            data=words, free=(1,), smooth=False),
    Example("length_mask", lambda n: layers.length_mask(n, T), lambda n: PREFIX, ((N,),),
            data=fixed(LENGTHS), smooth=False),
    Example("positional_encoding", lambda x: layers.positional_encoding(x, base=100.0), waves,
            ((2, 5, 7),)),
    Example("positional_embedding", lambda x: layers.positional_embedding(x),
            lambda x, w: x + w, ((2, 5, 7),)),
]  # fmt: skip


def looked(q, k, v, seen=None, scale=None, more=0.0):
    scores = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + more
    if seen is not None:
        scores = np.where(seen, scores, -np.inf)
    top = np.max(scores, -1, keepdims=True, initial=-1e300)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ v


def several(q, k, v, weights, heads, seen=None):
    def project(x, w, b):
        y = x @ w.T + b
        return y.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    pairs = [weights[i : i + 2] for i in range(0, 8, 2)]
    y = looked(*(project(x, *p) for x, p in zip((q, k, v), pairs, strict=False)), seen)
    y = y.transpose(0, 2, 1, 3).reshape(*q.shape[:2], -1)
    return y @ pairs[3][0].T + pairs[3][1]


QKV = ((2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 6))
NOWHERE = np.random.default_rng(3).random((2, 1, 4, 5)) > 0.4
NOWHERE[0, 0, 1] = False
CAUSAL = np.tri(4, 5, 1, dtype=bool)
SEEN = np.asarray([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]], bool)
SELF = ((2, 5, 6), (2, 5))

ATTENTION = [
    Example("scaled_dot_product", lambda q, k, v: layers.scaled_dot_product(q, k, v), looked, QKV,
            data=normal, free=(2,)),
    Example("scaled_dot_product",
            lambda q, k, v, m: layers.scaled_dot_product(q, k, v, mask=m, scale=0.7),
            lambda q, k, v, m: looked(q, k, v, m, 0.7), (*QKV, NOWHERE.shape),
            data=(normal,) * 3 + (fixed(NOWHERE),), note="mask"),
    Example("scaled_dot_product",
            lambda q, k, v, m: layers.scaled_dot_product(q, k, v, mask=m, causal=True),
            lambda q, k, v, m: looked(q, k, v, CAUSAL, more=m), (*QKV, (2, 2, 4, 5)),
            data=normal, free=(2,), note="added and causal"),
    Example("scaled_dot_product",
            lambda q, k, v: layers.scaled_dot_product(k, q, v, causal=True),
            lambda q, k, v: looked(k, q, v, np.tri(5, 4, -1, dtype=bool)),
            (*QKV[:2], (2, 2, 4, 6)), data=normal, note="more queries than keys"),
    Example("attention", lambda x: layers.attention(x, heads=2),
            lambda x, *w: several(x, x, x, w, 2), ((2, 5, 6),), data=normal, free=(1,)),
    Example("attention", lambda x, m: layers.attention(x, heads=3, mask=m, causal=True),
            lambda x, m, *w: several(x, x, x, w, 3, SEEN[:, None, None] & np.tri(5, dtype=bool)),
            SELF, data=(normal, fixed(SEEN)), free=(1,), note="mask"),
    Example("attention",
            lambda q, k, v: layers.attention(q, k, v, heads=2, size=3, units=4),
            lambda q, k, v, *w: several(q, k, v, w, 2), ((2, 4, 5), (2, 5, 3), (2, 5, 2)),
            data=normal, free=(1,), note="across"),
    Example("attention",
            lambda q, k, m: layers.attention(q, k, heads=1, mask=m),
            lambda q, k, m, *w: several(q, k, k, w, 1, NOWHERE),
            ((2, 4, 6), (2, 5, 6), (2, 4, 5)), data=(normal, normal, fixed(NOWHERE[:, 0])),
            note="mask across"),
]  # fmt: skip


def images(x, w, b, mask=None, start=None, order=1):
    """A convolutional LSTM, step by step."""
    n, t, _, *space = x.shape
    h = c = np.zeros((n, 2, *space))
    if start is not None:
        h, c = start
    outputs = np.zeros((n, t, 2, *space))
    for i in range(t)[::order]:
        total = convolved(np.concatenate([x[:, i], h], 1), w, b)
        gates = np.split(total, 4, 1)
        new_c = expit(gates[2]) * c + expit(gates[0]) * np.tanh(gates[3])
        new_h = expit(gates[1]) * np.tanh(new_c)
        alive = np.ones(n, bool) if mask is None else mask[:, i]
        alive = alive.reshape(-1, *[1] * (h.ndim - 1))
        outputs[:, i] = np.where(alive, new_h, 0)
        h, c = np.where(alive, new_h, h), np.where(alive, new_c, c)
    return [outputs, h, c]


def shown_images(x, **options):
    y, state = layers.conv_lstm(x, 2, 3, return_sequences=True, return_state=True, **options)
    return [y, *state]


def leaky(x, start):
    """A step of one's own, which uses a parameter and a value from outside."""
    gain = layers.reduce_mean(x, (1, 2), keepdims=True)
    flat = layers.squeeze(gain, 1)
    weight = layers.dense(start, 3, use_bias=False)

    def step(part, held):
        new = layers.tanh(part + held * flat) + weight
        return (new * 2.0,), (new,)

    outputs, states = layers.scan(step, x, start)
    return [*outputs, *states]


def leaky_oracle(x, start, w):
    gain, held, outputs = x.mean((1, 2))[:, None], start, []
    for i in range(x.shape[1]):
        held = np.tanh(x[:, i] + held * gain) + start @ w.T
        outputs.append(2 * held)
    return [np.stack(outputs, 1), held]


FRAMES = ((2, 3, 2, 5), (2, 3, 2, 4, 3), (2, 3, 2, 3, 2, 4))
BLINK = np.asarray([[1, 0, 1], [0, 1, 0]], bool)
LOOPS = [
    *(Example("conv_lstm", lambda x: layers.conv_lstm(x, 2, 3),
              lambda x, w, b: images(x, w, b)[1], (s,), data=normal, free=(1, *range(3, len(s))))
      for s in FRAMES),
    Example("conv_lstm", lambda x, h, c: shown_images(x, initial_state=(h, c), reverse=True),
            lambda x, h, c, w, b: images(x, w, b, start=(h, c), order=-1),
            (FRAMES[0], (2, 2, 5), (2, 2, 5)), data=normal, note="state"),
    Example("conv_lstm", lambda x, m: shown_images(x, mask=m),
            lambda x, m, w, b: images(x, w, b, m), (FRAMES[0], BLINK.shape),
            data=(normal, fixed(BLINK)), note="mask"),
    Example("time_distributed", lambda x: layers.time_distributed(
        lambda y: layers.conv(y, 2, 3), x), lambda x, w, b: np.stack(
            [convolved(x[:, i], w, b) for i in range(x.shape[1])], 1), ((2, 3, 2, 5),)),
    Example("scan", leaky, leaky_oracle, ((2, 4, 3), (2, 3)), data=normal),
    Example("scan", lambda x, y, s: layers.scan(
        lambda a, b, t: ((t * b, a), (t + a,)), [x, y], s, reverse=True)[0],
            lambda x, y, s: [(s[:, None] + x[:, ::-1].cumsum(1)[:, ::-1] - x) * y, x],
            ((2, 4, 3), (2, 4, 3), (2, 3)), data=normal, note="two, backwards"),
]  # fmt: skip

EXAMPLES = [*LOOPS, *RECURRENT, *EMBEDDED, *ATTENTION]
