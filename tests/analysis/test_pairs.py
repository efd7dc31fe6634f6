"""Two strategies on shared seeds: the numbers are those of the runs, the words of the numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hybridsearch.analysis.pairs import JUDGES, paired
from hybridsearch.errors import UserError
from hybridsearch.types import Measure, accuracy_of

ACCURACY = accuracy_of(10)


def run(label, seed, accuracy, validation=-0.1, incumbent=-0.2, measure=ACCURACY):
    winner = None if accuracy is None else {"mean": accuracy, "validation": validation}
    return SimpleNamespace(
        config=SimpleNamespace(label=label, seed=seed),
        measure=measure,
        summary={"winner": winner, "incumbent_fitness": incumbent},
        distinct=[{"order": k, "fitness": f} for k, f in enumerate((-0.5, -0.3, -0.4), start=1)],
        fully_trained=[{"order": 2}, {"order": 3}],
    )


def runs(gaps, label="evolution"):
    """rl ahead of the other by gaps, seed by seed, whatever the seed is worth."""
    rl = [run("rl", k, 0.9 + 0.01 * k + gap) for k, gap in enumerate(gaps)]
    return [*rl, *(run(label, k, 0.9 + 0.01 * k) for k in range(len(gaps)))]


def test_what_a_seed_is_worth_cancels():
    found = paired(runs([0.010, 0.012, 0.011]), "rl", "evolution")
    assert found.seeds == (0, 1, 2)
    assert found.difference.mean == pytest.approx(0.011)
    assert 0 < found.difference.low < 0.011 < found.difference.high
    assert found.shown
    assert found.told.startswith("+1.10 points (+")
    assert "+1.10" in found.sentence and "points" in found.sentence
    assert found.sentence.endswith("rl is shown to be better than evolution.")
    other_way = paired(runs([0.010, 0.012, 0.011]), "evolution", "rl")
    assert other_way.difference.mean == pytest.approx(-0.011)
    assert other_way.sentence.endswith("rl is shown to be better than evolution.")


def test_of_an_error_less_is_better():
    error = Measure("mse", higher=False, chance=1.0, perfect=0.0)
    told = [run("rl", k, 0.3 + 0.01 * k, measure=error) for k in range(3)]
    told += [run("local", k, 0.2 + 0.011 * k, measure=error) for k in range(3)]
    found = paired(told, "rl", "local")
    assert found.told.startswith("+0.0") and "%" not in found.told
    assert found.sentence.startswith("Test mse of the winner, rl minus local: +0.0")
    assert found.sentence.endswith("local is shown to be better than rl.")


def test_a_run_without_a_value_says_nothing_of_the_direction():
    error = Measure("mse", higher=False, chance=1.0, perfect=0.0)
    told = [run("rl", 9, None)]  # not finished, and its config does not say what it measures
    told += [run("rl", k, 0.3 + 0.01 * k, measure=error) for k in range(3)]
    told += [run("local", k, 0.2 + 0.011 * k, measure=error) for k in range(3)]
    found = paired(told, "rl", "local")
    assert found.scale == error
    assert found.sentence.endswith("local is shown to be better than rl.")


def test_an_interval_that_holds_0_shows_nothing():
    found = paired(runs([0.01, -0.012, 0.011]), "rl", "evolution")
    assert found.difference.low < 0 < found.difference.high
    assert not found.shown
    assert found.sentence.endswith("No difference is shown.")


@pytest.mark.parametrize("gaps", [[0.01, 0.01], [1 / 3, 1 / 3, 1 / 3]])
def test_an_interval_of_no_width_shows_nothing(gaps):
    """Equal differences; in the last bits they are not."""
    found = paired(runs(gaps), "rl", "evolution")
    assert [found.difference.low, found.difference.high] == pytest.approx([gaps[0]] * 2)
    assert not found.shown
    assert found.sentence.endswith("No difference is shown.")


def test_shared_seeds_without_a_value_are_told():
    """As on a recorded table, where nothing is retested."""
    told = [run(label, seed, None) for label in ("rl", "evolution") for seed in range(3)]
    found = paired(told, "rl", "evolution")
    assert (found.common, found.seeds) == (3, ())
    assert "have that on no shared seed, so nothing can be said." in found.sentence
    assert "have no seed in common" in paired(told, "rl", "local").sentence
    some = paired([*told, run("rl", 0, 0.9), run("evolution", 0, 0.8)], "rl", "evolution")
    assert "have that on one shared seed, which shows nothing." in some.sentence


def test_only_shared_seeds_count_and_one_is_none():
    told = [*runs([0.01]), run("rl", 7, 0.5), run("evolution", 8, 0.6), run("random", 7, 0.1)]
    told.append(run("evolution", 7, None))  # nothing was trained
    found = paired(told, "rl", "evolution")
    assert (found.seeds, found.difference, found.told) == ((0,), None, "-")
    assert "one shared seed" in found.sentence
    assert paired(told, "rl", "local").seeds == ()
    assert "no seed in common" in paired(told, "rl", "local").sentence


@pytest.mark.parametrize(
    ("by", "value"),
    [("test", 0.9), ("validation", -0.1), ("search", -0.2), ("course", -0.3)],
)
def test_a_judge_is_read_off_the_run(by, value):
    assert JUDGES[by].of(run("rl", 0, 0.9)) == pytest.approx(value)


def test_a_winner_is_judged_on_seeds_that_did_not_name_it():
    found = run("rl", 0, 0.9)
    found.summary["duel"] = {"winner": {"mean": 0.7}}
    assert JUDGES["test"].of(found) == 0.7
    assert JUDGES["validation"].of(found) == -0.1


def test_an_unknown_judge_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'validation'"):
        paired([], "rl", "evolution", "validaton")
