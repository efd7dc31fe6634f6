from __future__ import annotations

import json

import pytest
from figures import Options, Report, judge
from ratios import Estimate
from rich.console import Console
from rich.progress import Progress


def make_report(path, quick=False):
    progress = Progress(console=Console(quiet=True), auto_refresh=False)
    return Report(path, Options(quick, "cpu", 2, None), progress)


@pytest.mark.parametrize(
    ("value", "aim", "said"),
    [
        (2.2, (">", 2.2), "wanted >= 2.2: reached"),
        (2.19, (">", 2.2), "wanted >= 2.2: NOT reached"),
        (1.36, ("<", 1.35), "wanted <= 1.35: NOT reached"),
        (1.0, None, ""),
    ],
)
def test_a_figure_is_judged_as_it_is(value, aim, said):
    assert judge(value, aim) == said


def test_parts_are_merged_and_a_part_replaces_its_own_figures(tmp_path):
    path = tmp_path / "evaluator.json"
    report = make_report(path)
    with report.part("input"):
        report.add("data_input_speedup", Estimate(5.0, 4.0, 6.0, 0.96, 12), "note", {"a": [1]})
        report.add("left_over", 1.0)
    other = make_report(path)
    with other.part("workers"):
        other.add("two_workers_speedup", Estimate(1.5, 1.4, 1.6, 0.96, 12))
        stopped = json.loads(path.read_text())  # what is done is on the disk at once
    again = make_report(path)
    with again.part("input"):
        again.add("data_input_speedup", 3.0)
    assert stopped["two_workers_speedup"] == 1.5
    found = json.loads(path.read_text())
    assert found["data_input_speedup"] == 3
    assert found["two_workers_speedup"] == 1.5
    assert "left_over" not in found
    assert set(found["figures"]) == {"data_input_speedup", "two_workers_speedup"}
    assert found["figures"]["two_workers_speedup"]["reached"] is False
    assert found["parts"]["workers"]["quick"] is False
    assert found["machine"]["cores"] >= 1


def test_quick_figures_are_not_judged_and_what_is_no_number_is_null(tmp_path):
    path = tmp_path / "quick.json"
    report = make_report(path, quick=True)
    with report.part("ranking"):
        report.add("bf16_rank_correlation", Estimate(0.5, float("nan"), float("nan"), 0.95, 4))
        report.add("two_workers_speedup", 1.0)
    found = json.loads(path.read_text())
    assert found["figures"]["bf16_rank_correlation"]["low"] is None
    assert "reached" not in found["figures"]["two_workers_speedup"]
