"""Winner and best baseline, each at its own learning rate."""

from __future__ import annotations

import json
import shutil

import pytest

from hybridsearch.analysis.tables import rate_lines
from hybridsearch.cli import main
from hybridsearch.errors import UserError
from hybridsearch.rates import FURTHER, _beyond, own_rates
from hybridsearch.report.page import report


@pytest.fixture
def copy(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "a")
    return tmp_path / "a"


def rewritten(folder, **changes):
    saved = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**saved, **changes}))
    return saved


def test_each_is_compared_at_the_rate_that_validation_names(copy):
    log = (copy / "trials.jsonl").read_bytes()
    summary = json.loads((copy / "summary.json").read_text())
    found = own_rates(copy, (0.02, 2.0))
    assert found == json.loads((copy / "rates.json").read_text()) == own_rates(copy, (2.0, 0.02, 1))
    rates = found["rates"]
    assert {0.002, 0.1, 0.2} <= set(rates) and found["own"] == 0.1
    at_edge = {found[name]["rate"] for name in ("winner", "best_baseline")} & {rates[0], rates[-1]}
    assert len(rates) == 3 + FURTHER if at_edge else len(rates) <= 3 + FURTHER
    assert found["winner"]["key"] == summary["winner"]["key"]
    assert len(found["baselines"]) == 9
    was = {row["key"]: row["validation"] for row in (summary["winner"], *summary["baselines"])}
    for row in (found["winner"], *found["baselines"]):
        # At the run's own rate it is what the run has: the same trainings.
        assert row["validation"][rates.index(0.1)] == was[row["key"]]
        assert row["validation"][rates.index(row["rate"])] == max(row["validation"])
    best = max(found["baselines"], key=lambda row: max(row["validation"]))
    assert found["best_baseline"]["key"] == best["key"]
    gap = found["winner"]["mean"] - found["best_baseline"]["mean"]
    assert found["difference"]["mean"] == pytest.approx(gap)
    assert found["difference"]["low"] <= gap <= found["difference"]["high"]
    assert (copy / "trials.jsonl").read_bytes() == log
    assert not list((copy / "children").glob("*"))
    assert rate_lines(found)[0] in report([copy]).read_text().replace("&#43;", "+")


def test_the_command_prints_scores_by_rate(copy, capsys):
    assert main(["rates", str(copy), "--factors", "1,2"]) == 0
    text = capsys.readouterr().out
    assert "0.1 (the run's)" in text and "Each at its own learning rate: " in text
    assert main(["rates", str(copy), "--factors", "1,2", "--json"]) == 0
    assert {0.1, 0.2} <= {*json.loads(capsys.readouterr().out)["rates"]}
    assert main(["rates", str(copy), "--factors", "1,x"]) == 2
    assert "--factors: expected numbers with commas, got '1,x'" in capsys.readouterr().err


def test_rates_beyond_an_edge_are_tried_where_one_is_best_there():
    assert _beyond([0.03, 0.1, 0.3], {0.1}) == []
    assert _beyond([0.03, 0.1, 0.3], {0.1, 0.3}) == [0.9]
    assert _beyond([0.03, 0.1, 0.3], {0.03}) == [0.01]
    assert _beyond([0.1], {0.1}) == [0.0333333, 0.3]


def test_the_best_rate_at_the_edge_is_told():
    row = {"label": "GELU", "validation": [-0.3, -0.2], "rate": 0.3, "mean": 0.5}
    found = {"rates": [0.1, 0.3], "own": 0.1, "seeds": 2, "fitness": "loss", "confidence": 0.95}
    found |= {
        "baselines": [row],
        "winner": {**row, "label": "|x|", "rate": 0.1, "mean": 0.75},
        "best_baseline": row,
    }
    found |= {"metric": {"name": "accuracy", "higher": True, "chance": 0.1, "perfect": 1.0}}
    found |= {"difference": {"mean": 0.25, "low": 0.1, "high": 0.4}, "verdict": "better"}
    first, lowest, highest = rate_lines(found)
    assert "rate: test accuracy, |x| 75.00% at 0.1, GELU 50.00% at 0.3: +25.00 points" in first
    assert first.endswith("(2 seeds that named neither function nor rate): better")
    assert lowest.startswith("|x| is best at the lowest rate tried, 0.1")
    assert highest.startswith("GELU is best at the highest rate tried, 0.3")
    assert len(rate_lines({**found, "rates": [0.03, 0.1, 0.3, 1.0]})) == 1


@pytest.mark.parametrize(
    ("factors", "words"),
    [((0.0,), "numbers above 0, got 0"), ((float("nan"),), "got nan"), ((-1.0,), "got -1")],
)
def test_a_factor_that_makes_no_rate_is_refused(copy, factors, words):
    with pytest.raises(UserError, match=words):
        own_rates(copy, factors)


def test_runs_without_two_functions_to_compare_are_refused(copy):
    saved = rewritten(copy, winner=None)
    with pytest.raises(UserError, match="has no winner"):
        own_rates(copy)
    rewritten(copy, winner=saved["best_baseline"])
    with pytest.raises(UserError, match="the winner is one of the baselines"):
        own_rates(copy)
    (copy / "summary.json").unlink()
    with pytest.raises(UserError, match="is not finished; go on with `resume`"):
        own_rates(copy)
