"""Structure: counting, enumerating, sampling, validating, and the normal form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridsearch.errors import UserError
from hybridsearch.genome.primitives import BETA_START, BINARY, UNARY
from hybridsearch.genome.units import Space, Unit, normal_form, to_tokens, to_units

POINTS = np.array([-6.5, -2.2, -1.0, -0.3, 0.2, 0.9, 1.7, 3.1, 7.3])
SMALL = {"unary": ("id", "tanh", "beta"), "binary": ("add", "sub", "rbf")}


def genomes(max_units: int = 4, min_units: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    seeds = st.integers(0, 2**32 - 1)
    space = Space(min_units, max_units)
    return seeds.map(lambda seed: space.sample(np.random.default_rng(seed)))


def evaluate(tokens: tuple[str, ...], betas: list[float], x: np.ndarray) -> np.ndarray:
    """A second reading of a genome, unit by unit; `betas` go to its parameters one by one."""
    left = iter(np.array(b) for b in betas)
    outputs = [x]
    with np.errstate(all="ignore"):
        for unit in to_units(tokens):
            sides = [
                UNARY[u].value(outputs[i], next(left) if UNARY[u].uses_beta else np.array(1.0))
                for u, i in unit.operands
            ]
            op = BINARY[unit.binary]
            outputs.append(op.value(*sides, next(left) if op.uses_beta else np.array(1.0)))
    return outputs[-1]


def beta_count(tokens: tuple[str, ...]) -> int:
    return sum(unit.betas() for unit in to_units(tokens))


@pytest.mark.parametrize(
    "space",
    [
        Space(),
        Space(1, 2, **SMALL),
        Space(2, 2, **SMALL),
        Space(1, 3, unary=("id", "sin"), binary=("mul",)),
        Space(unary=("exp",), binary=("max",)),
    ],
)
def test_count_is_the_number_enumerated(space):
    every = list(space.enumerate())
    assert space.count() == len(every) == len(set(every))
    assert all(genome in space for genome in every)


def test_the_one_unit_space_has_6250_genomes():
    assert Space().count() == 10 * 25 * 25 == 6250
    assert Space(2, 2).count() == 6250 * 10 * 50 * 50


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 2))
def test_samples_lie_in_their_space(seed, low, more):
    space = Space(low, low + more, **SMALL)
    assert space.sample(np.random.default_rng(seed)) in space


def test_samples_reach_the_whole_space():
    space = Space(1, 2, unary=("id", "beta"), binary=("add",))
    rng = np.random.default_rng(0)
    assert {space.sample(rng) for _ in range(3000)} == set(space.enumerate())


def test_outside_the_space():
    genome = ("max", "relu", "x", "relu", "x")
    assert genome in Space()
    assert genome not in Space(2, 2)
    assert genome not in Space(unary=("id",))
    assert genome not in Space(binary=("add",))
    assert genome[:4] not in Space()
    assert None not in Space()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "5 tokens per core unit"),
        ("add id x id", "got 4"),
        ("id add x id x", "token 1 of the genome must be a binary function"),
        ("add sinn x id x", "token 2 of the genome must be a unary function"),
        ("add id y id x", "token 3 of the genome must be an input"),
        ("add id x id u1", "token 5 of the genome must be an input"),
        ("add id x id x mul id u2 id x", "token 8 of the genome must be an input"),
        ("add id x id x mul id u1 sinus x", "token 9 of the genome must be a unary function"),
    ],
)
def test_wrong_tokens_are_named(text, says):
    with pytest.raises(UserError) as error:
        to_units(text.split())
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@given(genomes())
def test_tokens_and_units_are_inverse(genome):
    assert to_tokens(to_units(genome)) == genome


@given(genomes())
def test_normal_form_is_idempotent(genome):
    form = normal_form(genome)
    assert normal_form(form) == form
    assert len(form) <= len(genome)


def test_normal_form_is_idempotent_where_units_are_alike():
    """All genomes of four and some of five units that begin with the same one twice."""
    twice = ("mul", "id", "x", "scale", "x") * 2
    inputs, more = ("u1", "u2"), ("u1", "u2", "u3")
    for b3, b4 in itertools.product(("add", "sub"), repeat=2):
        for i, j, k, m in itertools.product(inputs, inputs, more, more):
            four = (*twice, b3, "scale", i, "scale", j, b4, "id", k, "scale", m)
            for genome in (four, (*four, "add", "id", "u4", "id", "u3")):
                form = normal_form(genome)
                assert normal_form(form) == form, genome


@settings(max_examples=200)
@given(genomes())
def test_normal_form_keeps_the_function_at_the_start_value(genome):
    form = normal_form(genome)
    before = evaluate(genome, [BETA_START] * beta_count(genome), POINTS)
    after = evaluate(form, [BETA_START] * beta_count(form), POINTS)
    np.testing.assert_allclose(before, after, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(genomes(max_units=3))
def test_normal_form_keeps_the_function_of_every_beta(genome):
    """The betas are numbered anew, so some assignment of the old ones gives each new one's values.
    Dead betas go: the values that are left over belong to them."""
    form = normal_form(genome)
    old, new = beta_count(genome), beta_count(form)
    if old > 5:
        return
    values = [0.3, -0.8, 1.9, 0.7, -1.6][:old]
    before = evaluate(genome, values, POINTS)
    after = [evaluate(form, list(p), POINTS) for p in itertools.permutations(values, new)]
    assert any(np.allclose(before, a, rtol=1e-11, atol=0, equal_nan=True) for a in after)


@pytest.mark.parametrize(
    ("genome", "form"),
    [
        ("add tanh x id x", "add id x tanh x"),  # commutes
        ("sub tanh x id x", "sub tanh x id x"),  # does not
        ("gate tanh x id x", "gate tanh x id x"),
        ("add sin x id x mul id x id x", "mul id x id x"),  # a unit that nobody reads
        ("add sin x id x mul id x beta u1", "mul beta x id x"),  # an input that does not matter
        (
            "mul id x sin x add id x cos x sub id u2 id u1",
            "add cos x id x mul id x sin x sub id u1 id u2",
        ),
        ("mul sin x sin x sub cos u1 cos u1", "mul sin x sin x sub cos u1 cos u1"),
        (  # of two units alike, sub needs the second first
            "mul id x scale x mul id x scale x add scale u1 scale u2 sub id u2 id u3",
            "mul id x scale x mul id x scale x add scale u1 scale u2 sub id u1 id u3",
        ),
    ],
)
def test_normal_form_of(genome, form):
    found = normal_form(tuple(genome.split()))
    assert found == tuple(form.split())
    assert normal_form(found) == found


def test_what_a_unit_reads_and_trains():
    assert Unit("blend", "beta", 1, "scale", 2).reads() == {2}
    assert Unit("blend", "beta", 1, "scale", 2).betas() == 3
    assert Unit("add", "id", 0, "tanh", 1).reads() == {0, 1}
    assert Unit("add", "id", 0, "tanh", 1).betas() == 0
