# The numbers of threads are read when libraries are imported.
# ruff: noqa: E402
"""How fast is each augmentation, against the fastest of the libraries that have the same?

A row for each entry of `ecvl.augment.AUGMENTATIONS`, on an RGB picture (uint8, 512 x 512 x 3) and
on a volume (float32, 128 x 128 x 128), and two pipelines. Contenders run in turn with one thread
each, the median of several rounds counts. All get what they like best, made beforehand (an
`ecvl.Image`, an array, a tensor, a subject), and amounts of the same size; albumentations run
inside its `Compose`, as its documentation has it. Where a library has no such operation it has no
entry. An entry that stands for less than the row says so in its name, and does not count.

Writes `ecvl_augment.json` and the table `ecvl_augment.md` beside itself:

    python benchmarks/ecvl_augment.py [--rounds 9] [--only Rotate,Elastic]
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import argparse
import itertools
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk

from ecvl import Image, augment

Action = Callable[[], Any]
SIDE, DEPTH = 512, 128
# With one thread, the time the process was given: other work on the machine does not count.
CLOCK = time.process_time
# Quick actions are repeated until they take this long, in seconds.
LEAST = 0.004
TARGET, WORST = 1.0, 1.25
PIPELINES = {"2-D pipeline of six steps": 0.77, "3-D pipeline of five steps": 0.5}


def ours(turn: augment.Augmentation, *images: Image) -> Action:
    number = itertools.count()
    return lambda: turn(*images, seed=1, sample=next(number))


def picture() -> Any:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    smooth = cv2.resize(rough, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def volume() -> Any:
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, DEPTH, dtype=np.float32)] * 3, indexing="ij")
    body = np.exp(-2 * (z**2 + y**2 + x**2)) * 0.8
    return (body + rng.random(body.shape, np.float32) * 0.2).astype(np.float32)


def planes() -> dict[str, tuple[Action, dict[str, Action]]]:
    """Our action and those of others for each augmentation, on the picture."""
    import albumentations as A

    array = picture()
    image = Image(array, "yxc")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[100:130, 300:340] = 1
    labels = Image(mask, "yx", kind="labels")
    constant = {"border_mode": cv2.BORDER_CONSTANT, "interpolation": cv2.INTER_LINEAR, "p": 1}
    still = {"scale": 1, "rotate": 0, "shear": 0, "translate_px": 0}

    def theirs(turn: Any) -> Action:
        whole = turn if isinstance(turn, A.Compose) else A.Compose([turn])
        return lambda: whole(image=array)

    def affine(**changes: Any) -> dict[str, Action]:
        return {"albumentations": theirs(A.Affine(**(still | changes | constant)))}

    def only(turn: Any) -> dict[str, Action]:
        return {"albumentations": theirs(turn)}

    brightness = A.RandomBrightnessContrast((0.1, 0.2), (0, 0), p=1)
    holes = A.CoarseDropout((10, 10), (51, 51), (51, 51), p=1)
    laplace = A.AdditiveNoise(
        "laplace",
        "per_pixel",
        {"mean_range": (0, 0), "scale_range": (0.035, 0.035)},
        p=1,
    )
    ends = {"amount": (0.05, 0.05), "p": 1}
    crop = A.Compose([A.CropNonEmptyMaskIfExists(256, 256, p=1)])
    return {
        "Add": (ours(augment.Add((0.1, 0.2)), image), only(brightness)),
        "AdditiveGaussianNoise": (
            ours(augment.AdditiveGaussianNoise(0.05), image),
            only(A.GaussNoise((0.05, 0.05), per_channel=True, p=1)),
        ),
        "AdditiveLaplaceNoise": (ours(augment.AdditiveLaplaceNoise(0.05), image), only(laplace)),
        "AdditivePoissonNoise": (
            ours(augment.AdditivePoissonNoise(20), image),
            {},
        ),
        "Affine": (
            ours(augment.Affine((-10, 10), (0.9, 1.1), (-5, 5), (-20, 20)), image),
            affine(rotate=(-10, 10), scale=(0.9, 1.1), shear=(-5, 5), translate_px=(-20, 20)),
        ),
        "AverageBlur": (ours(augment.AverageBlur(5), image), only(A.Blur((5, 5), p=1))),
        "BiasField": (ours(augment.BiasField(0.4), image), {}),
        "Brightness": (ours(augment.Brightness((0.1, 0.2)), image), only(brightness)),
        "CentreCrop": (
            ours(augment.CentreCrop(256), image),
            only(A.CenterCrop(256, 256, p=1)),
        ),
        "ChannelShuffle": (ours(augment.ChannelShuffle(p=1), image), only(A.ChannelShuffle(p=1))),
        "CoarseDropout": (ours(augment.CoarseDropout(0.1, 0.1), image), only(holes)),
        # Theirs multiplies from 0 and needs no mean.
        "Contrast": (
            ours(augment.Contrast((0.8, 1.2)), image),
            only(A.RandomBrightnessContrast((0, 0), (-0.2, 0.2), p=1)),
        ),
        "CropByLabel": (
            ours(augment.CropByLabel(256), image, labels),
            {"albumentations": lambda: crop(image=array, mask=mask)},
        ),
        "Dropout": (ours(augment.Dropout(0.05), image), only(A.PixelDropout(0.05, p=1))),
        "Elastic": (
            ours(augment.Elastic(120, 10), image),
            only(A.ElasticTransform(120, 10, **constant)),
        ),
        "Flip": (
            ours(augment.Flip("x", p=1), image),
            only(A.HorizontalFlip(p=1)),
        ),
        "GammaContrast": (
            ours(augment.GammaContrast((0.8, 1.2)), image),
            only(A.RandomGamma((80, 120), p=1)),
        ),
        "GaussianBlur": (
            ours(augment.GaussianBlur(1.5), image),
            only(A.GaussianBlur(0, (1.5, 1.5), p=1)),
        ),
        "Ghosting": (ours(augment.Ghosting(), image), {}),
        "GridDistortion": (
            ours(augment.GridDistortion(5), image),
            only(A.GridDistortion(5, **constant)),
        ),
        "HistogramEqualization": (
            ours(augment.HistogramEqualization(p=1), image),
            only(A.Equalize(by_channels=False, p=1)),
        ),
        "ImpulseNoise": (ours(augment.ImpulseNoise(0.05), image), {}),
        "Invert": (ours(augment.Invert(p=1), image), only(A.InvertImg(p=1))),
        "LowResolution": (
            ours(augment.LowResolution(2), image),
            only(
                A.Downscale(
                    (0.5, 0.5),
                    {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR},
                    p=1,
                )
            ),
        ),
        "MedianBlur": (ours(augment.MedianBlur(5), image), only(A.MedianBlur((5, 5), p=1))),
        "Mirror": (ours(augment.Mirror("x", p=1), image), only(A.HorizontalFlip(p=1))),
        "Motion": (ours(augment.Motion(), image), {}),
        "Multiply": (
            ours(augment.Multiply((0.8, 1.2)), image),
            only(A.MultiplicativeNoise((0.8, 1.2), p=1)),
        ),
        "OpticalDistortion": (
            ours(augment.OpticalDistortion((0.2, 0.3)), image),
            only(A.OpticalDistortion((0.2, 0.3), **constant)),
        ),
        "Pepper": (
            ours(augment.Pepper(0.05), image),
            only(A.SaltAndPepper(salt_vs_pepper=(0, 0), **ends)),
        ),
        "RandomCrop": (ours(augment.RandomCrop(256), image), only(A.RandomCrop(256, 256, p=1))),
        "RicianNoise": (ours(augment.RicianNoise(0.05), image), {}),
        "Rotate": (
            ours(augment.Rotate((-10, 10)), image),
            only(A.Rotate((-10, 10), **constant)),
        ),
        "Salt": (
            ours(augment.Salt(0.05), image),
            only(A.SaltAndPepper(salt_vs_pepper=(1, 1), **ends)),
        ),
        "SaltAndPepper": (
            ours(augment.SaltAndPepper(0.05), image),
            only(A.SaltAndPepper(salt_vs_pepper=(0.5, 0.5), **ends)),
        ),
        "Scale": (ours(augment.Scale((0.8, 1.2)), image), affine(scale=(0.8, 1.2))),
        "Shear": (ours(augment.Shear((-10, 10), (-10, 10)), image), affine(shear=(-10, 10))),
        "Translate": (
            ours(augment.Translate((-20, 20), (-20, 20)), image),
            affine(translate_px=(-20, 20)),
        ),
        "Transpose": (ours(augment.Transpose(p=1), image), only(A.Transpose(p=1))),
        "2-D pipeline of six steps": (
            ours(
                augment.Sequential(
                    [
                        augment.Affine((-10, 10), (0.9, 1.1), (-5, 5), (-20, 20)),
                        augment.Elastic(120, 10),
                        augment.Flip("x"),
                        augment.GammaContrast((0.8, 1.2)),
                        augment.AdditiveGaussianNoise(0.03),
                        augment.GaussianBlur(1),
                    ]
                ),
                image,
            ),
            only(
                A.Compose(
                    [
                        A.Affine(
                            scale=(0.9, 1.1),
                            rotate=(-10, 10),
                            shear=(-5, 5),
                            translate_px=(-20, 20),
                            **constant,
                        ),
                        A.ElasticTransform(120, 10, **constant),
                        A.HorizontalFlip(p=0.5),
                        A.RandomGamma((80, 120), p=1),
                        A.GaussNoise((0.03, 0.03), per_channel=True, p=1),
                        A.GaussianBlur(0, (1, 1), p=1),
                    ]
                )
            ),
        ),
    }


def volumes() -> dict[str, tuple[Action, dict[str, Action]]]:
    """Our action and those of others for each augmentation, on the volume."""
    import batchgenerators.augmentations.color_augmentations as colours
    import batchgenerators.augmentations.noise_augmentations as noises
    import batchgenerators.augmentations.resample_augmentations as resamplings
    import monai.transforms as M
    import scipy.ndimage as nd
    import torch
    import torchio as tio

    torch.set_num_threads(1)
    array = volume()
    image = Image(array, "zyx", value_range=(0, 1))
    channel, tensor = array[None], torch.from_numpy(array)[None]
    subject = tio.Subject(image=tio.ScalarImage(tensor=tensor))
    scan = sitk.GetImageFromArray(array)
    mask = np.zeros_like(array, dtype=np.uint8)
    mask[30:40, 60:80, 90:100] = 1
    labels, mask_tensor = Image(mask, "zyx", kind="labels"), torch.from_numpy(mask)[None]
    angle = np.deg2rad(10)

    def monai(turn: Any) -> dict[str, Action]:
        return {"MONAI": lambda: turn(tensor)}

    def torchio(turn: Any) -> dict[str, Action]:
        return {"TorchIO": lambda: turn(subject)}

    def batch(function: Any, *given: Any, **named: Any) -> dict[str, Action]:
        return {"batchgenerators": lambda: function(channel.copy(), *given, **named)}

    def itk(*matrix: float) -> Action:
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(matrix)
        transform.SetCenter([(DEPTH - 1) / 2] * 3)
        return lambda: sitk.GetArrayFromImage(sitk.Resample(scan, scan, transform, sitk.sitkLinear))

    turn_z = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    tilted = (0.96, -0.17, 0.1, 0.17, 0.97, 0.05, -0.1, 0.06, 1.02)
    linear = {"mode": "bilinear", "padding_mode": "zeros"}
    shift = M.RandShiftIntensity(0.2, prob=1)
    mean = M.RandScaleIntensityFixedMean(prob=1, factors=0.2, preserve_range=True, fixed_mean=True)
    crop = M.RandCropByPosNegLabel(64, tensor, pos=1, neg=0, num_samples=1)
    dropped = M.RandCoarseDropout(holes=100, spatial_size=13, prob=1, fill_value=0)
    # MONAI writes its holes into what it is given, without a copy: it gets a volume of its own.
    dropped_tensor = tensor.clone()
    steps3 = [
        augment.Affine((-10, 10), (0.9, 1.1), 0, (-5, 5), axes="zyx"),
        augment.Elastic(60, 11),
        augment.AdditiveGaussianNoise((0, 0.1)),
        augment.GaussianBlur((0.5, 1)),
        augment.GammaContrast((0.8, 1.2)),
    ]
    elastic = tio.RandomElasticDeformation(num_control_points=9, max_displacement=4)
    steps_torchio = [
        tio.RandomAffine(scales=(0.9, 1.1), degrees=10, translation=5),
        elastic,
        tio.RandomNoise(std=(0, 0.1)),
        tio.RandomBlur(std=(0.5, 1)),
        tio.RandomGamma(log_gamma=(-0.22, 0.18)),
    ]
    return {
        "Add": (
            ours(augment.Add((-0.2, 0.2)), image),
            monai(shift) | batch(colours.augment_brightness_additive, 0, 0.1),
        ),
        "AdditiveGaussianNoise": (
            ours(augment.AdditiveGaussianNoise(0.05), image),
            monai(M.RandGaussianNoise(1, 0, 0.05, sample_std=False))
            | torchio(tio.RandomNoise(std=(0.05, 0.05)))
            | batch(noises.augment_gaussian_noise, (0.0025, 0.0025))
            | {"SimpleITK": lambda: sitk.GetArrayFromImage(sitk.AdditiveGaussianNoise(scan, 0.05))},
        ),
        "AdditiveLaplaceNoise": (
            ours(augment.AdditiveLaplaceNoise(0.05), image),
            {},
        ),
        "AdditivePoissonNoise": (ours(augment.AdditivePoissonNoise(20), image), {}),
        "Affine": (
            ours(augment.Affine((-10, 10), (0.9, 1.1), 0, (-5, 5), axes="zyx"), image),
            monai(
                M.RandAffine(
                    1, [0.17] * 3, translate_range=[5] * 3, scale_range=[0.1] * 3, **linear
                )
            )
            | torchio(tio.RandomAffine(scales=(0.9, 1.1), degrees=10, translation=5))
            | {"SimpleITK": itk(*tilted)},
        ),
        "AverageBlur": (
            ours(augment.AverageBlur(5), image),
            {"scipy": lambda: nd.uniform_filter(array, (1, 5, 5), mode="nearest")}
            | {"SimpleITK": lambda: sitk.GetArrayFromImage(sitk.BoxMean(scan, [2, 2, 0]))},
        ),
        "BiasField": (
            ours(augment.BiasField(0.4), image),
            monai(M.RandBiasField(3, (-0.4, 0.4), prob=1))
            | torchio(tio.RandomBiasField(0.4, order=3)),
        ),
        "Brightness": (ours(augment.Brightness((-0.2, 0.2)), image), monai(shift)),
        "CentreCrop": (
            ours(augment.CentreCrop((64, 64, 64)), image),
            monai(M.CenterSpatialCrop(64)) | torchio(tio.CropOrPad(64)),
        ),
        "ChannelShuffle": (
            ours(augment.ChannelShuffle(p=1), Image(np.stack([array[:64]] * 2), "czyx")),
            {},
        ),
        "CoarseDropout": (
            ours(augment.CoarseDropout(0.1, 0.1), image),
            {"MONAI": lambda: dropped(dropped_tensor)},
        ),
        "Contrast": (
            ours(augment.Contrast((0.8, 1.2)), image),
            monai(mean) | batch(colours.augment_contrast, (0.8, 1.2)),
        ),
        "CropByLabel": (
            ours(augment.CropByLabel((64, 64, 64)), image, labels),
            {"MONAI": lambda: crop(tensor, label=mask_tensor)},
        ),
        "Dropout": (ours(augment.Dropout(0.05), image), {}),
        "Elastic": (
            ours(augment.Elastic(60, 11), image),
            monai(M.Rand3DElastic((11, 11), (60, 60), 1, **linear)) | torchio(elastic),
        ),
        "Flip": (
            ours(augment.Flip("x", p=1), image),
            monai(M.RandFlip(1, 2)) | torchio(tio.RandomFlip(2, 1)),
        ),
        "GammaContrast": (
            ours(augment.GammaContrast((0.8, 1.2)), image),
            monai(M.RandAdjustContrast(1, (0.8, 1.2)))
            | torchio(tio.RandomGamma((-0.22, 0.18)))
            | batch(colours.augment_gamma, (0.8, 1.2)),
        ),
        "GaussianBlur": (
            ours(augment.GaussianBlur(1), image),
            monai(M.RandGaussianSmooth((1, 1), (1, 1), (1, 1), 1))
            | torchio(tio.RandomBlur((1, 1)))
            | batch(noises.augment_gaussian_blur, (1, 1))
            | {"scipy": lambda: nd.gaussian_filter(array, 1, mode="nearest")}
            | {"SimpleITK": lambda: sitk.GetArrayFromImage(sitk.DiscreteGaussian(scan, 1.0))}
            | {
                "SimpleITK recursive": lambda: sitk.GetArrayFromImage(
                    sitk.SmoothingRecursiveGaussian(scan, 1.0)
                )
            },
        ),
        "Ghosting": (ours(augment.Ghosting(), image), torchio(tio.RandomGhosting(axes=1))),
        "GridDistortion": (
            ours(augment.GridDistortion(5), image),
            monai(M.RandGridDistortion(5, 1, 0.3, **linear)),
        ),
        "HistogramEqualization": (
            ours(augment.HistogramEqualization(p=1), image),
            monai(M.HistogramNormalize(4096, 0, 1)),
        ),
        "ImpulseNoise": (
            ours(augment.ImpulseNoise(0.05), image),
            {"SimpleITK": lambda: sitk.GetArrayFromImage(sitk.SaltAndPepperNoise(scan, 0.05))},
        ),
        "Invert": (ours(augment.Invert(p=1), image), {}),
        "LowResolution": (
            ours(augment.LowResolution(2, "zyx"), image),
            monai(M.RandSimulateLowResolution(1, "area", "trilinear", (0.5, 0.5)))
            | batch(resamplings.augment_linear_downsampling_scipy, (0.5, 0.5), order_upsample=1)
            | {"TorchIO, one axis": lambda: anisotropic(subject)},
        ),
        "MedianBlur": (
            ours(augment.MedianBlur(3), image),
            {"scipy": lambda: nd.median_filter(array, (1, 3, 3), mode="nearest")}
            | {"SimpleITK": lambda: sitk.GetArrayFromImage(sitk.Median(scan, [1, 1, 0]))},
        ),
        "Mirror": (
            ours(augment.Mirror("zyx", p=0.5), image),
            torchio(tio.RandomFlip((0, 1, 2), 0.5)),
        ),
        "Motion": (
            ours(augment.Motion(axes="zyx"), image),
            torchio(tio.RandomMotion(5, 5, 2)),
        ),
        "Multiply": (
            ours(augment.Multiply((0.8, 1.2)), image),
            monai(M.RandScaleIntensity(0.2, prob=1))
            | batch(colours.augment_brightness_multiplicative, (0.8, 1.2)),
        ),
        "OpticalDistortion": (ours(augment.OpticalDistortion((0.2, 0.3)), image), {}),
        "Pepper": (ours(augment.Pepper(0.05), image), {}),
        "RandomCrop": (
            ours(augment.RandomCrop((64, 64, 64)), image),
            monai(M.RandSpatialCrop(64, random_size=False)),
        ),
        "RicianNoise": (
            ours(augment.RicianNoise(0.05), image),
            monai(M.RandRicianNoise(1, 0, 0.05, sample_std=False))
            | batch(noises.augment_rician_noise, (0.05, 0.05)),
        ),
        "Rotate": (
            ours(augment.Rotate((-10, 10)), image),
            monai(M.RandRotate((-0.17, 0.17), 0, 0, 1, **linear))
            | torchio(tio.RandomAffine((1, 1), (0, 0, 0, 0, -10, 10)))
            | {"scipy": lambda: nd.rotate(array, 10, (1, 2), reshape=False, order=1)}
            | {"SimpleITK": itk(*turn_z)},
        ),
        "Salt": (ours(augment.Salt(0.05), image), {}),
        "SaltAndPepper": (
            ours(augment.SaltAndPepper(0.05), image),
            {"SimpleITK": lambda: sitk.GetArrayFromImage(sitk.SaltAndPepperNoise(scan, 0.05))},
        ),
        "Scale": (
            ours(augment.Scale((0.8, 1.2), "zyx"), image),
            monai(M.RandZoom(1, 0.8, 1.2, mode="trilinear", padding_mode="constant"))
            | torchio(tio.RandomAffine((0.8, 1.2), 0, isotropic=True))
            | {"SimpleITK": itk(1.1, 0, 0, 0, 1.1, 0, 0, 0, 1.1)},
        ),
        "Shear": (
            ours(augment.Shear((-10, 10), (-10, 10)), image),
            monai(M.RandAffine(1, shear_range=[0.17] * 2 + [0] * 4, **linear))
            | {"SimpleITK": itk(1, 0.1, 0, 0.1, 1.01, 0, 0, 0, 1)},
        ),
        "Translate": (
            ours(augment.Translate((-9, 9), (-9, 9), (-9, 9)), image),
            monai(M.RandAffine(1, translate_range=[9] * 3, **linear))
            | torchio(tio.RandomAffine((1, 1), 0, 9)),
        ),
        # MONAI gives a view with its axes swapped of a flipped copy; ours lies in C order.
        "Transpose": (
            ours(augment.Transpose("zx", p=1), image),
            monai(M.RandRotate90(1, 1, (0, 2))),
        ),
        "3-D pipeline of five steps": (
            ours(augment.Sequential(steps3), image),
            torchio(tio.Compose(steps_torchio)),
        ),
    }


def anisotropic(subject: Any) -> Any:
    import torchio as tio

    return tio.RandomAnisotropy(axes=(0,), downsampling=(2, 2))(subject)


def medians(actions: dict[str, Action], rounds: int) -> dict[str, float]:
    """The median time of each action, all taken in turn so that they see the same load."""
    repeats = {}
    for name, action in actions.items():
        action()
        started = CLOCK()
        action()
        repeats[name] = max(1, min(200, round(LEAST / (CLOCK() - started))))
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            started = CLOCK()
            for _ in range(repeats[name]):
                action()
            seconds[name].append((CLOCK() - started) / repeats[name])
    return {name: statistics.median(found) for name, found in seconds.items()}


def measured(rounds: int, wanted: set[str], images: str) -> list[dict[str, Any]]:
    """A row for each augmentation and dimension."""
    rows = []
    for dimensions, make in (("2-D uint8", planes), ("3-D float32", volumes)):
        if not dimensions.startswith(images):
            continue
        table = make()
        missing = augment.AUGMENTATIONS.keys() - table.keys()
        unknown = table.keys() - augment.AUGMENTATIONS.keys() - PIPELINES.keys()
        if missing or unknown:
            raise SystemExit(f"{dimensions}: no row for {missing}, or nothing of name {unknown}")
        for name, (own, others) in table.items():
            if wanted and name not in wanted:
                continue
            found = medians({"ecvl": own, **others}, rounds)
            own_time = found.pop("ecvl")
            # What stands for less than the row is shown, and does not count.
            equal = {key: value for key, value in found.items() if "," not in key}
            best = min(equal, key=lambda key: equal[key], default=None)
            ratio = own_time / equal[best] if best else None
            rows.append(
                {
                    "augmentation": name,
                    "image": dimensions,
                    "ecvl": own_time,
                    "others": found,
                    "fastest": best,
                    "ratio": ratio,
                }
            )
            print(f"{dimensions:12} {name:26} {_row_text(rows[-1])}", flush=True)
    return rows


def _row_text(row: dict[str, Any]) -> str:
    others = ", ".join(f"{name} {1e3 * value:.2f}" for name, value in row["others"].items())
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return f"{1e3 * row['ecvl']:9.3f} ms  {ratio:>6}  {others}"


def table(rows: list[dict[str, Any]], machine: str) -> str:
    """The results as a markdown table, and what was reached of the targets."""
    lines = [
        "# Augmentations: ecvl against the fastest other",
        "",
        f"Milliseconds of processor time, medians, one thread each; {machine}.",
        "Made by `ecvl_augment.py`, which says how.",
        "",
        "| augmentation | image | ecvl | fastest other | its time | ratio | the others |",
        "|---|---|---:|---|---:|---:|---|",
    ]
    for row in rows:
        best = row["fastest"]
        rest = ", ".join(
            f"{name} {1e3 * value:.2f}" for name, value in row["others"].items() if name != best
        )
        time_of_best = f"{1e3 * row['others'][best]:.2f}" if best else "–"
        ratio = f"{row['ratio']:.2f}" if best else "–"
        lines.append(
            f"| {row['augmentation']} | {row['image']} | {1e3 * row['ecvl']:.2f} | {best or '–'} | "
            f"{time_of_best} | {ratio} | {rest} |"
        )
    single = [r for r in rows if r["ratio"] is not None and r["augmentation"] not in PIPELINES]
    quick = [row for row in single if row["ratio"] <= TARGET]
    slow = [row for row in single if row["ratio"] > WORST]
    lines += ["", f"Of {len(single)} rows with a peer, {len(quick)} are at most {TARGET:.2f} of it"]
    lines[-1] += f" ({len(quick) / max(1, len(single)):.0%}), {len(slow)} above {WORST}."
    for row in rows:
        if row["augmentation"] in PIPELINES:
            aim = PIPELINES[row["augmentation"]]
            lines.append(f"{row['augmentation']}: {row['ratio']:.2f} (aim {aim}).")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--images", default="", help="2-D or 3-D only")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    wanted = set(filter(None, chosen.only.split(",")))
    results = chosen.out / "ecvl_augment.json"
    rows = measured(chosen.rounds, wanted, chosen.images)
    if (wanted or chosen.images) and results.exists():
        # The chosen rows take the place of those of an earlier run.
        again = {(row["augmentation"], row["image"]): row for row in rows}
        before = json.loads(results.read_text())
        rows = [again.get((row["augmentation"], row["image"]), row) for row in before]
        known = {(row["augmentation"], row["image"]) for row in rows}
        rows += [row for key, row in again.items() if key not in known]
    rows.sort(key=lambda row: (row["image"], row["augmentation"]))
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, OpenCV {cv2.__version__}"
    text = table(rows, machine)
    print(text.split("\n\n")[-1])
    results.write_text(json.dumps(rows, indent=1) + "\n")
    results.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
