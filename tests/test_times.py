"""Runs that measure times: the front, the log, kills, failures, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hybridsearch.analysis.runs import load_run
from hybridsearch.cli import main
from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evaluate import evaluator as evaluator_module
from hybridsearch.evaluate import worker
from hybridsearch.genome.function import resolve
from hybridsearch.knowledge import Knowledge, Known
from hybridsearch.pools.base import InlinePool
from hybridsearch.session import resume, search
from hybridsearch.times import front
from hybridsearch.types import Scale, Status

SETTINGS = {
    "strategy": "evolution",
    "budget": 12,
    "batch": 6,
    "evolution": {"objectives": "score_time", "population": 4},
}


def payloads(folder):
    return [payload for payload, _ in load_run(folder).trials]


def timings(folder):
    """The records of times: (payload, volatile)."""
    return [r for r in load_run(folder).trials if r[0].get("split") == "time"]


@pytest.fixture
def finished(tiny, tmp_path):
    config = tiny(**SETTINGS)
    return config, search(config, tmp_path / "one" / "a")


def dominated(row, rows):
    return any(
        other["fitness"] >= row["fitness"]
        and other["nanoseconds_per_element"] <= row["nanoseconds_per_element"]
        and other != row
        for other in rows
    )


def test_a_run_ends_with_its_front_beside_known_functions(finished):
    _, summary = finished
    run = load_run(summary["folder"])
    able = [o for o in run.distinct if o["status"] == "ok"]
    assert all(o["cost"] > 0 for o in able)
    keys = [p["key"] for p, _ in timings(run.folder)]
    known = {resolve(name).key for name in ("ReLU", "Swish", "GELU")}
    assert keys[:-3] == [o["key"] for o in able]  # each once
    assert set(keys[-3:]) == known
    full = [
        {"key": o["key"], "fitness": o["fitness"], "nanoseconds_per_element": 1e9 * o["cost"]}
        for o in able
        if o["rung"] == 2 and o["fitness"] > -math.log(10)  # who learned nothing is no choice
    ]
    assert len(full) >= 2
    shown = [{k: row[k] for k in full[0]} for row in summary["pareto"]]
    assert shown == sorted(
        (row for row in full if not dominated(row, full)), key=lambda row: -row["fitness"]
    )
    assert summary["incumbent"] == summary["pareto"][0]["expression"]
    assert set(summary["times"]) == {"ReLU", "Swish", "GELU"}
    assert all(0.01 < ns < 1e5 for ns in summary["times"].values())
    assert summary["timed_on"] == "a tensor of 1,024 elements, fp32, one thread"
    assert (run.folder / "pareto.png").stat().st_size > 0
    told = {o["key"]: o["cost"] for o in able}
    assert all(o["cost"] == told[o["key"]] for o in run.outcomes if o["key"] in told)


@pytest.mark.slow
def test_hybrid_measures_too_and_others_do_not(tiny, tmp_path):
    small = {"controller": {"hidden": 8, "embedding": 4}}
    mixed = search(tiny(**SETTINGS | {"strategy": "hybrid"}, **small), tmp_path / "x" / "a")
    assert mixed["pareto"]
    for number, changes in enumerate(
        [{"strategy": "random"}, {"strategy": "rl"}, {"evolution": {"population": 4}}]
    ):
        plain = search(tiny(**SETTINGS | changes), tmp_path / str(number) / "a")
        assert not {"pareto", "times", "timed_on"} & set(plain)
        assert timings(plain["folder"]) == []
        assert all("cost" not in p for p in payloads(plain["folder"]) if p["kind"] == "evaluation")
        assert all(o["cost"] is None for o in load_run(plain["folder"]).outcomes)
        assert not (load_run(plain["folder"]).folder / "pareto.png").exists()


def test_a_second_run_takes_the_times_from_the_cache(finished, tmp_path, monkeypatch):
    config, summary = finished
    monkeypatch.setattr(worker, "seconds_per_element", lambda *rest: pytest.fail("measured again"))
    again = search(config, tmp_path / "one" / "b")
    assert payloads(again["folder"]) == payloads(summary["folder"])
    assert again["pareto"] == summary["pareto"]
    assert again["times"] == summary["times"]
    assert all(about["cached"] for _, about in timings(again["folder"]))


class Crash(BaseException):
    """The end of the driver, as a kill would bring it."""


class CrashingPool(InlinePool):
    """Does so many jobs and then ends the driver. Who is timed takes a made-up time."""

    def __init__(self, left):
        self.left = left
        self.timed = []

    def run(self, function, jobs, limit):
        for name, job in jobs.items():
            if self.left == 0:
                raise Crash
            self.left -= 1
            ((_, result),) = super().run(function, {name: job}, limit)
            if function is worker.run and job.task.split == "time":
                self.timed.append(name)
                made_up = 1e-9 * (1 + int(job.task.key[-4:], 36) % 97)
                result = (replace(result[0], cost=made_up),)
            yield name, result


@pytest.fixture
def pool(monkeypatch):
    """A function that puts a CrashingPool in the place of a run's pool, and returns it."""

    def put(left):
        made = CrashingPool(left)
        monkeypatch.setattr(evaluator_module, "make_pool", lambda kind, workers: made)
        return made

    return put


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("share", "keep_cache"),
    [
        pytest.param(0.4, False, marks=SLOW),
        (0.6, True),
        pytest.param(0.0, True, marks=SLOW),
        pytest.param(0.8, False, marks=SLOW),
        pytest.param(0.95, False, marks=SLOW),
    ],
)
def test_a_run_that_is_ended_anywhere_resumes_with_the_times_of_its_log(
    tiny, tmp_path, pool, share, keep_cache
):
    config = tiny(**SETTINGS)
    everything = pool(10**6)
    whole = search(config, tmp_path / "whole" / "a")
    assert len({p["cost"] for p, _ in timings(whole["folder"])}) > 5
    folder = tmp_path / "killed" / "a"
    killed = pool(int(share * (10**6 - everything.left)))
    with pytest.raises(Crash):
        search(config, folder)
    in_log = {p["task"] for p, _ in timings(folder)}
    if not keep_cache:
        (folder.parent / "cache.sqlite").unlink()
    resumed = pool(10**6)
    summary = resume(folder)
    assert payloads(folder) == payloads(whole["folder"])
    assert not in_log & set(resumed.timed)
    assert set(resumed.timed) | set(killed.timed) == set(everything.timed)
    assert (summary["pareto"], summary["times"]) == (whole["pareto"], whole["times"])


def test_a_measured_time_is_never_replaced_by_another(finished, monkeypatch):
    """A finished run resumes to itself, though a clock would now say something else."""
    _, summary = finished
    before = payloads(summary["folder"])
    load_run(summary["folder"]).folder.parent.joinpath("cache.sqlite").unlink()
    monkeypatch.setattr(worker, "seconds_per_element", lambda *rest: 1.0)
    again = resume(summary["folder"])
    assert payloads(summary["folder"]) == before
    assert again["pareto"] == summary["pareto"]


def test_a_measurement_that_fails_is_no_time_and_the_search_goes_on(tiny, tmp_path, monkeypatch):
    real = worker.seconds_per_element

    def fussy(trainer, function, kernel):
        if function.name == "GELU" or function.key[-1] in "0123456":
            raise RuntimeError("no clock")
        return real(trainer, function, kernel)

    monkeypatch.setattr(worker, "seconds_per_element", fussy)
    summary = search(tiny(**SETTINGS), tmp_path / "one" / "a")
    run = load_run(summary["folder"])
    able = [o for o in run.distinct if o["status"] == "ok"]
    timeless = [o["key"] for o in able if o["cost"] is None]
    assert timeless == [o["key"] for o in able if o["key"][-1] in "0123456"] != []
    assert len(timeless) < len(able)
    assert summary["budgets"]["distinct"] == 12
    assert summary["times"]["GELU"] is None
    assert not {row["key"] for row in summary["pareto"]} & set(timeless)
    failed = [p for p, _ in timings(run.folder) if p["status"] == "error"]
    assert {p["message"] for p in failed} == {"RuntimeError: no clock"}
    assert payloads(resume(run.folder)["folder"]) == payloads(run.folder)


def test_the_front_of_numbers_made_by_hand():
    made = {  # spec: fitness, nanoseconds, rung, status
        "max relu x relu x": (0.80, 1.0, 2, Status.OK),  # the fastest
        "mul id x sigmoid x": (0.95, 4.0, 2, Status.OK),  # the best
        "max id x tanh x": (0.90, 2.0, 2, Status.OK),  # between them
        "sub cos x id x": (0.90, 3.0, 2, Status.OK),  # as good, slower
        "min id x sin x": (0.70, 1.5, 2, Status.OK),  # worse and slower than the fastest
        "add sinc x id x": (0.99, 0.5, 1, Status.OK),  # stopped early: a predicted score
        "mul id x tanh x": (0.99, None, 2, Status.OK),  # no time
        "mul exp x exp x": (0.10, 0.1, 2, Status.DIVERGED),
    }
    scale = Scale.of_classes("accuracy", 10)
    known = Knowledge(SimpleNamespace(top=2, scale=scale))
    for spec, (fitness, ns, rung, status) in made.items():
        entry = Known(spec, status, fitness, rung, cost=ns and 1e-9 * ns)
        known.keep(resolve(spec).key, entry)
    rows = front(SimpleNamespace(known=known))
    assert [row["expression"] for row in rows] == ["x*sigmoid(x)", "max(x, tanh(x))", "max(x, 0)"]
    assert [row["fitness"] for row in rows] == [0.95, 0.90, 0.80]
    assert [row["nanoseconds_per_element"] for row in rows] == pytest.approx([4.0, 2.0, 1.0])
    assert [resolve(row["function"]).key for row in rows] == [row["key"] for row in rows]


@pytest.mark.parametrize(
    ("strategy", "objectives", "measured"),
    [
        ("evolution", "score_time", True),
        ("hybrid", "score_time", True),
        ("rl", "score_time", False),
        ("evolution", "score", False),
    ],
)
def test_times_are_measured_for_who_reads_them(strategy, objectives, measured):
    config = Config(strategy=strategy, evolution={"objectives": objectives})
    assert config.measures_times is measured


def test_the_table_of_the_front_is_printed(finished, capsys, monkeypatch):
    _, summary = finished
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["resume", summary["folder"]]) == 0
    out = capsys.readouterr().out
    assert "Score against time" in out
    assert summary["timed_on"] in " ".join(out.split())
    best = summary["pareto"][0]
    line = next(line for line in out.splitlines() if line.startswith("│ front"))
    assert best["label"] in line
    assert f"{best['fitness']:.4f}" in line
    assert f"{best['nanoseconds_per_element']:.3g}" in line
    assert out.count("to compare") == 3


@pytest.mark.parametrize("name, value", [("pipeline", 1), ("endgame", 4)])
def test_times_are_not_measured_beside_trainings(tiny, tmp_path, name, value):
    config = tiny(**SETTINGS, **{name: value})
    with pytest.raises(UserError, match=rf"score_time .*{name} \(got {value}\)"):
        search(config, tmp_path / "a")
    assert not (tmp_path / "a").exists()
