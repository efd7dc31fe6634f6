"""A user's own network that cannot work ends in one line that names it, before any search."""

from __future__ import annotations

import sys

import pytest

from hybridsearch.errors import UserError
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
