"""The race: it finds the best among noisy candidates, and a run that is stopped in it goes on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from hybridsearch.analysis.runs import load_run
from hybridsearch.config import RaceConfig, make_config, saved_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.function import baselines, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Space
from hybridsearch.observe import Silent
from hybridsearch.race import race, rounds
from hybridsearch.recorder import Recorder
from hybridsearch.session import resume, search
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog
from hybridsearch.types import Evaluation, Scale, Status, Task, numbers_for

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

    def evaluate(self, tasks, keep=False, progress=None, needed=None):
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


@pytest.mark.parametrize(
    ("settings", "functions", "entering"),
    [
        ({}, 200, 24),
        ({}, 1_999, 24),
        ({}, 8_000, 100),
        ({"one_in": None}, 8_000, 24),
        ({"candidates": 0}, 8_000, 0),
        ({"candidates": 5}, 8_000, 5),  # no more than there are finalists: no race
    ],
)
def test_after_a_long_search_more_enter(settings, functions, entering):
    assert RaceConfig(**settings).entering(functions, finalists=5) == entering


def test_a_run_of_before_goes_on_with_as_many(tmp_path):
    config = yaml.safe_dump({"race": {"candidates": 24, "seeds": 2}})
    (tmp_path / "config.yaml").write_text(config)
    assert saved_config(tmp_path / "config.yaml").race.one_in is None
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(make_config({}).model_dump(mode="json")))
    assert saved_config(tmp_path / "config.yaml") == make_config({})


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


class Faulty(Noisy):
    """The machine fails at some functions from a round of the race on, by key."""

    def __init__(self, worth, fails):
        super().__init__(worth)
        self.fails, self.round = fails, -1

    def evaluate(self, tasks, **how):
        done, self.round = super().evaluate(tasks, **how), self.round + 1
        for task in tasks[::2]:  # one of two seeds
            if self.round >= self.fails.get(task.key, 99):
                done[task.hash] = Evaluation(task.hash, Status.ERROR, message="no memory")
        return done


def test_who_fails_by_the_machines_fault_falls_out_and_is_named(field, notes):
    specs, worth = field
    first, later = resolve(specs[0]), resolve(specs[1])
    flat = {key: 2.0 - (key in (first.key, later.key)) for key in worth}  # these two would win
    recorder = Faulty(flat, {first.key: 0, later.key: 2})
    found = race(make_config({}), specs, recorder, notes)
    assert len(found.finalists) == 5 and not {first.spec, later.spec} & set(found.finalists)
    assert notes.lines == [
        f"{f.label} is left out: a training failed twice by the machine's fault: no memory"
        for f in (first, later)
    ]


class Moody:
    """An evaluator whose machine fails at functions, by key."""

    scale = Scale.of_classes("loss", 10)

    def __init__(self, worth, fails):
        self.worth, self.fails, self.made = worth, fails, 0

    def replicates(self, function, key, steps, seeds):
        return [Task(function, key, steps, seed, "") for seed in seeds]

    def evaluate(self, tasks, keep_below=0):
        for task in tasks:
            self.made += 1
            if task.key in self.fails:
                yield Evaluation(task.hash, Status.ERROR, message="no memory")
            else:
                yield Evaluation(task.hash, Status.OK, self.worth[task.key])


@pytest.fixture
def resumed(tmp_path, abandoned):
    """A function that makes a recorder on the same files, as a fresh process would."""

    def make(evaluator):
        log, cache = abandoned(RunLog(tmp_path / "log")), abandoned(Cache(tmp_path / "cache"))
        return Recorder(log, cache, evaluator)

    return make


def test_a_resumed_race_leaves_out_whom_it_left_out(field, resumed):
    specs, worth = field
    first = resolve(specs[0]).key
    found = []
    for fails in ({first}, set()):
        recorder = resumed(Moody(worth, fails))
        found.append(race(make_config({}), specs, recorder, Silent()))
        assert recorder.faults == {first: "no memory"}
    assert recorder.evaluator.made == 0
    assert found[0] == found[1] and found[0].finalists == tuple(specs[1:6])


def test_a_race_in_which_the_machine_fails_all_is_run_again_by_a_resume(field, resumed):
    specs, worth = field
    with pytest.raises(UserError, match="a training failed twice by the machine's fault"):
        race(make_config({}), specs, resumed(Moody(worth, set(worth))), Silent())
    found = race(make_config({}), specs, resumed(Moody(worth, set())), Silent())
    assert found.finalists == tuple(specs[:5])


def test_a_run_goes_to_its_end_also_where_a_candidate_and_a_finalist_fail(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr("hybridsearch.session.draw_run", lambda folder: None)
    config = tiny(race={"candidates": 4, "seeds": 1}, budget=8, strategy="random")
    evaluate, needed = TrainingEvaluator.evaluate, {f.key for f in baselines()}
    rooms = {"race": numbers_for(config.seed, "race", 0, 9)}
    rooms["retest"] = numbers_for(config.seed, "retest", config.retest.first, 9)
    lost = {}  # the first that is trained in each

    def failing(self, tasks, keep_below=0):
        for result in evaluate(self, tasks, keep_below):
            task = next(t for t in tasks if t.hash == result.task)
            room = next((name for name, seeds in rooms.items() if task.seed in seeds), "")
            if room and task.key not in needed and lost.setdefault(room, task.key) == task.key:
                result = Evaluation(task.hash, Status.ERROR, message=f"no memory in {room}")
            yield result

    with monkeypatch.context() as patch:
        patch.setattr(TrainingEvaluator, "evaluate", failing)
        found = search(config, tmp_path / "a")
    assert (found["faults"], found["fault"]) == (2, "no memory in retest")
    left = [f["key"] for f in found["finalists"]]
    assert len(left) == 1 and not {*lost.values()} & {*left}
    again = resume(tmp_path / "a")
    for name in ("race", "finalists", "winner", "verdict", "faults", "fault"):
        assert again[name] == found[name]


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
