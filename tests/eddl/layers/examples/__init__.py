"""Examples of every layer, a file a family."""

from . import elements, windows
from .example import Example

EXAMPLES: list[Example] = [*windows.EXAMPLES, *elements.EXAMPLES]
