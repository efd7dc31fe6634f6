"""The end of a run, with trainings whose results a test decides."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.genome.function import baselines, resolve
from hybridsearch.observe import Silent
from hybridsearch.packed import pack
from hybridsearch.retest import retest
from hybridsearch.types import Evaluation, Measure, Scale, Status, Task, numbers_for

EXAMPLES = 30
MEASURE = Measure("own", higher=True, chance=0.0, perfect=1.0)


class Decided:
    """A recorder of a metric of one's own, one number per split. diverge: whether a function's
    children diverge, by its key.
    """

    def __init__(self, diverge):
        self.diverge = diverge
        self.evaluator = SimpleNamespace(
            scale=Scale.of("metric", MEASURE, 1.0),
            measure=MEASURE,
            test_images=EXAMPLES,
            replicates=lambda f, key, steps, seeds: [Task(f, key, steps, s, "") for s in seeds],
            test_task=lambda task: replace(task, split="test"),
            forget=lambda: None,
        )
        self.log = SimpleNamespace(append=lambda payload: None, sync=lambda: None)

    def evaluate(self, tasks, keep_below=0, progress=None, needed=None):
        done = {task.hash: self._result(task) for task in tasks}
        if any(done[t.hash].status is Status.ERROR and t.key in (needed or ()) for t in tasks):
            raise UserError("needed")
        return done

    def _result(self, task):
        if self.diverge(task.key):
            return Evaluation(task.hash, Status.DIVERGED)
        each = pack([0.5]) if task.split == "test" else None
        return Evaluation(task.hash, Status.OK, 1.0, 0.5, each=each)


class Lucky(Decided):
    """Of accuracies: all are alike, but one function has luck with the seeds that name it."""

    def __init__(self, key, seeds):
        super().__init__(lambda key: False)
        self.key, self.seeds, self.done = key, seeds, []

    def _result(self, task):
        self.done.append(task)
        lucky = 0.3 * (task.key == self.key and task.seed in self.seeds)
        each = pack([0.5 + lucky] * EXAMPLES) if task.split == "test" else None
        return Evaluation(task.hash, Status.OK, 1.0, 0.5 + lucky, each=each)


@pytest.mark.parametrize("duel", [True, False])
def test_luck_that_names_a_winner_does_not_count_in_the_duel(duel):
    config = make_config({"seed": 7, "retest": {"seeds": 3, "first": 5, "duel": duel}})
    found = resolve("mul sin x tanh x")
    recorder = Lucky(found.key, set(numbers_for(7, "retest", 5, 3)))
    answer = retest(config, [found.spec, baselines()[0].spec], recorder, Silent())
    assert answer.winner.function.key == found.key
    assert answer.winner.test.mean == pytest.approx(0.8)
    assert answer.difference.mean == pytest.approx(0.0 if duel else 0.3)
    assert answer.verdict == ("not shown" if duel else "better")
    seeds = {task.seed for task in recorder.done if task.key == found.key}
    assert seeds == set(numbers_for(7, "retest", 5, 6 if duel else 3))
    if duel:
        told = answer.duel.to_json()
        assert told["seeds"] == 3
        assert told["winner"]["mean"] == pytest.approx(told["best_baseline"]["mean"])
    else:
        assert answer.duel is None


def test_a_baseline_that_was_found_again_needs_no_duel():
    relu = resolve("ReLU")
    lucky = Lucky(relu.key, set(numbers_for(0, "retest", 0, 10)))
    answer = retest(make_config({}), [relu.spec], lucky, Silent())
    assert answer.duel is None


class Faulty(Decided):
    """The machine fails at one function's seed on a split; what a function is worth: its key."""

    def __init__(self, key, split):
        super().__init__(lambda key: False)
        self.key, self.split = key, split
        self.left = []
        self.evaluator.forget = lambda: self.left.append("forgotten")
        self.log = SimpleNamespace(append=self.left.append, sync=lambda: None)

    def _result(self, task):
        if (task.key, task.split.partition("-")[0]) == (self.key, self.split) and task.seed % 2:
            return Evaluation(task.hash, Status.ERROR, message="no memory")
        return super()._result(task)


SEEDS = {"retest": {"seeds": 4, "resamples": 100}}
FOUND = [resolve("mul sin x tanh x"), resolve("mul cos x tanh x")]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_finalist_that_the_machine_fails_is_none(split, notes):
    """The first of equals would be the winner, on whom all depends once it is named."""
    lost, other = FOUND if split == "validation" else FOUND[::-1]
    recorder = Faulty(lost.key, split)
    answer = retest(make_config(SEEDS), [f.spec for f in FOUND], recorder, notes)
    assert [t.function.key for t in answer.finalists] == [other.key]
    assert answer.winner.function.key == other.key
    assert len(answer.baselines) == 9
    [line] = notes.lines
    assert line.startswith(f"{lost.label} is left out: a training failed twice by the machine's")
    named = [p for p in recorder.left if p != "forgotten"]
    assert (lost.key in named[0]["validation"]) == (split == "test")


def test_without_a_finalist_that_the_machine_does_not_fail_there_is_no_answer():
    recorder = Faulty(FOUND[0].key, "validation")
    assert retest(make_config(SEEDS), [FOUND[0].spec], recorder, Silent()) is None
    assert recorder.left == ["forgotten"]


@pytest.mark.parametrize("key", ["winner", "baseline", "rediscovered"])
def test_winner_and_baselines_are_needed(key):
    relu = resolve("ReLU")
    lost, split = {
        "winner": (FOUND[0], "test"),
        "baseline": (relu, "validation"),
        "rediscovered": (relu, "test"),
    }[key]
    specs = [FOUND[0].spec, *([relu.spec] if key == "rediscovered" else [])]
    with pytest.raises(UserError, match="needed"):
        retest(make_config(SEEDS), specs, Faulty(lost.key, split), Silent())


@pytest.mark.parametrize("diverged", ["winner", "baselines", "all", "none"])
def test_one_number_per_split_is_compared_also_where_all_children_of_a_function_diverged(diverged):
    config = make_config({"retest": {"seeds": 3, "resamples": 200}})
    named = {f.key for f in baselines()}
    found = resolve("mul sin x tanh x")
    assert found.key not in named
    diverge = {
        "winner": lambda key: key not in named,
        "baselines": lambda key: key in named,
        "all": lambda key: True,
        "none": lambda key: False,
    }[diverged]
    answer = retest(config, [found.spec], Decided(diverge), Silent())
    gap = {"winner": -0.5, "baselines": 0.5}.get(diverged, 0.0)
    assert answer.difference.mean == pytest.approx(gap)
    width = EXAMPLES if diverged == "all" else 1
    assert {t.values.shape for t in (*answer.finalists, *answer.baselines)} == {(3, width)}
