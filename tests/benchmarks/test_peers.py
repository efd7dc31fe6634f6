"""Searches of other libraries on a table: each asks for valid functions, all on one ground."""

from __future__ import annotations

import json
import sys

import numpy as np
import peers
import pytest
import yaml
from rivals import PACKAGES, RIVALS, Choices, Spent

from hybridsearch.genome.units import Space


def installed(rival):
    return pytest.importorskip(PACKAGES[rival.partition("_")[0]])


def test_the_choices_of_several_sizes_are_the_space():
    space = Space(1, 2, unary=("id", "tanh"), binary=("add",))
    choices = Choices(space)
    rng = np.random.default_rng(0)
    drawn = {
        choices.tokens([str(rng.choice(o)) for o in choices.options.values()]) for _ in range(3000)
    }
    assert drawn == set(space.enumerate())


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.filterwarnings("ignore")  # theirs, about their own future
def test_a_rival_asks_for_functions_of_the_space_and_hears_their_worth(rival):
    installed(rival)
    space = Space(1, 1, ("id", "tanh", "sin", "abs", "exp"), ("add", "mul", "max", "sub"))
    asked = []

    def answer(genomes):
        asked.extend(genomes)
        if len(asked) > 60:
            raise Spent
        return [0.9 if genome[1] == "tanh" else 0.1 for genome in genomes]

    with pytest.raises(Spent):
        RIVALS[rival](space, 3, answer)
    assert len(set(asked)) > 10
    assert all(genome in space for genome in asked)


def test_what_learns_asks_more_often_for_what_is_good():
    installed("optuna_tpe")
    space, asked = Space(1, 1), []

    def answer(genomes):
        asked.extend(genomes)
        if len(asked) > 300:
            raise Spent
        return [float(genome[1] == "tanh") for genome in genomes]

    with pytest.raises(Spent):
        RIVALS["optuna_tpe"](space, 0, answer)
    share = np.mean([genome[1] == "tanh" for genome in asked[200:]])
    assert share > 5 / len(space.unary)


def test_every_new_function_is_trained_once_and_in_full(small_table):
    table = small_table
    config = table.config.model_copy(update={"budget": 5})
    asked = peers.Asked(table, config)
    genome = ("mul", "tanh", "x", "abs", "x")
    twin = ("mul", "abs", "x", "tanh", "x")
    first = asked([genome, twin])
    assert first[0] == first[1] > 0
    assert len(asked.trained) == 1
    assert asked([("add", "exp", "x", "exp", "x")])  # whatever it is, it has an answer
    with pytest.raises(Spent):
        asked(list(config.space.space().enumerate()))
    assert len(asked.trained) == 5


def test_the_program_runs_resumes_and_has_the_keys_of_a_comparison(
    tmp_path, small_table, monkeypatch, capsys
):
    installed("optuna_random")
    settings = {"table": str(tmp_path / "t.safetensors"), "fidelity": {"rungs": [0.25, 1.0]}}
    text = yaml.safe_dump({**settings, "workers": 1, "pool": "inline"})
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    arguments = ["peers.py", "--config", str(tmp_path / "c.yaml"), "--seeds", "3"]
    arguments += ["--budget", "20"]
    arguments += ["--strategies", "random,local", "--peers", "optuna_random,deap_simple"]
    arguments += ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "a.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert peers.main() == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert set(found["strategies"]) == {"random", "local", "optuna_random", "deap_simple"}
    assert len(found["pairs"]) == 6
    lines = (tmp_path / "out" / "runs.jsonl").read_bytes()
    assert peers.main() == 0  # nothing is run again
    assert (tmp_path / "out" / "runs.jsonl").read_bytes() == lines
    assert json.loads((tmp_path / "a.json").read_text())["strategies"] == found["strategies"]


def test_a_config_without_a_table_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["peers.py", "--config", "digits", "--quick"])
    with pytest.raises(SystemExit) as ended:
        peers.main()
    assert ended.value.code == 2
    assert "names no table" in capsys.readouterr().err
