"""What is exported: an expression, or the winner of a run that somebody else may have written."""

from __future__ import annotations

import pytest
import yaml

from hybridsearch.analysis.runs import load_run
from hybridsearch.errors import UserError
from hybridsearch.export.origin import LONGEST, find, plain
from hybridsearch.genome.function import resolve
from hybridsearch.session import search


def test_expressions_of_all_kinds():
    for what in ("GELU", "x*sigmoid(beta*x)", "gate scale x id x", resolve("ReLU").genome):
        assert find(what).function == resolve(what)
        assert find(what).story == ()


def test_the_winner_of_a_run(run):
    found = find(str(run()))
    assert found.function.key == resolve("Swish").key
    story = " ".join(found.story)
    for part in ("'first'", "data digits", "seed 3", "no difference", "GELU", "+0.10 points"):
        assert part in story
    assert "95% interval -0.20 to +0.40 (2 seeds)" in story


def test_what_was_not_searched_is_said(run):
    folder = run()
    network = {"name": "mine:net", "fixed": ["late=ReLU", "early=max(x, 0)"]}
    (folder / "config.yaml").write_text(yaml.safe_dump({"network": network}))
    story = " ".join(find(str(folder)).story)
    assert "network mine:net with late=ReLU, early=max(x, 0) fixed, seed" in story


def test_the_winner_of_a_search_is_the_one_in_its_log(tiny, tmp_path):
    done = search(tiny(budget=2, strategy="random"), tmp_path / "a")
    found = find(done["folder"])
    (record,) = load_run(done["folder"]).payloads("winner")
    assert found.function.spec == record["function"]
    assert found.function.key == done["winner"]["key"]
    assert "strategy random" in found.story[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"winner": None}, "no winner.*x\\*tanh"),
        ({"winner": None, "incumbent": None, "verdict": "nothing trained"}, "no function came"),
        ({"winner": "x"}, "damaged"),
        ({"winner": {"expression": "x*tanh(x)", "key": "0" * 32, "test_scores": []}}, "damaged"),
        ({"winner": {"expression": "__import__('os')", "key": "", "test_scores": []}}, "damaged"),
        ({"winner": {"expression": ["x"], "key": "", "test_scores": []}}, "damaged"),
        ({"best_baseline": None}, "damaged"),
        ({"difference_to_best_baseline": {"mean": "much"}}, "damaged"),
        ({"verdict": ["better"]}, None),
    ],
)
def test_a_damaged_run_is_said_in_one_line(run, changes, words):
    folder = run(**changes)
    if words is None:
        assert "no verdict" in " ".join(find(str(folder)).story)
        return
    with pytest.raises(UserError, match=words) as error:
        find(str(folder))
    assert "\n" not in str(error.value)


def test_an_unfinished_run_has_no_winner(run):
    folder = run()
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        find(str(folder))


@pytest.mark.parametrize("what", ["runs/none", "./none", "/none", "~/none"])
def test_a_folder_that_is_not_there(what):
    with pytest.raises(UserError, match="holds no run"):
        find(what)


@pytest.mark.parametrize("what", ["x" * 5000, "a\0b", "none"])
def test_what_is_neither(what):
    with pytest.raises(UserError):
        find(what)


def test_plain_is_one_harmless_line():
    assert plain('a"""\nb') == "a'''?b"
    assert plain("a\u2028b\u202ec\udc80\x00\x1b[0m") == "a?b?c???[0m"
    assert len(plain("x" * 1000)) == LONGEST
    assert plain("größe 漢字") == "größe 漢字"
    assert plain(None) == "None"
