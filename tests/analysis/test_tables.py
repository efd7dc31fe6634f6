"""A run's result on the terminal."""

from __future__ import annotations

import io
import shutil

import pytest
from rich.console import Console

from hybridsearch.analysis.remarks import BOTH, retested
from hybridsearch.analysis.runs import load_run
from hybridsearch.analysis.tables import (
    resampled,
    score_name,
    sentence,
    show_rates,
    show_summary,
    verdict_lines,
)
from hybridsearch.store.disk import read_json
from hybridsearch.types import Measure, accuracy_of

MAE = Measure("mae", higher=False, chance=1.0, perfect=0.0)


@pytest.fixture
def summary(finished_run):
    return {**read_json(finished_run / "summary.json"), "folder": "runs/a"}


@pytest.fixture
def found_again(summary):
    """A summary whose winner is its best baseline."""
    best = next(f for f in summary["baselines"] if f["key"] == summary["best_baseline"]["key"])
    named = {**best, "label": "found again"}
    return {**summary, "winner": named, "finalists": [named], "verdict": "rediscovered"}


def shown(summary):
    text = io.StringIO()
    show_summary(summary, Console(file=text, width=200))
    return text.getvalue()


def test_intervals_are_called_by_their_level(summary, finished_run, tmp_path):
    assert summary["confidence"] == 0.95
    other = {**summary, "confidence": 0.8}
    for text in (shown(other), " ".join(verdict_lines(other))):
        assert "80% interval" in text and "95%" not in text
    del other["confidence"]  # of an older version
    assert "95% interval" in shown(other)
    shutil.copytree(finished_run, tmp_path / "a")
    saved = (tmp_path / "a/summary.json").read_text()
    (tmp_path / "a/summary.json").write_text(saved.replace('"confidence": 0.95,', ""))
    config = (tmp_path / "a/config.yaml").read_text()
    (tmp_path / "a/config.yaml").write_text(config.replace("confidence: 0.95", "confidence: 0.8"))
    assert load_run(tmp_path / "a").summary["confidence"] == 0.8


def test_a_winner_found_again_stands_as_each(found_again):
    rows = [line.split("│") for line in shown(found_again).splitlines() if "│" in line]
    roles = [(row[1].strip(), row[2].strip()) for row in rows]
    assert roles[0] == ("winner", "found again")
    assert ("best baseline", found_again["best_baseline"]["label"]) in roles
    assert [role for role, _ in retested(found_again)].count(BOTH) == 1
    assert len(retested(found_again)) == 9


def test_a_path_can_be_pasted(summary):
    text = shown({**summary, "folder": "my runs/[a]"})
    assert "python -m hybridsearch report 'my runs/[a]'" in text


@pytest.mark.parametrize(("data", "what"), [("digits", "images"), ("mine:load", "examples")])
def test_only_data_that_are_images_are_called_so(data, what):
    summary = {"data": data, "metric": {"name": "accuracy"}, "test_examples": 100}
    assert resampled(summary) == f"seeds and test {what}"


def test_the_scores_that_are_compared_are_told(summary):
    before = verdict_lines(summary)
    assert not [line for line in before if line.startswith("On those seeds")]
    duel = {"seeds": 2, "winner": {"mean": 0.625}, "best_baseline": {"mean": 0.5}}
    (more,) = set(verdict_lines({**summary, "duel": duel})) - {
        line.replace("(2 seeds,", "(2 seeds that named neither,") for line in before
    }
    winner, best = summary["winner"]["label"], summary["best_baseline"]["label"]
    assert more.startswith(f"On those seeds {winner} has 62.50%, {best} 50.00%; the table has")


def test_a_small_loss_keeps_its_digits(summary):
    summary["baselines"][0]["validation"] = -1.23456e-5
    summary["baselines"][1]["validation"] = -0.12345678
    text = shown(summary)
    assert "-1.235e-05" in text and "-0.1235" in text
    assert "validation: minus the loss" in text


def test_that_less_is_better_is_told(summary):
    summary["metric"] = {"name": "mae", "higher": False, "chance": 1.0, "perfect": 0.0}
    assert "Test mae (less is better), " in shown(summary)


@pytest.mark.parametrize(
    ("fitness", "measure", "name"),
    [
        ("loss", MAE, "minus the loss"),
        ("metric", MAE, "minus mae"),
        ("accuracy", accuracy_of(10), "accuracy"),
        ("metric", Measure("r2", True, 0.0, 1.0), "r2"),
    ],
)
def test_scores_have_the_name_of_what_they_are(summary, fitness, measure, name):
    """In every table: the retest, the front, the learning rates."""
    assert score_name(fitness, measure) == name
    row = {"label": "|x|", "fitness": -0.2, "nanoseconds_per_element": 1.0}
    timed = {"pareto": [row], "times": {"ReLU": 1.0}, "timed_on": "a CPU"}
    text = shown({**summary, **timed, "fitness": fitness, "metric": vars(measure)})
    assert f"search, {name} " in text
    captions = [line.strip() for line in text.splitlines()]
    assert (f"validation: {name}" in captions) == name.startswith("minus")
    row = {"label": "|x|", "key": "k", "validation": [-0.2], "rate": 0.1, "mean": 0.2}
    found = {"winner": row, "best_baseline": {**row, "key": "b"}, "baselines": [], "seeds": 2}
    found |= {"rates": [0.1], "own": 0.1, "fitness": fitness, "metric": vars(measure)}
    found |= {"difference": {"mean": 0.1, "low": 0.0, "high": 0.2}, "verdict": "not shown"}
    screen = io.StringIO()
    show_rates(found, Console(file=screen, width=200))
    assert name in [line.strip() for line in screen.getvalue().splitlines()]


def test_what_was_found_and_fell_out_by_the_machine_is_not_called_untrained(summary):
    nothing = {**summary, "verdict": "nothing trained", "winner": None, "best_baseline": None}
    nothing |= {"finalists": [], "baselines": [], "difference_to_best_baseline": None}
    assert sentence(nothing) == "nothing trained: no function came to the end better than chance"
    lost = {**nothing, "faults": 2, "fault": "RuntimeError: no memory"}
    words = "nothing retested: the machine failed a training of each of the best functions"
    assert sentence(lost) == words
    text = shown(lost)
    assert f"The best of the search was {summary['incumbent']}: mend what failed" in text
    assert "lastly with RuntimeError: no memory" in text and "--training.lr" not in text
    assert sentence({**lost, "incumbent": None}) == sentence(nothing)


def test_a_long_formula_is_folded_and_not_cut(summary):
    long = "atan(x)*sigmoid(sinh(x))*" * 4
    summary["finalists"][0]["label"] = long
    text = io.StringIO()
    show_summary(summary, Console(file=text, width=80))
    shown = [line.split("│")[2].strip() for line in text.getvalue().splitlines() if "│" in line]
    assert long in "".join(shown)
    assert "…" not in text.getvalue()
