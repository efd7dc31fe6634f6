"""A small space recorded for real: resumable, the same with any number of workers, replayed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors import SafetensorError

from hybridsearch.cli import main
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.genome.function import baselines, resolve
from hybridsearch.observe import Silent
from hybridsearch.session import search
from hybridsearch.store import disk
from hybridsearch.store.disk import hold
from hybridsearch.tables.card import make_card, target_set, write_card
from hybridsearch.tables.recording import Cell, Recording, space_functions
from hybridsearch.tables.replay import TableEvaluator, table_config
from hybridsearch.tables.table import DIVERGED, OK, load_table, pack
from hybridsearch.tabulate import record
from hybridsearch.types import Status

SPACE = {"unary": ["id", "tanh", "sigmoid", "cube"], "binary": ["add", "mul", "max"]}


def settings(**changes):
    base = {
        "space": SPACE,
        "data": {"name": "digits", "train": 64, "validation": 100},
        "network": {"name": "digits_mlp", "width": 4},
        "training": {"steps": 16, "batch_size": 32, "stack": 3, "warmup": 2},
        "record": {"replicates": 3, "rungs": [0.25, 1.0], "half": 4, "best": 6, "top": 5},
        "workers": 1,
        "pool": "inline",
    }
    return make_config({**base, **changes})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "small"
    record(settings(), folder)
    return Recording(folder)


def test_every_function_and_baseline_is_recorded_at_every_rung(recorded):
    keys = [f.key for f in recorded.functions]
    assert len(keys) == len(set(keys)) > 30
    assert {f.key for f in baselines()} <= set(keys)
    counts = [sum((key, k) in recorded.cells for k in range(6)) for key in keys]
    assert sorted(set(counts)) == [3, 4, 6]
    assert counts.count(6) == 5
    assert counts.count(6) + counts.count(4) == (len(keys) + 1) // 2
    assert recorded.rungs == (4, 16)
    for cell in recorded.cells.values():
        assert len(cell.scores) == 2 or cell.status is Status.DIVERGED
        assert cell.seconds > 0


def test_its_numbers_are_those_of_the_evaluator(recorded):
    evaluator = TrainingEvaluator(recorded.config, recorded.folder / "children")
    function = resolve("x*sigmoid(x)")
    seeds = [recorded.seed(k) for k in range(3)]
    for rung, steps in enumerate(recorded.rungs):
        tasks = evaluator.replicates(function.spec, function.key, steps, seeds)
        for k, result in enumerate(evaluator.evaluate(tasks)):
            cell = recorded.cells[function.key, k]
            assert cell.scores[rung][:2] == pytest.approx((result.loss, result.metric), rel=1e-5)
        tests = [evaluator.test_task(t) for t in tasks]
        for k, result in enumerate(evaluator.evaluate(tests)):
            cell = recorded.cells[function.key, k]
            assert cell.scores[rung][2:] == pytest.approx((result.loss, result.metric), rel=1e-5)
    evaluator.close()


def test_a_function_is_not_missed_for_a_spelling_that_is_rejected():
    """sqrt(tanh(x)^2) comes first, and has no slope at 0."""
    space = {"max_units": 2, "unary": ["tanh", "sqrt", "abs"], "binary": ["mul", "max"]}
    found = space_functions(settings(space=space))
    key = resolve("max tanh x tanh x | max abs u1 abs u1").key
    assert [f.key for f in found].count(key) == 1
    assert len({f.key for f in found}) == len(found)


class Impatient(Silent):
    """Stops a recording after some trainings, as Ctrl-C does."""

    def __init__(self, after):
        self.after = after

    def advance(self, done):
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stopped_recording_goes_on_to_the_same_table(recorded, tmp_path, workers):
    how = {} if workers == 1 else {"pool": "loky", "workers": 2}
    for after in (8, 31, 60):
        with pytest.raises(KeyboardInterrupt):
            record(settings(**how), tmp_path / "a", observer=Impatient(after))
    with (tmp_path / "a" / "cells-000.jsonl").open("a") as file:
        file.write('{"key": "torn')
    record(settings(**how), tmp_path / "a")
    again = Recording(tmp_path / "a")
    assert again.cells.keys() == recorded.cells.keys()
    for place, cell in recorded.cells.items():
        assert again.cells[place].scores == cell.scores
        assert again.cells[place].status is cell.status
    lines = [line for s in again.shards() for line in s.read_text().splitlines()]
    assert len(lines) == len(again.cells)  # nothing twice
    assert load_table(tmp_path / "a" / "table.safetensors").digest == pack(recorded).digest


def fail(*rest):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["write", "sync"])
def test_a_full_disk_ends_a_recording_in_one_line_and_its_workers(tmp_path, monkeypatch, what):
    recording = Recording.start(tmp_path, settings(), [])
    work = [("all", [(f, range(1)) for f in recording.functions[:2]])]
    closed = []
    monkeypatch.setattr(TrainingEvaluator, "close", lambda self: closed.append(self))
    with monkeypatch.context() as full:
        full.setattr(disk, what, fail)
        with pytest.raises(UserError, match=r"cells-000.jsonl cannot be written: No space left"):
            recording.train(work, Silent())
    assert len(closed) == 1
    assert len(Recording(tmp_path).cells) == len(recording.cells) == (2 if what == "sync" else 0)
    recording.train(work, Silent())
    assert Recording(tmp_path).cells == recording.cells and len(recording.cells) == 2


def test_functions_are_added_behind_a_list_that_was_cut(tmp_path, monkeypatch):
    Recording.start(tmp_path, settings(), [])
    whole = (tmp_path / "functions.jsonl").read_text()
    with (tmp_path / "functions.jsonl").open("a") as file:
        file.write('{"function": "tor')
    added = [resolve("tanh(x)*x"), resolve("sin(x)")]
    with monkeypatch.context() as full, pytest.raises(UserError, match="No space left on device"):
        full.setattr(disk, "write", fail)
        Recording.start(tmp_path, settings(), added)
    made = Recording.start(tmp_path, settings(), added)
    assert [f.key for f in Recording(tmp_path).functions] == [f.key for f in made.functions]
    assert (tmp_path / "functions.jsonl").read_text().startswith(whole)
    assert made.functions[-2:] == added


def test_a_table_that_the_disk_does_not_take_is_one_line(recorded, tmp_path, monkeypatch):
    def full(*rest, **more):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("hybridsearch.tables.table.save_file", full)
    with pytest.raises(UserError, match=r"t.safetensors cannot be written: .* No space left"):
        pack(recorded).save(tmp_path / "t.safetensors")


def test_other_settings_in_the_same_folder_are_refused(recorded):
    with pytest.raises(UserError, match="holds a recording with other settings"):
        record(settings(seed=5), recorded.folder)


def test_other_settings_may_begin_where_nothing_was_recorded_yet(tmp_path):
    Recording.start(tmp_path / "a", settings(seed=5))
    assert Recording.start(tmp_path / "a", settings()).config.seed == 0


OWN = """
import numpy as np

shift = 0

def load(part):
    draw = np.random.default_rng(len(part))
    return draw.normal(shift, 1, (40, 1, 4, 4)).astype("float32"), np.arange(40) % 4
"""


def test_cells_of_other_data_under_the_same_name_are_not_mixed(own_module, tmp_path):
    own_module("recorded_data", OWN)
    config = settings(
        data={"name": "recorded_data:load", "train": 40, "validation": 40},
        space={"unary": ["id", "tanh"], "binary": ["add"]},
        record={"replicates": 2, "rungs": [1.0], "half": 2, "best": 2, "top": 1},
    )
    record(config, tmp_path / "a")
    cells = Recording(tmp_path / "a").cells
    assert Recording.start(tmp_path / "a", config).cells == cells
    sys.modules["recorded_data"].shift = 1
    with pytest.raises(
        UserError, match=r"was recorded before recorded_data:load was changed; undo"
    ):
        record(config, tmp_path / "a")
    assert Recording.start(tmp_path / "b", config).cells == {}
    sys.modules["recorded_data"].shift = 0
    assert Recording.start(tmp_path / "a", config).cells == cells


def test_a_recording_that_is_going_on_is_left_alone(recorded):
    with hold(recorded.folder), pytest.raises(UserError, match="in use by another process"):
        record(recorded.config, recorded.folder)


def test_a_damaged_shard_is_named(recorded, tmp_path):
    for file in ("config.yaml", "functions.jsonl"):
        (tmp_path / file).write_text((recorded.folder / file).read_text())
    (tmp_path / "cells-000.jsonl").write_text('{"key": 1}\n')
    with pytest.raises(UserError, match=r"cells-000\.jsonl line 1: damaged record"):
        Recording(tmp_path)
    with pytest.raises(UserError, match="holds no recording"):
        Recording(tmp_path / "elsewhere")


def test_a_cell_is_read_as_it_was_written():
    cell = Cell("k", 2, Status.DIVERGED, ((1.25, 0.5, 1.5, 0.25),), 0.5, "why")
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


def test_truth_is_the_test_score_of_what_no_search_sees(recorded):
    table = pack(recorded)
    row = table.index[resolve("x*sigmoid(x)").key]
    unseen = table.status[row, 2:] == OK
    losses = table.test_loss[row, 2:, -1][unseen]
    assert table.truth[row] == pytest.approx(-losses.mean(), rel=1e-6)
    assert table.scores("test").shape == (len(table.keys), 6, 2)
    best = target_set(table)
    assert table.truth[best[0]] == table.truth.max()
    assert len(best) >= 1


def test_a_search_is_replayed_without_training(recorded, tmp_path):
    path = tmp_path / "t.safetensors"
    pack(recorded).save(path)
    config = make_config(
        {"table": str(path), "strategy": "random", "budget": 20, "batch": 8}
        | {"fidelity": {"rungs": [0.25, 1.0]}}
    )
    summary = search(config, tmp_path / "run")
    assert summary["budgets"]["distinct"] == 20
    assert summary["true_regret"] >= 0
    assert "on a recorded table" in summary["verdict"]
    assert (tmp_path / "run" / "search_curve.png").exists()
    with pytest.raises(UserError, match="was recorded at 4, 16"):
        search(
            config.model_copy(
                update={"fidelity": config.fidelity.model_copy(update={"rungs": (0.5, 1.0)})}
            ),
            tmp_path / "other",
        )


def test_a_table_replays_where_the_processor_makes_other_keys(recorded, tmp_path):
    """A few keys hang on the last bits of a cancellation; a table knows both."""
    table, spec = pack(recorded), resolve("x*sigmoid(x)").spec
    row = table.index[resolve(spec).key]
    there = replace(table, keys=(*table.keys[:row], "f" * 32, *table.keys[row + 1 :]))
    assert there.index["f" * 32] == there.index[resolve(spec).key] == row
    config = table_config(table, settings(fidelity={"rungs": [1.0]}))
    told = [
        [next(iter(e.evaluate([e.task(spec, key, 16, seed)]))).loss for seed in range(20)]
        for e, key in (
            (TableEvaluator(there, config), "f" * 32),
            (TableEvaluator(there, config), resolve(spec).key),
        )
    ]
    assert told[0] == told[1] and len(set(told[0])) == 2  # one draw of the noise for both


def test_a_recording_goes_on_under_the_keys_that_it_began_with(recorded, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(recorded.folder, folder)
    key = resolve("x*sigmoid(x)").key
    for path in (folder / "functions.jsonl", *folder.glob("cells-*.jsonl")):
        path.write_text(path.read_text().replace(key, "e" * 32))
    moved = Recording(folder)
    assert moved.cells.keys() != recorded.cells.keys() and len(moved.cells) == len(recorded.cells)
    before, after = pack(recorded), pack(moved)
    assert after.keys[before.index[key]] == "e" * 32
    assert np.array_equal(before.status, after.status)


def test_a_table_outlives_the_settings_of_proposers(recorded, tmp_path):
    """Its config may hold sections of strategies as an older version had them."""
    table = pack(recorded)
    old = {**table.about["config"], "hybrid": {"settings": "of long ago"}}
    path = tmp_path / "t.safetensors"
    replace(table, about={**table.about, "config": old}).save(path)
    assert load_table(path).config == table.config
    folder = tmp_path / "old"
    shutil.copytree(recorded.folder, folder)
    text = (folder / "config.yaml").read_text() + "\nlocal: {gone: 1}\n"
    (folder / "config.yaml").write_text(re.sub(r"\nlocal:\n(  .*\n)+", "\n", text))
    assert Recording(folder).config == recorded.config


def test_noise_depends_on_seed_and_function_alone(recorded):
    table = pack(recorded)
    evaluator = TableEvaluator(table, table_config(table, settings(fidelity={"rungs": [1.0]})))
    seen = {}
    for seed in range(40):
        tasks = [
            evaluator.task(s, k, 16, seed) for s, k in zip(table.specs, table.keys, strict=True)
        ]
        losses = [e.loss for e in evaluator.evaluate(tasks)]
        assert losses == [e.loss for e in evaluator.evaluate(tasks[::-1])][::-1]
        seen[seed] = losses
    able = [k for k in range(len(table.keys)) if (table.status[k, :2] != DIVERGED).all()]
    for row in able:
        assert {seen[s][row] for s in seen} == set(table.validation_loss[row, :2, -1].tolist())
    with pytest.raises(UserError, match="is not in the table"):
        list(evaluator.evaluate([evaluator.task("sinh(x)", "nokey", 16, 0)]))


def test_test_images_can_be_scored_at_the_top_alone(recorded, tmp_path):
    few = {**SPACE, "unary": ["id", "tanh"]}
    how = {"space": few, "record": {"replicates": 3, "rungs": [0.25, 1.0], "test": "top"}}
    path = record(settings(**how), tmp_path / "top")
    found, whole = load_table(path), pack(recorded)
    row, there = (t.index[resolve("tanh(x)*x").key] for t in (found, whole))
    assert np.isnan(found.test_loss[row, :, 0]).all()
    assert np.isnan(found.scores("test")[row, :, 0]).all()
    assert found.test_loss[row, :, 1].tolist() == whole.test_loss[there, :3, 1].tolist()
    assert found.validation_loss[row].tolist() == whole.validation_loss[there, :3].tolist()
    assert found.truth[row] == pytest.approx(-found.test_loss[row, 2, 1])


def test_the_card_says_what_the_numbers_are(recorded):
    table = pack(recorded)
    card = make_card(table)
    assert card.functions == len(table.keys)
    assert sum(card.replicates.values()) == card.functions
    assert card.trainings == len(recorded.cells)
    good = {key for (key, _), cell in recorded.cells.items() if cell.status is Status.OK}
    bad = {key for (key, _), cell in recorded.cells.items() if cell.status is not Status.OK}
    assert card.finite == card.functions - len(bad)
    assert card.diverged == card.functions - len(good)
    assert set(card.reliability) == {"all", "best quarter", "best tenth"}
    assert list(card.rungs) == [4]
    assert card.top[0][1] == pytest.approx(np.max(table.truth))
    text = write_card(table, "small")
    assert f"{card.functions:,} distinct" in text
    json.dumps(card.to_json())


def test_the_functions_of_a_run_can_be_recorded(tmp_path):
    config = settings(strategy="random", budget=6, batch=4, retest={"seeds": 2, "finalists": 1})
    search(config, tmp_path / "run")
    asked = settings(record={"replicates": 2}, workers=1)
    with pytest.raises(UserError, match=r"--run: .* the run's settings, got training.steps 17;"):
        other = asked.training.model_copy(update={"steps": 17})
        record(asked.model_copy(update={"training": other}), tmp_path / "t", tmp_path / "run")
    record(asked, tmp_path / "t", tmp_path / "run")
    table = load_table(tmp_path / "t" / "table.safetensors")
    assert 6 <= len(table.keys) <= 15
    assert table.config.network.name == "digits_mlp"


def test_the_command_line(tmp_path, capsys, recorded):
    assert main(["table", str(recorded.folder)]) == 0
    assert "Recorded table small" in capsys.readouterr().out
    assert main(["table", "nonesuch"]) == 2
    assert "no recorded table 'nonesuch'" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text(
        json.dumps(settings(space=SPACE | {"unary": ["id", "tanh"]}).model_dump(mode="json"))
    )
    words = ["record", "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "r")]
    assert main([*words, "--record.half", "0", "--record.best", "0"]) == 0
    assert (tmp_path / "r" / "card.md").exists()
    assert main([*words, "--seed", "9"]) == 2
    assert "other settings" in capsys.readouterr().err
    assert main(["record"]) == 2


@pytest.mark.parametrize("few", [{"replicates": 1}, {"replicates": 1, "half": 1, "best": 1}])
def test_too_few_replicates_for_a_table_are_refused_before_any_training(tmp_path, few):
    with pytest.raises(UserError, match=r"record.replicates: expected 2 or more, .* got 1"):
        record(settings(record=few), tmp_path / "t")
    assert not (tmp_path / "t").exists()
