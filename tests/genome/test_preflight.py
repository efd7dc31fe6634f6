"""Every reason for which a function may not train, with functions on both sides of it."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsearch.genome.canonical import keys
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
        "mul cube x cube x | mul exp u1 id x | mul square u1 exp u1",  # overflows
        "sub sqrt x sqrt x",
    ],
    "undefined gradient": ["mul square x square x | max sqrt u1 sqrt u1"],  # 0/0 at 0
    "explosive growth": [
        "mul exp x exp x",  # e^10 = 22,026 at 5
        "div id x min0 x",  # x/eps right of 0
        "div exp x relu x",
        "mul cosh x sinh x",
    ],
    "constant": [
        "sub id x id x",
        "add beta x beta x",
        "div id x id x",  # 1 but for eps: f(0) = 0 is an isolated point
        "rbf id x id x",
        "mul beta x beta x | mul sin u1 beta x",
    ],
    "affine": [
        "max id x id x",
        "add scale x shift x",
        "sub shift x neg x",
        "max id x neg x | sub id u1 relu x | sub id u1 relu x | add id x id u3 | sub id u4 id u3",
        "blend neg x scale x",
    ],
    "dead gradient": ["mul gauss x gauss x | mul cube u1 beta x | cubed cubed cubed"],
}
ACCEPTED = [
    "max abs x abs x",
    "max logabs x logabs x",
    "max exp x exp x",  # 148 at 5
    "mul cube x cube x",  # 15,625 would explode; see the test below
    "add sinh x cosh x",
    "max id x scale x",
    "mul gauss x id x",
    "max gauss x gauss x",
    "blend id x sin x",  # x at beta = 1
    "blend beta x tanh x",  # constant beta at beta = 1, for the first value
    "mul scale x id x",
]


@pytest.mark.parametrize(("text", "why"), [(t, w) for w, ts in REJECTED.items() for t in ts])
def test_rejected_with_its_reason(text, why):
    assert reason(text) == why
