"""Silence while pydicom reads: its warnings and log quote values that can identify a person.

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
_log_propagates = True


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and log, also from several threads at once.

    Example:
        >>> with quiet():
        ...     pass
    """
    global _quiet_depth, _quiet_scope, _log_propagates
    with _quiet_lock:
        _quiet_depth += 1
        if _quiet_depth == 1:
            _quiet_scope = warnings.catch_warnings()
            _quiet_scope.__enter__()
            warnings.filterwarnings("ignore", module=r"(pydicom|pylibjpeg|openjpeg|ecvl)\b")
            log = logging.getLogger("pydicom")
            _log_propagates, log.propagate = log.propagate, False
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_scope.__exit__(None, None, None)
                logging.getLogger("pydicom").propagate = _log_propagates
