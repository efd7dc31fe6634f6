"""Several runs at once: which folders are meant, and which runs may be compared."""

from __future__ import annotations

import pytest
import yaml

import hybridsearch
from hybridsearch.analysis.pictures import axis
from hybridsearch.analysis.runs import LOWER, USUAL, alike, load_runs
from hybridsearch.errors import UserError
from hybridsearch.evaluate.losses import LOSSES, METRICS, metric_for
from hybridsearch.store.disk import write_json


@pytest.fixture
def make(tmp_path, monkeypatch, tiny):
    """A function that makes the folder of a run, finished but without records."""
    monkeypatch.chdir(tmp_path)

    def made(name, finished=True, **changes):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        settings = tiny(**changes).model_dump(mode="json")
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        (folder / "trials.jsonl").touch()
        write_json(folder / "environment.json", {})
        if finished:
            write_json(folder / "summary.json", {"verdict": "not shown"})
        return folder

    return made


def names(runs):
    return [run.folder.name for run in runs]


def test_a_run_a_folder_a_pattern_or_several(make, tmp_path):
    for name in ("rl-a", "rl-b", "evolution-a"):
        make(name)
    (tmp_path / "runs/notes").mkdir()
    (tmp_path / "runs/cache.sqlite").touch()
    assert names(load_runs("runs/rl-b")) == ["rl-b"]
    assert names(load_runs(tmp_path / "runs")) == ["evolution-a", "rl-a", "rl-b"]
    assert names(load_runs("runs/rl-*")) == ["rl-a", "rl-b"]
    assert names(load_runs("runs")) == names(load_runs(str(tmp_path / "*")))
    assert names(load_runs(["runs/rl-*", tmp_path / "runs"])) == ["evolution-a", "rl-a", "rl-b"]
    assert hybridsearch.load_runs is load_runs


@pytest.mark.parametrize("where", ["runs/hybrid-*", "nowhere", ["runs/rl-*", "runs/hybrid-*"]])
def test_what_leads_to_no_run_is_named(make, where):
    make("rl-a")
    with pytest.raises(UserError, match="expected the folder of a run, a folder of runs") as error:
        load_runs(where)
    assert str(where if isinstance(where, str) else where[1]) in str(error.value)


def test_alike_are_those_that_were_asked_the_same(make):
    make("rl-a", strategy="rl", seed=0)
    make("rl-b", strategy="rl", seed=1, workers=2)  # changes no number
    make("evolution-a", strategy="evolution", seed=0, evolution={"population": 8})
    make("evolution-b", strategy="evolution", seed=1, budget=9)
    make("evolution-c", strategy="evolution", seed=2, training={"steps": 10})
    make("rl-c", finished=False, strategy="rl", seed=2)
    assert names(alike(load_runs("runs"))) == ["evolution-a", "rl-a", "rl-b"]
    assert alike([]) == []


@pytest.mark.parametrize(
    ("changes", "name", "higher"),
    [
        ({}, "accuracy", True),
        ({"metric": "mae"}, "mae", False),
        ({"metric": "r2"}, "r2", True),
        ({"data": {"name": "mine:load"}, "training": {"loss": "huber"}}, "r2", True),
        ({"training": {"loss": "mine:loss"}}, "loss", False),
        ({"metric": {"name": "mine:Of.cost", "goal": "min"}}, "cost", False),
        ({"data": {"name": "mine:load"}}, "metric", True),  # the data alone know
    ],
)
def test_what_an_unfinished_run_is_going_to_measure(make, changes, name, higher):
    run = load_runs(make("rl-a", finished=False, **changes))[0]
    assert (run.measure.name, run.measure.higher) == (name, higher)
    assert ("nats" in axis(run)) == (name == "accuracy")


def test_the_metrics_are_those_of_the_evaluator():
    assert {name for name, (higher, _) in METRICS.items() if not higher} == set(LOWER)
    assert {*USUAL} == {*LOSSES}
    assert {loss: metric_for("auto", loss) for loss in LOSSES} == USUAL


def test_the_top_is_that_of_the_ladder_where_rungs_fall_together(make):
    run = load_runs(make("rl-a", training={"steps": 2}, fidelity={"rungs": [0.1, 0.5, 1.0]}))[0]
    assert run.top == 1
