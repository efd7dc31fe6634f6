"""What is said beside a verdict, everywhere where it is said."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from rich.console import Console

from hybridsearch.analysis.remarks import disguised, near_chance
from hybridsearch.analysis.runs import load_run
from hybridsearch.analysis.tables import show_summary, verdict_lines
from hybridsearch.export.origin import winner
from hybridsearch.genome.kin import kin_of
from hybridsearch.listing import row_of, show
from hybridsearch.report.page import report

BEATEN = "No function found is better on validation than"


@pytest.fixture
def told(finished_run, tmp_path):
    """A function: a finished run whose best found is so much better than the best baseline on
    validation, and all that is said of it: terminal, list, page, export.
    """

    def make(above: float, **changes):
        folder = tmp_path / "run"
        shutil.copytree(finished_run, folder, dirs_exist_ok=True)
        summary = json.loads((folder / "summary.json").read_text())
        summary["winner"]["validation"] = summary["best_baseline"]["validation"] + above
        summary |= changes
        (folder / "summary.json").write_text(json.dumps(summary))
        screen = Console(width=300, record=True, file=io.StringIO())
        show_summary({**summary, "folder": "f"}, screen)
        listed = Console(width=300, record=True, file=io.StringIO())
        show([row_of(folder)], listed)
        page = report([folder], tmp_path / "page").read_text()
        story = " ".join(winner(load_run(folder)).story)
        return summary, screen.export_text(), listed.export_text(), page, story

    return make


def test_who_is_beaten_on_validation_is_called_no_winner(told):
    for above in (-0.01, 0.0):
        summary, screen, listed, page, story = told(above, verdict="worse")
        best = summary["best_baseline"]["label"]
        for text in (screen, page, story):
            assert f"{BEATEN} {best}: keep {best}" in text
            assert "best found" in text
            assert "winner" not in text.lower().replace("winner-", "")
        assert f"worse; keep {best}" in listed


def test_who_is_better_on_validation_has_won(told):
    _, screen, listed, page, story = told(0.01, verdict="not shown")
    for text in (screen, page, story, listed):
        assert BEATEN not in text and "keep " not in text
    for text in (screen, page, story):
        assert "winner minus" in text


def test_validation_and_test_may_disagree(told):
    _, screen, listed, _, _ = told(-0.01, verdict="better")
    assert "but on test: the two disagree" in screen
    assert "better; not on validation" in listed


def test_a_baseline_that_was_found_again_is_kept_without_more_words(told):
    summary = told(0.0)[0]
    same = {"winner": summary["best_baseline"], "verdict": "rediscovered"}
    assert not [line for line in verdict_lines(summary | same) if BEATEN in line]


def kin(baseline, scale, mirrored=False, shift=0.0):
    return {"baseline": baseline, "scale": scale, "mirrored": mirrored, "shift": shift}


@pytest.mark.parametrize(
    ("formula", "found", "words"),
    [
        (
            "x+|x|",
            kin("ReLU", 2.0),
            "x+|x| is 2*ReLU: it differs in scale, which acts like another learning rate or "
            "initialisation; try ReLU with those",
        ),
        ("|x|-x", kin("ReLU", 2.0, True), "|x|-x is 2*ReLU(-x): it differs in scale and direction"),
        (
            "min(x, 0)",
            kin("ReLU", -1.0, True),
            "is -ReLU(-x): it differs in sign and direction, which the weights around it undo; "
            "keep ReLU",
        ),
        ("f", kin("GELU", -0.5, False, 1.0), "f is -0.5*GELU+1: it differs in scale, sign and shi"),
        ("f", kin("GELU", 1.0), "f is GELU in another spelling"),
    ],
)
def test_a_baseline_in_disguise_is_told_in_words(formula, found, words):
    assert words in disguised({"winner": {"expression": formula}, "winner_is": found})


def test_the_disguise_is_told_on_terminal_page_and_export(told):
    _, screen, _, page, story = told(0.01, winner_is=kin("ReLU", 2.0))
    for text in (screen, page, story):
        assert "is 2*ReLU: it differs in scale" in text


def test_the_summary_of_a_run_has_the_fact(finished_run):
    run = load_run(finished_run)
    found = kin_of(run.tested(run.summary["winner"]))
    assert run.summary["winner_is"] == (vars(found) if found else None)


@pytest.mark.parametrize(
    ("metric", "fitness", "chance", "scores", "said"),
    [
        ("accuracy", "loss", -2.3, [-2.25] * 5 + [-0.2] * 4, True),
        ("accuracy", "loss", -2.3, [-2.25] * 4 + [-0.2] * 5, False),
        ("accuracy", "metric", 0.1, [0.1] * 9, True),
        ("accuracy", "metric", 0.1, [0.2] * 9, False),
        ("mae", "metric", -10.0, [-9.8] * 9, True),
        ("mae", "metric", -10.0, [-5.0] * 9, False),
    ],
)
def test_baselines_that_have_learned_hardly_anything_are_told(
    metric, fitness, chance, scores, said
):
    higher = metric == "accuracy"
    summary = {
        "metric": {"name": metric, "higher": higher, "chance": abs(chance), "perfect": int(higher)},
        "fitness": fitness,
        "chance": chance,
        "baselines": [{"validation": score} for score in scores],
    }
    assert ("hardly better than chance" in near_chance(summary)) == said


def test_to_know_only_how_frequent_classes_are_is_hardly_better_than_chance():
    accuracy = {"name": "accuracy", "higher": True, "chance": 0.5, "perfect": 1.0}
    summary = {"metric": accuracy, "fitness": "loss", "chance": -0.693}
    summary["baselines"] = [{"validation": -0.195}] * 9
    assert not near_chance(summary)
    assert near_chance(summary | {"prior": -0.199})
    assert not near_chance(summary | {"prior": None})


def test_a_run_in_which_nothing_trained_says_what_to_do(told):
    summary = told(0.0)[0]
    nothing = summary | {"verdict": "nothing trained", "winner": None, "best_baseline": None}
    nothing["incumbent"] = None
    assert "See first that the network trains" in verdict_lines(nothing)[-1]
    nothing["budgets"] = {"distinct": 0}
    assert len(verdict_lines(nothing)) == 1
    why = verdict_lines(nothing | {"faults": 1200, "fault": "RuntimeError: no memory"})[-1]
    assert why.endswith("1,200 times, lastly with RuntimeError: no memory")
