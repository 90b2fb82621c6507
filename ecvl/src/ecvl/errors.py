"""What can go wrong in ecvl: one small tree, each error also the built-in that fits.

A message is one line that says what was received, what was expected and what to do. For attributes
that identify a person it names the attribute, never the value.
"""


class EcvlError(Exception):
    """The root of every error that ecvl raises on purpose."""


class ParameterError(EcvlError, ValueError):
    """An argument, or an entry of a JSON form, is not one that the function takes."""


class KindError(EcvlError, TypeError):
    """Labels were given where an image is needed, or the other way round, or an unfit data type."""


class GeometryError(EcvlError, ValueError):
    """Axes, shapes, affines or slice positions do not fit together."""


class FormatError(EcvlError, ValueError):
    """The bytes of a file are not what their format demands, or not a format known here."""


class SeriesError(EcvlError, ValueError):
    """A folder holds none or several series, and which one is meant was not said."""


class FileError(EcvlError, OSError):
    """The operating system would not read or write a file."""


class MissingFileError(EcvlError, FileNotFoundError):
    """There is no such file or folder."""


class SampleError(EcvlError, RuntimeError):
    """A sample of a dataset could not be loaded or augmented; the message names it."""


class MissingExtraError(EcvlError, ImportError):
    """A function needs a library that is not installed; the message names the extra."""


def one_line(error: BaseException, limit: int = 200) -> str:
    """Give another library's error as one short line, to stand inside a message of ours.

    Example:
        >>> one_line(ValueError("first\\n  second"))
        'first second'
    """
    return " ".join(str(error).split())[:limit] or type(error).__name__
