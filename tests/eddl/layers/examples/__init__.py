"""Examples of every layer, a file a family."""

from . import elements, moves, sequences, shapes, windows
from .example import Example

EXAMPLES: list[Example] = [
    *windows.EXAMPLES,
    *elements.EXAMPLES,
    *shapes.EXAMPLES,
    *sequences.EXAMPLES,
    *moves.EXAMPLES,
]
