"""What the surrogate sees: mirror images alike, sizes apart, nothing that depends on neighbours."""

import numpy as np
import pytest

from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.canonical import BETAS
from hybridsearch.genome.function import resolve
from hybridsearch.genome.index import one_unit_index
from hybridsearch.genome.preflight import inspect
from hybridsearch.surrogate import features
from hybridsearch.surrogate.features import Features, describe


def tokens(*formulas):
    return [resolve(formula).genome.tokens for formula in formulas]


def trainable():
    genomes = list(one_unit_index().values())
    found = inspect(genomes)
    return [g for g, row in zip(genomes, found, strict=True) if row.rejected is None]


@pytest.mark.parametrize(
    "one, other, even, odd",
    [
        ("max(x,0)", "min(x,0)", -1, 1),  # -f(-x)
        ("x+abs(x)", "x-abs(x)", -1, 1),
        ("exp(x)-x", "x-exp(x)", -1, -1),  # -f(x)
        ("softplus(x)", "softplus(x)-x", 1, -1),  # f(-x)
    ],
)
def test_mirror_images_differ_in_the_signs_of_their_parts(one, other, even, odd):
    seen = describe(tokens(one, other))
    np.testing.assert_allclose(seen.even[1], even * seen.even[0], atol=1e-5)
    np.testing.assert_allclose(seen.odd[1], odd * seen.odd[0], atol=1e-5)
    np.testing.assert_allclose(seen.size[1], seen.size[0], atol=1e-4)
    assert np.abs(seen.even).max() > 0.02 and np.abs(seen.odd).max() > 0.02


def test_scale_shows_in_the_size_alone():
    seen = describe(tokens("max(x,0)", "x+abs(x)", "abs(x)"))
    np.testing.assert_allclose(seen.even[1], seen.even[0], atol=1e-5)  # x+|x| is 2 max(x,0)
    np.testing.assert_allclose(seen.odd[1], seen.odd[0], atol=1e-5)
    raw = seen.size * features._SPREAD + features._CENTRE
    np.testing.assert_allclose(raw[1] - raw[0], [np.log(2), np.log(2), 0, 0, 0], atol=1e-4)
    assert np.abs(seen.odd[2]).max() < 1e-6  # |x| is even


def test_sizes_are_standard_over_the_one_unit_space():
    """The constants of the module; whoever changes what is measured has to compute them again."""
    size = describe(trainable()).size
    np.testing.assert_allclose(size.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(size.std(axis=0), 1, atol=0.02)


def test_features_do_not_depend_on_who_stands_beside():
    """So that a resumed run, which computes them in other blocks, has the same bits."""
    genomes = trainable()[:600]
    whole = describe(genomes)
    for start, end in ((0, 1), (17, 40), (250, 600)):
        part = describe(genomes[start:end])
        rows = np.arange(start, end)
        for name in ("even", "odd", "size"):
            assert np.array_equal(getattr(part, name), getattr(whole.take(rows), name))


def test_all_is_finite_even_where_a_function_is_not():
    genomes = list(one_unit_index().values())
    values = behaviour(genomes, features.POINTS, BETAS[:1]).values
    assert not np.isfinite(values).all()
    seen = describe(genomes)
    assert all(np.isfinite(getattr(seen, name)).all() for name in ("even", "odd", "size"))


def test_none_and_join():
    seen = describe(tokens("max(x,0)", "sin(x)"))
    assert len(describe([])) == 0
    both = Features.join([describe([]), seen.take([1]), seen.take([0])])
    assert np.array_equal(both.even, seen.even[::-1]) and len(both) == 2


def test_points_are_symmetric():
    assert np.allclose(features.POINTS, -features.POINTS[::-1])
    seen = behaviour(tokens("abs(x)"), features.POINTS, BETAS[:1]).values[0, 0]
    assert np.allclose(seen, np.abs(features.POINTS))
