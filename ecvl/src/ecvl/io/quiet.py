"""Silence while libraries read: their warnings and logs quote values that can identify a person.

What is wrong with a file, our errors say.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_scope: Any = None
LOGS = ("pydicom", "tifffile", "PIL")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' warnings and logs, also from several threads at once.

    Example:
        >>> with quiet():
        ...     pass
    """
    global _quiet_depth, _quiet_scope
    with _quiet_lock:
        _quiet_depth += 1
        if _quiet_depth == 1:
            _quiet_scope = warnings.catch_warnings()
            _quiet_scope.__enter__()
            warnings.filterwarnings(
                "ignore", module=r"(pydicom|pylibjpeg|openjpeg|PIL|tifffile|ecvl)\b"
            )
            for name in LOGS:
                logging.getLogger(name).disabled = True
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_scope.__exit__(None, None, None)
                for name in LOGS:
                    logging.getLogger(name).disabled = False
