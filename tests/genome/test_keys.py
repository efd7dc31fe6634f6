"""The canonical key: what shares one, what must not, over the whole one-unit space."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.canonical import BETAS, FINGERPRINT_POINTS, key, keys, rounded
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.index import one_unit_index, representative
from hybridsearch.genome.primitives import UNARY
from hybridsearch.genome.units import Space, normal_form, to_units

ALL = list(Space().enumerate())


@pytest.fixture(scope="module")
def all_keys():
    return keys(ALL)


def k(text):
    return key(Genome.from_text(text).tokens)


def same_values(a, b, rel):
    """Which of two arrays' entries agree to `rel`, nan and infinities of a sign included."""
    with np.errstate(all="ignore"):
        close = np.abs(a - b) <= rel * np.maximum(np.abs(a), np.abs(b))
    return close | (a == b) | (np.isnan(a) & np.isnan(b))


def test_no_wrong_merge_in_the_one_unit_space(all_keys):
    rng = np.random.default_rng(11)
    points = np.concatenate([rng.uniform(-8, 8, 300), np.linspace(-8, 8, 101)])
    betas = np.array([[b] for b in (-0.5, 0.3, 1.0, 1.7)])
    values = behaviour(ALL, points, betas).values.reshape(len(ALL), -1)
    groups = defaultdict(list)
    for row, name in enumerate(all_keys):
        groups[name].append(row)
    for rows in groups.values():
        for other in rows[1:]:
            assert same_values(values[rows[0]], values[other], 1e-6).all(), (
                ALL[rows[0]],
                ALL[other],
            )
    assert len(groups) == 4046


def test_missed_merges_are_below_one_percent(all_keys):
    """Functions with different keys that agree to 1e-12 on every point and assignment."""
    first = {}
    for row, name in enumerate(all_keys):
        first.setdefault(name, row)
    rows = list(first.values())
    forms = [normal_form(ALL[row]) for row in rows]
    values = behaviour(forms, FINGERPRINT_POINTS, BETAS).values.reshape(len(rows), -1)
    flat = np.nan_to_num(np.arcsinh(values), nan=77.0, posinf=800, neginf=-800)
    order = np.argsort(flat @ np.random.default_rng(0).normal(size=flat.shape[1]))
    missed = sum(
        same_values(values[a], values[b], 1e-12).all()
        for gap in (1, 2, 3)
        for a, b in zip(order, order[gap:], strict=False)
    )
    assert missed < 0.01 * len(rows)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("add id x tanh x", "add tanh x id x"),
        ("add id x id x", "sub id x neg x"),
        ("mul id x id x", "max square x square x"),
        ("gate id x id x", "mul sigmoid x id x"),
        ("gate scale x id x", "gate scale x id x"),
        ("add sin x id x | mul beta u1 id x", "mul beta x id x"),
        ("mul tanh x tanh x | add id x cos x", "add id x cos x"),
        (
            "add id x sin x | mul id x tanh x | max id u1 id u2",
            "mul id x tanh x | add id x sin x | max id u1 id u2",
        ),
        ("rbf id x sin x", "rbf sin x id x"),
        ("mul scale x id x", "mul square x beta x"),
    ],
)
def test_equal_functions_share_a_key(a, b):
    assert k(a) == k(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("add id x tanh x", "sub id x tanh x"),
        ("sub id x tanh x", "sub tanh x id x"),
        ("mul id x id x", "mul scale x id x"),  # equal at the start value, not beyond
        ("scale", "shift"),
        ("blend id x tanh x", "blend tanh x id x"),
        ("add scale x scale x", "add id x scale x"),
        ("div id x id x", "div abs x abs x"),  # apart through eps
    ],
)
def test_different_functions_have_different_keys(a, b):
    if a in UNARY:
        a, b = f"add {a} x id x", f"add {b} x id x"
    assert k(a) != k(b)


def test_exchanging_two_betas_shows():
    """b1*x + b2 where b1 scales and b2 shifts is not the function with the roles exchanged."""
    a = behaviour([normal_form(("add", "scale", "x", "beta", "x"))], np.array([2.0]), BETAS)
    assert len(set(np.round(a.values[0, 1:, 0], 6))) == 3
    assert k("mul scale x shift x") != k("mul shift x id x")


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_normal_form_is_idempotent_and_keeps_the_function(seed, units):
    tokens = Space(units, units).sample(np.random.default_rng(seed))
    form = normal_form(tokens)
    assert normal_form(form) == form
    assert len(form) <= len(tokens)
    points, ones = np.linspace(-3, 3, 31), np.full((1, 12), 0.7)
    a, b = behaviour([tokens], points, ones).values, behaviour([form], points, ones).values
    assert same_values(a, b, 1e-12).all()
    assert key(form) == key(tokens)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_key_does_not_depend_on_its_company(seed):
    rng = np.random.default_rng(seed)
    genomes = [Space(1, 3).sample(rng) for _ in range(20)]
    together = keys(genomes)
    assert together == [key(g) for g in genomes]
    assert keys(genomes[::-1]) == together[::-1]


def test_rounding_ignores_noise_and_keeps_differences():
    values = np.array([1.0, 0.5, 3.0e5, -2.0, 2.0**-100, np.inf, -np.inf])
    assert np.array_equal(rounded(values), values)
    assert np.array_equal(rounded(values * (1 + 4e-16)), rounded(values))
    assert (rounded(values[:5] * (1 + 1e-7)) != rounded(values[:5])).all()
    odd = rounded(np.array([-0.0, 5e-324, np.nan]))
    assert odd[:2].tobytes() == np.zeros(2).tobytes()
    assert np.isnan(odd[2])


def test_the_index_has_the_shortest_genome_of_every_function(all_keys):
    index = one_unit_index()
    assert set(index) == set(all_keys)
    assert all(key(tokens) == name for name, tokens in list(index.items())[:300])
    relu = Genome(("max", "relu", "x", "relu", "x"))
    assert Genome(representative(relu.tokens, relu.key)).formula == "max(x, 0)"
    two = Genome.from_text("mul atan x atan x | sub id u1 id x")
    assert representative(two.tokens, two.key) == two.tokens
    assert len(to_units(representative(normal_form(two.tokens), two.key))) == 2
