"""The paper's tables: what was published, the grid of trainings, the layout, the command."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from hybridsearch.cli import main
from hybridsearch.config import Config, load_config
from hybridsearch.errors import UserError
from hybridsearch.genome.function import BASELINES, PAPER_FOUND, resolve
from hybridsearch.paper import run as running
from hybridsearch.paper.cost import Cost, cost
from hybridsearch.paper.grid import Column, Result, missing, train
from hybridsearch.paper.layout import correlations, markdown, table_of, tidy, to_json
from hybridsearch.paper.published import (
    NETWORKS,
    SCALES,
    accuracy,
    config_of,
    settings,
)
from hybridsearch.paper.run import Asked, Estimate, estimate, functions_of, plan, smaller
from hybridsearch.paper.show import estimates, lasting
from hybridsearch.tables.recording import Recording


class Count:
    """Counts the trainings of every stage."""

    def __init__(self):
        self.stages = {}

    def stage(self, name, total):
        self.stages[name] = total

    def advance(self, done): ...

    def note(self, line): ...


@pytest.fixture
def column(tiny, tmp_path):
    """A function that makes a column on digits."""

    def make(*rates):
        config = tiny(fitness="accuracy", training={"steps": 30, "precision": "fp32"})
        return Column("cifar10", "digits_mlp", config, rates or (0.1,), tmp_path)

    return make


def result(name, *test):
    return Result(resolve(name), 0.1, np.array(test), np.array(test), np.ones(len(test)))


def published(data, network, name):
    return accuracy(data, network, resolve(name))


# What was published ------------------------------------------------------------------------


def test_every_published_function_is_one_of_ours():
    for name in (*BASELINES, *PAPER_FOUND):
        assert resolve(name).name == name
        for data in ("cifar10", "cifar100"):
            for network in NETWORKS:
                assert 0.5 < published(data, network, name) < 0.96
    assert published("cifar10", "wrn28-10", "LReLU") == pytest.approx(0.956)
    assert published("cifar100", "densenet100-12", "max(x, sigmoid(x))") == pytest.approx(0.842)
    assert published("cifar10", "resnet8", "ReLU") == pytest.approx((0.938 + 0.953 + 0.948) / 3)
    assert published("digits", "wrn28-10", "ReLU") is None
    assert published("cifar10", "wrn28-10", "sin(x)") is None


@pytest.mark.parametrize(
    "spelling, name",
    [
        ("x+sinc(x)", "sinc(x)+x"),
        ("x*sigmoid(x)", "Swish-1"),
        ("mul sigmoid x id x", "Swish-1"),
        ("max(tanh(x), x)", "max(x, tanh(x))"),
    ],
)
def test_a_published_function_is_known_in_every_spelling(spelling, name):
    assert published("cifar10", "wrn28-10", spelling) == published("cifar10", "wrn28-10", name)
    rows = [result("ReLU", 0.9), result(spelling, 0.8)]
    table = table_of("cifar10", {"resnet8": rows}, 1, "", 0)
    assert table.columns["resnet8"][1].published is not None


def test_the_rank_correlation_counts_other_spellings():
    names = ["ReLU", "x*sigmoid(beta*x)", "max(sigmoid(x), x)", "x+sinc(x)"]
    rows = [result(n, 0.9 - 0.01 * k) for k, n in enumerate(names)]
    [found] = correlations(table_of("cifar10", {"resnet8": rows}, 1, "", 0))
    assert found[1] == "paper-found" and found[3] == 4


@pytest.mark.parametrize(
    "network, epochs", [("preresnet164", 164), ("wrn28-10", 200), ("densenet100-12", 300)]
)
def test_settings_are_the_published_epochs(network, epochs):
    known = settings(network)
    assert known.steps * known.batch_size / 50_000 == pytest.approx(epochs, rel=0.005)
    config = config_of(Config(), "cifar100", network, SCALES["full"])
    assert config.data.augment == "crop_flip" and config.data.name == "cifar100"
    assert config.network.init == "he" and config.network.width == 16
    assert config.training.steps == known.steps and config.training.drops == known.drops
    assert config.fitness == "accuracy"


@pytest.mark.parametrize(
    "section, changed",
    [
        ("data", {"train": 20_000}),
        ("data", {"augment": "shift"}),
        ("network", {"fixed": ("early=ReLU",)}),
        ("training", {"optimizer": "adamw"}),
        ("training", {"momentum": 0.5}),
        ("training", {"lr": 0.05}),
        ("training", {"weight_decay": 0.01}),
    ],
)
def test_what_was_published_is_not_changed_in_silence(section, changed, tmp_path):
    part = getattr(Config(), section).model_copy(update=changed)
    base = Config().model_copy(update={section: part})
    with pytest.raises(UserError, match=f"^{section}.{next(iter(changed))}: a benchmark trains"):
        plan(Asked(), base, tmp_path)


def test_the_config_of_a_search_on_the_papers_settings_is_taken(tmp_path):
    for name in ("cifar10_paper", "cifar10"):
        for scale in ("full", "small") if name == "cifar10_paper" else ("full",):
            made, _, _ = plan(Asked(scale=scale), load_config(name), tmp_path)
            alone, _, _ = plan(Asked(scale=scale), Config(), tmp_path)
            for one, other in zip(made, alone, strict=True):
                assert one.config.training == other.config.training
                assert one.config.network == other.config.network
                assert one.config.data.train is None
    with pytest.raises(UserError, match=r"data.train: .* with its default, not 20000"):
        plan(Asked(), load_config("cifar10_small"), tmp_path)


def test_what_changes_no_result_is_kept(tmp_path):
    own = {"kernel": "eager", "precision": "fp32", "recompute": True}
    base = Config(training=own, data={"folder": "here", "split_seed": 3})
    column = plan(Asked(), base, tmp_path)[0][0]
    assert own.items() <= column.config.training.model_dump().items()
    assert (column.config.data.folder, column.config.data.split_seed) == ("here", 3)
    assert plan(Asked(), Config(), tmp_path)[0][0].config.training.precision == "auto"


def test_other_networks_have_no_published_settings():
    assert settings("digits_mlp") is None
    assert settings("wrn16-2").weight_decay == 5e-4


def test_what_diverged_is_said():
    whole, half = result("ReLU", 0.5, 0.6), replace(result("x*asinh(x)^2", 0.1, 0.5), diverged=1)
    table = table_of("cifar10", {"resnet8": [whole, half]}, 2, "", 0)
    line = "resnet8: x*asinh(x)^2 diverged in 1 of 2 trainings, which count as guessing."
    assert line in markdown(table) and "ReLU diverged" not in markdown(table)
    assert [row["diverged"] for row in to_json(table)["columns"]["resnet8"]] == [0, 1]


# The grid ----------------------------------------------------------------------------------


def test_cells_are_trained_once_and_functions_and_seeds_are_added(column):
    two = [resolve("ReLU"), resolve("tanh(x)")]
    assert missing(column(), two, 2) == 4
    watch = Count()
    first = train(column(), two, 2, watch)
    assert watch.stages == {"digits_mlp": 4}
    assert [r.function.name for r in first] == ["ReLU", "tanh(x)"]
    assert all(r.test.shape == (2,) and (r.test > 0.1).any() for r in first)
    assert missing(column(), two, 2) == 0
    more = [resolve("sin(x)"), *two]
    assert missing(column(), more, 3) == 3 + 2
    again = train(column(), more, 3, watch)
    assert np.array_equal(again[1].test[:2], first[0].test)
    recording = Recording(next(column().folder.iterdir()))
    assert resolve("sin(x)").key in {f.key for f in recording.functions}


def test_one_cell_by_itself_gives_the_same_number(column, tmp_path):
    pair = train(column(), [resolve("ReLU"), resolve("tanh(x)")], 2, Count())
    base = column()
    alone = Column(base.data, base.network, base.config, base.rates, tmp_path / "elsewhere")
    (one,) = train(alone, [resolve("tanh(x)")], 1, Count())
    assert one.test[0] == pair[1].test[0] and one.validation[0] == pair[1].validation[0]


def test_a_learning_rate_is_chosen_by_validation_from_the_first_seed(column):
    two = [resolve("ReLU"), resolve("tanh(x)")]
    both = column(1e-6, 0.1)
    assert missing(both, two, 3) == 2 * 2 + 2 * 2
    watch = Count()
    found = train(both, two, 3, watch)
    assert watch.stages == {
        "digits_mlp, rate 1e-06": 2,
        "digits_mlp, rate 0.1": 2,
        "digits_mlp": 6,  # of which two are there
    }
    assert [r.rate for r in found] == [0.1, 0.1] and len(found[0].test) == 3
    assert missing(both, two, 3) == 0
    more = [*two, resolve("sin(x)")]
    assert missing(both, more, 3) == 2 + 2  # of the new one only
    assert missing(both, more, 4) == 2 + (2 + 3)
    plain = train(column(0.1), two, 3, watch)
    assert np.array_equal(plain[0].test, found[0].test)


@pytest.mark.parametrize("fitness", ["accuracy", "loss"])
def test_a_diverged_training_guesses(column, fitness):
    base = column(50.0)
    training = base.config.training.model_copy(update={"diverged_above": 1.01})
    changed = {"training": training, "fitness": fitness}
    blown = replace(base, config=base.config.model_copy(update=changed))
    (one,) = train(blown, [resolve("exp(x)")], 1, Count())
    assert one.test[0] == pytest.approx(0.1)


# The layout --------------------------------------------------------------------------------


def some(note=""):
    names = ["ReLU", "Swish", "cos(x)-x", "max(x, tanh(x))", "abs(x)"]
    rows = [result(n, 0.9 - 0.01 * k, 0.91 - 0.01 * k) for k, n in enumerate(names)]
    return table_of("cifar10", {"preresnet164": rows}, 2, note, 0)


def test_published_stands_beside_measured():
    text = markdown(some())
    assert "CIFAR-10, the paper's table 4; test accuracy" in text
    assert "| ReLU | 93.8 | 90.5 (90.0-91.0) |" in text
    assert "| \\|x\\| | - | 86.5 (86.0-87.0) |" in text  # no column of its own in Markdown
    assert "scaled down: resnet8" in markdown(some("resnet8"))
    one = table_of("cifar10", {"preresnet164": [result("ReLU", 0.9)]}, 1, "", 0)
    assert "| ReLU | 93.8 | 90.0 |" in markdown(one)


def test_rank_correlation_of_the_sets_that_are_there():
    found = {name: (rho, n) for _, name, rho, n in correlations(some())}
    # published 93.8, 94.5, 94.1, 93.9 against measured 90.5, 89.5, 88.5, 87.5
    assert found == {"paper-found": (pytest.approx(-0.2), 4)}


@pytest.mark.parametrize(
    "network, names, step",
    [
        ("densenet100-12", ("ReLU", "GELU", "Swish-1", "Swish"), 0.01),  # all published as 94.8
        ("preresnet164", ("ReLU", "Swish", "cos(x)-x", "max(x, tanh(x))"), 0.0),
    ],
)
def test_what_is_equal_everywhere_has_no_ranks(network, names, step):
    rows = [result(name, 0.9 - step * k) for k, name in enumerate(names)]
    table = table_of("cifar10", {network: rows}, 1, "", 0)
    sides = zip(*((e.published, e.measured.mean) for e in table.columns[network]), strict=True)
    assert 1 in [len(set(side)) for side in sides]
    assert list(correlations(table)) == []
    assert "rank correlation" not in markdown(table)
    json.dumps(to_json(table), allow_nan=False)


def test_numbers_as_json_and_csv():
    table = some()
    json.dumps(to_json(table), allow_nan=False)
    rows = list(csv.DictReader(io.StringIO(tidy([table]))))
    assert len(rows) == 10
    assert rows[2]["function"] == "Swish" and float(rows[2]["published"]) == 0.945


# What is asked for -------------------------------------------------------------------------


def test_functions_by_set_name_formula_and_run(tmp_path):
    names = [f.name for f in functions_of(["baselines", "paper-found", "max(x,0)", "sin(x)"])]
    assert names[:9] == list(BASELINES)
    assert len(names) == 9 + 7 + 1 and names[-1] == "sin(x)"  # Swish and ReLU are there once
    with pytest.raises(UserError):
        functions_of(["nonsense("])
    with pytest.raises(UserError):
        functions_of([str(tmp_path)])


def test_what_is_smaller_than_in_the_paper_is_said(tmp_path):
    full, functions, scale = plan(Asked(), Config(), tmp_path)
    assert smaller(full) == "" and len(full) == 3 and len(functions) == 9 and scale.seeds == 5
    asked = Asked(networks=("wrn16-2", "wrn28-10"), steps=1000, width=8)
    some, _, _ = plan(asked, Config(), tmp_path)
    assert smaller(some) == "wrn16-2 (width 8, 1,000 steps); wrn28-10 (width 8, 1,000 steps)"
    assert some[0].config.training.warmup == 50
    tiny, _, _ = plan(Asked(scale="tiny", only=("ReLU",)), Config(), tmp_path)
    assert smaller(tiny) == "resnet8 (width 8, 200 steps)"
    both, _, _ = plan(Asked(data=("cifar10", "cifar100")), Config(), tmp_path)
    assert [c.data for c in both] == ["cifar10"] * 3 + ["cifar100"] * 3


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--scale", "tinny"], "--scale: unknown scale 'tinny'; did you mean 'tiny'?"),
        (["--table", "cifar11"], "--table: unknown table 'cifar11'"),
        (["--lr-grid", "0.1,fast"], "--lr-grid: expected numbers"),
        (["--lr-grid", "0"], "--lr-grid: expected finite rates above 0"),
        (["--lr-grid", "0.1,nan"], "--lr-grid: expected finite rates above 0"),
        (["--lr-grid", "inf"], "--lr-grid: expected finite rates above 0"),
        (["--steps", "-1"], "--steps: expected 1 or more, got -1"),
        (["--steps", "0"], "--steps: expected 1 or more, got 0"),
        (["--width", "-8"], "--width: expected 1 or more, got -8"),
        (["--width", "0"], "--width: expected 1 or more, got 0"),
        (["--networks", "wrn27-2"], "expected a depth of 6n+4"),
        (["--seeds", "0"], "--seeds: expected 1 or more"),
        (["--only", "nonsense("], "unknown function 'nonsense'"),
    ],
)
def test_what_cannot_be_is_one_line(words, expected, capsys, tmp_path):
    assert main(["benchmark", "--out", str(tmp_path / "b"), *words]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_the_command_from_end_to_end(tmp_path, monkeypatch, capsys, tiny):
    """On digits, whose name is put in the place of CIFAR-10's."""

    def small(base, data, network, scale):
        made = config_of(base, data, network, scale)
        return made.model_copy(
            update={"data": tiny().data, "network": tiny().network, "pool": "inline"}
        )

    monkeypatch.setattr(running, "config_of", small)
    words = ["benchmark", "--scale", "tiny", "--steps", "20", "--out", str(tmp_path / "b")]
    words += ["--only", "ReLU", "--only", "tanh(x)", "--seeds", "2"]
    monkeypatch.setenv("COLUMNS", "150")
    assert main([*words, "--estimate"]) == 0
    out = capsys.readouterr().out
    assert "Still to be trained" in out and "measured" not in out.split("Still")[0]
    assert not (tmp_path / "b" / "benchmark.json").exists()
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "the paper's table 4, scaled down: resnet8" in out and "tanh(x)" in out
    found = json.loads((tmp_path / "b" / "benchmark.json").read_text())
    cells = found["cifar10"]["columns"]["resnet8"]
    assert [c["function"] for c in cells] == ["ReLU", "tanh(x)"]
    assert len(cells[0]["test"]) == 2 and cells[0]["published"] == pytest.approx(0.946, abs=1e-3)
    told = (tmp_path / "b" / "README.md").read_text()
    assert "20 steps of 64 images" in told and "linear warm-up of 1 steps" in told
    monkeypatch.setattr(Recording, "train", None)  # nothing is left to train
    assert main(words) == 0
    assert "all is trained already" in capsys.readouterr().out


def test_costs_are_measured_and_added_up(column, tmp_path):
    found = cost(column().config, "cpu", whole=True)
    assert 0 < found.step < 5 and found.measured and found.batch == 32
    assert found.evaluated == 100 and found.evaluation > 0
    assert found.training(10, 200) == pytest.approx(10 * found.step + 2 * found.evaluation)
    one = Estimate(column(), found, 6, 30, 2)
    assert one.hours == pytest.approx(3 * found.training(30, 10_100) / 3600)
    assert estimates([one]).row_count == 1
    assert lasting(0.001) == "1 min" and lasting(0.5) == "30 min"
    assert lasting(1.26) == "1.3 h" and lasting(12345.6) == "12,346 h"
    assert estimate.__doc__


def test_an_estimate_of_the_largest_networks_fits_a_terminal_of_80_columns(column):
    config = column().config
    large = Column("cifar10", "densenet100-12", config, (0.1,), column().folder)
    dear = Cost(78.84, 128, 148.3, 1000, 13_620_000_000, False)
    console = Console(width=80, file=io.StringIO())
    console.print(estimates([Estimate(large, dear, 45, 234_600, 2)]))
    text = console.file.getvalue()
    for word in ("densenet100-12", "234,600", "~78.8", "148", "s/1000", "13.62 GB", "118,178 h"):
        assert word in text, text
