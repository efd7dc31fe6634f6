"""The end of a run, with trainings whose results a test decides."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hybridsearch.config import make_config
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

    def evaluate(self, tasks, keep_below=0, progress=None, strict=False):
        return {task.hash: self._result(task) for task in tasks}

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
