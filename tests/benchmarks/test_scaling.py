"""The simulated cluster, and what is made of its runs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import repeated
import scaling
from parts.landscape import landscape
from parts.simulated import Cluster, Row, Setup, durations, simulate

from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Space
from hybridsearch.types import Task


def test_workers_take_the_lowest_rank_and_the_clock_jumps_to_who_is_done_first():
    cluster = Cluster(2, overhead=1.0)
    for name, seconds, rank in (("a", 10.0, 0), ("b", 4.0, 0), ("c", 2.0, 1), ("d", 1.0, 0.5)):
        cluster.give(name, seconds, rank)
    assert [cluster.wait() for _ in range(5)] == ["b", "d", "c", "a", None]
    # a: 0 to 11; b: 0 to 5; d: 5 to 7; c: 7 to 10.
    assert cluster.driver == 11.0
    assert cluster.utilisation == pytest.approx(17 / 22)


def test_a_driver_that_thinks_lets_workers_go_on_with_what_they_have():
    cluster = Cluster(1, overhead=0.0)
    cluster.give("a", 3.0, 0)
    cluster.give("b", 3.0, 0)
    cluster.think(10.0)
    assert [cluster.wait(), cluster.wait()] == ["a", "b"]
    assert cluster.driver == 10.0
    cluster.give("c", 1.0, 0)
    assert cluster.wait() == "c"
    assert cluster.driver == 11.0


def task(expression, seed=0):
    function = resolve(expression)
    return Task(function.spec, function.key, 200, seed, "")


def test_a_function_of_two_units_has_a_score_that_its_company_does_not_change():
    land = landscape("cifar10", 3)
    some = [task("(x*sigmoid(x))*(sin(x))"), task("max(x, 0)+(tanh(x)*exp(-x^2))")]
    land.learn(some)
    truths = [land.truth(one.key) for one in some]
    assert len(set(truths)) == 2
    again = type(land)(land.table, 3)
    again.learn(some[::-1])
    assert [again.truth(one.key) for one in some] == truths


def test_functions_are_spread_as_those_of_the_table_are():
    """Their scores, not only their mean: half of them are below the table's median."""
    land = landscape("cifar10", 3)
    rng = np.random.default_rng(1)
    drawn = {Genome(Space(1, 1).sample(rng)) for _ in range(300)}
    some = [task(str(genome)) for genome in drawn]
    land.learn(some)
    truths = np.array([land.truth(one.key) for one in some])
    for share in (0.5, 0.8, 0.95):
        assert np.mean(truths > np.quantile(land.means, share)) == pytest.approx(1 - share, abs=0.1)


def test_there_is_always_a_better_function_and_between_two_there_is_a_third():
    land = landscape("cifar10", 3)
    truths = [land.place(spread)[1] for spread in np.linspace(2.0, 20.0, 200)]
    assert np.all(np.diff(truths) > 0)
    assert truths[-1] > land.means.max()
    assert land.place(0.0) == (0, land.means[0])


def test_trainings_scatter_as_the_replicates_of_the_table_do_and_one_seed_is_one_training():
    land = landscape("cifar10", 3)
    good = task("x*sigmoid(x)")
    land.learn([good])
    truth = land.truth(good.key)
    tasks = [task("x*sigmoid(x)", seed=k) for k in range(400)]
    left = np.array([[-land.loss(one, rung) for rung in (0, 4)] for one in tasks])
    assert np.all(np.abs(left) < 5)
    assert left[:, 1].mean() == pytest.approx(truth, abs=0.01)
    scores = land.table.scores("validation")[:, :, -1]
    alike = np.isfinite(scores[:, :6]).all(axis=1)  # the best have six replicates
    spread = scores[alike].std(axis=1, ddof=1)
    assert left[:, 1].std() == pytest.approx(np.sqrt((spread**2).mean()), rel=0.25)
    assert len(set(left[:, 1])) == 400
    assert land.loss(tasks[7], 4) == -left[7, 1]
    assert abs(np.corrcoef(left.T)[0, 1]) < 0.6


def test_a_bad_function_diverges_as_often_as_those_like_it_did():
    land = landscape("cifar10", 3)
    bad = Task("bad", "bad", 200, 0, "")
    land._known["bad"] = land.place(0.02)  # among the worst fiftieth
    failed = [np.isnan(land.loss(replace(bad, seed=k), 0)) for k in range(200)]
    assert np.mean(failed) == pytest.approx(land._failing[0], abs=0.1)
    assert land._failing[0] > 0.5 > 0.01 > land._failing[-1]


def test_durations_are_those_of_a_recording():
    factors = durations()
    assert np.median(factors) == pytest.approx(1.0, abs=0.02)
    assert 2 < factors.max() / np.median(factors) < 5


def test_a_search_is_the_same_on_few_and_many_workers_and_uses_those_it_has():
    """At an equal budget; the driver's own seconds are all that differs from run to run."""
    few, many = (simulate(Setup("random", n, 1, 15, 0, 3)) for n in (1, 1))
    assert (few.incumbent, few.mean, few.steps) == (many.incumbent, many.mean, many.steps)
    assert few.functions == 64
    assert few.utilisation > 0.99
    assert few.met >= few.candidates >= max(few.incumbent, few.winner)
    waiting = simulate(Setup("random", 4, 4, 0, 0, 3))
    pipelined = simulate(Setup("random", 4, 1, 15, 64, 3))
    crowded = simulate(Setup("random", 4, 1, 63, 0, 3))
    assert waiting.utilisation < 0.6 < 0.9 < min(pipelined.utilisation, crowded.utilisation)


def row(setup, incumbent, met=0.0):
    return Row(setup, 0.5, 2.0, 0.1, 0.2, 64, incumbent, incumbent - 1, incumbent, incumbent, met)


def test_the_loss_is_the_regret_of_the_pipelined_search_over_that_of_the_sequential_one():
    rows = {}
    for seed in range(8):
        for mode, regret in (("sequential", 1.0 + seed), ("pipelined", 1.1 * (1.0 + seed))):
            one = scaling.setup(mode, "random", 4, seed)
            rows[one] = row(one, 3.0 - regret, met=3.0)
    [found] = scaling.losses(rows, "incumbent")
    assert found["mean"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1)
    assert (found["workers"], found["seeds"]) == (4, 8)
    records = {r["mode"]: r for r in scaling.summarise(rows)}
    assert records["sequential"]["regret"]["mean"] == pytest.approx(4.5)
    assert (records["pipelined"]["pipeline"], records["pipelined"]["endgame"]) == (11, 32)


def test_one_worker_has_the_same_search_under_two_names():
    """Batches of one per worker are batches of one; each is simulated once."""
    one = scaling.setup("waiting for all", "random", 1, 0)
    assert one == scaling.setup("sequential", "random", 1, 0)
    modes = [r["mode"] for r in scaling.summarise({one: row(one, 1.0)})]
    assert modes == ["waiting for all", "sequential"]


def test_kept_rows_are_not_simulated_again_and_all_is_written(tmp_path, monkeypatch, capsys):
    calls = []

    class Pool:
        def __init__(self, processes):
            pass

        def run(self, function, jobs, limit):
            for name, one in jobs.items():
                calls.append(one)
                yield name, row(one, -float(one.seed), met=1.0)

        def close(self):
            pass

    monkeypatch.setattr(repeated, "LokyPool", Pool)
    words = ["--only-simulated", "--workers", "4,1024", "--seeds", "3"]
    words += ["--rows", str(tmp_path / "rows"), "--json", str(tmp_path / "out.json")]
    assert scaling.main(words) == 0
    assert len(calls) == 30
    first = (tmp_path / "out.json").read_text()
    assert scaling.main(words) == 0
    assert len(calls) == 30
    assert (tmp_path / "out.json").read_text() == first
    earlier = tmp_path / "earlier.json"
    earlier.write_text('{"overhead_ms_per_task": 4.5, "pools": ["loky"], "simulated": []}')
    words = ["--rows", str(tmp_path / "rows"), "--json", str(tmp_path / "again.json")]
    assert scaling.main([*words, "--seeds", "0", "--measured", str(earlier)]) == 0
    assert len(calls) == 30
    found = json.loads((tmp_path / "again.json").read_text())
    assert found == {"overhead_ms_per_task": 4.5, "pools": ["loky"], **json.loads(first)}
    found = json.loads(first)
    assert found["utilisation_1024"] == 0.5
    assert found["efficiency_loss_1024"] == 0.0
    assert "1,024" in capsys.readouterr().out
