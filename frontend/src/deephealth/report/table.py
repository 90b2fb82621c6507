"""The table of scores, for a terminal and for the page."""

from __future__ import annotations

from typing import Any

METHODS = {"network": "U-Net", "rule": "rule"}


def rows(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the Dice table: an organ a row, a case and method a column.

    >>> rows({"cases": [{"name": "A", "dice": {"network": {"liver": 0.917, "kidneys": None}}}]})
    (['organ', 'A: U-Net'], [['liver', '0.92'], ['kidneys', 'not in view']])
    """
    columns = [
        (f"{case['name']}: {METHODS.get(method, method)}", scores)
        for case in summary["cases"]
        for method, scores in case["dice"].items()
    ]
    organs = list(dict.fromkeys(organ for _, scores in columns for organ in scores))
    body = [[organ, *(say(scores.get(organ)) for _, scores in columns)] for organ in organs]
    return ["organ", *(name for name, _ in columns)], body


def say(dice: float | None) -> str:
    """A score as people read it.

    >>> say(0.9171), say(None)
    ('0.92', 'not in view')
    """
    return "not in view" if dice is None else f"{dice:.2f}"


def table(summary: dict[str, Any]) -> str:
    """The Dice table as text, with what the scores mean above and below.

    >>> print(table({"reference": "an atlas", "notice": ["Not for clinical use."], "cases": [
    ...     {"name": "A", "dice": {"network": {"liver": 0.917}}}]}))
    Dice: agreement with an atlas
    <BLANKLINE>
    organ   A: U-Net
    liver       0.92
    <BLANKLINE>
    Not for clinical use.
    """
    header, body = rows(summary)
    widths = [max(len(line[place]) for line in [header, *body]) for place in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [header, *body]
    ]
    title = f"Dice: agreement with {summary['reference']}"
    return "\n".join([title, "", *lines, "", *summary["notice"][-2:]])
