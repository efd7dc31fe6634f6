"""The race: it finds the best among noisy candidates, and a run that is stopped in it goes on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hybridsearch.analysis.runs import load_run
from hybridsearch.config import make_config
from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Space
from hybridsearch.observe import Silent
from hybridsearch.race import race, rounds
from hybridsearch.session import resume, search
from hybridsearch.types import Evaluation, Scale, Status, Task

NOISE = 1.0


class Noisy:
    """A recorder whose losses are what a function is worth, and noise that a seed decides."""

    def __init__(self, worth):
        self.worth, self.asked = worth, []
        self.evaluator = SimpleNamespace(
            scale=Scale.of_classes("loss", 10), replicates=self.replicates
        )

    def replicates(self, function, key, steps, seeds):
        return [Task(function, key, steps, seed, "") for seed in seeds]

    def evaluate(self, tasks, keep=False, progress=None, strict=False):
        self.asked += tasks
        progress(len(tasks))
        done = {}
        for task in tasks:
            noise = np.random.default_rng([task.seed, int(task.key[:8], 16)]).normal(0, NOISE)
            done[task.hash] = Evaluation(task.hash, Status.OK, self.worth[task.key] + noise / 10)
        return done


@pytest.fixture
def field():
    """24 functions in token text, and what they are worth by key: losses of 1.0 to 1.23."""
    rng, found = np.random.default_rng(0), {}
    while len(found) < 24:
        spec = str(Genome(Space().sample(rng)))
        found.setdefault(resolve(spec).key, spec)
    return list(found.values()), {key: 1 + k / 100 for k, key in enumerate(found)}


def test_half_of_them_stay_until_the_finalists_are_left():
    assert rounds(24, 5) == [24, 12, 6]
    assert rounds(6, 5) == [6] and rounds(11, 5) == [11, 6] and rounds(2, 1) == [2]


def test_with_no_more_candidates_than_finalists_nothing_is_trained(field):
    recorder = Noisy(field[1])
    found = race(make_config({}), field[0][:5], recorder, Silent())
    assert found.finalists == tuple(field[0][:5]) and found.trainings == 0
    assert not recorder.asked


def test_those_that_lead_train_more_and_the_best_are_finalists(field):
    specs, worth = field
    lost = []
    for seed in range(20):
        recorder = Noisy(worth)
        order = [specs[k] for k in np.random.default_rng(seed).permutation(24)]
        found = race(make_config({"seed": seed}), order, recorder, Silent())
        assert (found.candidates, found.trainings) == (24, 2 * (24 + 12 + 6))
        assert len(found.finalists) == 5 == len(set(found.finalists))
        trained = {t.key: 0 for t in recorder.asked}
        for task in recorder.asked:
            trained[task.key] += 1
        assert sorted(trained.values()) == [2] * 12 + [4] * 6 + [6] * 6
        assert {trained[resolve(spec).key] for spec in found.finalists} == {6}
        assert len({t.seed for t in recorder.asked}) == 6  # shared by all: a paired comparison
        lost.append(np.mean([worth[resolve(spec).key] for spec in found.finalists]) - 1.02)
    chance = np.mean(list(worth.values())) - 1.02
    assert np.mean(lost) < 0.4 * chance


def test_equals_stay_in_the_order_of_the_search(field):
    recorder = Noisy(dict.fromkeys(field[1], 1.0))
    recorder.evaluate = lambda tasks, **_: {
        t.hash: Evaluation(t.hash, Status.OK, 1.0) for t in tasks
    }
    found = race(make_config({}), field[0], recorder, Silent())
    assert found.finalists == tuple(field[0][:5])


def test_a_run_races_stopped_ones_too_and_goes_on_after_a_kill(tiny, tmp_path, monkeypatch):
    settings = {"race": {"candidates": 8}, "budget": 16, "strategy": "random"}
    settings |= {"fidelity": {"keep": 0.2, "first": 2}}
    whole = search(tiny(**settings), tmp_path / "one" / "a")
    assert whole["race"]["candidates"] > 2 and whole["race"]["trainings"] > 0
    assert len(whole["finalists"]) == 2

    def killed(*_args, **_more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hybridsearch.session.retest", killed)
        with pytest.raises(KeyboardInterrupt):
            search(tiny(**settings), tmp_path / "two" / "a")
    again = resume(tmp_path / "two" / "a")
    for name in ("race", "finalists", "winner", "verdict"):
        assert again[name] == whole[name]
    rungs = {o["key"]: o["rung"] for o in load_run(tmp_path / "two" / "a").distinct}
    assert set(rungs.values()) >= {0, 2}
