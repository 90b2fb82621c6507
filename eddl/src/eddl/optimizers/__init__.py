"""Optimizers: an update rule, written once in operators, that runs over flat arenas.

`update` sees a stretch of parameters, its gradient and its slots as vectors, and gives the new ones
as expressions; the compiler fuses and plans them like everything else. Every rule here is
`parameter - rate * direction`, so an optimizer is its slots and its direction. Slots begin as
zeros. Formulas are PyTorch's where it has the optimizer, and each names its source.
"""

from __future__ import annotations

from collections.abc import Callable

from eddl.optimizers.descent import SGD, Adadelta, Adagrad, RMSprop
from eddl.optimizers.moments import LAMB, Adam, Adamax, AdamW, AMSGrad, Nadam
from eddl.optimizers.rule import RANGES, History, Optimizer, rate_at

__all__ = [
    "LAMB",
    "NAMED",
    "RANGES",
    "SGD",
    "AMSGrad",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "History",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "rate_at",
]

NAMED: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "amsgrad": AMSGrad,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": Nadam,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "lamb": LAMB,
}
"""Optimizers by name; all options have defaults."""
