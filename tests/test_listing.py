"""All runs at a glance: what is told of each, and from how little."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from rich.console import Console

from hybridsearch import listing
from hybridsearch.analysis.runs import load_run
from hybridsearch.errors import UserError
from hybridsearch.listing import as_json, row_of, rows, runs_under, show
from hybridsearch.store.disk import hold


@pytest.fixture
def runs(finished_run, tmp_path):
    """A folder with a finished run, a stopped one, one in a folder below, and what is no run."""
    top = tmp_path / "runs"
    for name in ("done", "stopped", "below/deep"):
        shutil.copytree(finished_run, top / name)
    (top / "stopped" / "summary.json").unlink()
    for name, file in (("table", "functions.jsonl"), ("compared", "runs.jsonl")):
        (top / name).mkdir()
        (top / name / "config.yaml").write_text("{}")
        (top / name / file).write_text("")
    return top


def test_all_runs_are_found_and_nothing_else(runs):
    found = runs_under([runs])
    assert sorted(str(p.relative_to(runs)) for p in found) == ["below/deep", "done", "stopped"]
    assert runs_under([runs / "done"]) == [runs / "done"]
    assert len(runs_under([runs, runs / "done"])) == 3  # each once
    with pytest.raises(UserError, match="no folder"):
        runs_under([runs / "nope"])


def test_a_finished_run_is_told_by_its_summary(runs):
    summary = load_run(runs / "done").summary
    row = row_of(runs / "done")
    assert (row.state, row.strategy, row.seed) == ("finished", "evolution", 0)
    assert row.winner == summary["winner"]["label"]
    assert row.verdict == summary["verdict"]
    assert row.difference == tuple(
        summary["difference_to_best_baseline"][k] for k in ("mean", "low", "high")
    )
    assert row.seconds == pytest.approx(summary["budgets"]["seconds"] + summary["retest_seconds"])


def test_the_log_of_a_finished_run_is_not_read(runs):
    (runs / "done" / "trials.jsonl").write_bytes(b"no log at all\n")
    (runs / "done" / "config.yaml").write_text("no: {config")
    assert row_of(runs / "done").state == "finished"


def test_a_stopped_and_a_running_one(runs):
    folder = runs / "stopped"
    log = folder / "trials.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    orders = [json.loads(line)["payload"].get("order", 0) for line in lines]
    cut = orders.index(5) + 1
    log.write_bytes(b"".join(lines[:cut]) + lines[cut][:9])
    row = row_of(folder)
    assert (row.state, row.done, row.budget) == ("stopped", 5, 8)
    with hold(folder):
        assert row_of(folder).state == "running"
    log.unlink()
    assert row_of(folder).done == 0


@pytest.mark.parametrize(
    "file, text, reason",
    [
        ("summary.json", "{", "damaged"),
        ("summary.json", "[]", "expected an object"),
        ("summary.json", '{"verdict": "better"}', "KeyError"),
        ("config.yaml", "budget: many", "budget"),
        ("trials.jsonl", "nonsense\n", "damaged record"),
    ],
)
def test_a_damaged_one_is_listed_with_the_reason(runs, file, text, reason):
    folder = runs / ("done" if file == "summary.json" else "stopped")
    (folder / file).write_text(text)
    found = rows([runs])
    assert len(found) == 3
    [bad] = [r for r in found if r.state == "damaged"]
    assert reason in bad.reason
    console = Console(width=400, record=True, file=io.StringIO())
    show(found, console)
    text = console.export_text()
    assert f"{folder}: " in text
    assert "finished" in text


def test_the_table_and_the_json_say_the_same(runs):
    found = rows([runs])
    console = Console(width=400, record=True, file=io.StringIO())
    show(found, console)
    text = console.export_text()
    told = json.loads(json.dumps(as_json(found), allow_nan=False))["runs"]
    assert len(told) == 3
    for row in told:
        assert row["folder"] in text
        assert row["winner"] in text
    assert "stopped at 8 of 8" in text


def test_the_latest_comes_first(runs):
    for name, when in (("done", "2026-01-02"), ("stopped", "2026-01-03"), ("below/deep", None)):
        file = runs / name / "environment.json"
        file.write_text(json.dumps({"started": f"{when}T10:00:00+00:00"} if when else {}))
    assert [r.folder for r in rows([runs])] == [
        str(runs / "stopped"),
        str(runs / "done"),
        str(runs / "below/deep"),
    ]


def test_no_runs_are_no_error(tmp_path):
    console = Console(record=True, file=io.StringIO())
    show(rows([tmp_path]), console)
    assert console.export_text().strip() == "No runs."
    assert listing.as_json([]) == {"runs": []}
