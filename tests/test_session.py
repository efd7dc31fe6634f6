"""Whole runs, small: identity, resume, budgets, the honest retest."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import yaml

import hybridsearch
from hybridsearch import engine, session
from hybridsearch.analysis.runs import load_run
from hybridsearch.config import Config, make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate import evaluator as evaluator_module
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.units import Space
from hybridsearch.observe import Silent
from hybridsearch.past import settled
from hybridsearch.pools.base import InlinePool
from hybridsearch.session import STRATEGIES, make_proposer, resume, search
from hybridsearch.store import checkpoint
from hybridsearch.store.cache import Cache
from hybridsearch.store.disk import hold
from hybridsearch.store.log import Entry, RunLog, read_log


def payloads(folder):
    return [payload for payload, _ in load_run(folder).trials]


def trained_here(folder):
    """How many evaluations of a run were not from the cache."""
    run = load_run(folder)
    return sum(p["kind"] == "evaluation" and not v["cached"] for p, v in run.trials)


@pytest.fixture(scope="module")
def once(tiny_settings, tmp_path_factory):
    """Config and summary of a finished run, for copies."""
    config = make_config(tiny_settings())
    return config, search(config, tmp_path_factory.mktemp("once") / "a")


@pytest.fixture
def finished(once, tmp_path):
    """The same of a copy with a cache of its own."""
    config, summary = once
    made, folder = Path(summary["folder"]).parent, tmp_path / "one"
    shutil.copytree(made, folder)
    settings = folder / "a" / "config.yaml"
    text = settings.read_text(encoding="utf-8")
    assert str(made) in text
    settings.write_text(text.replace(str(made), str(folder)), encoding="utf-8")
    return config, {**summary, "folder": str(folder / "a")}


def test_a_run_leaves_everything_behind(finished):
    config, summary = finished
    run = hybridsearch.load_run(summary["folder"])
    assert run.config.model_copy(update={"cache": None}) == settled(config)
    for name in ("environment.json", "checkpoint.safetensors", "search_curve.png", "retest.png"):
        assert (run.folder / name).stat().st_size > 0
    assert (run.folder / "best_functions.png").stat().st_size > 0
    assert (run.folder / "found_functions.png").stat().st_size > 0
    assert run.summary == {k: v for k, v in summary.items() if k != "folder"}
    assert {"torch", "numpy", "hybridsearch"} <= set(run.environment["versions"])
    assert list((run.folder / "children").iterdir()) == []


def test_the_summary_has_its_flat_keys(finished):
    config, summary = finished
    assert summary["strategy"] == "rl"
    assert summary["seed"] == 0
    assert summary["verdict"] in ("better", "not shown", "worse", "rediscovered")
    assert set(summary["difference_to_best_baseline"]) == {"mean", "low", "high"}
    assert len(summary["finalists"]) == 2
    assert [b["expression"] for b in summary["baselines"]] == [
        *("LReLU", "PReLU", "Softplus", "ELU", "SELU", "GELU", "ReLU", "Swish-1", "Swish")
    ]
    for row in summary["finalists"] + summary["baselines"]:
        assert len(row["test_scores"]) == config.retest.seeds
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["mean"] == pytest.approx(sum(row["test_scores"]) / len(row["test_scores"]))
        hybridsearch.resolve(row["expression"])
    budgets = summary["budgets"]
    assert budgets["distinct"] == config.budget == budgets["trained"]
    assert budgets["cache_hits"] == 0
    assert budgets["proposals"] >= budgets["distinct"] + budgets["rejected"]
    assert summary["incumbent"] == summary["finalists"][0]["expression"]


def test_the_winner_is_named_on_validation_before_the_test_split_is_opened(finished):
    _, summary = finished
    records = payloads(summary["folder"])
    kinds = [(r["kind"], r.get("split", "")) for r in records]
    named = kinds.index(("winner", ""))
    assert not any(split.startswith("test") for _, split in kinds[:named])
    tests = [r for r in records[named + 1 :] if r["split"].startswith("test")]
    assert len(tests) == len(kinds) - named - 1 == 2 * len({r["key"] for r in tests})
    best = max(summary["finalists"], key=lambda row: row["validation"])
    assert summary["winner"]["key"] == records[named]["winner"] == best["key"]
    baseline = max(summary["baselines"], key=lambda row: row["validation"])
    assert summary["best_baseline"]["key"] == baseline["key"]


def test_the_retest_uses_fresh_seeds_shared_by_all(finished):
    _, summary = finished
    records = payloads(summary["folder"])
    in_search = {task for r in records if r["kind"] == "outcome" for task in r["evaluations"]}
    trainings = [r for r in records if r["kind"] == "evaluation"]
    search_seeds = {r["seed"] for r in trainings if r["task"] in in_search}
    later = [r for r in trainings if r["task"] not in in_search]
    assert len(search_seeds) == 1
    seeds_by_key = {r["key"]: set() for r in later}
    for r in later:
        seeds_by_key[r["key"]].add(r["seed"])
    assert len({frozenset(seeds) for seeds in seeds_by_key.values()}) == 1
    assert all(len(seeds) == 2 and not seeds & search_seeds for seeds in seeds_by_key.values())


def test_the_numbers_of_the_fresh_seeds_can_be_chosen(tiny, tmp_path):
    seeds = []
    for number, changes in enumerate([{"seeds": 4}, {"seeds": 2, "first": 2}]):
        done = search(tiny(strategy="random", retest=changes), tmp_path / str(number) / "a")
        every = [r for r in payloads(done["folder"]) if r["kind"] == "evaluation"]
        relu = hybridsearch.resolve("ReLU").key
        seeds.append({r["seed"] for r in every if r["key"] == relu and r["steps"] == 20})
    assert len(seeds[0]) >= 4 and len(seeds[1]) >= 2 and seeds[1] < seeds[0]


def test_the_same_command_gives_the_same_records_without_training(finished, tmp_path):
    config, summary = finished
    again = search(config, tmp_path / "one" / "b")
    assert payloads(again["folder"]) == payloads(summary["folder"])
    assert trained_here(again["folder"]) == 0
    assert again["budgets"]["cache_hits"] == config.budget
    assert again["budgets"]["trained"] == 0
    volatile = ("folder", "budgets", "retest_seconds")
    same = {k: v for k, v in again.items() if k not in volatile}
    assert same == {k: v for k, v in summary.items() if k not in volatile}


@pytest.mark.parametrize("workers", [2, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 4))])
def test_worker_processes_give_the_records_of_this_process(finished, tmp_path, workers, tiny):
    _, summary = finished
    other = search(tiny(pool="loky", workers=workers), tmp_path / f"workers{workers}" / "a")
    assert payloads(other["folder"]) == payloads(summary["folder"])


class Crash(BaseException):
    """The end of the driver, as a kill would bring it."""


def crashing_pool(after):
    """A pool that trains so many children and then ends the driver."""

    class Pool(InlinePool):
        left = after

        def run(self, function, jobs, limit):
            for name, result in super().run(function, jobs, limit):
                if Pool.left == 0:
                    raise Crash
                Pool.left -= 1
                yield name, result

    return lambda kind, workers: Pool()


@pytest.mark.parametrize(
    "after", [0, 12, 30, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 5, 14, 20))]
)
@pytest.mark.parametrize("keep_cache", [True, False])
def test_a_run_that_is_ended_anywhere_resumes_to_the_same_records(
    finished, tiny, tmp_path, monkeypatch, after, keep_cache
):
    """With the cache nothing is trained twice; without it, nothing that the log has."""
    config, summary = finished
    folder = tmp_path / "two" / "a"
    monkeypatch.setattr(evaluator_module, "make_pool", crashing_pool(after))
    with pytest.raises(Crash):
        search(config, folder)
    before = len(payloads(folder)) if (folder / "trials.jsonl").exists() else 0
    if not keep_cache:
        (folder.parent / "cache.sqlite").unlink()
    monkeypatch.undo()
    with (folder / "trials.jsonl").open("a") as log:
        log.write('{"payload":{"kind":"eval')  # and the last record was cut off
    resumed = resume(folder)
    assert payloads(folder) == payloads(summary["folder"])
    assert before <= len(payloads(folder))
    assert resumed["winner"] == summary["winner"]
    assert resumed["budgets"]["distinct"] == config.budget
    if keep_cache:
        assert resumed["budgets"]["trained"] + resumed["budgets"]["cache_hits"] == config.budget


def test_a_run_that_was_moved_goes_on_with_the_cache_beside_it(finished, tmp_path, monkeypatch):
    folder = Path(finished[1]["folder"])
    there = folder.parent.rename(tmp_path / "another place") / folder.name
    seen = []
    monkeypatch.setattr(session, "_run", lambda config, *rest: seen.append(config.cache))
    resume(there)
    assert seen == [str(there.parent / "cache.sqlite")]
    assert not folder.parent.exists()


def test_the_seconds_of_a_retest_are_those_of_all_sessions(tiny, tmp_path):
    """As far as the log tells: of what was trained, by as many workers as there are."""
    evaluator = TrainingEvaluator(tiny(pool="inline", workers=4), tmp_path)
    known = [("evaluation", 100.0, False), ("evaluation", 9.0, True), ("winner", 0.0, False)]
    log = SimpleNamespace(
        ahead=[
            Entry({"kind": kind}, {"seconds": seconds, "cached": cached}, "")
            for kind, seconds, cached in [*known, ("evaluation", 20.0, False)]
        ]
    )
    assert session._retested(log, evaluator) == (100 + 20) / 4
    evaluator.close()


def test_a_finished_run_resumes_to_itself(finished, monkeypatch):
    _, summary = finished
    records = payloads(summary["folder"])
    with pytest.raises(UserError, match="--pool: pool: expected loky"):
        resume(summary["folder"], pool="lokky")
    monkeypatch.setattr(session, "_retested", lambda *rest: 1e6)
    again = resume(summary["folder"], pool="inline")
    assert again["retest_seconds"] >= 1e6
    assert payloads(summary["folder"]) == records
    assert again["difference_to_best_baseline"] == summary["difference_to_best_baseline"]


def test_what_follows_a_search_is_told_before_it(tiny, tmp_path, notes):
    race = {"candidates": 3, "seeds": 2, "one_in": 2}  # of ten functions five enter
    config = tiny(budget=10, race=race, retest={"duel": True})
    done = search(config, tmp_path / "a", notes)
    assert done["race"]["trainings"] == 2 * (5 + 3)
    assert len(done["finalists"]) == 2
    (line,) = [line for line in notes.lines if line.startswith("after the search")]
    told = "after the search up to 42 full trainings (race 16, retest 22, comparison 4), about "
    assert line.startswith(told) and line.endswith(" s with ReLU's speed")


def stopped(config, folder, monkeypatch, after):
    """A run that has crashed after so many trainings."""
    with monkeypatch.context() as patch:
        patch.setattr(evaluator_module, "make_pool", crashing_pool(after))
        with pytest.raises(Crash):
            search(config, folder)
    return folder


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize(
    "damage",
    ["flip", "gone", *(pytest.param(d, marks=pytest.mark.slow) for d in ("version", "older log"))],
)
def test_a_checkpoint_that_is_of_no_use_is_told_and_the_log_replayed(
    finished, tmp_path, monkeypatch, damage, notes
):
    config, _ = finished
    monkeypatch.setattr(engine, "CHECKPOINT_EVERY", 0.0)
    folder = stopped(config.model_copy(update={"batch": 3}), tmp_path / "a" / "b", monkeypatch, 20)
    path = folder / "checkpoint.safetensors"
    if damage == "flip":
        path.write_bytes(flipped(path.read_bytes()))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "version":
        monkeypatch.setattr(checkpoint, "VERSION", 99)
    elif damage == "gone":
        path.unlink()
    else:
        log = folder / "trials.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
        log.with_suffix(".head").unlink()
    resume(folder, notes)
    told = [line for line in notes.lines if line.startswith("checkpoint not used")]
    assert len(told) == (damage != "gone")
    whole = search(config.model_copy(update={"batch": 3}), tmp_path / "c" / "d")
    assert payloads(folder) == payloads(whole["folder"])


@pytest.mark.parametrize(
    "cache", ["gone", pytest.param("older", marks=pytest.mark.slow), "flipped"]
)
def test_a_cache_that_is_not_what_it_was_is_told_and_put_back(
    finished, tmp_path, monkeypatch, cache, notes
):
    config, summary = finished
    folder = stopped(config, tmp_path / "a" / "b", monkeypatch, 20)
    path = folder.parent / "cache.sqlite"
    if cache == "flipped":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE evaluations SET payload = replace(payload, '1', '2')")
        db.close()
    else:
        path.unlink()
    if cache == "older":
        Cache(path).close()
    resume(folder, notes)
    assert any("put back" in line for line in notes.lines)
    assert any("damaged" in line for line in notes.lines) == (cache == "flipped")
    assert payloads(folder) == payloads(summary["folder"])
    again = search(config, folder.parent / "again")
    assert payloads(again["folder"]) == payloads(summary["folder"])
    assert trained_here(again["folder"]) == 0


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_that_time_has_ended_ends_there_again(tiny, tmp_path, monkeypatch, keep):
    """Though the resumed one is faster, with a checkpoint and by the log alone."""
    config = tiny(strategy="random", budget=400, batch=4, seconds=0.4)
    whole = search(config, tmp_path / "a" / "b")
    assert whole["ended"] == "the 0.4 s of --seconds are over"
    before = payloads(whole["folder"])
    if not keep:
        (tmp_path / "a" / "b" / "checkpoint.safetensors").unlink()
    monkeypatch.setattr(engine.Search, "seconds", 0.0)
    assert resume(whole["folder"])["ended"] == whole["ended"]
    assert payloads(whole["folder"]) == before


HASHED = """
import sys
from hybridsearch.config import load_config
from hybridsearch.session import search
search(load_config(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_neither_hashes_nor_the_clock_decide_anything(finished, tmp_path):
    """Another PYTHONHASHSEED, and a clock that jumps an hour back and forth."""
    config, summary = finished
    settings = tmp_path / "c.yaml"
    made = config.model_copy(update={"cache": str(tmp_path / "cache.sqlite")})
    settings.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    jumping = (
        "import time, itertools\nplain, jumps = time.time, itertools.cycle([0, 3600, -3600])\n"
        "time.time = lambda: plain() + next(jumps)\n"
    )
    command = [sys.executable, "-c", jumping + HASHED, str(settings), str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert payloads(tmp_path / "run") == payloads(summary["folder"])


@pytest.mark.slow
def test_a_driver_that_is_frozen_for_a_while_goes_on_alike(finished, tmp_path):
    config, summary = finished
    settings = tmp_path / "c.yaml"
    made = config.model_copy(update={"cache": str(tmp_path / "cache.sqlite")})
    settings.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    command = [sys.executable, "-c", HASHED, str(settings), str(tmp_path / "run")]
    with subprocess.Popen(command) as driver:
        while not (tmp_path / "run" / "trials.jsonl").exists():
            assert driver.poll() is None
            time.sleep(0.02)
        for _ in range(5):
            driver.send_signal(signal.SIGSTOP)
            time.sleep(0.2)
            driver.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    assert driver.returncode == 0
    assert payloads(tmp_path / "run") == payloads(summary["folder"])


def test_a_log_that_the_resumed_run_does_not_reproduce_is_noticed(finished):
    _, summary = finished
    path = load_run(summary["folder"]).folder / "trials.jsonl"
    records = list(read_log(path))
    number = next(k for k, (payload, _) in enumerate(records) if payload["kind"] == "winner")
    records[number][0]["winner"] = "somebody else"
    path.unlink()
    path.with_suffix(".head").unlink()
    with closing(RunLog(path)) as log:
        for payload, volatile in records:
            log.append(payload, volatile)
    with pytest.raises(UserError, match=f"line {number + 1}: .*another record"):
        resume(path.parent)


def test_a_space_with_nothing_new_ends_and_says_so(tiny, tmp_path):
    config = tiny(
        patience=3, space={"unary": ["id", "relu", "tanh"], "binary": ["max", "add"]}, budget=500
    )
    summary = search(config, tmp_path / "a")
    run = load_run(tmp_path / "a")
    assert "3 batches in a row" in summary["ended"]
    keys = [o["key"] for o in run.distinct]
    assert len(keys) == len(set(keys)) == summary["budgets"]["distinct"] < 12
    repeats = [o for o in run.outcomes if o["known"]]
    assert repeats
    assert all(o["reward"] is not None for o in repeats)


def test_nothing_trainable_is_said_and_not_a_traceback(tiny, tmp_path):
    config = tiny(patience=2, space={"unary": ["sqrt", "beta"], "binary": ["mul"]})
    summary = search(config, tmp_path / "a")
    assert summary["verdict"] == "nothing trained"
    assert summary["budgets"]["distinct"] == 0
    assert summary["budgets"]["rejected"] > 0
    assert summary["winner"] is None


def test_one_rung_is_full_training_of_everything(tiny, tmp_path):
    config = tiny(fidelity={"rungs": [1]})
    summary = search(config, tmp_path / "a")
    run = load_run(tmp_path / "a")
    able = [o for o in run.distinct if o["status"] == "ok"]
    scores = {e["task"]: e["loss"] for e in run.evaluations}
    assert all(o["rung"] == 0 and len(o["evaluations"]) == 1 for o in able)
    for o in able:
        assert o["fitness"] == pytest.approx(max(-scores[o["evaluations"][0]], -2.302585), abs=1e-6)
    assert summary["budgets"]["training_steps"] == 20 * len(able)


def test_time_ends_a_run_as_a_prefix_of_the_run_by_count(finished, tiny, tmp_path):
    _, summary = finished
    short = search(tiny(seconds=1e-6), tmp_path / "short" / "a")
    assert "seconds" in short["ended"]
    outcomes = load_run(short["folder"]).outcomes
    assert outcomes == load_run(summary["folder"]).outcomes[: len(outcomes)]
    assert len(outcomes) > 0


def test_a_folder_with_a_run_is_not_overwritten(finished):
    config, summary = finished
    with pytest.raises(UserError, match="resume"):
        search(config, summary["folder"])


def edited(folder, **settings):
    path = Path(folder, "config.yaml")
    now = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        now[name] = now[name] | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(now), encoding="utf-8")


def test_a_run_goes_on_with_the_settings_that_it_began_with(finished):
    """Else the summary told of a seed that nobody used, and another strategy was a traceback."""
    config, summary = finished
    records = payloads(summary["folder"])
    edited(summary["folder"], workers=2, time_limit=1000.0, data={"folder": None})
    resume(summary["folder"])
    edited(summary["folder"], fidelity={"keep": 0.5})
    with pytest.raises(UserError, match=f"fidelity.keep was {config.fidelity.keep} and is 0.5;"):
        resume(summary["folder"])
    edited(summary["folder"], fidelity={"keep": config.fidelity.keep}, seed=5)
    with pytest.raises(
        UserError, match=r"config.yaml is not what .* began with: seed was 0 and is 5"
    ):
        resume(summary["folder"])
    assert payloads(summary["folder"]) == records
    edited(summary["folder"], seed=0, budget=100)
    with pytest.raises(UserError, match="budget was"):
        resume(summary["folder"])  # it is over
    settings = Path(summary["folder"], "environment.json")
    settings.write_text(settings.read_text().replace('"settings"', '"other"'), encoding="utf-8")
    edited(summary["folder"], budget=config.budget)
    resume(summary["folder"])  # a run of before that was noted


def test_a_search_that_is_not_over_may_be_given_another_end(finished):
    config, summary = finished
    folder = Path(summary["folder"])
    for name in ("summary.json", "checkpoint.safetensors"):
        (folder / name).unlink()
    log = folder / "trials.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:5]))
    log.with_suffix(".head").unlink()
    edited(folder, budget=config.budget - 2)
    for _ in range(2):
        assert resume(folder)["budgets"]["distinct"] == config.budget - 2


def test_a_folder_is_named_by_the_strategy_and_what_it_searches_on():
    assert session.default_folder(Config()).name.startswith("rl-digits-seed0-")
    on_table = make_config({"table": "some/where/mine.safetensors", "strategy": "random"})
    assert session.default_folder(on_table).name.startswith("random-table-mine-seed0-")


def test_a_run_that_is_going_on_is_not_resumed_beside_it(finished):
    folder = Path(finished[1]["folder"])
    before = (folder / "trials.jsonl").read_bytes()
    with hold(folder), pytest.raises(UserError, match="in use by another process"):
        resume(folder)
    assert (folder / "trials.jsonl").read_bytes() == before


def test_nor_one_whose_log_is_lost(tiny, tmp_path):
    config = tiny(budget=2)
    summary = search(config, tmp_path / "a")
    for name in ("trials.jsonl", "summary.json"):
        Path(summary["folder"], name).unlink()
    before = {p: p.read_bytes() for p in Path(summary["folder"]).glob("*.*")}
    with pytest.raises(UserError, match="holds a run already"):
        search(config, summary["folder"])
    assert before == {p: p.read_bytes() for p in Path(summary["folder"]).glob("*.*")}


def test_a_run_that_cannot_begin_leaves_nothing_and_its_folder_free(tiny, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrongnet.py").write_text(
        "def build(make_activation):\n    raise ValueError('not yet')\n"
    )
    wrong = tiny(network={"name": "wrongnet:build"})
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("kept")
    for name in ("a", "there"):
        with pytest.raises(UserError, match="not yet"):
            search(wrong, tmp_path / name)
    with pytest.raises(UserError, match="cannot be used"):
        search(tiny(cache=str(tmp_path / "wrongnet.py" / "cache")), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "there" / "config.yaml").exists()
    assert (tmp_path / "there" / "mine.txt").read_text() == "kept"
    assert search(tiny(budget=2), tmp_path / "there")["budgets"]["distinct"] == 2


def test_a_run_that_was_killed_before_its_first_record_is_replaced(tiny, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("seed: 7\n")
    for name in ("trials.jsonl", "trials.head"):
        (tmp_path / "a" / name).touch()
    with hold(tmp_path / "a"), pytest.raises(UserError, match="in use by another process"):
        search(tiny(budget=2), tmp_path / "a")
    search(tiny(budget=2), tmp_path / "a")
    assert load_run(tmp_path / "a").config.seed == 0


def test_a_bad_config_leaves_no_folder_behind(tiny, tmp_path):
    with pytest.raises(UserError, match="resnet8"):
        search(tiny(network={"name": "resnet9"}), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_random_strategy_and_several_units(tiny, tmp_path):
    config = tiny(strategy="random", space={"max_units": 3}, seed=4)
    first, second = (search(config, tmp_path / d / "a") for d in ("x", "y"))
    assert payloads(first["folder"]) == payloads(second["folder"])
    assert any("|" in o["genome"] for o in load_run(first["folder"]).outcomes)


def test_every_strategy_of_the_config_has_its_proposer():
    names = get_args(Config.model_fields["strategy"].annotation)
    assert set(names) == set(STRATEGIES)
    for name in names:
        proposer = make_proposer(Config(strategy=name, space={"unary": ["id", "sin", "tanh"]}))
        assert proposer.name == name
        assert proposer.ask(4)


@pytest.mark.parametrize("strategy", [pytest.param("evolution", marks=pytest.mark.slow), "hybrid"])
def test_a_strategy_goes_on_after_a_stop(tiny, tmp_path, strategy):
    """A run cut after each of its batches ends with the records of one that was not."""
    sections = {"evolution": {"population": 4}, "controller": {"hidden": 8, "embedding": 4}}
    config = tiny(strategy=strategy, budget=12, batch=6, space={"max_units": 2}, **sections)
    whole = search(config, tmp_path / "x" / "a")

    class Stop(Silent):
        def snapshot(self, now):
            if now.batches == stop_at:
                raise KeyboardInterrupt

    folder = tmp_path / "y" / "a"
    for stop_at in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            if stop_at == 1:
                search(config, folder, Stop())
            else:
                resume(folder, Stop())
    resume(folder)
    assert payloads(folder) == payloads(whole["folder"])
    assert {o["proposer"] for o in load_run(folder).outcomes} >= {"evolution"}


def test_exhaustive_goes_through_a_small_space(tiny, tmp_path):
    space = {"unary": ["id", "relu", "tanh"], "binary": ["max", "add"]}
    summary = search(tiny(strategy="exhaustive", space=space, budget=500), tmp_path / "a")
    assert summary["ended"] == "the proposer has nothing left to propose"
    outcomes = load_run(tmp_path / "a").outcomes
    every = {Genome(tokens).key for tokens in Space(1, 1, **space).enumerate()}
    assert [o["key"] for o in outcomes] == list(dict.fromkeys(o["key"] for o in outcomes))
    assert {o["key"] for o in outcomes} == every
