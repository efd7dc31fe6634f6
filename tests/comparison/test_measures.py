"""What is measured of a run, by hand; and what counts as good."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hybridsearch.comparison.field import Field, field_of_table, field_of_traces
from hybridsearch.comparison.measures import measure
from hybridsearch.comparison.trace import Trace
from hybridsearch.errors import UserError
from hybridsearch.genome.function import resolve
from hybridsearch.tables.table import NOISE

STEPS = (10, 100, 0)  # of rung 0, of rung 1 (the top), of none
INF = float("inf")


def field(truth, error=0.0):
    rows = {row: row for row in range(len(truth))}
    return Field(np.array(truth), error, rows, [str(k) for k in rows], True, "")


def trace(functions, fitness, rungs, retested=None):
    return Trace("", "s", 0, tuple(functions), tuple(fitness), tuple(rungs), "", retested or {})


def test_regret_is_that_of_the_best_fully_trained_one_so_far():
    truth = field([-0.5, -0.1, -0.9, -0.2, -0.4])
    # Function 2 was stopped and is all there is, 4 leads, 1 was stopped although it looked best,
    # 0 looks better than 4 and is not, 3 leads.
    run = trace([2, 4, 1, 0, 3], [-0.2, -0.6, -0.1, -0.3, -0.25], [0, 1, 0, 1, 1])
    m = measure(run, truth, STEPS, 7)
    assert m.regret.tolist() == pytest.approx([0.8, 0.3, 0.3, 0.4, 0.1, 0.1, 0.1])
    assert m.steps.tolist() == [10, 110, 120, 220, 320, 320, 320]
    assert m.evaluated == 5
    assert m.early == pytest.approx(2.1 / 7)
    assert m.area == pytest.approx(2.1)
    assert m.at(2) == pytest.approx(0.3)
    assert (m.to_target, m.to_incumbent, m.to_good) == (3, INF, 3)  # function 1, never trained
    assert m.found == {}


def test_before_one_is_fully_trained_the_best_of_the_stopped_ones_leads():
    truth = field([-0.5, -0.1, -0.9])
    m = measure(trace([2, 1, 0], [-0.9, -0.2, -0.4], [0, 0, 1]), truth, STEPS, 3)
    assert m.regret.tolist() == pytest.approx([0.8, 0.0, 0.4])
    assert (m.to_target, m.to_incumbent) == (2, INF)  # nobody would have retested it


def test_equal_scores_keep_the_earlier_incumbent():
    run = trace([0, 1], [-0.5, -0.5], [1, 1])
    m = measure(run, field([-0.3, -0.1]), STEPS, 2)
    assert m.regret.tolist() == pytest.approx([0.2, 0.2])
    assert (m.to_target, m.to_incumbent) == (2, INF)


def test_a_failed_child_takes_no_place_and_no_steps():
    m = measure(trace([0, 1], [-3.0, -0.5], [-1, 1]), field([-1.0, -0.2]), STEPS, 2)
    assert m.regret.tolist() == pytest.approx([0.8, 0])
    assert m.steps.tolist() == [0, 100]
    assert (m.to_target, m.to_incumbent) == (2, 2)


def test_only_the_budget_counts():
    m = measure(trace([0, 1], [-1.0, -0.5], [1, 1]), field([-1.0, -0.2]), STEPS, 1)
    assert m.regret.tolist() == pytest.approx([0.8])
    assert m.to_target == INF


def test_the_best_that_were_found_are_counted():
    truth = field(-np.arange(50.0))
    run = trace([49, 3, 9, 10, 25], [-1.0] * 5, [1] * 5)
    assert measure(run, truth, STEPS, 5).found == {10: 2, 30: 4}


def test_the_target_set_is_the_larger_of_the_two():
    truth = -np.arange(5000.0) / 1000  # 0, -0.001, ...
    assert field(truth).target_size == 5  # 0.1%
    assert field(truth, 0.0035).target_size == 5
    assert field(truth, 0.0205).target_size == 21
    assert field(truth).top(100) == 50
    assert field(truth[:900]).target_size == 1  # never none


def test_random_search_meets_the_target_as_expected():
    """(N+1)/(m+1) is the mean of the first of m successes among N, drawn without repeats."""
    some = field(-np.arange(12.0), 2.5)
    n, m = 12, some.target_size
    assert m == 3
    survival = [stats.hypergeom.pmf(0, n, m, k) for k in range(n + 1)]
    assert some.random_expectation == pytest.approx(sum(survival)) == pytest.approx(13 / 4)


def test_a_tables_field_is_what_a_search_can_propose(table, true_loss):
    found = field_of_table(table)
    assert 40 < found.size < len(table.keys)
    assert "GELU" in table.specs
    assert "GELU" not in found.specs  # the best of all by far, and in no search's reach
    assert found.whole
    best = int(np.argmin([true_loss(resolve(name).key) for name in found.specs]))
    assert found.rank[best] < 2
    unseen = -table.test_loss[table.index[resolve(found.specs[found.rank.argmin()]).key], NOISE:, 1]
    assert found.best == pytest.approx(unseen.mean(), abs=1e-6)
    assert found.error == pytest.approx(stats.sem(unseen), rel=1e-4)


def test_a_table_must_hold_its_space(make_table, settings):
    with pytest.raises(UserError, match=r"lacks 3 of the \d+ functions"):
        field_of_table(make_table(settings, missing=3))


def test_without_a_table_retested_scores_count_before_observed_ones():
    one = trace(["a", "b", "c"], [-0.5, -0.2, -0.1], [1, 1, 0], {"b": -0.6, "gelu": -0.01})
    two = trace(["b", "a"], [-0.3, -0.4], [1, 1], {"b": -0.4})
    found = field_of_traces([one, two], -3.0, top=1)
    assert {name: found.truth[found.row[name]] for name in found.row} == pytest.approx(
        {"a": -0.45, "b": -0.5, "c": -3.0}  # c was never trained to the end; gelu not searched
    )
    assert found.random_expectation is None
    assert "1 functions that were retested" in found.source
    with pytest.raises(UserError, match="trained to the end"):
        field_of_traces([trace(["a"], [-0.5], [0])], -3.0, top=1)
