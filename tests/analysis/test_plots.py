"""The pictures: that they are written, leave no global state, and show what they claim."""

from __future__ import annotations

import struct

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import image, pyplot
from matplotlib.axes import Axes

from hybridsearch.analysis import function_plot, pareto_plot, search_plot, style
from hybridsearch.analysis.pictures import draw_found
from hybridsearch.analysis.plots import (
    FunctionCurve,
    RetestRow,
    SearchPoint,
    TimedPoint,
    baseline_curve,
    function_curve,
    plot_functions,
    plot_pareto,
    plot_retest,
    plot_search,
)
from hybridsearch.genome.genome import Genome
from hybridsearch.types import accuracy_of


def check_png(path, width, height=None):
    """A valid PNG of that many inches at 150 dpi, with something drawn on it."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    size = struct.unpack(">II", data[16:24])
    assert size[0] == int(150 * width)
    assert height is None or size[1] == int(150 * height)
    pixels = image.imread(path)[..., :3]
    assert 0.0005 < np.mean(pixels.min(axis=-1) < 0.9) < 0.5
    assert pyplot.get_fignums() == []


def search(n, seed=0):
    draw = np.random.default_rng(seed)
    return [
        SearchPoint(i, float(0.1 + 0.85 * draw.beta(3, 1)), bool(draw.random() < 0.5), f"x*{i}")
        for i in range(1, n + 1)
    ]


def at(*fitness, top=True):
    return [SearchPoint(i, f, top, "x") for i, f in enumerate(fitness, 1)]


@pytest.mark.parametrize(
    "points",
    [
        [],
        search(1),
        search(2),
        search(200),
        at(*[0.1] * 9),
        at(*[0.1] * 9, top=False),
        at(0.9, 0.9, 0.9),
        at(0.0, -1e30, 0.05),
        at(float("nan"), float("-inf")),
        at(0.5, float("nan"), 0.6),
        [SearchPoint(5, 0.5, True, "$x_1^ " * 20)],
    ],
)
@pytest.mark.parametrize("baselines", [None, {}, {"ReLU": 0.9, "GELU": 0.9, "bad": float("nan")}])
def test_search_of_any_kind_is_drawn(tmp_path, points, baselines):
    path = tmp_path / "search.png"
    plot_search(points, path, chance=0.1, baselines=baselines, title="a $ title")
    check_png(path, 10, 5.6)


def test_search_on_minus_loss_is_drawn(tmp_path):
    points = [SearchPoint(p.index, float(np.log(p.fitness)), p.top, p.formula) for p in search(50)]
    plot_search(points, tmp_path / "a.png", chance=-2.3, baselines={"ReLU": -0.1}, title="loss")
    check_png(tmp_path / "a.png", 10, 5.6)


def test_only_fully_trained_functions_become_the_best_so_far():
    points = [
        SearchPoint(1, 0.5, True, "a"),
        SearchPoint(2, 0.9, False, "b"),
        SearchPoint(3, 0.5, True, "c"),
        SearchPoint(4, 0.7, True, "d"),
    ]
    assert [p.formula for p in search_plot._improvements(points)] == ["a", "d"]


def test_the_view_shows_the_top_and_the_baselines_and_cuts_the_junk():
    junk, good = [0.1] * 100, list(np.linspace(0.7, 0.97, 100))
    low, high = search_plot.view(junk + good, 0.97, 0.1, [0.93])
    assert 0.5 < low < 0.93
    assert 0.97 < high < 1
    low, _ = search_plot.view(junk + good, 0.97, 0.1, [0.6])
    assert low < 0.6


def test_the_view_starts_at_chance_where_nothing_beats_it():
    low, high = search_plot.view([0.1] * 5, 0.1, 0.1, [0.9])
    assert low < 0.1
    assert high > 0.9


def test_function_curve_of_relu_is_relu():
    found = function_curve(Genome.from_text("max id x relu x"), "ReLU")
    assert found.x[0] == -5
    assert found.x[-1] == 5
    assert len(found.x) == 801
    assert np.array_equal(found.value, np.maximum(found.x, 0))
    smooth = found.x != 0
    assert np.array_equal(found.slope[smooth], (found.x > 0)[smooth])


def test_function_curve_has_betas_at_1():
    found = function_curve(Genome.from_text("gate scale x id x"), "Swish", -3, 3, 7)
    assert found.value == pytest.approx(found.x / (1 + np.exp(-found.x)))


def test_baseline_curve_agrees_with_the_genome_of_the_same_function():
    exact = function_curve(Genome.from_text("gate scale x id x"), "Swish")
    found = baseline_curve("Swish", lambda x: x / (1 + np.exp(-x)))
    assert found.value == pytest.approx(exact.value)
    assert found.slope == pytest.approx(exact.slope, abs=1e-8)


@pytest.mark.parametrize("count", [0, 1, 6, 9])
def test_functions_are_drawn(tmp_path, count):
    curve = function_curve(Genome.from_text("gate scale x id x"), "x*sigmoid(beta*x)" * 4)
    plot_functions([curve] * count, tmp_path / "f.png", "best")
    check_png(tmp_path / "f.png", 9.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e300])
def test_functions_without_a_usable_value_are_drawn(tmp_path, value):
    x = np.linspace(-5, 5, 11)
    curve = FunctionCurve("odd", x, np.full(11, value), np.full(11, -value))
    plot_functions([curve], tmp_path / "f.png", "odd")
    check_png(tmp_path / "f.png", 9.5)


def test_a_pole_is_a_gap_and_not_a_vertical_line():
    x = np.linspace(-5, 5, 800)
    shown = function_plot._gaps(1 / x, -3, 5)
    assert np.isnan(shown[399])
    assert np.isfinite(shown[[0, 398, 401, 799]]).all()


def test_the_window_is_bounded_by_the_view_and_fits_flat_curves():
    low, high = function_plot._window([np.array([-1e9, np.nan, 1e9])], (-3, 5))
    assert -4 < low < -3
    assert 5 < high < 6
    low, high = function_plot._window([np.zeros(4)], (-3, 5))
    assert low < 0 < high < 0.1


@pytest.mark.parametrize("seeds", [1, 10])
def test_retest_is_drawn(tmp_path, seeds):
    draw = np.random.default_rng(0)
    kinds = ["winner", "finalist", "best baseline", *["baseline"] * 8]
    rows = [
        RetestRow(f"function {i}" * 5, draw.normal(0.9, 0.01, seeds), 0.9, 0.88, 0.92, kind)
        for i, kind in enumerate(kinds)
    ]
    plot_retest(rows, tmp_path / "r.png", "retest", accuracy_of(10))
    check_png(tmp_path / "r.png", 9, 1.7 + 0.33 * 11)


def test_a_retest_says_the_mean_that_the_tables_say(tmp_path, monkeypatch):
    """0.80425, say, is 80.42 or 80.43 by the order in which it was summed."""
    said = []
    monkeypatch.setattr(Axes, "annotate", lambda axes, text, *a, **k: said.append(text))
    row = RetestRow("x", [0.8, 0.8085], 0.80424999, 0.79, 0.81, "winner")
    plot_retest([row], tmp_path / "r.png", "retest", accuracy_of(10))
    assert said == ["80.42%"]


@pytest.mark.parametrize(
    "rows",
    [[], [RetestRow("x", [0.5], *[0.5] * 3, "winner")], [RetestRow("x", [], 0, 0, 0, "winner")]],
)
def test_a_retest_of_little_is_drawn(tmp_path, rows):
    plot_retest(rows, tmp_path / "r.png", "retest", accuracy_of(10))
    check_png(tmp_path / "r.png", 9)


def timed(n):
    """n functions on a rising front, and one below each that is dominated."""
    front = [TimedPoint(1 + k, -0.3 + 0.01 * k, "x*tanh(x)+$_1" * 4, True) for k in range(n)]
    rest = [TimedPoint(p.nanoseconds + 0.5, p.fitness - 0.02, "x", False) for p in front]
    return front + rest


@pytest.mark.parametrize(
    "points",
    [
        [],
        timed(1)[:1],
        timed(2),
        timed(16),
        [TimedPoint(2.0, -2.3, "x", True)],  # at chance
        [*timed(9), TimedPoint(0.5, -2.3, "fast and useless", True)],
        [TimedPoint(float("nan"), 0.5, "x", True), TimedPoint(1.0, float("inf"), "x", True)],
        [TimedPoint(1.0, -0.3, "x", True)] * 3,
    ],
)
@pytest.mark.parametrize("times", [{}, {"ReLU": 0.9, "GELU": 0.9, "Swish": None}])
def test_score_against_time_is_drawn(tmp_path, points, times):
    plot_pareto(
        points, tmp_path / "p.png", chance=-2.3, times=times, title="a $", ylabel="y", timed_on="z"
    )
    check_png(tmp_path / "p.png", 10, 5.6)


def test_score_against_time_shows_the_front_and_counts_what_it_leaves_out(monkeypatch, tmp_path):
    junk = [TimedPoint(5.0, -2.2, "junk", False)] * 30
    useless = TimedPoint(0.5, -2.3, "fast and useless", True)
    low, high = pareto_plot._range([*timed(9), *junk, useless], -2.3)
    assert -0.4 < low < -0.3
    assert high > -0.22
    few = [TimedPoint(1, -0.2, "a", True), TimedPoint(2, -1.5, "b", False)]
    assert pareto_plot._range(few, -2.3)[0] < -1.5
    drawn = []
    monkeypatch.setattr(style.Figure, "savefig", lambda self, *a, **k: drawn.append(self))
    times = {"ReLU": 0.9, "Swish": None}
    plot_pareto(
        [*timed(9), *junk, useless],
        tmp_path / "p.png",
        chance=-2.3,
        times=times,
        title="t",
        ylabel="y",
        timed_on="a tensor",
    )
    (axes,) = drawn[0].axes
    (legend,) = drawn[0].legends
    # Junk, the useless one, and what lies below the lowest two of the front.
    assert "below the range (33)" in [text.get_text() for text in legend.get_texts()]
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("ReLU") == 1
    assert not {"Swish", "junk", "fast and useless"} & set(texts)
    (step,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert list(step.get_xdata())[:-1] == [1, *range(1, 10)]
    assert list(step.get_ydata())[-1] == max(p.fitness for p in timed(9))


def test_a_picture_leaves_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(mpl.rcParams)
    plot_retest([], tmp_path / "r.png", "retest", accuracy_of(10))
    assert dict(mpl.rcParams) == before


def test_spread_keeps_order_and_distance_and_moves_no_more_than_needed():
    assert style.spread([1.0, 5.0, 9.0], 1, 0, 10) == [1, 5, 9]
    assert style.spread([5.0, 5.2, 4.8], 1, 0, 10) == pytest.approx([5, 6, 4])
    assert style.spread([9.9, 10.0], 1, 0, 10) == pytest.approx([9, 10])
    assert style.spread([0.0, 0.0, 0.0], 9, 0, 10) == pytest.approx([0, 5, 10])
    assert style.spread([], 1, 0, 10) == []


def test_shorten():
    assert style.shorten("x*sigmoid(x)", 12) == "x*sigmoid(x)"
    assert style.shorten("x*sigmoid(x)", 6) == "x*sig…"


def test_found_functions_are_shared_out_over_two_panels(tmp_path, monkeypatch):
    panels = []
    real = function_plot._panel

    def panel(axes, functions, name, window):
        panels.append(([f.label for f in functions], name, window))
        return real(axes, functions, name, window)

    monkeypatch.setattr(function_plot, "_panel", panel)
    specs = ["add abs x softplus x", "sub min0 x abs x", "add id x abs x", "max id x tanh x"]
    draw_found([*specs, "mul id x sigmoid x"], tmp_path / "a.png", "Top functions found")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    (left, kind, window), (right, _, other) = panels
    assert left == ["|x|+log(1+exp(x))", "min(x, 0)-|x|", "x+|x|"] and kind == "value"
    assert right == ["max(x, tanh(x))", "Swish-1: x*sigmoid(x)"]
    assert window == other and window[0] < -3  # of all, min(x, 0)-|x| among them
    draw_found(specs[:1], tmp_path / "b.png", "One")
    draw_found([], tmp_path / "c.png", "None")
