"""What a node of a cluster is asked and given."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridsearch.config import Config
from hybridsearch.evaluate import node
from hybridsearch.evaluate.data import load_search_data, load_test_data, stock
from hybridsearch.evaluate.evaluator import TrainingEvaluator, training_config
from hybridsearch.evaluate.group import Group
from hybridsearch.evaluate.node import Trainings
from hybridsearch.evaluate.worker import Job, run
from hybridsearch.kernels.build import processor_identity
from hybridsearch.kernels.choose import compiler_identity
from hybridsearch.pools.base import InlinePool
from hybridsearch.pools.passport import differs
from hybridsearch.pools.wire import Call, Good, Home

OWN = """
import numpy as np
from torch import nn

def load(part):
    draw = np.random.default_rng(len(part))
    return draw.normal(size=(64, 3)).astype("float32"), draw.integers(0, 2, 64)

def build(make_activation):
    return nn.Sequential(nn.Linear(3, 4), make_activation(4, -1), nn.Linear(4, 2))
"""


@pytest.fixture
def no_stock():
    yield
    stock.use({})


def trade(config=None, kernel="auto"):
    return Trainings(training_config(config or Config(), "fp32"), "cpu", kernel)


@pytest.mark.parametrize("name", ["digits", "own"])
def test_sent_data_are_the_driver_s_bit_by_bit(tmp_path, monkeypatch, no_stock, name):
    config = Config()
    if name == "own":
        (tmp_path / "stocked.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        config = Config(data={"name": "stocked:load"})
    search, test = load_search_data(config.data), load_test_data(config.data)
    ours = trade(config)
    goods = {}
    for good in (Good("search", search.digest), Good("test", test.digest)):
        assert ours.own(good) == good.digest
        goods[good.name] = str(tmp_path / good.name)
        Path(goods[good.name]).write_bytes(ours.packer(good)())
    monkeypatch.setattr("hybridsearch.evaluate.data.custom.read", None)  # nobody loads any more
    ours.settle(Home(None, (), goods))
    sent, sent_test = load_search_data(config.data), load_test_data(config.data)
    assert (sent.digest, sent.name, sent.classes) == (search.digest, search.name, search.classes)
    np.testing.assert_array_equal(sent.mean, search.mean)
    np.testing.assert_array_equal(sent.std, search.std)
    assert sent_test.digest == test.digest
    sys.modules.pop("stocked", None)


@pytest.mark.parametrize("kernel", ["auto", "native", "tape", "eager"])
@pytest.mark.parametrize("compiler", ["gcc", ""])
def test_a_processor_is_told_with_a_compiler_or_without(monkeypatch, kernel, compiler):
    """Only who asks for kernels that no compiler makes takes another one."""
    features = "avx2"
    monkeypatch.setattr(node, "compiler_identity", lambda: compiler and f"{compiler} {features}")
    monkeypatch.setattr(node, "processor_identity", lambda: features)
    ours = trade(kernel=kernel)
    wanted = ours.needs()
    assert differs(wanted, ours.look(), "x") == ""
    features = "avx512"
    line = differs(wanted, ours.look(), "x")
    if kernel in ("tape", "eager"):
        assert line == "" and wanted.compiler == ""
    else:
        assert "has processor features avx512, the driver" in line and "\n" not in line


def test_a_driver_is_its_own_processor_and_compiler():
    here = trade().needs()
    assert here == trade().look()
    assert (here.features, here.compiler) == (processor_identity(), compiler_identity())


def test_the_user_s_code_is_identified(tmp_path, monkeypatch):
    (tmp_path / "stocked.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = trade(Config(data={"name": "stocked:load"}, network={"name": "stocked:build"}))
    assert own.code()["network"].startswith("stocked:build@")
    assert trade().code() == {}
    sys.modules.pop("stocked")


def longest():
    """A config with everything set that a child's number depends on."""
    own = "a_package_of_mine.some.module:a_callable_with_a_name"
    return Config(
        data={"name": own, "folder": "/a/folder/" * 30, "train": 10**6, "validation": 10**5},
        network={"name": own, "fixed": [f"group{k}=max(tanh(x), x * beta)" for k in range(20)]},
        training={"loss": own, "drops": [0.3, 0.6, 0.8]},
        metric={"name": own},
    )


@pytest.mark.parametrize("config", [Config(), longest()], ids=["default", "longest"])
def test_a_task_is_small(config):
    with_all = trade(config)
    evaluator = TrainingEvaluator(Config(), Path("/nowhere"), InlinePool())
    formula = "max(exp(-(beta*x)^2), atan(x)/beta) " * 10
    task = replace(evaluator.task("ReLU", "k" * 32, 150, 1), function=formula, stack=(1,) * 10)
    evaluator.close()
    folder = Path("/a/folder/of/a/run/" * 10)
    job = Job(with_all.config, (task,) * 10, folder, True, "cpu", 30.0)
    names = with_all.children(job)
    goods = (Good("search", "f" * 64), Good("test", "f" * 64))
    call = Call(pickle.dumps((run, job)), 30.0, names, goods)
    assert len(pickle.dumps(call)) < 10_000


def test_jobs_and_groups_are_placed(tmp_path):
    evaluator = TrainingEvaluator(Config(), tmp_path, InlinePool())
    tasks = [evaluator.task("ReLU", str(k) * 32, 150, 1) for k in range(2)]
    evaluator.close()
    jobs = tuple(Job(trade().config, (t,), tmp_path, True, "cpu", 30.0) for t in tasks)
    there = tmp_path / "there"
    assert trade().placed(jobs[0], there).children == there
    group = Group(jobs, ("cpu",), tmp_path, 0)
    assert {one.children for one in trade().placed(group, there).jobs} == {there}
    names = [name for job in jobs for name in trade().children(job)]
    assert list(trade().children(group)) == names and len(set(names)) == 2
    assert trade().children((trade().config, "cpu")) == ()
