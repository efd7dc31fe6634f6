"""The tables that ship: whole, reliable where it counts, and quick to search on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridsearch import session
from hybridsearch.comparison.field import field_of_table
from hybridsearch.comparison.play import Replay, replay
from hybridsearch.config import load_config
from hybridsearch.genome.function import baselines
from hybridsearch.tables.card import FINE, make_card, write_card
from hybridsearch.tables.recording import Recording
from hybridsearch.tables.replay import table_config
from hybridsearch.tables.table import Table, load_table, pack, packaged_tables

NAMES = [path.stem for path in sorted(packaged_tables().glob("*.safetensors"))]
LEAST = {"digits": 5, "cifar10": 2}  # replicates of every function
MEGABYTES = 10


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def table(name):
    return load_table(name)


def test_they_are_there_and_small():
    assert "digits" in NAMES
    assert sum(p.stat().st_size for p in packaged_tables().iterdir()) < MEGABYTES * 1e6


def test_a_table_is_the_whole_space_and_the_baselines(table, name):
    field = field_of_table(table)  # refuses a table that lacks some of the space
    assert field.size > 3000
    assert {f.key for f in baselines()} <= set(table.keys)
    per_function = (table.status > 0).sum(1)
    assert per_function.min() >= LEAST[name]
    best = np.argsort(-table.truth)[:50]
    assert per_function[best].min() > LEAST[name]


@pytest.mark.slow
def test_the_best_are_told_apart(table):
    assert make_card(table).reliability["best tenth"].mean > FINE


def test_the_card_beside_it_is_its_own(table, name):
    assert (packaged_tables() / f"{name}.md").read_text(encoding="utf-8") == write_card(table, name)


def test_a_card_of_another_recording_says_what_that_one_is(table):
    config = table.config.model_dump(mode="json")
    config["space"]["max_units"] = 2
    config["data"]["name"] = "mine:load"
    without = {f.key for f in baselines() if " " not in f.spec}
    keys = tuple(f"{key}!" if key in without else key for key in table.keys)
    other = replace(table, keys=keys, about={**table.about, "config": config})
    text = write_card(other, "mine")
    assert "functions of one to two core units (and the " in text
    assert "the nine baselines" not in text
    tested = {
        "every": "validation and test examples at steps 9,",
        "top": "test examples at step 200.",
    }
    assert " steps of 64 examples" in text and tested[table.config.record.test] in text
    assert "images" not in text.partition("## Recorded with")[0]


def test_it_is_what_the_recording_says(table, name):
    folder = Path(__file__).parents[2] / "recordings" / name
    if not folder.is_dir():
        pytest.skip("the recording is not in this checkout")
    packed = pack(Recording(folder))
    assert packed.keys == table.keys
    for array in Table.ARRAYS:
        np.testing.assert_array_equal(getattr(packed, array), getattr(table, array))


def test_a_thousand_evaluations_take_about_a_second(table, name):
    config = load_config(f"table_{name}", strategy="random", budget=1000)
    job = Replay("a", table_config(table, config), name, table.digest)
    replay(job)  # imports and reads the table
    begin = time.process_time()
    trace = replay(job)
    assert time.process_time() - begin < 3
    assert len(trace.functions) == 1000


def test_a_search_on_it_from_the_command_line(name, tmp_path):
    summary = session.search(load_config(f"table_{name}", budget=64), tmp_path / "run")
    assert summary["budgets"]["distinct"] == 64
    assert summary["true_regret"] >= 0
    assert "recorded table" in summary["verdict"]
