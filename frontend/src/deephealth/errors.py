"""What can go wrong in the front-end, said in plain words.

Every message holds what was received, what was expected and what to do. The command line prints it
as one line and ends with the error's ``exit_code``; `tests/frontend/test_cli.py` holds that.
"""


class DeepHealthError(Exception):
    """The root of the front-end's errors.

    >>> DeepHealthError("the folder scans is empty: choose a folder that holds a series").exit_code
    2
    """

    exit_code = 2


class DocumentError(DeepHealthError, ValueError):
    """A pipeline document that cannot be read or does not pass its check.

    >>> issubclass(DocumentError, ValueError)
    True
    """


class DataUnavailableError(DeepHealthError, OSError):
    """Public data that is neither in the cache, nor in the given folder, nor to be fetched.

    >>> DataUnavailableError("no network").exit_code
    3
    """

    exit_code = 3


def in_one_line(message: object) -> str:
    """The message without line breaks, as a terminal's one clear line wants it.

    >>> in_one_line("the header promises\\n  more than the file holds")
    'the header promises more than the file holds'
    """
    return " ".join(str(message).split())
