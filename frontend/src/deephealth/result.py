"""The result of an operation: success with a value, or failure with a reason in plain words.

Nothing after a failure runs: `then` and `on_success` skip, and the reason travels to whoever asks.
`tests/frontend/test_result.py` holds this contract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from deephealth.errors import DeepHealthError

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Result(Generic[T]):
    """Either a value or the reason why there is none.

    `reason` is None exactly for a success. `error` is the exception behind a failure, for those who
    want to see more than the reason.

    >>> done = Result.success(3)
    >>> done.ok, done.value, done.then(lambda number: Result.success(number + 1)).value
    (True, 3, 4)
    >>> missing = Result.failure("scan.nii.gz does not exist: check the name")
    >>> missing.on_success(print).on_failure(print).ok
    scan.nii.gz does not exist: check the name
    False
    """

    _value: T | None = None
    reason: str | None = None
    error: BaseException | None = None

    @staticmethod
    def success(value: U) -> Result[U]:
        """A result that holds `value`.

        >>> Result.success("labels").value
        'labels'
        """
        return Result(_value=value)

    @staticmethod
    def failure(reason: str, error: BaseException | None = None) -> Result[Any]:
        """A result without a value; `reason` says in plain words why.

        >>> Result.failure("the folder is empty").reason
        'the folder is empty'
        """
        return Result(reason=reason or "failed without saying why", error=error)

    @property
    def ok(self) -> bool:
        """Whether there is a value.

        >>> Result.success(None).ok
        True
        """
        return self.reason is None

    @property
    def value(self) -> T:
        """The value of a success; a failure raises `DeepHealthError` with its reason.

        >>> Result.failure("the folder is empty").value
        Traceback (most recent call last):
        deephealth.errors.DeepHealthError: the folder is empty
        """
        if self.reason is not None:
            if isinstance(self.error, DeepHealthError):
                raise self.error
            raise DeepHealthError(self.reason) from self.error
        return cast(T, self._value)

    def on_success(self, action: Callable[[T], object]) -> Result[T]:
        """Call `action` with the value of a success; either way return this result.

        >>> Result.success(3).on_success(print).ok
        3
        True
        """
        if self.ok:
            action(self.value)
        return self

    def on_failure(self, action: Callable[[str], object]) -> Result[T]:
        """Call `action` with the reason of a failure; either way return this result.

        >>> Result.success(3).on_failure(print).value
        3
        """
        if self.reason is not None:
            action(self.reason)
        return self

    def then(self, step: Callable[[T], Result[U]]) -> Result[U]:
        """The result of `step` on the value; a failure is handed on and `step` does not run.

        >>> Result.failure("no scan").then(lambda scan: Result.success(scan)).reason
        'no scan'
        """
        return step(self.value) if self.ok else cast("Result[U]", self)
