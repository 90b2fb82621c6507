"""Operations that end a pipeline: the model file and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import deephealth
from deephealth import files, report
from deephealth.operations.catalogue import operation
from deephealth.operations.kinds import CasePort, History, Model, Provenance, Rule, Summary
from deephealth.operations.ports import Context, Writes


@operation("write_model", help="write a model as an ONNX file", cached=False)
def write_model(
    model: Model, *, path: Annotated[Path, Writes(".onnx"), "the file to write"]
) -> None:
    """Write the model, whole or not at all."""
    files.write(path, model.path.read_bytes())


@operation("write_report", help="write the figures as JSON and as a page", cached=False)
def write_report(
    first: CasePort,
    second: CasePort,
    history: History,
    rule: Rule,
    model: Model,
    provenance: Provenance,
    *,
    figures: Annotated[Path, Writes(".json"), "the file for the figures"],
    page: Annotated[Path, Writes(".html"), "the file for the page"],
    context: Context,
) -> Summary:
    """Write both files; the figures are the same for the same run, apart from its timings."""
    cases = [first, second]
    facts = dict(context.facts)
    facts["parameters"] = {
        name: value
        for name, value in facts.get("parameters", {}).items()
        if isinstance(value, int | float) or name == "device"
    }
    made = report.summary(
        cases,
        provenance=provenance,
        history=history,
        rule=rule,
        model={"sha256": files.sha256(model.path), "bytes": model.path.stat().st_size},
        facts=facts,
        version=deephealth.__version__,
    )
    files.write(figures, json.dumps(made, indent=2) + "\n")
    files.write(page, report.page(made, cases))
    return made
