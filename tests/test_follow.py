"""The log alone tells what the search would say of itself."""

from __future__ import annotations

import pytest

from hybridsearch.analysis.runs import load_run
from hybridsearch.follow import Follow
from hybridsearch.observe import Silent
from hybridsearch.session import search


class Seen(Silent):
    """An observer that keeps what it is told."""

    def __init__(self):
        self.snapshots, self.stages = [], []

    def snapshot(self, now):
        self.snapshots.append(now)

    def stage(self, name, total):
        self.stages.append((name, total))


def followed(folder, upto=None):
    run = load_run(folder)
    course = Follow(run.config)
    course.see(run.trials[:upto])
    return course


def same(mine, theirs):
    """All but seconds, which no log has."""
    names = set(vars(mine)) - {"seconds"}
    return {n: getattr(mine, n) for n in names} == {n: getattr(theirs, n) for n in names}


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "evolution", "batch": 3, "evolution": {"population": 3}},
        {
            "strategy": "random",
            "race": {"candidates": 4, "seeds": 1},
            "retest": {"finalists": 1, "duel": True},
        },
        {
            "strategy": "random",
            "race": {"candidates": 2, "seeds": 1, "one_in": 2},
            "retest": {"finalists": 1, "duel": True},
        },
        {"strategy": "random", "seconds": 10_000.0},
        {"strategy": "random", "retest": {"finalists": 5}, "fidelity": {"keep": 0.1, "first": 1}},
    ],
    ids=[
        "without a race",
        "with a race",
        "with a race of a long search",
        "with a time limit",
        "with stopped finalists",
    ],
)
def test_it_tells_what_an_observer_is_told(tiny, tmp_path, changes):
    seen, folder = Seen(), tmp_path / "runs" / "a"
    search(tiny(budget=6, **changes), folder, seen)
    run = load_run(folder)
    course = Follow(run.config)
    told = [course.snapshot()]
    stages = {}
    for record in run.trials:
        course.see([record])
        stage = course.stage()
        stages.setdefault(stage.name, stage.total)
        assert 0 <= stage.done <= stage.total
        if record[0]["kind"] == "outcome":
            told.append(course.snapshot())
    for theirs in seen.snapshots:
        assert any(same(mine, theirs) for mine in told), theirs
    assert same(course.snapshot(), seen.snapshots[-1])
    assert list(stages.items()) == seen.stages
    last = course.stage()
    assert (last.name, last.done) == ("duel" if run.config.retest.duel else "test", last.total)
    assert course.ended == run.summary["ended"]


def test_what_came_last_is_remembered(finished_run):
    course = followed(finished_run)
    distinct = load_run(finished_run).distinct
    assert list(course.recent) == distinct[-len(course.recent) :]


def test_a_rung_counts_the_functions_of_its_batch(finished_run):
    run = load_run(finished_run)
    first = next(k for k, (p, _) in enumerate(run.trials) if p["kind"] == "outcome")
    rungs = [(p["steps"], k) for k, (p, _) in enumerate(run.trials[:first])]
    low = [k for steps, k in rungs if steps == rungs[0][0]]
    course = followed(finished_run, len(low))
    assert (course.rung, course.on_rung) == (1, len(low))
    course = followed(finished_run, first)
    assert course.rung == 3
    course = followed(finished_run, first + 1)
    assert course.on_rung == 0
