"""Topologies, a family a file; all end in logits."""

from eddl.zoo.unet import unet

__all__ = ["unet"]
