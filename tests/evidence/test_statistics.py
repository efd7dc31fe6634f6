"""Intervals against a known truth, and every bootstrap against a plainer way to the same number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hybridsearch.errors import UserError
from hybridsearch.evidence import resampling
from hybridsearch.evidence.statistics import (
    Interval,
    bootstrap_mean,
    paired_difference,
    probability_better,
    split_half_reliability,
    verdict,
)
from hybridsearch.packed import pack, unpack


def rng(seed=0):
    return np.random.default_rng(seed)


def outcomes(seeds, images, seed_effect, image_effect, draw, base=1.3):
    """[seeds, images] bool from a crossed random-effects model on the logit scale."""
    logit = base + draw.normal(0, seed_effect, (seeds, 1)) + draw.normal(0, image_effect, images)
    return logit + draw.logistic(size=(seeds, images)) > 0


@pytest.mark.parametrize(
    ("seeds", "images", "seed_effect", "image_effect"),
    [(4, 200, 0.5, 0.1), (10, 200, 0.5, 0.5), (5, 200, 0.1, 2.0)],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    seeds, images, seed_effect, image_effect
):
    draw = rng(7)
    many = 400_000
    logit = 1.3 + draw.normal(0, seed_effect, many) + draw.normal(0, image_effect, many)
    truth = np.mean(logit + draw.logistic(size=many) > 0)
    repeats, hits = 250, 0
    for _ in range(repeats):
        found = bootstrap_mean(
            outcomes(seeds, images, seed_effect, image_effect, draw), resamples=400, rng=draw
        )
        hits += found.low <= truth <= found.high
    # Three standard errors of the count at 95% are 4%; a plain percentile interval of 4 seeds
    # would cover about 80%.
    assert 0.91 <= hits / repeats <= 0.995


def test_resampling_seeds_alone_reduces_to_the_t_interval():
    """With images that are all alike, only seeds vary: Student's t is the trusted case."""
    scores = rng(1).random(6)
    found = bootstrap_mean(np.repeat(scores[:, None], 50, axis=1), resamples=40_000, rng=rng())
    error = stats.sem(scores) * stats.t.ppf(0.975, 5)
    assert found.mean == pytest.approx(scores.mean())
    assert found.high - found.mean == pytest.approx(error, rel=0.1)
    assert found.mean - found.low == pytest.approx(error, rel=0.1)


def test_one_seed_reduces_to_the_binomial_interval_over_images():
    right = np.arange(2000) < 1800
    found = bootstrap_mean(right[None, :], resamples=20_000, rng=rng())
    assert found.mean == 0.9
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.09 / 2000), rel=0.05)


def test_merging_equal_images_does_not_change_the_law():
    table = (rng(2).random((4, 300)) < 0.8).astype(float)
    apart = table + 1e-9 * rng(3).random(table.shape)  # no two columns are equal
    draws = [resampling._resampled_means(t, 20_000, rng(4)) for t in (table, apart)]
    assert draws[0].std() == pytest.approx(draws[1].std(), rel=0.03)
    assert draws[0].mean() == pytest.approx(table.mean(), abs=1e-3)
    assert stats.ks_2samp(draws[0], draws[1] + 1e-9).statistic < 0.03


def test_blocks_do_not_change_the_mean_or_the_spread(monkeypatch):
    table = rng(5).random((5, 40))
    whole = resampling._resampled_means(table, 4000, rng(6)).std()
    monkeypatch.setattr(resampling, "BLOCK", 1000)
    assert resampling._resampled_means(table, 4000, rng(6)).std() == pytest.approx(whole, rel=0.1)


def test_equal_generators_give_equal_intervals():
    table = rng().random((3, 50)) < 0.5
    assert bootstrap_mean(table, rng=rng(9)) == bootstrap_mean(table, rng=rng(9))


def test_more_confidence_is_a_wider_interval_inside_the_range_of_accuracies():
    table = rng().random((3, 30)) < 0.95
    narrow = bootstrap_mean(table, confidence=0.6, rng=rng(1))
    wide = bootstrap_mean(table, confidence=0.99, rng=rng(1))
    assert 0 <= wide.low < narrow.low < narrow.high < wide.high <= 1


def test_pairing_is_narrower_than_two_separate_intervals():
    draw = rng(3)
    logit = 1 + draw.normal(0, 0.3, (8, 1)) + draw.normal(0, 3, (1, 1500))
    a = logit + 0.5 + 0.3 * draw.logistic(size=logit.shape) > 0
    b = logit + 0.3 * draw.logistic(size=logit.shape) > 0
    found = paired_difference(a, b, rng=draw)
    alone = [bootstrap_mean(side, rng=draw) for side in (a, b)]
    apart = np.hypot(*(side.high - side.low for side in alone))
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert found.high - found.low < 0.6 * apart
    assert verdict(found, False) == "better"


def test_a_difference_turns_round_with_its_sides_and_is_nothing_to_itself():
    draw = rng(4)
    a, b = draw.random((2, 5, 100)) < 0.7
    there, back = (paired_difference(*pair, rng=rng(1)) for pair in ((a, b), (b, a)))
    assert there.mean == pytest.approx(-back.mean)
    assert there.low == pytest.approx(-back.high, abs=0.01)
    assert paired_difference(a, a, rng=draw) == Interval(0, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "rediscovered", "said"),
    [
        (0.001, 0.02, False, "better"),
        (0.0, 0.02, False, "not shown"),
        (-0.01, 0.02, False, "not shown"),
        (-0.02, 0.0, False, "not shown"),
        (-0.02, -0.001, False, "worse"),
        (float("nan"), float("nan"), False, "not shown"),
        (0.001, 0.02, True, "rediscovered"),
        (-0.02, -0.001, True, "rediscovered"),
    ],
)
def test_verdict(low, high, rediscovered, said):
    assert verdict(Interval((low + high) / 2, low, high), rediscovered) == said


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1797])
def test_unpack_is_the_inverse_of_pack(n):
    bits = rng(n).random(n) < 0.5
    assert np.array_equal(unpack(pack(bits), n), bits)


def test_packed_bits_are_big_endian_base64():
    assert pack([True, False, False, False, False, False, False, True]) == "gQ=="


@pytest.mark.parametrize("text", ["gQ==", "gQ", "*"])
def test_unpack_of_other_bits_is_refused(text):
    with pytest.raises(UserError, match="expected"):
        unpack(text, 9)


def test_probability_better_is_mann_whitney_with_ties_as_half():
    a, b = [3.0, 2.0, 2.0, 5.0], [2.0, 1.0, 4.0]
    found = probability_better(a, b, rng=rng())
    assert found.mean == pytest.approx(stats.mannwhitneyu(a, b).statistic / 12)
    assert found.low < found.mean < found.high
    assert probability_better([2, 3], [0, 1], rng=rng()) == Interval(1, 1, 1)
    assert probability_better([1, 1], [1], rng=rng()) == Interval(0.5, 0.5, 0.5)


def test_reliability_is_1_without_noise_and_about_0_without_signal():
    signal = rng().normal(size=(200, 1))
    exact = split_half_reliability(np.repeat(signal, 6, axis=1), rng=rng(), resamples=200)
    assert exact == Interval(pytest.approx(1), pytest.approx(1), pytest.approx(1))
    noise = split_half_reliability(rng(1).normal(size=(200, 6)), rng=rng(), resamples=200)
    assert noise.low < 0 < noise.high
    assert abs(noise.mean) < 0.15


def test_reliability_of_known_signal_lies_in_its_interval():
    draw = rng(5)
    table = draw.normal(size=(300, 1)) + draw.normal(size=(300, 8))
    found = split_half_reliability(table, rng=draw, resamples=300)
    product_moment = 1 / (1 + 1 / 4)  # signal 1, noise 1 over half of 8
    truth = 6 / np.pi * np.arcsin(product_moment / 2)  # Spearman's of a bivariate normal
    assert found.low < truth < found.high
    assert found.high - found.low < 0.15


def test_two_replicates_reduce_to_plain_spearman():
    table = np.round(rng(2).normal(size=(40, 2)), 1)  # with ties
    found = split_half_reliability(table, rng=rng(), resamples=50)
    assert found.mean == pytest.approx(stats.spearmanr(*table.T).statistic)


def test_weights_are_copies():
    first, second = np.round(rng(3).normal(size=(2, 12)), 0)
    weights = resampling.draw_counts(12, 5, rng(4))
    copied = [stats.spearmanr(np.repeat(first, w), np.repeat(second, w)).statistic for w in weights]
    assert resampling.weighted_spearman(first, second, weights) == pytest.approx(copied)


def test_few_replicates_need_no_randomness_and_many_do():
    table = rng(6).normal(size=(30, 5))
    one, two = (split_half_reliability(table, rng=rng(s), resamples=10).mean for s in (1, 2))
    assert one == two
    one, two = (split_half_reliability(table, rng=rng(s), resamples=10, splits=3) for s in (1, 2))
    assert one.mean != two.mean


def test_the_best_share_is_harder_to_order():
    draw = rng(8)
    table = draw.normal(size=(400, 1)) + 0.7 * draw.normal(size=(400, 6))
    every, best = (
        split_half_reliability(table, share, rng=draw, resamples=100) for share in (1, 0.1)
    )
    assert best.mean < every.mean - 0.2


def test_scores_that_do_not_vary_have_no_reliability():
    found = split_half_reliability(np.ones((5, 4)), rng=rng(), resamples=20)
    assert np.isnan([found.mean, found.low, found.high]).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_mean(np.ones(3), rng=rng()),
        lambda: bootstrap_mean(np.ones((0, 3)), rng=rng()),
        lambda: bootstrap_mean([[np.nan]], rng=rng()),
        lambda: bootstrap_mean([[1, 0]], confidence=95, rng=rng()),
        lambda: paired_difference(np.ones((2, 3)), np.ones((2, 4)), rng=rng()),
        lambda: probability_better([], [1.0], rng=rng()),
        lambda: split_half_reliability(np.ones((2, 4)), rng=rng()),
        lambda: split_half_reliability(np.ones((4, 1)), rng=rng()),
        lambda: split_half_reliability(np.ones((4, 4)), 0.0, rng=rng()),
    ],
)
def test_bad_input_is_explained(call):
    with pytest.raises(UserError, match="got"):
        call()
