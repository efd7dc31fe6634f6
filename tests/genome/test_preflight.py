"""Every reason for which a function may not train, with functions on both sides of it."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsearch.genome.canonical import keys, value_key
from hybridsearch.genome.function import NAMED_GENOMES
from hybridsearch.genome.preflight import REASONS, inspect
from hybridsearch.genome.text import from_token_text
from hybridsearch.genome.units import Space, normal_form


def reason(text: str) -> str | None:
    return inspect([from_token_text(text)])[0].rejected


REJECTED = {
    "undefined value": [
        "max sqrt x sqrt x",
        "add id x sqrt x",
        "mul cube x exp x | mul exp u1 id x",  # overflows
        "sub beta x relu x | max sqrt u1 sqrt u1",  # at the start value of beta
        "blend id x sqrt x",  # 0*nan is nan: beta = 1 does not hide it
    ],
    "undefined gradient": [
        "mul square x square x | max sqrt u1 sqrt u1",  # 0/0 at 0
        "max abs x abs x | sub sqrt u1 id x",
    ],
    "explosive growth": [
        "mul exp x exp x",  # e^10 = 22,026 at 5
        "mul cube x cube x",  # 15,625 at 5
        "mul cosh x sinh x",
        "div id x min0 x",  # x/eps right of 0
        "div id x sin x",  # a slope of 1/eps at 0
        "add exp x beta x | max exp u1 exp u1",
    ],
    "constant": [
        "sub id x id x",
        "add beta x beta x",
        "rbf id x id x",
        "laplace id x shift x",
        "mul beta x beta x | mul sin u1 beta x",
    ],
    "affine": [
        "max id x id x",
        "add scale x shift x",
        "sub shift x neg x",
        "add relu x min0 x",
        "blend neg x scale x",
        "div id x beta x",
        "mul beta x scale x | add id u1 id x",
    ],
    "dead gradient": ["div softplus x softplus x", "div cos x cos x", "div abs x abs x"],
}
ACCEPTED = [
    "max abs x abs x",
    "max logabs x logabs x",  # a slope of up to 100 at the points
    "max exp x exp x",  # 148 at 5
    "mul cube x square x",  # 3,125 at 5
    "add sinh x cosh x",
    "sub relu x min0 x",  # |x|, while the sum is x
    "max id x scale x",  # x at the start value of beta
    "blend id x sin x",  # so is this
    "blend beta x tanh x",  # and this is constant there
    "max gauss x gauss x",
    "max beta x beta x | max sqrt u1 sqrt u1 | mul id u2 sin x",  # undefined at a beta below 0
    "rbf id x beta x",
]


def test_every_reason_has_examples():
    assert tuple(REJECTED) == REASONS


@pytest.mark.parametrize(("text", "why"), [(t, w) for w, ts in REJECTED.items() for t in ts])
def test_rejected_with_its_reason(text, why):
    assert reason(text) == why


@pytest.mark.parametrize("text", ACCEPTED)
def test_may_train(text):
    assert reason(text) is None


@pytest.mark.parametrize("name", NAMED_GENOMES)
def test_known_functions_may_train(name):
    """ReLU, Softplus, Swish, and the eight that the paper found."""
    assert reason(NAMED_GENOMES[name]) is None


def test_affine_at_the_start_value_only():
    """beta*x+(1-beta)*sin(x) begins as x; that it can bend is what counts."""
    assert reason("blend id x sin x") is None
    assert reason("blend id x scale x") == "affine"


def test_dead_units_do_not_count():
    assert reason("max sqrt x sqrt x | max relu x relu x") is None
    assert reason("max sqrt x sqrt x | mul beta u1 sin x") is None


def test_form_and_key_come_along():
    genomes = [Space(1, 3).sample(np.random.default_rng(i)) for i in range(600)]
    found = inspect(genomes)
    assert [row.form for row in found] == [normal_form(genome) for genome in genomes]
    assert [row.key for row in found] == keys(genomes)
    assert {row.rejected for row in found} <= {None, *REASONS}


def test_no_spelling_condemns_another():
    """What has no slope as it is spelt has a key that no function that may train has, and only of
    such spellings the key is not that of the values.
    """
    space = Space(1, 2, unary=("id", "abs", "square", "sqrt"), binary=("max", "mul"))
    found = inspect(list(space.enumerate()))
    verdicts: dict[str, set[str | None]] = {}
    for one in found:
        verdicts.setdefault(one.key, set()).add(one.rejected)
    assert all(len(said) == 1 for said in verdicts.values())
    lost = [one for one in found if one.rejected == "undefined gradient"]
    twins = {one.key for one in found if one.rejected is None} & {value_key(o.form) for o in lost}
    assert len(twins) > 3  # the test compares something
    for one in found[::20]:
        assert (one.key == value_key(one.form)) == (one.rejected != "undefined gradient")


def test_the_verdict_does_not_depend_on_the_batch():
    genomes = list(Space().enumerate())[::7]
    together = inspect(genomes)
    assert [inspect([genome])[0] for genome in genomes[:100]] == together[:100]
    assert inspect(genomes[::-1]) == together[::-1]


def test_most_of_the_space_may_train():
    """Loose thresholds: training itself finds the rest. Every reason occurs."""
    verdicts = [row.rejected for row in inspect(list(Space().enumerate()))]
    assert verdicts.count(None) > 0.75 * len(verdicts)
    assert set(verdicts) == {None, *REASONS} - {"undefined gradient"}  # that takes two units
