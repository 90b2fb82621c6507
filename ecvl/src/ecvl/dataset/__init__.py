"""Datasets: samples that load when asked for, their splits, and the loader that batches them."""

from ecvl.dataset.dataset import Dataset, Item
from ecvl.dataset.loader import Batch, Loader
from ecvl.dataset.slices import slices

__all__ = ["Batch", "Dataset", "Item", "Loader", "slices"]
