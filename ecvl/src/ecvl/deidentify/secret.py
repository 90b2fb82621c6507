"""One secret key a project, and all that follows from it: pseudonyms, UIDs, days and file names.

Everything is an HMAC-SHA-256 under the key (RFC 2104), so the same patient is the same in every
upload, and nobody without the key can try names. Whoever loses the key cannot link later uploads to
earlier ones; whoever publishes it undoes the pseudonyms.
"""

import base64
import hmac
import os
import secrets
from pathlib import Path

from ecvl.errors import FileError, MissingFileError, ParameterError

LEAST_KEY = 16
NEW_KEY = 32
# Dates move back by up to ten years.
MOST_DAYS = 3650


class Secret:
    """The key of a project.

    Args:
        key: at least 16 random bytes; `new_key` makes them.

    Raises:
        ParameterError: it is shorter, or no bytes.

    Example:
        >>> secret = Secret(bytes(range(32)))
        >>> secret.pseudonym("Bob"), secret.pseudonym("Bob") == secret.pseudonym("Eve")
        ('P-QIYTIJLSV57G', False)
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) < LEAST_KEY:
            raise ParameterError(
                f"expected a key of at least {LEAST_KEY} random bytes, such as ecvl.deidentify."
                "new_key(path) makes"
            )
        self._key = key

    def __repr__(self) -> str:
        return "Secret(...)"

    def pseudonym(self, patient: str) -> str:
        """Return the name of a patient: the same for the same identity."""
        return f"P-{self._word('patient', patient.strip())}"

    def name(self, of: str) -> str:
        """Return the name of a file or folder that had another."""
        return self._word("name", of)

    def uid(self, of: str) -> str:
        """Return the UID that stands for another, under DICOM's root for UUIDs."""
        return f"2.25.{int.from_bytes(self._digest('uid', of.strip())[:16], 'big')}"

    def days(self, patient: str) -> int:
        """Return by how many days the dates of a patient move back: 1 to 3650."""
        digest = self._digest("days", patient.strip())
        return 1 + int.from_bytes(digest[:8], "big") % MOST_DAYS

    def _word(self, purpose: str, of: str) -> str:
        return base64.b32encode(self._digest(purpose, of))[:12].decode("ascii")

    def _digest(self, purpose: str, of: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}:{of}".encode(), "sha256")


def new_key(path: str | os.PathLike[str] | None = None) -> bytes:
    """Make a key; write it to a new file that only its owner can read, if a path is given.

    Raises:
        FileError: there is such a file already, or it cannot be written.

    Example:
        >>> len(new_key())
        32
    """
    key = secrets.token_bytes(NEW_KEY)
    if path is not None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(key.hex() + "\n")
        except OSError as error:
            raise FileError(f"cannot write the key: {error.strerror}") from None
    return key


def key_of(key: bytes | str | os.PathLike[str]) -> Secret:
    """Return the secret of a key, or of the file that `new_key` wrote.

    Raises:
        MissingFileError: there is no such file.
        ParameterError: the file holds no key, or the key is too short.

    Example:
        >>> key_of(bytes(16))
        Secret(...)
    """
    if isinstance(key, bytes):
        return Secret(key)
    try:
        text = Path(key).read_text(encoding="ascii")
        return Secret(bytes.fromhex(text.strip()))
    except FileNotFoundError:
        raise MissingFileError("there is no such key file; make one with new_key(path)") from None
    except OSError as error:
        raise FileError(f"cannot read the key file: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ParameterError(
            "expected a key file as new_key(path) writes, in hexadecimal"
        ) from None
