"""What is like what: by shape, whatever its scale, shift and mirror image."""

from __future__ import annotations

import numpy as np
import pytest

from hybridsearch.explain.curve import Curve
from hybridsearch.explain.near import SAME, distances, features, nearest_known, standing
from hybridsearch.genome.function import resolve
from hybridsearch.genome.units import normal_form
from hybridsearch.surrogate.features import describe
from hybridsearch.tables.table import load_table


def apart(one: str, two: str) -> float:
    a, b = (features(Curve.of(resolve(text))) for text in (one, two))
    return float(distances(a, b)[0])


@pytest.mark.parametrize(
    "two", ["x*sigmoid(x)", "-x*sigmoid(x)", "x*sigmoid(-x)", "-(x*sigmoid(-x))", "Swish"]
)
def test_mirror_images_and_scale_are_no_distance(two):
    assert apart("x*sigmoid(x)", two) < SAME


def test_distances_are_the_same_both_ways_and_grow_with_difference():
    assert apart("GELU", "Swish") == pytest.approx(apart("Swish", "GELU"))
    assert SAME < apart("GELU", "Swish-1") < apart("GELU", "sin(x)") < apart("GELU", "x^2")


def test_a_genome_is_seen_as_the_surrogate_sees_it():
    function = resolve("max(x, tanh(x))")
    mine, theirs = features(Curve.of(function)), describe([normal_form(function.genome.tokens)])
    for part in ("even", "odd", "size"):
        assert np.allclose(getattr(mine, part), getattr(theirs, part), atol=1e-6)


def test_the_nearest_of_the_known_leave_itself_out():
    near = nearest_known(resolve("Swish"))
    assert [near[0].name, near[1].name] == ["Swish-1", "GELU"]
    assert near[0].distance < SAME < near[1].distance <= near[2].distance


def test_a_recorded_table_says_its_rank():
    table = load_table("digits")
    best = int(table.truth.argmax())
    found = standing(resolve(table.specs[best]), table, "digits")
    assert (found.rank, found.count) == (1, len(table.keys))
    assert found.score == pytest.approx(float(table.truth[best]))
    assert all(n.distance > SAME for n in found.near)
    assert len({n.name for n in found.near}) == 3
    two_units = standing(resolve("u1=x*sigmoid(x); sin(u1)+tanh(u1)"), table, "digits")
    assert two_units.rank is None
    assert two_units.near[0].rank is not None
