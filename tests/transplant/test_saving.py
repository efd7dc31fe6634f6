"""A function's file: what is written is what is read, and nothing else is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import hybridsearch
from hybridsearch.analysis.runs import Run
from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.genome.function import BASELINES, resolve
from hybridsearch.genome.units import Space
from hybridsearch.transplant.saving import load_function, save_function


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "f.json"
    texts = [*BASELINES, "max(x, tanh(x))", "u1=tanh(x); u1*u1", *list(Space().enumerate())[::700]]
    for one in texts:
        function = resolve(one) if isinstance(one, str) else resolve(hybridsearch.Genome(one))
        save_function(path, function, origin={"why": "a test"})
        back = load_function(path)
        assert (back.key, back.spec, back.starts) == (function.key, function.spec, function.starts)
        assert json.loads(path.read_text())["origin"] == {"why": "a test"}


def test_trained_betas_are_where_it_starts(tmp_path):
    path = tmp_path / "swish.json"
    act = hybridsearch.Activation("x*sigmoid(beta*x)", channels=2, axis=-1)
    act.betas.data.copy_(torch.tensor([[1.5, 2.5]]))
    save_function(path, act.function, betas=act.betas.mean(dim=1).tolist())
    function = load_function(path)
    assert function.starts == (2.0,)
    new = hybridsearch.Activation(function, channels=3, axis=1)
    assert torch.equal(new.betas, torch.full((1, 3), 2.0))
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    hybridsearch.swap(model, function, torch.randn(2, 3))
    assert torch.equal(model[1].betas, torch.full((1, 4), 2.0))


WINNER = {"expression": "x*sigmoid(x)", "key": resolve("x*sigmoid(x)").key, "mean": 0.9}


def a_run(folder: Path, winner) -> Run:
    config = Config(network={"name": "mine:net", "fixed": ["late=ReLU"]})
    run = Run(folder, config, {}, [])
    said = {"data": "digits", "verdict": "not shown", "metric": {"name": "r2"}}
    run.__dict__["summary"] = {"winner": winner, **said}
    return run


def test_the_winner_of_a_run(tmp_path):
    path = tmp_path / "winner.json"
    save_function(path, a_run(Path("runs/mine"), WINNER))
    assert load_function(path).key == WINNER["key"]
    origin = json.loads(path.read_text())["origin"]
    assert origin["run"] == "mine" and origin["fixed"] == ["late=ReLU"]
    assert (origin["metric"], origin["test"]) == ("r2", 0.9) and "test_accuracy" not in origin
    for winner in (None, {"expression": 3}, {}):
        with pytest.raises(UserError, match="expected a finished run with a winner"):
            save_function(path, a_run(tmp_path, winner))
    with pytest.raises(UserError, match="the summary is damaged"):
        save_function(path, a_run(tmp_path, {**WINNER, "key": "k"}))


def test_the_folder_of_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("budget: 8\n")
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "summary.json").write_text(json.dumps({"winner": WINNER}))
    assert load_function(tmp_path).key == WINNER["key"]
    save_function(tmp_path / "w.json", hybridsearch.load_run(tmp_path))
    assert load_function(tmp_path / "w.json").key == WINNER["key"]
    (tmp_path / "summary.json").unlink()
    with pytest.raises(UserError, match="expected a finished run with a winner, got none"):
        load_function(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "other"}, "expected a file of save_function"),
        ({"version": 2}, "expected version 1, got 2; update"),
        ({"spec": None}, "expected a function's text as 'spec'"),
        ({"spec": "x" * 20_000}, "expected a function's text as 'spec'"),
        ({"spec": "__import__('os')"}, "column 12 of the formula"),
        ({"spec": "x*tanh(x)"}, "expected the key of"),
        ({"key": "k"}, "got 'k'; the file was changed"),
        ({"betas": []}, r"expected 1 values for x\*sigmoid\(beta\*x\), got 0 values"),
        ({"betas": ["1"]}, "expected finite numbers, got '1'"),
        ({"betas": [True]}, "expected finite numbers, got True"),
        ({"betas": None}, r"expected 1 values .*, got None"),
    ],
)
def test_a_file_that_is_not_right(tmp_path, change, match):
    path = tmp_path / "f.json"
    save_function(path, "x*sigmoid(beta*x)")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=match) as caught:
        load_function(path)
    assert "\n" not in str(caught.value)


def test_other_errors_are_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_function(tmp_path / "none.json")
    with pytest.raises(UserError, match="holds no run"):
        load_function(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        save_function(tmp_path / "no" / "f.json", "GELU")
    with pytest.raises(UserError, match=r"betas: expected finite numbers, got nan"):
        save_function(tmp_path / "f.json", "PReLU", betas=[float("nan")])
    (tmp_path / "f.json").write_text('{"format": "hybridsearch function", "betas": NaN')
    with pytest.raises(UserError, match="cannot be read, or is damaged"):
        load_function(tmp_path / "f.json")
