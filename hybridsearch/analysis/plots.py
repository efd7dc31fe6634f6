"""The pictures of a run, all written as PNG at 150 dots per inch, from plain values."""

from hybridsearch.analysis.function_plot import (
    FunctionCurve,
    baseline_curve,
    function_curve,
    plot_found,
    plot_functions,
)
from hybridsearch.analysis.pareto_plot import TimedPoint, plot_pareto
from hybridsearch.analysis.retest_plot import RetestRow, plot_retest
from hybridsearch.analysis.search_plot import SearchPoint, plot_search

__all__ = [
    "FunctionCurve",
    "RetestRow",
    "SearchPoint",
    "TimedPoint",
    "baseline_curve",
    "function_curve",
    "plot_found",
    "plot_functions",
    "plot_pareto",
    "plot_retest",
    "plot_search",
]
