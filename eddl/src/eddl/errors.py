"""The errors of eddl: one small tree, each also the built-in exception that fits.

A message says what was received, what was expected and what to do.
"""


class EddlError(Exception):
    """Anything eddl refuses to do."""


class ShapeError(EddlError, ValueError):
    """Shapes that do not fit each other or an operator."""


class TypeMismatchError(EddlError, TypeError):
    """An element type or an object that an operator or a call does not take."""


class AttributeValueError(EddlError, ValueError):
    """An attribute or argument outside its allowed values."""


class GraphError(EddlError, ValueError):
    """A graph that is not well formed: cycles, dangling names, unknown operators."""


class DynamicError(GraphError):
    """A value that only a run can tell, where a program must know it before."""


class GradientError(EddlError, ValueError):
    """A gradient was asked for where none exists."""


class DeviceError(EddlError, RuntimeError):
    """A device that is not there or cannot do what was asked."""


class MemoryLimitError(EddlError, MemoryError):
    """More memory is needed than there is, or than was allowed."""


class FileError(EddlError, ValueError):
    """A file that is missing, damaged or of another kind than expected."""


class StateError(EddlError, RuntimeError):
    """A call made before or after the moment at which it makes sense."""
