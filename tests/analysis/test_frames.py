"""The tidy tables hold what the records hold, a row an observation."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hybridsearch.analysis import course, frames
from hybridsearch.analysis.runs import load_runs
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.session import search

TABLES = (
    *(frames.verdicts, frames.proposals, frames.evaluations, frames.finalists, frames.retests),
    *(frames.best_so_far, frames.tokens),
)


@pytest.fixture(scope="module")
def runs(tiny_settings, tmp_path_factory):
    """Two seeds of one strategy and one of another."""
    folder = tmp_path_factory.mktemp("runs")
    for name, strategy, seed in (("a", "random", 0), ("b", "random", 1), ("c", "evolution", 0)):
        search(make_config(tiny_settings(strategy=strategy, seed=seed, budget=16)), folder / name)
    return load_runs(folder)


def test_without_pandas_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (*TABLES, frames.bands):
        with pytest.raises(UserError, match=r"pip install 'hybridsearch\[notebook\]'"):
            table([])


@pytest.mark.extras
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_table_says_which_run_and_explains_its_columns(table, runs):
    pytest.importorskip("pandas")
    found, one = table(runs), table(runs[0])
    assert list(found.columns[:3]) == ["run", "strategy", "seed"]
    assert set(found.run) == {"a", "b", "c"}
    assert set(found.strategy) == {"random", "evolution"}
    assert one.equals(found[found.run == "a"].reset_index(drop=True).astype(one.dtypes))
    assert list(table([]).columns) == list(found.columns)
    for column in found.columns[3:]:
        assert column in table.__doc__
    assert not found[found.columns[3:]].isna().all().any() or table in (
        frames.proposals,  # no costs were measured
    )


@pytest.mark.extras
def test_the_rows_are_those_of_the_records(runs):
    pytest.importorskip("pandas")
    proposals, evaluations = frames.proposals(runs), frames.evaluations(runs)
    verdicts = frames.verdicts(runs).set_index("run")
    finalists, retests = frames.finalists(runs), frames.retests(runs)
    for run in runs:
        name, summary = run.folder.name, run.summary
        mine = proposals[proposals.run == name]
        assert list(mine.id) == [o["id"] for o in run.outcomes]
        assert (mine.order > 0).sum() == summary["budgets"]["distinct"] == 16
        assert list(mine.fitness) == [o["fitness"] for o in run.outcomes]
        seen = evaluations[evaluations.run == name]
        losses = [np.nan if e["loss"] is None else e["loss"] for e in run.evaluations]
        assert np.array_equal(seen.loss, losses, equal_nan=True)
        assert set(seen.split) == {"validation", "test"}
        assert (seen.seconds > 0).all()
        told = verdicts.loc[name]
        assert told.winner == summary["winner"]["label"]
        assert told.difference == summary["difference_to_best_baseline"]["mean"]
        assert told.training_steps == summary["budgets"]["training_steps"]
        assert told.says.startswith(told.verdict)
        tested = finalists[finalists.run == name]
        assert len(tested) == len(summary["finalists"]) + 9
        best = tested[tested.role == "winner"]
        assert list(best["mean"]) == [summary["winner"]["mean"]] * len(best)
        means = retests[retests.run == name].groupby(["key", "role"]).test.mean()
        for row in tested.itertuples():
            assert means[row.key, row.role] == pytest.approx(row.mean)


@pytest.mark.extras
def test_a_band_is_the_mean_of_the_curves_of_its_strategy(runs):
    pytest.importorskip("pandas")
    bands = frames.bands(runs)
    curves = [course.best_so_far(run)[1] for run in runs[:2]]
    band = bands[bands.strategy == "random"]
    assert list(band.functions) == [
        k + 1 for k in range(16) if np.isfinite([curve[k] for curve in curves]).all()
    ]
    assert list(band["mean"]) == pytest.approx(np.mean(curves, axis=0)[band.functions - 1])
    assert (band.low <= band["mean"]).all() and (band["mean"] <= band.high).all()
    assert (band.runs == 2).all()
    alone = bands[bands.strategy == "evolution"]
    assert alone.low.isna().all() and len(alone)  # one run has no interval


@pytest.mark.extras
def test_the_share_of_a_token_is_counted_once_a_proposal(runs):
    pytest.importorskip("pandas")
    tokens = frames.tokens(runs[0])
    assert {"unary", "binary"} == set(tokens.kind)
    for row in tokens.itertuples():
        held = [row.token in o["genome"].split() for o in runs[0].outcomes]
        assert row.proposed == pytest.approx(np.mean(held))
    assert tokens.proposed.between(0, 1).all() and tokens.trained.between(0, 1).all()


@pytest.mark.extras
def test_an_unfinished_run_has_no_verdict_but_rows(runs, tmp_path):
    pytest.importorskip("pandas")
    import shutil

    shutil.copytree(runs[0].folder, tmp_path / "half")
    (tmp_path / "half/summary.json").unlink()
    half = load_runs(tmp_path)
    assert frames.verdicts(half).says[0] == "the run is not finished"
    assert len(frames.proposals(half)) == len(runs[0].outcomes)
    assert len(frames.finalists(half)) == 0


@pytest.mark.extras
def test_a_winner_found_again_has_a_row_as_each(runs, tmp_path):
    pytest.importorskip("pandas")
    import json
    import shutil

    shutil.copytree(runs[0].folder, tmp_path / "again")
    file = tmp_path / "again/summary.json"
    summary = json.loads(file.read_text())
    summary["winner"] = summary["finalists"][0] = summary["best_baseline"]
    file.write_text(json.dumps(summary))
    run = load_runs(tmp_path)[0]
    tested = frames.finalists(run)
    both = tested[tested.key == summary["winner"]["key"]]
    assert list(both.role) == ["winner", "best baseline"]
    retests = frames.retests(run)
    assert not retests.duplicated(["key", "role", "replicate"]).any()
    assert (retests.role == "winner").sum() == run.config.retest.seeds
