from __future__ import annotations

import forecasts
import numpy as np

from hybridsearch.forecast import Forecast
from hybridsearch.tables.table import load_table


def test_in_a_long_search_too_the_best_go_on(monkeypatch):
    """When it learned from the best alone, it forgot what is bad: those that went on were worse."""
    table = load_table("digits")
    monkeypatch.setattr("hybridsearch.forecast.ROWS", forecasts.ROWS)
    now = forecasts.replay(table, 0, Forecast.lessons)
    assert now["at_the_top"] > 3 * forecasts.ROWS
    assert now["of_the_best"] > 0.5
    assert now["worth"] > now["worth_of_stopped"] + 0.3
    before = forecasts.replay(table, 0, forecasts.best)
    assert before["of_the_best"] < now["of_the_best"] - 0.3


def test_what_it_learns_from_is_chosen_as_it_is_called():
    tops = np.random.default_rng(0).permutation(200).tolist()
    ended = [((), 0.0, float(top)) for top in tops]
    assert [top for _, _, top in forecasts.best(ended)] == [top for top in tops if top >= 136]
    spaced = [top for _, _, top in forecasts.spaced(ended)]
    assert len(spaced) == 64 and {0, 199} < {*spaced} and max(np.diff(sorted(spaced))) == 4
    assert spaced == [top for top in tops if top in {*spaced}]
