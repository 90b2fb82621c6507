"""The report as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2

from deephealth.report import figures
from deephealth.report.case import Case
from deephealth.report.table import METHODS, say


def page(summary: dict[str, Any], cases: Sequence[Case]) -> str:
    """The page for a summary and the cases that it was made of.

    >>> from deephealth.report.case import summary
    >>> figures = summary([], provenance={}, history={}, rule={}, model={}, facts={}, version="1")
    >>> "Not for clinical use." in page(figures, [])
    True
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["dice"] = say
    text = resources.files("deephealth.report").joinpath("page.html.j2").read_text("utf-8")
    organs = list(
        dict.fromkeys(organ for case in cases for scores in case.dice.values() for organ in scores)
    )
    pictures = [[(one.caption, figures.overlay(one)) for one in case.pictures] for case in cases]
    return environment.from_string(text).render(
        summary=summary,
        cases=list(zip(cases, pictures, strict=True)),
        organs=organs,
        methods=METHODS,
        curves=figures.curves(summary["training"]) if summary["training"] else "",
        colours=dict(zip(organs, figures.ORGAN_COLOURS, strict=False)),
        agreement={"agree": figures.AGREE, "missed": figures.MISSED, "extra": figures.EXTRA},
    )
