from __future__ import annotations

import math

import numpy as np
import pytest

from hybridsearch.config import FidelityConfig
from hybridsearch.fidelity import ENOUGH, Extrapolation, probe, promote, rung_steps
from hybridsearch.types import Evaluation, Scale, Status


def test_rungs_are_steps_and_end_at_the_top():
    assert rung_steps(FidelityConfig(rungs=(0.2, 0.5, 1)), 150) == (30, 75, 150)
    assert rung_steps(FidelityConfig(rungs=(0.01, 0.02, 1)), 10) == (1, 10)


@pytest.mark.parametrize("fitness", ["loss", "accuracy"])
def test_scale_maps_chance_to_0_and_perfect_to_1(fitness):
    scale = Scale.of_classes(fitness, 10)
    bad = Evaluation("t", Status.OK, loss=50.0, metric=0.01)
    perfect = Evaluation("t", Status.OK, loss=0.0, metric=1.0)
    assert scale.score(bad) == scale.chance
    assert scale.reward(scale.score(bad)) == 0
    assert scale.reward(scale.score(perfect)) == 1
    assert scale.score(Evaluation("t", Status.DIVERGED)) == scale.chance
    middle = Evaluation("t", Status.OK, loss=math.log(10) / 2, metric=0.55)
    assert scale.reward(scale.score(middle)) == pytest.approx(0.5)


def test_promote_takes_the_best_share():
    scores = {"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.9, "e": 0.3}
    assert promote(scores, 0.4) == ["b", "d"]  # the tie goes to b, proposed before c
    assert promote(scores, 0.01) == ["d"]
    assert promote(scores, 1.0) == ["a", "b", "c", "d", "e"]
    assert promote({"a": 0.1}, 0.3) == ["a"]  # one of all may go on
    assert promote({}, 0.5) == []


def test_children_that_tie_go_on_by_their_share():
    """Late learners are all at chance at a low rung: neither all nor none of them go on."""
    batch = dict.fromkeys("abcdefghij", 0.1)
    assert promote(batch, 0.3) == ["a", "b", "c"]
    assert promote(batch, 0.3, [0.1] * 90) == ["a", "b", "c"]
    assert promote(batch, 0.3, [0.2] * 15 + [0.1] * 75) == ["a", "b", "c"]  # 12 had room
    assert promote(batch | {"k": 0.4}, 0.3, [0.2] * 40 + [0.1] * 50) == ["k"]  # none


@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_of_ties_their_share_goes_on_whatever_the_batch(size):
    """When every batch rounded up, in batches of one nearly all went on, in pairs two thirds."""
    rng, seen, going = np.random.default_rng(0), [], 0
    for _ in range(0, 1600, size):
        batch = {str(k): float(rng.random() * (rng.random() > 0.85)) for k in range(size)}
        going += len(promote(batch, 0.22, seen))
        seen += batch.values()
    assert 0.2 < going / 1600 < 0.36


def test_promote_compares_with_all_that_came_to_the_rung():
    earlier = [0.2, 0.3, 0.6, 0.7, 0.8, 0.1]
    assert promote({"a": 0.75, "b": 0.5}, 0.5, earlier) == ["a"]  # 4 of 8: 0.8 to 0.6
    assert promote({"a": 0.2, "b": 0.3}, 0.25, earlier) == []  # a bad batch sends nobody
    assert promote({"a": 0.9, "b": 0.85}, 0.25, earlier) == ["a", "b"]  # a good one all
    assert promote({"a": 0.8}, 0.1, earlier) == []  # a tie went to the earlier one


def test_probe_is_one_of_the_stopped_that_learned_something():
    scores = {"a": 0.1, "b": 0.2, "c": 0.3}
    assert {probe(list(scores), scores, 0.1, draw) for draw in range(10)} == {"b", "c"}
    assert probe(["a"], scores, 0.1, 0) == ""


def test_fit_is_monotone_keeps_chance_and_is_frozen():
    rng = np.random.default_rng(0)
    model = Extrapolation(chance=0.1)
    for low in rng.uniform(0.1, 0.8, 200):
        model.add(0, low, min(0.95, low + 0.2 + rng.normal(0, 0.05)))
    fit = model.fit(0)
    grid = np.linspace(0.1, 1, 300)
    predicted = np.array([fit.predict(float(x)) for x in grid])
    assert (np.diff(predicted) >= 0).all()
    assert fit.predict(0.1) == 0.1
    assert fit.predict(0.5) == pytest.approx(0.7, abs=0.03)
    model.add(0, 0.5, 0.1)
    assert fit.predict(0.5) == pytest.approx(0.7, abs=0.03)


def test_of_equal_scores_one_thing_is_expected():
    model = Extrapolation(chance=0.1)
    for low, top in [(0.5, 0.1), (0.5, 0.9), (0.6, 0.95)]:
        model.add(0, low, top)
    assert model.fit(0).predict(0.5) == pytest.approx(0.5)
    assert model.fit(0).predict(0.55) == pytest.approx(0.725)


def test_few_pairs_leave_scores_as_they_are():
    model = Extrapolation(chance=0.1)
    for k in range(ENOUGH - 1):
        model.add(0, 0.3 + k / 10, 0.9)
    assert model.fit(0).predict(0.5) == 0.5
    assert model.fit(0).predict(0.0) == 0.1


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_equal_quality_has_equal_expected_reward_at_every_rung(noise):
    """Children of known quality run through promotion in batches; whatever rung a child stops at,
    the mean of its final score is that of its quality (raw rung scores would be far below).
    """
    rng = np.random.default_rng(1)
    chance, model = 0.1, Extrapolation(chance=0.1)
    seen: list[tuple[int, float, float, float]] = []  # rung, quality, score told, raw score
    curves = [lambda q: 0.1 + (q - 0.1) * 0.5, lambda q: 0.1 + (q - 0.1) * 0.8, lambda q: q]
    for batch in range(60):
        quality = rng.uniform(0.2, 0.95, 16)
        raw = [np.clip(c(quality) + noise * rng.normal(size=16), 0.11, 1) for c in curves]
        alive, last = [str(k) for k in range(16)], dict.fromkeys(map(str, range(16)), 0)
        for rung in range(3):
            for name in alive:
                last[name] = rung
            if rung < 2:
                scores = {name: float(raw[rung][int(name)]) for name in alive}
                going = promote(scores, 0.4)
                stopped = [n for n in alive if n not in going]
                extra = probe(stopped, scores, chance, int(rng.integers(1 << 30)))
                alive = [n for n in alive if n in going or n == extra]
        for name in alive:
            for rung in range(2):
                model.add(rung, float(raw[rung][int(name)]), float(raw[2][int(name)]))
        fits = [model.fit(0), model.fit(1)]
        if batch < 20:  # the fit needs something to go by
            continue
        for name, rung in last.items():
            score = float(raw[rung][int(name)])
            told = score if rung == 2 else fits[rung].predict(score)
            seen.append((rung, float(quality[int(name)]), told, score))
    rows = np.array(seen)
    for rung in range(3):
        at = rows[rows[:, 0] == rung]
        for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9)):
            some = at[(at[:, 1] >= low) & (at[:, 1] < high)]
            if len(some) >= 20:
                assert (some[:, 2] - some[:, 1]).mean() == pytest.approx(0, abs=0.03)
    stopped = rows[rows[:, 0] == 0]
    assert (stopped[:, 3] - stopped[:, 1]).mean() < -0.1  # what raw scores would have told
