import re

import numpy as np

from deephealth.report import Case, Picture, page, summary, table


def make(pictures=()):
    cases = [
        Case(
            "held-out blocks",
            "First patient",
            {"network": {"liver": 0.912, "kidneys": None}, "rule": {"liver": 0.3, "kidneys": None}},
            pictures=pictures,
        )
    ]
    figures = summary(
        cases,
        provenance={
            "title": "<b>CT</b>",
            "package": "p 1",
            "licence": "MIT",
            "sha256": "0",
            "citation": "c",
            "reference": "an atlas",
            "note": "No human drew them.",
        },
        history={"loss": [1.0, 0.5], "dice": [0.1, 0.4]},
        rule={"liver": {"smoothing": 3.0, "low": 20.0, "high": 80.0, "dice": 0.4}},
        model={"sha256": "1"},
        facts={"document": {"name": "Demo"}, "parameters": {"seed": 0}, "seconds": {"train": 1.23}},
        version="1",
    )
    return figures, cases


def picture():
    labels = np.zeros((20, 30), np.uint8)
    labels[5:10, 5:10] = 1
    return Picture(np.full((20, 30), 100, np.uint8), labels, labels[::-1].copy(), 1.0, "slice 3")


def test_only_the_timings_differ_between_runs():
    figures, _ = make()
    assert "train" not in str({name: part for name, part in figures.items() if name != "timings"}
                              ).replace("training", "")  # fmt: skip
    assert figures["timings"]["seconds"] == {"train": 1.23}


def test_the_page_is_one_file_and_escapes_what_it_shows():
    figures, cases = make((picture(),))
    text = page(figures, cases)
    assert "&lt;b&gt;CT&lt;/b&gt;" in text
    assert "<b>CT</b>" not in text
    assert "<script" not in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 2
    assert all(source.startswith("data:") for source in sources)
    assert "http://" not in re.sub(r'"data:[^"]*"', "", text)


def test_scores_are_called_agreement_and_not_for_clinical_use():
    figures, cases = make()
    for text in (page(figures, cases), table(figures)):
        assert "agreement with an atlas" in " ".join(text.split())
        assert "Not for clinical use." in text
        assert "not in view" in text
    assert figures["notice"][1] == "No human drew them."


def test_pages_are_the_same_for_the_same_figures():
    figures, cases = make((picture(),))
    assert page(figures, cases) == page(figures, cases)


def test_the_table_names_case_and_method():
    assert "held-out blocks: U-Net" in table(make()[0])
    assert "0.91" in table(make()[0])
