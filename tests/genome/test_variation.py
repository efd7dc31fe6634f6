"""Edits stay in the space, do what their names say, and reach what they should."""

import numpy as np
import pytest

from hybridsearch.genome import variation
from hybridsearch.genome.canonical import key
from hybridsearch.genome.units import Space, normal_form, to_tokens, to_units
from hybridsearch.genome.variation import MUTATIONS, crossover, mutate, neighbours, subtree

SPACES = {
    "one": Space(1, 1),
    "one or two": Space(1, 2),
    "up to four": Space(1, 4),
    "subset": Space(2, 3, unary=("id", "beta", "sin"), binary=("add", "gate")),
    "fixed size": Space(3, 3, unary=("id", "beta"), binary=("add", "gate")),
    "single functions": Space(1, 3, unary=("beta",), binary=("sub",)),
    "single genome": Space(1, 1, unary=("id",), binary=("add",)),
}
FULL = Space(1, 3)


def genome(text):
    return tuple(text.split())


CHAIN = genome("gate scale x id x add sin u1 exp x max tanh u2 abs u1")


@pytest.fixture(params=SPACES, name="space")
def _space(request):
    return SPACES[request.param]


def draws(space, n=300):
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield space.sample(rng), space.sample(rng), rng


def test_every_edit_stays_in_the_space(space):
    for a, b, rng in draws(space):
        assert mutate(a, space, rng) in space
        assert all(child in space for child in crossover(a, b, space, rng))
        for edit in MUTATIONS:
            edited = edit(to_units(a), space, rng)
            assert edited is None or to_tokens(edited) in space


def test_every_neighbour_is_another_genome_of_the_space(space):
    for a, _, _ in draws(space, 20):
        near = neighbours(a, space)
        assert all(n in space for n in near)
        assert len(set(near)) == len(near)
        assert a not in near


def test_a_mutation_changes_the_genome():
    changed = [mutate(a, SPACES["one"], rng) != a for a, _, rng in draws(SPACES["one"])]
    assert all(changed)
    only = ("add", "id", "x", "id", "x")
    assert mutate(only, SPACES["single genome"], np.random.default_rng(0)) == only


def test_mutations_reach_every_size():
    rng = np.random.default_rng(0)
    current, sizes = CHAIN, set()
    for _ in range(300):
        current = mutate(current, FULL, rng)
        sizes.add(len(current) // 5)
    assert sizes == {1, 2, 3}


def test_a_function_mutation_changes_one_function():
    for a, _, rng in draws(FULL):
        edited = to_tokens(variation.change_function(to_units(a), FULL, rng))
        places = [k for k, (old, new) in enumerate(zip(a, edited, strict=True)) if old != new]
        assert len(places) == 1 and places[0] % 5 in (0, 1, 3)


def test_an_input_mutation_changes_one_input():
    for a, _, rng in draws(Space(2, 3)):
        edited = to_tokens(variation.change_input(to_units(a), FULL, rng))
        places = [k for k, (old, new) in enumerate(zip(a, edited, strict=True)) if old != new]
        assert len(places) == 1 and places[0] % 5 in (2, 4)


def test_an_inserted_unit_is_read_and_reads():
    """Everything else stays: by removing the new unit again the old genome comes back."""
    for a, _, rng in draws(Space(1, 2)):
        units = to_units(a)
        longer = variation.insert_unit(units, FULL, rng)
        assert len(longer) == len(units) + 1
        back = [
            variation._remove(longer, k, i)
            for k, unit in enumerate(longer, start=1)
            for i in (unit.input1, unit.input2)
        ]
        assert units in [*back, longer[:-1]]


def test_removing_joins_the_ends():
    units = to_units(CHAIN)
    without_second = variation._remove(units, 2, 1)
    assert to_tokens(without_second) == genome("gate scale x id x max tanh u1 abs u1")
    rng = np.random.default_rng(0)
    shorter = {to_tokens(variation.remove_unit(units, FULL, rng)) for _ in range(100)}
    assert to_tokens(without_second) in shorter and to_tokens(units[:2]) in shorter
    assert all(len(s) == 10 for s in shorter)


def test_a_hoisted_function_is_a_part_of_the_old_one():
    rng = np.random.default_rng(0)
    hoisted = {to_tokens(variation.hoist(to_units(CHAIN), FULL, rng)) for _ in range(50)}
    assert hoisted == {CHAIN[:5], CHAIN[:10]}


def test_what_nobody_reads_is_dropped_where_the_space_allows():
    dead = genome("mul sin x sin x add id x tanh x sub id u2 beta u1")
    tidy = to_tokens(variation._tidy(to_units(dead), FULL))
    assert tidy == genome("add id x tanh x sub id u1 beta x")
    assert key(tidy) == key(dead)
    assert len(variation._tidy(to_units(dead), Space(3, 3))) == 3


def test_a_subtree_keeps_its_function():
    for a, _, _ in draws(Space(1, 4), 100):
        units = to_units(a)
        for number in range(1, len(units) + 1):
            part = to_tokens(subtree(units, number))
            assert normal_form(part) == normal_form(to_tokens(units[:number]))


def test_grafting_replaces_a_unit_by_a_subtree():
    host, donor = to_units(CHAIN), to_units(CHAIN[:10])
    wide = Space(1, 8)
    grafted = variation._graft(host, 2, donor, 2, wide)  # u2 of the host <- both units of the donor
    assert to_tokens(grafted) == genome(
        "gate scale x id x gate scale x id x add sin u2 exp x max tanh u3 abs u1"
    )


def test_one_unit_parents_exchange_functions():
    a, b = ("gate", "scale", "x", "id", "x"), ("max", "sin", "x", "tanh", "x")
    rng = np.random.default_rng(0)
    pairs = {crossover(a, b, Space(), rng) for _ in range(200)}
    assert len(pairs) == 6  # every part of one unit but none and all
    for one, two in pairs:
        assert all({s, t} == {u, v} for s, t, u, v in zip(a, b, one, two, strict=True))
        assert {one, two} != {a, b}


def test_longer_parents_exchange_units_and_subtrees():
    other = genome("sub atan x erf x mul cosh u1 sinc x")
    rng = np.random.default_rng(0)
    children = [c for _ in range(300) for c in crossover(CHAIN, other, Space(1, 4), rng)]
    assert {len(c) // 5 for c in children} == {1, 2, 3, 4}
    own, foreign = set(CHAIN) - {"x", "u1", "u2"}, {"sub", "atan", "erf", "mul", "cosh", "sinc"}
    mixed = [c for c in children if set(c) & own and set(c) & foreign]
    assert len(mixed) > 200
    assert any(other[:5] == c[k : k + 5] for c in mixed for k in (0, 5, 10))  # a whole unit


def test_neighbours_of_one_unit_are_all_changes_of_one_token():
    a = ("gate", "scale", "x", "id", "x")
    near = neighbours(a, Space())
    assert len(near) == 9 + 24 + 24
    assert all(sum(s != t for s, t in zip(a, n, strict=True)) == 1 for n in near)


def test_neighbours_include_longer_and_shorter_ones():
    two = CHAIN[:10]
    near = neighbours(two, FULL)
    assert CHAIN[:5] in near
    assert (*two, "max", "id", "u2", "id", "x") in near
    assert (*two, "sub", "id", "x", "id", "u2") in near
    inner = genome("gate scale x id x mul id u1 id x add sin u2 exp x")
    assert inner in near
    assert two in neighbours(inner, FULL)  # and back
    assert {len(n) // 5 for n in near} == {1, 2, 3}


def test_nth_is_enumerate():
    for space in (Space(1, 2, unary=("id", "sin"), binary=("add", "sub")), SPACES["fixed size"]):
        assert [space.nth(k) for k in range(space.count())] == list(space.enumerate())
        with pytest.raises(IndexError, match=f"{space.count()} genomes"):
            space.nth(space.count())
        with pytest.raises(IndexError):
            space.nth(-1)
