"""`explain`: what is asked, and what is answered, for functions and for those of a run."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from dataclasses import replace

import pytest
from rich.console import Console

from hybridsearch.analysis.runs import load_run
from hybridsearch.errors import UserError
from hybridsearch.explain import met
from hybridsearch.explain.ask import ask, explain, parameters, plain
from hybridsearch.explain.show import show
from hybridsearch.genome.function import resolve
from hybridsearch.types import numbers_for


def shown(answer) -> str:
    console = Console(width=1000, record=True, file=io.StringIO())
    show(answer, console)
    return console.export_text()


def test_a_formula_a_name_and_a_token_text_are_functions():
    keys = {ask(t).function.key for t in ("Swish", "x*sigmoid(beta*x)", "gate scale x id x")}
    assert keys == {resolve("Swish").key}
    assert ask("x*sigmoid(beta*x)").name == "x-sigmoid-beta-x"


def test_a_folder_is_its_winner_and_an_id_one_of_its_proposals(finished_run):
    run = load_run(finished_run)
    winner = ask(str(finished_run))
    assert winner.function.key == run.summary["winner"]["key"] == winner.outcome["key"]
    for outcome in run.outcomes:
        asked = ask(f"{finished_run}#{outcome['id']}")
        assert asked.function.key == outcome["key"]
        assert asked.outcome == outcome


@pytest.mark.parametrize(
    "tail, words",
    [("#999", "expected an id of its log"), ("#x", "expected the id"), ("/nope", "no folder")],
)
def test_what_is_not_there_is_told(finished_run, tail, words):
    with pytest.raises(UserError, match=words):
        ask(f"{finished_run}{tail}")


def test_the_answer_is_strict_json_and_has_a_picture(tmp_path):
    file = tmp_path / "x.png"
    answer = explain(ask("x/(x+eps)"), file)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert file.read_bytes().startswith(b"\x89PNG")
    assert answer["picture"] == str(file)
    assert answer["low"] == {"value": None, "reached": False, "certain": True}
    assert answer["normal"] == {"mean": None, "second": "infinity", "gain": "infinity"}
    assert answer["preflight"] == {"searched": True, "rejected": "explosive growth"}
    assert answer["run"] is None
    assert "(-infinity, infinity)" in shown(answer)


def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        explain(ask("ReLU"), tmp_path / "file" / "x.png")


def test_what_people_read_of_swish():
    text = shown(explain(ask("Swish"), None))
    for words in (
        "[-0.278465, infinity)",
        "minimum -0.278465 at x = -1.27846",
        "falls up to x = -1.27846, rises from x = -1.27846 on",
        "-> x",
        "f = 0, f' = 1/2",
        "accepted",
        "E f'^2 (gain) 0.379482",
        "of 3,329 by true score",
        r"x\cdot \sigma\left(\beta\,x\right)",
    ):
        assert words in text
    assert "None" not in text


def test_each_list_says_whether_it_goes_on():
    answer = explain(ask("sin(x^2)+x"), None)
    assert answer["more"] and answer["goes_on"] == ["turns", "stretches"]
    lines = {line.split("  ")[0]: line for line in shown(answer).splitlines()}
    assert lines["zeros"].endswith("x = 0")
    assert lines["kinks"].endswith("none")
    assert all(lines[name].endswith(", and so on") for name in ("monotone", "extremes"))


def test_a_function_that_is_defined_nowhere_is_said_to_be():
    answer = explain(ask("sqrt(-cosh(x))"), None)
    assert answer["nowhere"] and json.dumps(answer, allow_nan=False)
    text = shown(answer)
    assert "not defined anywhere" in text and "infinity" not in text and "like" not in text


def test_a_baseline_that_is_no_genome_is_explained_too():
    answer = explain(ask("PReLU"), None)
    assert answer["tokens"] is answer["latex"] is None
    assert answer["starts"] == [0.25]
    assert "no search proposes" in shown(answer)


def test_parameters_are_moved_together_and_alone():
    rows = parameters(resolve("max(beta*x, x+beta)"))
    assert [(r["which"], r["value"]) for r in rows[:4]] == [
        ("all", 0.5),
        ("all", 1.0),
        ("all", 2.0),
        ("beta 1", 0.5),
    ]
    assert rows[0]["at"]["2.0"] == 2.5  # max(1, 2.5)
    assert rows[2]["at"]["2.0"] == 4.0
    assert parameters(resolve("ReLU")) == []


def test_infinite_and_missing_numbers_in_json():
    assert plain((1.5, float("inf"), -float("inf"), float("nan"), None)) == [
        1.5,
        "infinity",
        "-infinity",
        None,
        None,
    ]


# Of a run ------------------------------------------------------------------------------------


def test_every_evaluation_is_told_from_log_and_cache(finished_run):
    run = load_run(finished_run)
    key = run.summary["winner"]["key"]
    rows, why = met.evaluations(run, {key})
    logged = [e for e in run.evaluations if e["key"] == key]
    assert why == ""
    assert [r.result.task for r in rows if r.logged] == [e["task"] for e in logged]
    assert all(r.cached for r in rows)
    assert {r.purpose for r in rows} == {"search", "retest"}
    assert [r.rung for r in rows if r.purpose == "search"] == [1, 2, 3]
    assert {r.split.partition("-")[0] for r in rows} == {"validation", "test"}


def test_what_the_seeds_of_a_run_are_for(finished_run):
    run = load_run(finished_run)
    seed, first, count = run.config.seed, run.config.retest.first, run.config.retest.seeds
    numbers = numbers_for(seed, "retest", first, 2 * count)
    assert {met._purpose(run, n) for n in numbers[:count]} == {"retest"}
    assert {met._purpose(run, n) for n in numbers[count:]} == {"another"}  # it had none
    retest = run.config.retest.model_copy(update={"duel": True})
    with_one = replace(run, config=run.config.model_copy(update={"retest": retest}))
    assert [met._purpose(with_one, n) for n in numbers] == ["retest"] * count + ["duel"] * count


def test_what_other_runs_left_in_the_cache_is_found(finished_run, tmp_path):
    """Cut from the log, an evaluation is still in the cache, under the task it must have had."""
    run = load_run(finished_run)
    key = run.summary["winner"]["key"]
    kept = [r for r in run.trials if r[0]["kind"] != "evaluation" or r[0]["key"] != key]
    blind = type(run)(run.folder, run.config, run.environment, kept)
    rows, _ = met.evaluations(blind, {key})
    assert {r.result.task for r in rows} == {e["task"] for e in run.evaluations if e["key"] == key}
    assert not any(r.logged for r in rows)


def test_looking_changes_nothing(finished_run, tmp_path):
    shutil.copytree(finished_run.parent, tmp_path / "runs")
    run = load_run(tmp_path / "runs" / "a")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    explain(ask(f"{run.folder}#0"), None)
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    assert after == before


def test_a_missing_or_damaged_cache_leaves_the_log(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "runs" / "a")
    run = load_run(tmp_path / "runs" / "a")
    run = type(run)(
        run.folder,
        run.config.model_copy(update={"cache": str(tmp_path / "none")}),
        run.environment,
        run.trials,
    )
    key = run.summary["winner"]["key"]
    rows, why = met.evaluations(run, {key})
    assert "cannot be read now" in why
    assert rows and not any(r.cached for r in rows)
    (tmp_path / "runs" / "cache.sqlite").write_bytes(b"no database" * 100)
    assert met.evaluations(run, {key})[0] == rows


def test_a_cache_that_a_driver_writes_to_is_read_all_the_same(finished_run):
    run = load_run(finished_run)
    db = sqlite3.connect(run.config.cache, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")  # as in the middle of a commit
    try:
        rows, why = met.evaluations(run, {run.summary["winner"]["key"]})
    finally:
        db.execute("ROLLBACK")
        db.close()
    assert why == ""
    assert all(r.cached for r in rows)


def test_the_lineage_is_that_of_the_log(finished_run):
    run = load_run(finished_run)
    known = {o["id"]: o for o in run.outcomes}
    deep = max(run.outcomes, key=lambda o: (len(o["parents"]) > 0, o["id"]))
    tree = met.ancestry(run, deep["id"])

    def check(node, left):
        outcome = known[node.id]
        assert (node.formula, node.proposer) == (outcome["formula"], outcome["proposer"])
        assert node.how == outcome["operator"]
        if not node.again:
            shown = {p.id for p in node.parents} | set(node.left_out)
            assert shown == set(outcome["parents"])
        assert left or not node.parents
        for parent in node.parents:
            check(parent, left - 1)

    assert tree.parents
    check(tree, met.DEEP)
    short = met.ancestry(run, deep["id"], deep=0)
    assert not short.parents
    assert set(short.left_out) == set(deep["parents"])


def test_a_log_that_names_itself_as_parent_ends(finished_run):
    run = load_run(finished_run)
    circular = [({**p, "parents": [p["id"], p["id"] + 1]} if p["kind"] == "outcome" else p, v)
                for p, v in run.trials]  # fmt: skip
    made = type(run)(run.folder, run.config, run.environment, circular)
    assert met.ancestry(made, 0).parents == ()


def test_the_controllers_probabilities_are_shown(finished_run):
    run = load_run(finished_run)
    genome = "gate scale x id x"
    outcome = {"genome": genome, "operator": "policy", "chances": [0.5, 0.25, 1.0, 0.0625, 1.0]}
    drawn = {**run.outcomes[0], **outcome}
    assert met.chances(drawn)[:2] == [("gate", 0.5), ("scale", 0.25)]
    answer = explain(ask(f"{finished_run}#{run.outcomes[0]['id']}"), None)
    assert answer["run"]["chances"] == met.chances(run.outcomes[0])
    answer["run"]["chances"] = met.chances(drawn)
    assert "gate 0.5  scale 0.25  x 1  id 0.062  x 1" in shown(answer)


def test_equivalents(finished_run):
    run = load_run(finished_run)
    first = next(o for o in run.outcomes if o["order"])
    twin = {**first, "id": 500, "genome": "mul id x id x", "known": True, "proposer": "rl"}
    made = type(run)(run.folder, run.config, run.environment, [*run.trials, (twin, {})])
    assert met.equivalents(made, {first["key"]}, first["genome"]) == ["mul id x id x"]
    assert met.equivalents(run, {first["key"]}, first["genome"]) == []


def test_what_people_read_of_a_runs_winner(finished_run):
    run = load_run(finished_run)
    answer = explain(ask(str(finished_run)), None)
    text = shown(answer)
    assert f"In {finished_run}" in text
    assert f"#{answer['run']['outcome']['id']} " in text
    assert "retest" in text
    assert "log, cache" in text
    assert run.summary["winner"]["expression"] in text
