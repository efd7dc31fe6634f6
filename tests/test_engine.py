"""The loop with an evaluator that returns at once: what is kept, and what a kill may take."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hybridsearch import engine
from hybridsearch.engine import Search
from hybridsearch.fleet import BARREN
from hybridsearch.genome.genome import Genome
from hybridsearch.observe import Silent
from hybridsearch.propose.random import RandomProposer
from hybridsearch.recorder import Recorder
from hybridsearch.session import make_proposer
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog, read_log
from hybridsearch.types import TIME, Evaluation, Scale, Status, Task, accuracy_of


def later(*values):
    """Values for `make test-slow`: many kills take long together."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


class Kill(BaseException):
    """The end of the driver."""


class Free:
    """Made-up results at once: one function in eight diverges, one is the machine's fault."""

    scale, measure, test_images = Scale.of_classes("loss", 10), accuracy_of(10), 0

    def __init__(self, left=None):
        self.left = left  # evaluations until the driver is killed
        self.made = []

    def task(self, function, key, steps, seed):
        return Task(function, key, steps, seed, "context")

    def time_task(self, function, key):
        return Task(function, key, 0, 0, "context", TIME)

    def evaluate(self, tasks, keep_below=0):
        for task in tasks:
            yield self.answer(task)

    def answer(self, task):
        if self.left is not None:
            if not self.left:
                raise Kill
            self.left -= 1
        self.made.append(task.hash)
        kind, value = int(task.key[0], 16), int(task.key[1:8], 16) / 2**28
        if task.split == TIME:
            return Evaluation(task.hash, Status.OK, cost=1e-9 * (1 + value), seconds=1.0)
        if kind in (1, 2):
            return Evaluation(task.hash, Status.DIVERGED, message="up", seconds=1.0)
        if kind == 3:
            return Evaluation(task.hash, Status.ERROR, message="no memory", seconds=1.0)
        loss = 2 * value + 1 / task.steps
        return Evaluation(task.hash, Status.OK, loss, 1 - value, ((10, 1.5),), seconds=1.0)

    def forget(self, tasks=None):
        pass


class Shuffled(Free):
    """The same, done in any order, as by many workers; most: how many it had at a time."""

    most = 0

    def evaluate(self, tasks, keep_below=0):
        draw, there, seen = random.Random(0), [], 0
        while there or seen < len(tasks):
            there += tasks[seen:]
            seen, self.most = len(tasks), max(self.most, len(there))
            yield self.answer(there.pop(draw.randrange(len(there))))


@pytest.fixture
def start(tiny, tmp_path, abandoned):
    """A function that makes a search on the files of a folder, as a fresh process would."""

    def make(name, left=None, kind=Free, **changes):
        settings = {"budget": 60, "batch": 8, "training": {"steps": 100}, **changes}
        config = tiny(**settings)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        log = abandoned(RunLog(folder / "log"))
        recorder = Recorder(log, abandoned(Cache(folder / "cache")), kind(left))
        run = Search(config, make_proposer(config), recorder, Silent(), folder / "checkpoint")
        assert run.restore() == ""
        return run

    return make


def payloads(run):
    return [payload for payload, _ in read_log(run.recorder.log.path)]


def state(run):
    """All that decides how a search goes on, and what it says at its end."""
    able = [item for item in run.known.items() if item[1].order]
    return (
        run.known,
        able,  # their order decides between equals
        run.known.trained,
        run.known.best,
        run.ladder.extrapolation.pairs,
        run.steps_taken,
        (run.known.distinct, run.proposals, run.batches, run.barren),
        run.known.finalists(5),
        run.proposer.state().values,
    )


@pytest.fixture
def kill(monkeypatch, start):
    """A function that runs a search whole, and beside it kills it after so many evaluations and
    resumes it, with checkpoints every so many seconds: both are equal. Returns all three.
    """

    def make(after, every, **how):
        whole = start("whole", **how)
        whole.run()
        monkeypatch.setattr(engine, "CHECKPOINT_EVERY", every)
        killed = start("killed", after, **how)
        with pytest.raises(Kill):
            killed.run()
        existed = killed.checkpoint.exists()
        resumed = start("killed", **how)
        resumed.run()
        assert payloads(resumed) == payloads(whole)
        if issubclass(
            how.get("kind", Free), Shuffled
        ):  # what waited for its turn in the log comes from the cache
            assert resumed.known.trained <= whole.known.trained
            resumed.known.trained = whole.known.trained
        assert state(resumed) == state(whole)
        return whole, killed, resumed, existed

    return make


@pytest.mark.parametrize("strategy", ["random", "rl"])
@pytest.mark.parametrize("after", [0, 1, 33, 90, *later(7, 20, 60)])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_a_kill_anywhere_changes_nothing(kill, strategy, after, every):
    """With a checkpoint after every batch, and with none: then all is replayed from the log."""
    whole, killed, resumed, existed = kill(after, every, strategy=strategy)
    assert existed == (every < 0 and killed.batches > 0)
    # In turn, so all of it is in the log; only the machine's faults are tried again.
    faults = {
        t for p in payloads(whole) if p.get("status") == "error" for t in p.get("evaluations", [])
    }
    twice = set(killed.recorder.evaluator.made) & set(resumed.recorder.evaluator.made)
    assert twice <= faults


@pytest.mark.parametrize("strategy", ["evolution", "hybrid"])
@pytest.mark.parametrize("after", [1, 25, 100, *later(10, 40, 70)])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_a_kill_anywhere_changes_nothing_of_a_run_with_times(kill, strategy, after, every):
    timed = {"strategy": strategy, "evolution": {"objectives": "score_time", "population": 8}}
    whole, killed, resumed, _ = kill(after, every, **timed)
    times = {p["task"]: p["cost"] for p in payloads(whole) if p.get("split") == TIME}
    assert len(times) > 20
    assert not times.keys() & {*killed.recorder.evaluator.made} & {*resumed.recorder.evaluator.made}
    costs = [entry.cost for entry in whole.known.values() if entry.status is Status.OK]
    assert set(costs) == set(times.values())


@pytest.mark.parametrize("after", [9, 50])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_a_kill_anywhere_changes_nothing_of_a_screened_run_with_experience(kill, after, every):
    """The forecasts of early stopping are in it too: enough children come to the top."""
    how = {"strategy": "hybrid", "batch": None, "screen": {"experience": "digits"}}
    whole, *_ = kill(after, every, **how)
    assert all(forecast.ready for forecast in whole.ladder.forecasts)


@pytest.mark.parametrize("strategy", ["rl", "evolution"])
@pytest.mark.parametrize("after", [7, 45, 90, *later(0, 20)])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_a_kill_anywhere_changes_nothing_with_batches_under_way(kill, strategy, after, every):
    """What was asked for and not told is in the checkpoint, or is asked for again."""
    whole, killed, resumed, _ = kill(after, every, strategy=strategy, pipeline=2, kind=Shuffled)
    faults = {
        t for p in payloads(whole) if p.get("status") == "error" for t in p.get("evaluations", [])
    }
    made = [run.recorder.evaluator.made for run in (killed, resumed)]
    assert set(made[0]) & set(made[1]) <= faults  # none is trained twice
    assert len(killed.fleet) > 1


@pytest.mark.parametrize("after", [9, 50])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_a_kill_changes_nothing_of_a_screened_run_with_batches_under_way(kill, after, every):
    how = {"strategy": "hybrid", "batch": 6, "pipeline": 3, "kind": Shuffled}
    whole, *_ = kill(after, every, screen={"experience": "digits"}, **how)
    assert all(forecast.ready for forecast in whole.ladder.forecasts)


@pytest.mark.parametrize("strategy", ["rl", "hybrid", "local"])
def test_the_order_in_which_trainings_end_changes_nothing(start, strategy):
    how = {"strategy": strategy, "pipeline": 3, "budget": 100}
    runs = [start("turn", **how), start("any", kind=Shuffled, **how)]
    for run in runs:
        run.run()
    assert payloads(runs[0]) == payloads(runs[1])
    assert state(runs[0]) == state(runs[1])
    assert runs[1].recorder.evaluator.most > 16  # of more than two batches


def test_a_pipeline_delays_what_a_strategy_learns_and_nothing_else(start):
    """Batch by batch it proposes what it proposes without one, as long as it has learnt nothing."""
    plain, piped = (start(str(k), strategy="random", pipeline=k) for k in (0, 3))
    for run in (plain, piped):
        run.run()
    asked = [
        [(p["batch"], p["genome"]) for p in payloads(run) if p["kind"] == "outcome"]
        for run in (plain, piped)
    ]
    assert asked[0][:60] == asked[1][:60]  # then the budget that is left is another one
    assert plain.known.distinct == piped.known.distinct == 60


@pytest.mark.parametrize("after", [30, 60, 90])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_the_last_of_the_budget_are_asked_for_at_once(kill, after, every):
    how = {"pipeline": 1, "batch": 4, "kind": Shuffled, "strategy": "random"}
    whole, *_ = kill(after, every, endgame=32, **how)
    most = whole.recorder.evaluator.most
    assert 28 <= most <= 40  # of up to 32 functions beside those that were under way
    assert whole.known.distinct == 60


def test_nothing_changes_before_the_last_of_the_budget(start):
    runs = [start(str(n), pipeline=1, batch=4, endgame=n) for n in (0, 24)]
    for run in runs:
        run.run()
    asked = [[p["genome"] for p in payloads(r) if p["kind"] == "outcome"] for r in runs]
    assert asked[0][:36] == asked[1][:36]
    assert asked[0] != asked[1]


@pytest.mark.parametrize("strategy", ["regularized", "evolution", "hybrid"])
def test_what_is_overtaken_is_learnt_from_all_the_same(start, strategy):
    """A batch that climbs is told after later ones that do not: it is what a search is about."""
    roomy = {"regularized": {"population": 60, "sample": 10}, "screen": {"use": "off"}}
    run = start("a", strategy=strategy, pipeline=7, batch=2, **roomy)
    run.run()
    told = [p for p in payloads(run) if p["kind"] == "outcome"]
    assert [p["batch"] for p in told] != sorted(p["batch"] for p in told)
    able = {p["function"]: p["reward"] for p in told if p["status"] == "ok"}
    kept = run.proposer.state().values["population"]
    kept = kept["population"] if strategy == "hybrid" else kept
    if strategy == "regularized":  # so large that none has died: all that trained are there
        assert sorted(row[-1] for row in kept) == sorted(able.values())
    else:
        assert max(row[3] for row in kept) == max(able.values())


@pytest.mark.parametrize("strategy", ["random", "rl", "hybrid"])
def test_a_search_ends_whose_space_is_smaller_than_its_budget(start, strategy):
    """Though the last of the budget are asked for at once, and some proposers never end."""
    space = {"unary": ["id", "tanh", "beta"], "binary": ["add", "gate"]}
    run = start("a", strategy=strategy, pipeline=1, batch=4, endgame=24, budget=30, space=space)
    assert run.run()
    assert 10 <= run.known.distinct <= 18
    assert run.batches < 100


class Late(Free):
    """The machine fails at every function when it is tried first."""

    def __init__(self, left=None):
        super().__init__(left)
        self.tried = set()

    def answer(self, task):
        result = super().answer(task)
        if task.key in self.tried:
            return result
        self.tried.add(task.key)
        return Evaluation(task.hash, Status.ERROR, message="no memory", seconds=1.0)


@pytest.mark.parametrize("batch, pipeline", [(4, 0), (4, 2), (100, 0), (100, 2)])
def test_exhaustive_search_tries_again_what_failed_also_in_its_last_batch(start, batch, pipeline):
    space = {"unary": ["id", "tanh", "beta"], "binary": ["add", "gate"]}
    how = {"strategy": "exhaustive", "space": space, "batch": batch, "pipeline": pipeline}
    run = start("a", kind=Late, **how)
    assert run.run() == "the proposer has nothing left to propose"
    lost = run.recorder.evaluator.tried - run.known.keys()
    assert {key[0] for key in lost} <= {"3"}  # of `Free`: those fail whenever they are tried
    assert run.known.distinct > 8


AGAIN = Genome.parse("tanh(x)")


@pytest.fixture
def repeating(monkeypatch):
    """A function that lets random search ask for the same function again whenever a proposal's
    number says so; one a batch.
    """
    ask = RandomProposer.ask

    def make(again):
        def asked(self, n):
            return [replace(p, genome=AGAIN) if again(p.id) else p for p in ask(self, n)]

        monkeypatch.setattr(RandomProposer, "ask", asked)
        return {"strategy": "random", "batch": 1}

    return make


class Unlucky(Shuffled):
    """The machine fails at one function whenever it is tried."""

    def answer(self, task):
        result = super().answer(task)
        if task.key != AGAIN.key:
            return result
        return Evaluation(task.hash, Status.ERROR, message="no memory", seconds=1.0)


@pytest.mark.parametrize("pipeline, after", [(1, 6), (1, 15), (3, 15)])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_batches_do_not_wait_for_each_other_where_the_machine_fails_what_they_share(
    kill, monkeypatch, pipeline, after, every
):
    """What one batch has failed at is tried by a young one, which shares a function with an older
    one that shares this one: neither could be told.
    """
    ask, other = RandomProposer.ask, Genome.parse("sin(x)*tanh(x)")

    def asked(self, n):
        first, second = ask(self, n)
        second = replace(second, genome=AGAIN)
        return [replace(first, genome=other) if 1 < first.id < 10 else first, second]

    monkeypatch.setattr(RandomProposer, "ask", asked)
    how = {"strategy": "random", "batch": 2, "budget": 12, "kind": Unlucky}
    whole, *_ = kill(after, every, pipeline=pipeline, **how)
    assert whole.known.distinct == 12
    assert whole.known.faults > 2


def test_what_is_under_way_already_does_not_end_the_last_of_the_budget(start, repeating):
    how = repeating(lambda k: k % 2 == 1)
    run = start("a", kind=Shuffled, pipeline=1, endgame=20, budget=21, **how)
    run.run()
    assert run.recorder.evaluator.most >= 19


def test_where_all_is_known_few_are_asked_for_until_a_training_tells_more(start, repeating):
    """Such a batch has ended at once, and is not under way any more when it is the last."""
    how = repeating(lambda k: k == 0 or k > 20)
    run = start("a", pipeline=1, endgame=25, budget=30, **how)
    ask, tell, seen = run.proposer.ask, run.proposer.tell, []

    def asked(n):
        if len(run.fleet) > 1 and run.proposer.next_id > 20:
            seen.append("a")
        return ask(n)

    def told(outcomes):
        if not all(o.known for o in outcomes):
            seen.append("t")
        tell(outcomes)

    run.proposer.ask, run.proposer.tell = asked, told
    assert "in a row brought no new function" in run.run()
    rows = [len(row) for row in "".join(seen).split("t")[1:]]
    assert len(rows) > 10 and BARREN in rows and max(rows[1:]) <= BARREN


@pytest.mark.parametrize("after", [9, *later(7, 11)])
@pytest.mark.parametrize("every", [-1.0, 1e9])
def test_a_kill_changes_nothing_where_most_of_the_last_are_repeats(kill, repeating, after, every):
    """How many repeats came in a row is no part of any batch that is under way."""
    how = repeating(lambda k: k % 9 != 0)
    kill(after, every, pipeline=1, endgame=9, budget=10, **how)


@pytest.mark.parametrize(
    "pipeline, endgame, seconds, after", [(7, 0, 10.0, 0), (7, 0, 10.0, 9), (1, 30, 35.0, 70)]
)
def test_time_that_is_over_while_several_batches_are_asked_for_is_over_there_again(
    start, monkeypatch, pipeline, endgame, seconds, after
):
    """Asking leaves no record, so the log has to say after how many."""
    how = {"strategy": "random", "batch": 4, "pipeline": pipeline, "endgame": endgame}
    how |= {"seconds": seconds}
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: 0.0))

    def timed(name, left=None):
        run = start(name, left, **how)
        ask = run.proposer.ask

        def slow(n):
            run.spent += 3.0
            return ask(n)

        monkeypatch.setattr(run.proposer, "ask", slow)
        return run

    whole = timed("whole")
    whole.run()
    closed = [p for p in payloads(whole) if p["kind"] == "close"]
    assert [p["asked"] for p in closed] == [seconds // 3 + 1] and whole.batches > 3
    killed = timed("killed", after)
    with pytest.raises(Kill):
        killed.run()
    assert killed.closed and not killed.checkpoint.exists()
    again = start("killed", **how)
    again.spent = 1000.0
    again.run()
    assert payloads(again) == payloads(whole)


@pytest.mark.parametrize("pipeline, old", [(1, False), (3, False), (3, True), (7, False)])
def test_time_ends_a_run_with_batches_under_way_and_again_where_it_did(
    start, monkeypatch, pipeline, old
):
    """The log says when no more was asked for: the clock of a resumed run is another one."""
    how = {"strategy": "rl", "pipeline": pipeline, "seconds": 10.0, "budget": 10_000}
    clock = SimpleNamespace(monotonic=lambda: 0.0)  # a busy machine's would end it sooner
    monkeypatch.setattr(engine, "time", clock)
    run = start("a", **how)
    ask, asks = run.proposer.ask, []

    def slow(n):
        run.spent += 3.0
        asks.append(n)
        return ask(n)

    monkeypatch.setattr(run.proposer, "ask", slow)
    if old:  # as another version has logged it
        log = run.recorder.log
        run.recorder.close = lambda why, asked: log.append({"kind": "close", "why": why})
    why = run.run()
    assert "10 s" in why
    kinds = [p["kind"] for p in payloads(run)]
    assert kinds.count("close") == 1 and kinds[-1] == "end" and kinds[-2] == "outcome"
    assert run.batches == len(asks) < 8  # what was under way counts
    run.checkpoint.unlink()
    again = start("a", **how)
    again.spent = 1000.0
    assert again.run() == why
    assert payloads(again) == payloads(run)
    assert state(again) == state(run)


def test_a_search_without_its_checkpoint_has_only_the_time_that_is_left(start, monkeypatch):
    """The log tells how much was spent, in what need not be the same."""
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(engine, "time", clock)
    how = {"strategy": "random", "batch": 2, "seconds": 100.0}

    def timed(name, left=None):
        run = start(name, left, **how)
        ask = run.proposer.ask

        def slow(n):
            run.spent += 3.0 if run.recorder.following is None else 0.0
            return ask(n)

        monkeypatch.setattr(run.proposer, "ask", slow)
        return run

    killed = timed("a", 40)
    with pytest.raises(Kill):
        killed.run()
    assert not killed.checkpoint.exists()
    told = [
        volatile["spent"]
        for p, volatile in read_log(killed.recorder.log.path)
        if "spent" in volatile
    ]
    assert told == sorted(told) and told[-1] > 20
    again = timed("a")
    assert again.spent == told[-1]
    assert "100 s" in again.run()
    assert again.batches <= 35
    assert start("a", **how).spent == pytest.approx(again.seconds)


@pytest.mark.parametrize("cost", [1e9, 1e-12])
def test_dear_checkpoints_are_made_more_rarely(monkeypatch, start, cost):
    """cost: seconds that one may take without being dear."""
    monkeypatch.setattr(engine, "CHECKPOINT_EVERY", 1e-6)
    monkeypatch.setattr(engine, "CHECKPOINT_COST", cost)
    saved = []
    save = engine.save_checkpoint
    monkeypatch.setattr(engine, "save_checkpoint", lambda *a: saved.append(save(*a)))
    run = start("a")
    run.run()
    assert len(saved) == (run.batches + 1 if cost > 1 else 2)  # the last one is of the end


def test_what_is_known_comes_back_from_the_log(monkeypatch, start):
    monkeypatch.setattr(engine, "CHECKPOINT_EVERY", -1.0)
    run = start("a")
    run.run()
    assert {entry.status for entry in run.known.values()} == {
        *(Status.OK, Status.DIVERGED, Status.REJECTED)
    }
    assert any(p["status"] == "error" for p in payloads(run))
    again = start("a")
    assert state(again) == state(run)
    assert again.snapshot().cache_hits == run.snapshot().cache_hits == 0


@pytest.mark.parametrize("batch", [2, 24])
def test_the_first_of_a_run_are_trained_to_the_end(start, batch):
    fidelity = {"rungs": [0.2, 0.5, 1.0], "keep": 0.2, "first": 7}
    run = start("first", batch=batch, budget=24, fidelity=fidelity, strategy="random")
    run.run()
    ended = sorted((e for e in run.known.values() if e.status is Status.OK), key=lambda e: e.order)
    assert {entry.rung for entry in ended[:7]} == {2}
    assert {entry.rung for entry in ended[7:]} >= {0}


def test_the_checkpoint_does_not_grow_with_the_run(start):
    sizes = []
    for budget in (40, 400):
        run = start(str(budget), strategy="random", budget=budget)
        run.run()
        sizes.append(run.checkpoint.stat().st_size)
    assert sizes[1] <= sizes[0] + 64  # longer numbers


def test_candidates_are_the_best_measured_and_the_most_promising_of_those_that_were_stopped(start):
    run = start("c", strategy="random", fidelity={"keep": 0.3, "first": 6})
    run.run()
    rungs = {entry.spec: entry.rung for entry in run.known.values() if entry.order}
    found = run.known.candidates(8)
    assert found[:4] == [entry.spec for _, entry in run.known.finalists(4)]
    assert len(set(found)) == 8 and all(rungs[spec] < 2 for spec in found[4:])
    expected = [child.spec for child in run.ladder.prospects(100)]
    assert found[4:] == expected[:4] and len(expected) > 20
    scores = run.ladder.fitness(run.ladder.prospects(100))
    assert scores == sorted(scores, reverse=True)
    many = run.known.candidates(1000)  # whoever is able, once
    assert len(many) == len(set(many)) and set(many) >= set(expected)


def test_without_a_race_the_finalists_are_the_best_measured_and_stopped_ones_only_fill_up(start):
    run = start("c", strategy="random", fidelity={"keep": 0.3, "first": 6})
    run.run()
    measured = [entry.spec for _, entry in run.known.finalists(1000)]
    for candidates in (0, 4):
        assert run.known.entrants(candidates, 4) == measured[:4]
    assert run.known.entrants(8, 4) == run.known.candidates(8) != measured[:8]
    many = len(measured) + 3
    expected = [child.spec for child in run.ladder.prospects(3)]
    assert run.known.entrants(0, many) == [*measured, *expected]


def test_the_incumbent_is_the_first_finalist(start):
    run = start("a")
    for _ in range(6):
        run._ask(0.0)
        run._tell(run._land())
        best = [entry for _, entry in run.known.finalists(1)]
        assert ([run.known.best] if run.known.best else []) == best
    assert run.snapshot().incumbent == run.known.finalists(1)[0][1].spec
