"""A user's own network that cannot work ends in one line that names it, before any search."""

from __future__ import annotations

import sys

import pytest
import torch

from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import load_search_data
from hybridsearch.evaluate.evaluator import TrainingEvaluator
from hybridsearch.evaluate.probe import probe
from hybridsearch.evaluate.training import Trainer
from hybridsearch.session import search

NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, make_activation, in_shape, classes, kind):
        super().__init__()
        pixels = in_shape[0] * in_shape[1] * in_shape[2]
        self.kind, self.first = kind, nn.Linear(pixels, 8)
        self.act, self.last = make_activation(8, -1), nn.Linear(8, classes - (kind == "few"))

    def forward(self, x):
        out = self.last(self.act(self.first(x.flatten(1))))
        if self.kind == "nan":
            return out * float("nan")
        if self.kind == "flat":
            return out.flatten()
        if self.kind == "nothing":
            return None
        if self.kind == "later" and not self.training:
            raise ValueError("in evaluation\\nand more")
        return out

def maker(kind):
    def build(make_activation, in_shape, classes):
        if kind == "raises":
            raise RuntimeError("my own mistake")
        return 3 if kind == "number" else Net(make_activation, in_shape, classes, kind)
    return build

good, few, nan, flat, nothing, later, raises, number = map(
    maker, ("good", "few", "nan", "flat", "nothing", "later", "raises", "number")
)
"""
WRONG = {
    "few": r"expected logits of shape \[32, 10\], got \[32, 9\]",
    "flat": r"expected logits of shape \[32, 10\], got \[320\]",
    "nothing": "expected a tensor as output, got NoneType",
    "nan": "not finite before any step, in training mode",
    "later": "ValueError: in evaluation$",
    "raises": "RuntimeError: my own mistake",
    "number": "expected an nn.Module, got int",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of networks that can be imported."""
    (tmp_path / "own_networks.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_networks"
    sys.modules.pop("own_networks", None)


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_work_is_one_line_that_names_it(own, tiny, tmp_path, kind):
    config = tiny(network={"name": f"{own}:{kind}"})
    with pytest.raises(UserError, match=WRONG[kind]) as error:
        search(config, tmp_path / "run" / "a")
    assert f"network '{own}:{kind}' failed" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_can_work_is_searched_with(own, tiny, tmp_path):
    done = search(tiny(budget=2, network={"name": f"{own}:good"}), tmp_path / "run" / "a")
    assert done["winner"] is not None


PLACES = """
import copy
from torch import nn

def without(make_activation):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

class Idle(nn.Module):
    def __init__(self, make_activation):
        super().__init__()
        self.act, self.layers = make_activation(8, -1), without(None)

    def forward(self, x):
        return self.layers(x)

def idle(make_activation):
    return Idle(make_activation)

class Auxiliary(Idle):
    def forward(self, x):
        return self.layers(x) + (self.act(self.layers[:2](x)).mean() if self.training else 0)

def auxiliary(make_activation):
    return Auxiliary(make_activation)

def copied(make_activation):
    block = nn.Sequential(nn.Linear(8, 8), make_activation(8, -1), nn.Sigmoid(), nn.GELU())
    blocks = [copy.deepcopy(block) for _ in range(3)]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), *blocks, nn.Linear(8, 10))

def listed(make_activation):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 10))
    acts = [make_activation(8, -1)]
    network[1].register_forward_hook(lambda module, inputs, out: acts[0](out))
    return network

BACKBONE = nn.Linear(64, 8)
NORM = nn.BatchNorm1d(8, affine=False)

def backbone(make_activation):
    return nn.Sequential(nn.Flatten(), BACKBONE, make_activation(8, -1), nn.Linear(8, 10))

def norm(make_activation):
    first = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), NORM)
    return nn.Sequential(first, make_activation(8, -1), nn.Linear(8, 10))

FROZEN = nn.Linear(64, 8).requires_grad_(False)

def frozen(make_activation):
    return nn.Sequential(nn.Flatten(), FROZEN, make_activation(8, -1), nn.Linear(8, 10))

def grouped(make_activation):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), make_activation(8, -1, group="all"), nn.Linear(8, 10)
    )
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    (tmp_path / "own_places.py").write_text(PLACES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_places"
    sys.modules.pop("own_places", None)


@pytest.mark.parametrize(
    ("kind", "fixed", "words"),
    [
        ("without", (), "no place for the function to search: it never calls make_activation"),
        ("idle", (), r"1 activation\(s\) .* but its forward pass uses none"),
        ("grouped", ("all=ReLU",), r"gives every group a function \(all=ReLU\)"),
        ("listed", (), "keeps activations where PyTorch does not find their parameters"),
        ("backbone", (), "holds the same layers at every call"),
        ("norm", (), "holds the same layers at every call"),
    ],
)
def test_a_network_in_which_no_function_matters_is_refused(
    places, tiny, tmp_path, kind, fixed, words
):
    config = tiny(network={"name": f"{places}:{kind}", "fixed": fixed})
    with pytest.raises(UserError, match=words) as error:
        search(config, tmp_path / "run" / "a")
    assert f"network '{places}:{kind}'" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_what_is_used_in_training_alone_or_copied_is_not_refused(places, tiny, tmp_path):
    for kind, count in (("auxiliary", 1), ("copied", 3), ("frozen", 1)):
        config = tiny(network={"name": f"{places}:{kind}"})
        assert len(probe(config, load_search_data(config.data)).sizes) == count


def test_activations_that_are_not_searched_are_noted(places, tiny, tmp_path):
    def note(name):
        return TrainingEvaluator(tiny(network={"name": name}), tmp_path).note()

    also = f"; {places}:copied also has 1 nn.ReLU, 3 nn.GELU, which no search replaces"
    assert note(f"{places}:copied").endswith(also)
    assert "also has" not in note(f"{places}:grouped") + note("digits_mlp")


VIEWS = """
import torch
from torch import nn

class Viewed(nn.Module):
    def __init__(self, make_activation, classes):
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 4, 3, padding=1), make_activation(4, 1)
        self.cube, self.last = nn.Parameter(torch.zeros(1, 4, 1, 1, 1)), nn.Linear(256, classes)

    def forward(self, x):
        assert x.is_contiguous()
        out = self.act(self.conv(x)) + self.cube[..., 0]
        return self.last(out.view(out.size(0), -1))

def build(make_activation, classes):
    return Viewed(make_activation, classes)
"""


def test_images_and_weights_of_an_own_network_lie_as_torch_lays_them(tiny, tmp_path, monkeypatch):
    """Channels last is for networks of ours: with it `view` fails after a convolution."""
    (tmp_path / "own_views.py").write_text(VIEWS)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tiny(network={"name": "own_views:build"}, data={"augment": "shift"})
    evaluator = TrainingEvaluator(config, tmp_path / "children")
    tasks = [evaluator.task("Swish", "k", 4, 0), evaluator.time_task("Swish", "k")]
    assert [result.status for result in evaluator.evaluate(tasks)] == ["ok", "ok"]
    last, first = (
        Trainer(made, load_search_data(made.data), torch.device("cpu"))
        for made in (tiny(data={"augment": "shift"}), config)
    )
    assert torch.equal(last.batch(3, 1)[0], first.batch(3, 1)[0])
    few = last.validation.images[:7]
    assert torch.equal(last.normalise(few), first.normalise(few))
    sys.modules.pop("own_views")
