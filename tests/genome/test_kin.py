"""Which functions are a baseline times a number."""

from __future__ import annotations

import pytest

from hybridsearch.genome.function import BASELINES, resolve
from hybridsearch.genome.kin import Kin, kin_of


@pytest.mark.parametrize(
    ("formula", "kin"),
    [
        ("x+|x|", Kin("ReLU", 2.0, False, 0.0)),
        ("|x|-x", Kin("ReLU", 2.0, True, 0.0)),
        ("min(x, 0)", Kin("ReLU", -1.0, True, 0.0)),
        (
            "min neg x neg x | add sigmoid x sigmoid u1 | add relu x id u2",
            Kin("ReLU", 1.0, False, 1.0),
        ),
        ("(x+x)*sigmoid(x)", Kin("Swish-1", 2.0, False, 0.0)),
        ("(x+x)*sigmoid(beta*x)", Kin("Swish", 2.0, False, 0.0)),
        ("x*sigmoid(-x)", Kin("Swish-1", -1.0, True, 0.0)),
        ("beta*max(x, 0)", None),  # its scale is trained
        ("max(x, beta*x)", None),  # PReLU begins elsewhere
        ("|x|", None),
        ("x*tanh(x)", None),
        ("exp(x)", None),
        ("log(|x|)", None),
    ],
)
def test_a_function_is_a_baseline_times_a_number_or_not(formula, kin):
    assert kin_of(resolve(formula)) == kin


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_is_one_in_disguise(name):
    assert kin_of(resolve(name)) is None
