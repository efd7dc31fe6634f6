"""A run's result on the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hybridsearch.analysis.tables import resampled, show_summary
from hybridsearch.store.disk import read_json


@pytest.mark.parametrize(("data", "what"), [("digits", "images"), ("mine:load", "examples")])
def test_only_data_that_are_images_are_called_so(data, what):
    summary = {"data": data, "metric": {"name": "accuracy"}, "test_examples": 100}
    assert resampled(summary) == f"seeds and test {what}"


def test_a_long_formula_is_folded_and_not_cut(finished_run):
    summary = {**read_json(finished_run / "summary.json"), "folder": "runs/a"}
    long = "atan(x)*sigmoid(sinh(x))*" * 4
    summary["finalists"][0]["label"] = long
    text = io.StringIO()
    show_summary(summary, Console(file=text, width=80))
    shown = [line.split("│")[2].strip() for line in text.getvalue().splitlines() if "│" in line]
    assert long in "".join(shown)
    assert "…" not in text.getvalue()
