"""Forecasts: good functions that learn late go on, and a resumed run forecasts the same."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from hybridsearch.forecast import BLOCK, GROWTH, LEAST, ROWS, WINDOW, Forecast, _Made
from hybridsearch.genome.units import Space
from hybridsearch.surrogate.features import describe


def children(n, seed):
    """Genomes, and scores of 0 to 1 at a rung and at the top: at the top what the function does
    decides, at the rung what it does (a little) and chance.
    """
    rng = np.random.default_rng(seed)
    genomes = [Space().sample(rng) for _ in range(n)]
    size = describe(genomes).size.astype(float)
    top = np.exp(-0.3 * np.square(size[:, :2]).sum(axis=1))
    return genomes, 0.2 * top + 0.3 * rng.random(n), top


def taught(n, seed=0, known=1.0):
    forecast = Forecast()
    rng = np.random.default_rng(seed)
    for genome, low, top in zip(*children(n, seed), strict=True):
        forecast.see(genome, low, top if rng.random() < known else None)
    return forecast


def test_it_is_ready_with_enough_children_at_the_top():
    forecast = taught(LEAST - 1)
    assert not forecast.ready
    forecast.see(("add", "relu", "x", "relu", "x"), 0.3, None)
    assert not forecast.ready
    forecast.see(("max", "id", "x", "tanh", "x"), 0.3, 0.5)
    assert forecast.ready


def test_functions_tell_more_than_the_score_at_a_rung():
    forecast = taught(80)
    genomes, low, top = children(100, 1)
    promises, earlier = forecast.promises(genomes, list(low), 0.0)
    assert len(earlier) == 80
    assert spearmanr(promises, top)[0] > spearmanr(low, top)[0] + 0.1


def test_the_score_at_a_rung_counts_as_far_as_it_tells():
    """The same functions, the one time with scores that say all and the other with noise."""
    genomes, _, top = children(60, 2)
    moved = []
    for low in (0.5 * top, np.random.default_rng(0).random(60)):
        forecast = Forecast()
        for one in zip(genomes, low, top, strict=True):
            forecast.see(*one)
        (better, worse), _ = forecast.promises(genomes[:1] * 2, [low.max(), low.min()], 0.0)
        moved.append(better - worse)
    assert moved[0] > 0.5 and abs(moved[1]) < 0.4 * moved[0]


def test_among_those_that_do_not_lag_the_score_at_a_rung_says_nothing():
    genomes, low, _ = children(60, 2)
    forecast = taught(60)
    middle = float(np.mean(low))
    (fast, slow), _ = forecast.promises(genomes[:1] * 2, [low.max(), middle], 0.0)
    assert fast == slow


def test_a_score_is_one_at_the_top():
    forecast = taught(60)
    genomes, low, top = children(60, 3)
    found = np.array(forecast.scores(genomes, list(low)))
    assert found.min() >= 0 and found.max() <= 1
    assert np.abs(found - top).mean() < 0.6 * np.abs(np.median(top) - top).mean()


def test_optimism_adds_for_what_is_unknown():
    forecast = taught(40)
    genomes, low, _ = children(20, 5)
    plain, _ = forecast.promises(genomes, list(low), 0.0)
    hopeful, _ = forecast.promises(genomes, list(low), 2.0)
    assert (np.array(hopeful) > np.array(plain)).all()


@pytest.mark.parametrize("n", [LEAST, round(LEAST * GROWTH) + 1, 60])
def test_seen_at_once_or_asked_in_between_it_forecasts_the_same(n):
    often, once = Forecast(), Forecast()
    genomes, low, _ = children(10, 6)
    for k, child in enumerate(zip(*children(n, 4), strict=True)):
        top = child[2] if k % 5 or n <= 2 * LEAST else None
        for forecast in (often, once):
            forecast.see(child[0], child[1], top)
        if often.ready:
            often.promises(genomes, list(low), 2.0)
    assert often.promises(genomes, list(low), 2.0) == once.promises(genomes, list(low), 2.0)
    assert often.scores(genomes[:1], [0.3]) == once.scores(genomes[:1], [0.3])


def test_beyond_the_window_too_it_forecasts_the_same_and_predicts_whole_blocks_once(monkeypatch):
    """Every child after the first ones is stopped, so one process goes through many blocks."""
    often, once = Forecast(), Forecast()
    genomes, low, _ = children(3, 6)
    predicted = []
    predict = _Made.predict

    def counted(made, genomes, scores):
        predicted.append(len(genomes))
        return predict(made, genomes, scores)

    monkeypatch.setattr(_Made, "predict", counted)
    n = 2 * WINDOW + 3 * BLOCK + 7
    for k, (genome, score, top) in enumerate(zip(*children(n, 4), strict=True)):
        for forecast in (often, once):
            forecast.see(genome, score, top if k < 40 else None)
        if k >= 40 and k % 5 == 0:
            often.promises(genomes, list(low), 2.0)
    assert predicted.count(BLOCK) == n // BLOCK
    found = often.promises(genomes, list(low), 2.0)
    assert found == once.promises(genomes, list(low), 2.0)
    assert len(found[1]) == WINDOW
    assert len(once._low) < n  # what no window reaches any more is dropped
    straight, _ = once._model().predict(once._genomes[-WINDOW:], once._low[-WINDOW:])
    window, _ = once._window(once._model())
    np.testing.assert_allclose(window, straight, atol=1e-5)


def test_of_very_many_it_learns_from_the_last():
    forecast = taught(ROWS + 40)
    last = sorted(top for _, _, top in forecast._ended[40:])
    assert forecast._model().tops.tolist() == last


def test_where_scores_are_equal_a_little_less_is_nearly_the_same():
    """The deviation of equal numbers is 1e-17 rather than 0."""
    low, genomes = 0.1, children(7, 7)[0]
    assert 0 < np.full(len(genomes), low).std() < 1e-15
    forecast = Forecast()
    for k, genome in enumerate(genomes):
        forecast.see(genome, low, k / 10)
    (same, less), _ = forecast.promises(genomes[:1] * 2, [low, low - 1e-6], 2.0)
    assert abs(same - less) < 0.01


def test_equal_scores_are_no_error():
    forecast = Forecast()
    for genome in children(8, 7)[0]:
        forecast.see(genome, 0.1, 0.2)
    assert forecast.scores([("add", "relu", "x", "relu", "x")], [0.1]) == pytest.approx([0.2])
