"""Topologies, a family a file: `list()` tells what each is for. Classifiers and segmenters end in
logits."""

from eddl.zoo.classic import alexnet, googlenet, lenet, vgg
from eddl.zoo.dcgan import dcgan_discriminator, dcgan_generator
from eddl.zoo.residual import densenet, resnet
from eddl.zoo.segnet import segnet
from eddl.zoo.siamese import siamese
from eddl.zoo.table import Topology, get, list
from eddl.zoo.unet import residual_unet, unet, unet3d
from eddl.zoo.vnet import vnet

__all__ = [
    "Topology",
    "alexnet",
    "dcgan_discriminator",
    "dcgan_generator",
    "densenet",
    "get",
    "googlenet",
    "lenet",
    "list",
    "residual_unet",
    "resnet",
    "segnet",
    "siamese",
    "unet",
    "unet3d",
    "vgg",
    "vnet",
]
