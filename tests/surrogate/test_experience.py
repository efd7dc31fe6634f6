"""Experience: what one task teaches about another, and how it is given up where it is wrong."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from hybridsearch.genome.units import Space
from hybridsearch.surrogate.experience import ROWS, Experience, Past
from hybridsearch.surrogate.features import Features
from hybridsearch.surrogate.process import DOUBT, JITTER, PRIOR, TRUST, Posterior, _Distances, fit


def genomes(n, seed):
    rng = np.random.default_rng(seed)
    return [Space().sample(rng) for _ in range(n)]


def worth(features):
    """A score that sizes decide, small ones are good."""
    return -np.square(features.size[:, :2]).sum(axis=1).astype(float)


def past(n=300, seed=0, sign=1.0):
    made = genomes(n, seed)
    return Past(made, sign * worth(Experience().describe(made)))


def test_a_past_expects_of_functions_it_has_not_seen_what_it_saw_of_like_ones():
    experience = Experience([past(), past(sign=-1.0)])
    features = experience.describe(genomes(200, 1))
    assert features.expected.shape == (200, 2) and len(experience) == 2
    same, opposite = (spearmanr(column, worth(features))[0] for column in features.expected.T)
    assert same > 0.9 and opposite < -0.7


def test_many_functions_are_represented_by_some():
    made = past(2 * ROWS)
    [process] = Experience([made])._processes
    assert len(process.features) == ROWS
    best = Experience().describe([made.genomes[int(np.argmax(made.scores))]])
    assert (np.abs(process.features.size - best.size).max(axis=1) == 0).any()
    few = Experience([past(20)])._processes[0]
    assert len(few.features) == 20


def test_nothing_to_describe():
    nothing = Experience([past(20)]).describe([])
    assert nothing.expected.shape == (0, 1)
    some = Experience([past(20)]).describe(genomes(3, 1))
    assert np.array_equal(Features.join([nothing, some]).expected, some.expected)


def test_before_anything_is_seen_the_past_is_believed():
    features = Experience([past(), past(seed=5)]).describe(genomes(50, 1))
    none = features.take([])
    hyper = fit(none, np.array([]))
    assert hyper == PRIOR
    mean, variance = Posterior(none, np.array([]), hyper).predict(features)
    np.testing.assert_allclose(mean, TRUST * features.expected.mean(axis=1), atol=1e-5)
    doubt = DOUBT**2 * np.square(features.expected).mean(axis=1)
    np.testing.assert_allclose(variance, 1 + doubt, rtol=1e-4)  # exp(PRIOR.amplitude) is 1


def test_weights_of_pasts_are_the_textbooks():
    """Integrating a normal weight of every past out is a linear covariance and a mean."""
    experience = Experience([past(), past(seed=5, sign=-1.0)])
    seen, others = experience.describe(genomes(30, 2)), experience.describe(genomes(20, 3))
    y = np.random.default_rng(4).normal(size=30)
    mean, _ = Posterior(seen, y, PRIOR).predict(others)
    bare = [f.expecting(f.expected[:, :0]) for f in (seen, others)]
    own = _Distances.between(bare[0], bare[0]).covariance(PRIOR)
    cross = _Distances.between(*bare).covariance(PRIOR)
    each = DOUBT**2 / 2
    own += each * seen.expected @ seen.expected.T
    cross += each * seen.expected @ others.expected.T
    inverse = np.linalg.inv(own + (np.exp(PRIOR.noise) + JITTER) * np.eye(30))
    left = y - TRUST * seen.expected.mean(axis=1)
    level = inverse.sum(axis=0) @ left / inverse.sum()
    wanted = TRUST * others.expected.mean(axis=1) + level + cross.T @ inverse @ (left - level)
    np.testing.assert_allclose(mean, wanted, atol=1e-4)


@pytest.mark.parametrize("sign, least", [(1.0, 0.9), (-1.0, 0.6)])
def test_a_past_that_is_wrong_is_given_up(sign, least):
    """After 40 functions a process whose past says the opposite predicts well all the same."""
    experience = Experience([past(sign=sign)])
    seen, others = experience.describe(genomes(40, 2)), experience.describe(genomes(200, 3))
    y = worth(seen)
    y = (y - y.mean()) / y.std()
    mean, _ = Posterior(seen, y, fit(seen, y)).predict(others)
    assert spearmanr(mean, worth(others))[0] > least
