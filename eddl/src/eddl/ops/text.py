"""Operators on strings: host tier, since strings are no numbers in memory."""

from __future__ import annotations

from typing import Any

from eddl.ops.table import REQUIRED, Operator, register


def _host(name: str, inputs: str, since: int, outputs: int = 1, **attributes: Any) -> None:
    register(
        Operator(
            name=name,
            inputs=tuple(inputs.split()),
            infer=lambda call: [],
            outputs=outputs,
            attributes=attributes,
            since=since,
            host=True,
        )
    )


_host("StringConcat", "X Y", 20)
_host("StringNormalizer", "X", 10, case_change_action="NONE", is_case_sensitive=0, locale="",
      stopwords=())  # fmt: skip
_host("StringSplit", "X", 20, 2, delimiter="", maxsplit=None)
_host("RegexFullMatch", "X", 20, pattern=REQUIRED)
_host("TfIdfVectorizer", "X", 9, max_gram_length=REQUIRED, max_skip_count=REQUIRED,
      min_gram_length=REQUIRED, mode=REQUIRED, ngram_counts=REQUIRED, ngram_indexes=REQUIRED,
      pool_int64s=(), pool_strings=(), weights=())  # fmt: skip
