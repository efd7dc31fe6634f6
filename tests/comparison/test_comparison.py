"""Whole comparisons on a small table: the same whoever works, resumed, and never mixed."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import sys

import numpy as np
import pytest
from rich.console import Console

import hybridsearch
from hybridsearch.comparison import run as run_module
from hybridsearch.comparison.measures import Measures
from hybridsearch.comparison.play import Replay, replay
from hybridsearch.comparison.run import compare
from hybridsearch.comparison.show import pair_lines, show_comparison
from hybridsearch.comparison.summary import summarise
from hybridsearch.comparison.trace import Ledger, Trace, run_digest
from hybridsearch.comparison.words import batches, unit_of, verdict
from hybridsearch.config import make_config
from hybridsearch.engine import Search
from hybridsearch.errors import UserError
from hybridsearch.observe import Silent
from hybridsearch.recorder import Recorder
from hybridsearch.session import STRATEGIES, make_proposer
from hybridsearch.store import disk
from hybridsearch.store.cache import Cache
from hybridsearch.store.disk import hold
from hybridsearch.store.log import RunLog, read_log
from hybridsearch.tables.replay import TableEvaluator

NAMES = ["rl", "evolution", "random"]
KEYS = {"value", "low", "high"}


def lines(folder):
    text = (folder / "runs.jsonl").read_text().splitlines()
    return {(line["strategy"], line["seed"]): line for line in map(json.loads, text)}


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Every file that must be equal byte for byte."""
    names = [p for p in folder.iterdir() if p.suffix in (".csv", ".md", ".png")]
    return {p.name: p.read_bytes() for p in [*names, folder / "comparison.json"]}


@pytest.fixture(scope="module")
def finished(settings, table_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparisons") / "a"
    summary = compare(make_config({**settings, "table": str(table_path)}), NAMES, 4, folder)
    return folder, summary


def test_a_comparison_that_is_going_on_is_left_alone(finished, settings, table_path):
    config = make_config({**settings, "table": str(table_path)})
    with hold(finished[0]), pytest.raises(UserError, match="in use by another process"):
        compare(config, NAMES, 5, finished[0])


def test_comparison_json_has_exactly_its_keys(finished):
    folder, summary = finished
    found = json.loads((folder / "comparison.json").read_text())
    assert set(found) == {
        *("strategies", "target_size", "random_expected_evaluations_to_target", "pairs")
    }
    assert list(found["strategies"]) == NAMES
    for s in found["strategies"].values():
        assert set(s) == {
            *("mean_regret_1_300", "regret_at", "evaluations_to_target"),
            "evaluations_to_top_1pct",
        }
        assert set(s["regret_at"]) == {"50", "100", "300", "1000"}
        estimates = [s["mean_regret_1_300"], *s["regret_at"].values()]
        for e in [*estimates, s["evaluations_to_target"], s["evaluations_to_top_1pct"]]:
            assert set(e) == KEYS
        assert s["regret_at"]["50"] == dict.fromkeys(KEYS)  # beyond the budget
        assert s["mean_regret_1_300"]["low"] <= s["mean_regret_1_300"]["value"]
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        assert set(pair) == {"a", "b", "p_a_better", "low", "high", "p_holm"}
        assert 0 <= pair["low"] <= pair["p_a_better"] <= pair["high"] <= 1
    m, n = found["target_size"], summary.field.size
    assert found["random_expected_evaluations_to_target"] == pytest.approx((n + 1) / (m + 1))


def test_a_folder_has_data_tables_figures_and_words(finished):
    folder, _ = finished
    runs = rows(folder / "runs.csv")
    assert [(r["strategy"], int(r["seed"])) for r in runs] == [
        (s, k) for s in NAMES for k in range(4)
    ]
    curves = rows(folder / "curves.csv")
    for r in runs:
        own = [c for c in curves if (c["strategy"], c["seed"]) == (r["strategy"], r["seed"])]
        assert (own[0]["functions"], own[-1]["functions"]) == ("1", "40")
        assert own[-1]["training_steps"] == r["training_steps"]
        regret = np.repeat(
            [float(c["true_regret"]) for c in own],
            np.diff([*(int(c["functions"]) for c in own), 41]),
        )
        assert regret.mean() == pytest.approx(float(r["mean_regret_1_300"]))
        assert regret.sum() == pytest.approx(float(r["area"]))
    figures = {p.stem for p in folder.glob("*.png")}
    assert len(figures) == 8
    tidy = {p.stem for p in folder.glob("*.csv")} - {"runs", "curves"}
    assert figures == tidy | {"found_functions"}
    for path in folder.glob("*.png"):
        assert min(struct.unpack(">II", path.read_bytes()[16:24])) > 300
    text = (folder / "README.md").read_text()
    for words in (
        "What is shown",
        "What is not shown",
        "target set",
        "with 4 seed(s)",
        "mean test",
    ):
        assert words in text
    assert all(f"]({name}.png)" in text for name in figures)


@pytest.mark.slow
def test_workers_change_nothing(finished, on_table, tmp_path):
    folder, _ = finished
    compare(on_table(pool="loky", workers=2), NAMES, 4, tmp_path / "b")
    assert lines(tmp_path / "b") == lines(folder)
    assert contents(tmp_path / "b") == contents(folder)


def test_what_is_there_is_not_run_again(finished, on_table, tmp_path, monkeypatch):
    """A kill in the middle of a line; then the missing runs only, and the same folder."""
    folder, _ = finished
    whole = (folder / "runs.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "runs.jsonl").write_bytes(b"".join(whole[:5]) + whole[5][:100])
    played = []

    def watched(job):
        played.append((job.config.strategy, job.config.seed))
        return replay(job)

    monkeypatch.setattr(run_module, "replay", watched)
    compare(on_table(), NAMES, 4, tmp_path / "c")
    assert len(played) == len(whole) - 5
    assert contents(tmp_path / "c") == contents(folder)
    compare(on_table(), NAMES, 4, tmp_path / "c")
    assert len(played) == len(whole) - 5


def test_changed_settings_are_not_mixed(finished, on_table, tmp_path):
    folder, _ = finished
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "runs.jsonl").write_bytes((folder / "runs.jsonl").read_bytes())
    compare(on_table(controller={"lr": 0.5}), NAMES, 4, tmp_path / "d")
    text = (tmp_path / "d" / "runs.jsonl").read_text().splitlines()
    again = [json.loads(line) for line in text[12:]]
    assert {line["strategy"] for line in again} == {"rl"}  # nobody else reads the controller's
    assert len(again) == 4
    here = {r["seed"]: r for r in rows(tmp_path / "d" / "runs.csv") if r["strategy"] == "rl"}
    there = {r["seed"]: r for r in rows(folder / "runs.csv") if r["strategy"] == "rl"}
    assert here != there
    compare(on_table(budget=30), ["random"], 4, tmp_path / "d")
    assert len((tmp_path / "d" / "runs.jsonl").read_text().splitlines()) == 20


def test_a_digest_tells_what_a_run_depends_on(on_table):
    base = on_table(strategy="local")
    for same in (
        on_table(strategy="local", workers=2),
        on_table(strategy="local", controller={"lr": 0.5}),
        on_table(strategy="local", retest={"seeds": 3}),
    ):
        assert run_digest(same, "table") == run_digest(base, "table")
    for other in (
        on_table(strategy="random"),
        on_table(strategy="local", seed=1),
        on_table(strategy="local", budget=41),
        on_table(strategy="local", local={"starts": 3}),
        on_table(strategy="local", fidelity={"keep": 0.4, "rungs": [0.5, 1]}),
    ):
        assert run_digest(other, "table") != run_digest(base, "table")
    assert run_digest(base, "another") != run_digest(base, "table")
    assert run_digest(base, "", "context") != run_digest(base, "", "another")


OWN = """
import numpy as np

shift = 0

def load(part):
    draw = np.random.default_rng(len(part))
    return draw.normal(shift, 1, (40, 1, 4, 4)).astype("float32"), np.arange(40) % 4
"""


def test_runs_on_other_data_under_the_same_name_are_run_again(own_module, tiny, tmp_path):
    own_module("compared_data", OWN)
    config = tiny(
        data={"name": "compared_data:load", "train": 40, "validation": 40},
        budget=2,
        retest={"seeds": 2, "finalists": 1},
    )
    kept = tmp_path / "c" / "runs.jsonl"
    for _ in range(2):
        compare(config, ["random"], 1, tmp_path / "c")
    (first,) = kept.read_text().splitlines()
    sys.modules["compared_data"].shift = 1
    compare(config, ["random"], 1, tmp_path / "c")
    before, after = map(json.loads, kept.read_text().splitlines())
    assert before == json.loads(first)
    assert after["run"] != before["run"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_lean_run_is_an_ordinary_one(strategy, table, on_table, table_path, tmp_path):
    """Reduction to the trusted case: log, cache and checkpoints change nothing."""
    config = on_table(strategy=strategy, seed=2)
    found = replay(Replay("id", config, str(table_path), table.digest))
    log, cache = RunLog(tmp_path / "log"), Cache(tmp_path / "cache")
    recorder = Recorder(log, cache, TableEvaluator(table, config))
    whole = Search(config, make_proposer(config), recorder, Silent(), tmp_path / "checkpoint")
    ended = whole.run()
    log.close()
    cache.close()
    told = [p for p, _ in read_log(tmp_path / "log") if p["kind"] == "outcome" and p["order"]]
    told.sort(key=lambda p: p["order"])
    assert [table.keys[row] for row in found.functions] == [p["key"] for p in told]
    assert list(found.fitness) == [p["fitness"] for p in told]
    assert list(found.rungs) == [p["rung"] for p in told]
    assert found.ended == ended
    assert len(found.functions) == 40


def test_a_budget_beyond_the_space_is_told(on_table, tmp_path):
    summary = compare(on_table(budget=400), ["exhaustive", "local"], 2, tmp_path)
    assert summary.strategies["exhaustive"].short == 2
    assert "ended before it (exhaustive 2, local 2)" in (tmp_path / "README.md").read_text()
    assert summary.strategies["local"].met["to_target"] == 2
    assert summary.strategies["local"].found[10].mean == 10


def test_what_a_strategy_cannot_do_is_told_before_anything_is_written(tiny, tmp_path):
    config = tiny(evolution={"objectives": "score_time"}, pipeline=1)
    with pytest.raises(UserError, match=r"score_time .*pipeline \(got 1\)"):
        compare(config, ["random", "evolution"], 1, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_equal_strategies_are_not_told_apart(finished):
    """Ties everywhere: p 1, P a half, and no claim."""
    _, summary = finished
    flat = Measures(np.ones(40), np.arange(40), 40, 3.0, float("inf"), 2.0, {10: 1})
    same = summarise({"a": [flat] * 3, "b": [flat] * 3}, summary.field, 40)
    assert same.pairs[0].p == 1
    assert same.pairs[0].better.mean == 0.5
    assert verdict(same.pairs[0]) == "a and b: no difference shown"


def test_one_seed_has_no_interval_and_shows_nothing(on_table, tmp_path):
    """Whichever way the one run went, nobody is said to have a larger regret."""
    summary = compare(on_table(), ["random", "local", "exhaustive"], 1, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "**" not in text and "one seed shows nothing" in text
    assert not re.search(r"\(\d[\d.,]* to \d", text) and "95%" not in text
    for row in rows(tmp_path / "regret_by_steps.csv"):
        assert float(row["value"]) >= 0 and row["low"] == row["high"] == ""
    found = json.loads((tmp_path / "comparison.json").read_text())
    for s in found["strategies"].values():
        assert s["mean_regret_1_300"]["value"] is not None
        assert s["mean_regret_1_300"]["low"] is s["mean_regret_1_300"]["high"] is None
    for told, pair in zip(pair_lines(summary), summary.pairs, strict=True):
        assert "no difference shown" in verdict(pair)
        assert "(-)" in told and "one seed shows nothing" in told
    screen = io.StringIO()
    show_comparison(summary, tmp_path, Console(file=screen, width=200))
    assert "95%" not in screen.getvalue() and "one seed shows nothing" in screen.getvalue()


def test_what_is_shown_names_the_better_one(finished):
    _, summary = finished

    def runs(level):
        return [
            Measures(np.full(40, level + k / 100), np.arange(40), 40, 3.0, 4.0, 2.0, {10: 1})
            for k in range(10)
        ]

    found = summarise({"bad": runs(2.0), "good": runs(1.0)}, summary.field, 40)
    assert found.pairs[0].better.mean == 0
    assert found.pairs[0].difference.mean == pytest.approx(1)
    assert verdict(found.pairs[0]) == "good is better than bad"


@pytest.mark.slow
def test_real_training_goes_the_same_way(tiny, tmp_path):
    config = tiny(budget=6, retest={"seeds": 2, "finalists": 1})
    summary = compare(config, ["random", "local"], 2, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "nobody knows it here" in text
    assert "retested" in text
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["random_expected_evaluations_to_target"] is None
    assert not summary.field.whole
    folders = sorted(p.name[:-9] for p in (tmp_path / "runs").iterdir() if p.is_dir())
    assert folders == ["local-seed0", "local-seed1", "random-seed0", "random-seed1"]
    assert (tmp_path / "runs" / "cache.sqlite").exists()
    # Without its ledger the comparison takes up the runs' own folders.
    before = contents(tmp_path)
    (tmp_path / "runs.jsonl").unlink()
    compare(config, ["random", "local"], 2, tmp_path)
    assert contents(tmp_path) == before


def test_a_damaged_ledger_is_named(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"run": "a"}\n')
    with pytest.raises(UserError, match=r"runs.jsonl line 1: damaged record"):
        Ledger(tmp_path / "runs.jsonl")


def test_a_trace_survives_its_file(tmp_path):
    trace = Trace("a", "rl", 3, (1, 2), (-0.1, -1 / 3), (0, 1), "the budget", {"k": -0.25})
    with Ledger(tmp_path / "runs.jsonl") as ledger:
        ledger.add(trace)
    with Ledger(tmp_path / "runs.jsonl") as ledger:
        assert ledger["a"] == trace
        assert list(ledger) == ["a"]


def test_a_full_disk_is_one_line_and_what_was_kept_stays(tmp_path, monkeypatch):
    traces = [Trace(run, "rl", 3, (1,), (-0.1,), (0,), "the budget") for run in "ab"]

    def fail(descriptor, data):
        raise OSError(28, "No space left on device")

    with Ledger(tmp_path / "runs.jsonl") as ledger:
        ledger.add(traces[0])
        monkeypatch.setattr(disk, "write", fail)
        with pytest.raises(UserError, match=r"runs.jsonl cannot be written: No space left"):
            ledger.add(traces[1])
    with Ledger(tmp_path / "runs.jsonl") as ledger:
        assert list(ledger) == ["a"]


def test_compare_is_public():
    assert hybridsearch.compare is compare


def test_the_report_tells_the_batches_of_those_that_differ():
    config = make_config({})
    assert batches(config, ["rl-screen", "random"]) == "32"
    mixed = batches(config, ["random", "hybrid", "local+screen"])
    assert mixed == "32, 2 to 12 for hybrid, 2 to 12 for local+screen"
    assert batches(make_config({"batch": 8}), ["rl", "hybrid"]) == "8"


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        ({}, "nats of cross-entropy"),
        ({"data": "mine:load", "training": {"loss": "cross_entropy"}}, "nats of cross-entropy"),
        ({"training": {"loss": "mine:loss"}}, "of the loss"),
        ({"data": "mine:load"}, "of the loss"),
        ({"fitness": "accuracy"}, "of accuracy (0 to 1)"),
    ],
)
def test_a_regret_has_the_unit_of_the_loss(settings, unit):
    assert unit_of(make_config(settings)) == unit
