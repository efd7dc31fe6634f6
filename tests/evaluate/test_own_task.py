"""Tasks of the user's that are no images of classes: shapes, datasets, groups, contexts."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch

from hybridsearch.analysis.runs import load_run
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate import worker
from hybridsearch.evaluate.data import load_search_data, load_test_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.training import Trainer
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve
from hybridsearch.session import resume, search
from hybridsearch.tabulate import record

OWN = """
import random
import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler
from torch.utils.data import SubsetRandomSampler, TensorDataset

def build(make_activation):
    return nn.Sequential(nn.Linear(4, 8), make_activation(8, -1), nn.Linear(8, 1))

def two_groups(make_activation, in_shape, outputs, **more):
    assert more["classes"] == outputs
    return nn.Sequential(
        nn.Linear(*in_shape, 8), make_activation(8, -1, group="early"),
        nn.Linear(8, 8), make_activation(8, -1, group="late"), nn.Linear(8, outputs),
    )

def tokens_in(make_activation):
    act = make_activation(18, -1)
    return nn.Sequential(nn.Embedding(5, 6), nn.Flatten(), act, nn.Linear(18, 3))

def deep(make_activation):
    return nn.Sequential(nn.Conv3d(1, 2, 3), make_activation(2, 1), nn.Flatten(), nn.Linear(16, 2))

def no_place(channels):
    return nn.Linear(4, 1)

def numbers(part):
    draw = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[part])
    x = 50 + 10 * draw.normal(size=(96, 4))
    return x, x[:, 0] - x[:, 1] + draw.normal(size=96)

def tokens(part):
    x = np.random.default_rng(len(part)).integers(0, 5, (64, 3))
    return x, x.sum(1) % 3

def volumes(part):
    x = np.random.default_rng(len(part)).normal(size=(64, 1, 4, 4, 4))
    return x, (x.mean((1, 2, 3, 4)) > 0).astype(int)

class Jittered(torch.utils.data.Dataset):
    def __len__(self):
        return 60
    def __getitem__(self, k):
        jitter = random.random() + np.random.rand() + torch.rand(())
        return torch.full((4,), float(k)) + jitter, torch.tensor(float(k))

def shuffled(part):
    return DataLoader(Jittered(), batch_size=7, shuffle=True)

class Endless(IterableDataset):
    def __iter__(self):
        yield from range(3)

def endless(part):
    return Endless()

def sampled(part):
    return DataLoader(Jittered(), sampler=SubsetRandomSampler(range(0, 60, 2)))

def repeated(part):
    return DataLoader(Jittered(), sampler=RandomSampler(Jittered(), replacement=True))

class Odd(BatchSampler):
    def __iter__(self):
        yield from ([k] for k in range(1, 60, 2))

def batched(part):
    return DataLoader(Jittered(), batch_sampler=Odd(range(60), 1, False))

def triples(part):
    return TensorDataset(torch.zeros(9, 2), torch.zeros(9), torch.zeros(9))

def nothing(part):
    return TensorDataset(torch.zeros(0, 2), torch.zeros(0))
"""
HERE = "own_tasks"


@pytest.fixture(autouse=True)
def own(own_module):
    own_module(HERE, OWN)


def settings(source, net, /, **more):
    return make_config(
        {
            "pool": "inline",
            "budget": 2,
            "batch": 2,
            "data": {"name": f"{HERE}:{source}", **more.pop("data", {})},
            "network": {"name": f"{HERE}:{net}", **more.pop("network", {})},
            "training": {"steps": 10, "batch_size": 16, "lr": 0.02, **more.pop("training", {})},
            "race": {"candidates": 0},
            "retest": {"seeds": 2, "finalists": 1, "resamples": 100},
            **more,
        }
    )


def test_a_regression_is_searched_and_retested(tmp_path):
    done = search(settings("numbers", "build", fitness="metric"), tmp_path / "run" / "a")
    assert done["metric"]["name"] == "r2"
    assert done["test_examples"] == 96
    assert done["winner"]["low"] <= done["winner"]["mean"] <= done["winner"]["high"] <= 1
    assert done["difference_to_best_baseline"]["low"] < done["difference_to_best_baseline"]["high"]
    assert (tmp_path / "run" / "a" / "retest.png").exists()


def test_features_are_normalised_by_column_and_keep_their_shape():
    config = settings("numbers", "build")
    data = load_search_data(config.data)
    assert (data.in_shape, data.classes, data.outputs) == ((4,), 0, 1)
    trainer = Trainer(config, data, torch.device("cpu"))
    everything = trainer.normalise(trainer.train_split.images)
    assert everything.mean(0) == pytest.approx(np.zeros(4), abs=1e-5)
    assert everything.std(0, correction=0) == pytest.approx(np.ones(4), rel=1e-5)
    inputs, targets = trainer.batch(3, 1)
    assert inputs.shape == (16, 4)
    assert torch.equal(inputs, trainer.batch(3, 1)[0])
    assert not torch.equal(targets, trainer.batch(3, 2)[1])


@pytest.mark.parametrize(("data", "network"), [("tokens", "tokens_in"), ("volumes", "deep")])
def test_inputs_of_any_shape_reach_the_network_as_they_are(tmp_path, data, network):
    config = settings(data, network, data={"inputs": "as_given"}, training={"optimizer": "adamw"})
    loaded = load_search_data(config.data)
    trainer = Trainer(config, loaded, torch.device("cpu"))
    inputs, _ = trainer.batch(0, 0)
    assert inputs.dtype == (torch.int64 if data == "tokens" else torch.float32)
    rows = {tuple(row) for row in loaded.train.images.reshape(64, -1).tolist()}
    assert {tuple(row) for row in inputs.reshape(16, -1).tolist()} <= rows
    done = search(config, tmp_path / "run" / "a")
    assert done["budgets"]["trained"] == 2
    kinds = [r["status"] for r in load_run(tmp_path / "run" / "a").evaluations]
    assert set(kinds) == {"ok"}


def test_a_loader_gives_the_same_data_at_every_reading():
    config = settings("shuffled", "build").data
    state = torch.get_rng_state()
    first, again = load_search_data(config), load_search_data(config)
    assert first.digest == again.digest
    assert first.train.labels.shape == (60,)
    gaps = np.unique(first.train.images[:, 0] - first.train.labels)
    assert len(gaps) > 20  # the dataset did draw
    assert len(load_test_data(config)) == 60
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("endless", "a dataset with a length"),
        ("sampled", "of all its dataset, got one whose SubsetRandomSampler may .* give .*Subset"),
        ("repeated", "of all its dataset, got one whose RandomSampler"),
        ("batched", "of all its dataset, got one whose Odd"),
        ("triples", "pairs .input, target., got 3 parts"),
        ("nothing", "got an empty one"),
    ],
)
def test_datasets_that_cannot_be_used_are_one_line(data, words):
    with pytest.raises(UserError, match=words) as error:
        load_search_data(settings(data, "build").data)
    assert "\n" not in str(error.value)


def test_the_functions_of_fixed_groups_stay():
    config = settings("numbers", "two_groups", network={"fixed": ("late=tanh(x)",)})
    trainer = Trainer(config, load_search_data(config.data), torch.device("cpu"))
    child = trainer.new_child(resolve("Swish"), 0)
    acts = [m for m in child.network.modules() if isinstance(m, Activation)]
    assert [act.function.name for act in acts] == ["Swish", "tanh(x)"]
    trainer.train(child, 3)


@pytest.mark.parametrize(
    ("network", "fixed", "words"),
    [
        ("two_groups", "lat=ReLU", "no group 'lat'; it has early, late"),
        ("build", "late=ReLU", "no group 'late'; it has none"),
        ("two_groups", "late", "expected GROUP=FUNCTION, got 'late'"),
        ("two_groups", "late=zork(x)", "zork"),
    ],
)
def test_wrong_groups_are_one_line(tmp_path, network, fixed, words):
    with pytest.raises(UserError, match=words):
        TrainingEvaluator(settings("numbers", network, network={"fixed": (fixed,)}), tmp_path)


def test_a_builder_without_a_place_for_the_activation_is_named(tmp_path):
    evaluator = TrainingEvaluator(settings("numbers", "no_place"), tmp_path)
    with pytest.raises(UserError, match="to take make_activation, got channels"):
        evaluator.calibrate()


def test_all_that_changes_a_number_changes_the_context(tmp_path):
    def context(**more):
        return TrainingEvaluator(settings("numbers", "two_groups", **more), tmp_path).context

    found = [
        context(),
        context(network={"fixed": ("late=ReLU",)}),
        context(network={"fixed": ("late=GELU",)}),
        context(training={"optimizer": "adamw"}),
        context(training={"loss": "l1"}),
        context(metric="mae"),
        context(data={"inputs": "as_given"}),
    ]
    assert len(set(found)) == len(found)
    assert context(network={"fixed": ("late=max(x, 0)",)}) == found[1]  # the same function


def test_a_table_of_a_regression_is_refused(tmp_path):
    with pytest.raises(UserError, match="a table holds cross-entropy and accuracy of classes"):
        record(settings("numbers", "build"), tmp_path / "table")
    assert not (tmp_path / "table" / "config.yaml").exists()


def test_test_data_that_fail_at_the_end_are_mended_and_the_run_goes_on(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    code = (
        "import numpy as np\ndef load(part):\n"
        "    x = np.random.default_rng(len(part)).normal(size=(96, 4)).astype('float32')\n"
        "    if part == 'test': x = np.load('late.npy')\n"
        "    return x, (x[:, 0] > 0).astype(int)\n"
    )
    (tmp_path / "latedata.py").write_text(code)
    config = tiny(
        data={"name": "latedata:load", "train": None, "validation": None},
        network={"name": "digits_mlp"},
        budget=4,
    )
    with pytest.raises(UserError, match=r"late.npy.*`resume` goes on from here"):
        search(config, tmp_path / "a")
    np.save(tmp_path / "late.npy", np.random.default_rng(9).normal(size=(96, 4)).astype("float32"))
    before = load_run(tmp_path / "a").evaluations
    assert resume(tmp_path / "a")["winner"]
    assert load_run(tmp_path / "a").evaluations[: len(before)] == before


EDITED = """
import numpy as np
from pathlib import Path

def load(part):
    x = np.random.default_rng(len(part)).normal(size=(96, 4))
    return x, float((Path(__file__).parent / f"{part}.txt").read_text()) * x[:, 0] + x[:, 1]

def loss(outputs, targets):
    return (outputs.flatten() - targets).abs()
"""


@pytest.mark.parametrize("edited", ["train.txt", "test.txt", "own_edited.py"])
def test_what_was_edited_between_searches_of_one_process_is_read_again(
    tmp_path, monkeypatch, edited
):
    for part in ("train", "validation", "test"):
        (tmp_path / f"{part}.txt").write_text("1")
    (tmp_path / "own_edited.py").write_text(EDITED)
    config = settings("numbers", "build", training={"loss": "own_edited:loss"})
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"name": "own_edited:load"})}
    )

    def found():
        evaluator = TrainingEvaluator(config, tmp_path / "children")
        task = evaluator.task("ReLU", "k", 5, 0)
        results = evaluator.evaluate([task, evaluator.test_task(task)])
        return [(result.status, result.loss) for result in results]

    before = found()
    if edited.endswith("py"):
        (tmp_path / edited).write_text(EDITED.replace(".abs()", ".square()"))
        importlib.reload(sys.modules["own_edited"])
    else:
        (tmp_path / edited).write_text("3")
    after = found()
    worker.trainer_for.cache_clear()
    worker.test_split.cache_clear()
    assert after == found()
    assert after[1] != before[1]
    assert {status for status, _ in before + after} == {"ok"}
    del sys.modules["own_edited"]
