"""hybridsearch: finds activation functions for your network by search, and retests them honestly.

    import hybridsearch
    summary = hybridsearch.search(hybridsearch.Config(budget=100))

The names below are the public API; they are imported when first used, so that `import
hybridsearch` (and `--help`) does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridsearch.analysis.runs import Run, load_run, load_runs
    from hybridsearch.comparison.run import compare
    from hybridsearch.config import Config, load_config
    from hybridsearch.errors import UserError
    from hybridsearch.export.write import export_function
    from hybridsearch.genome.activation import Activation, parameter_groups
    from hybridsearch.genome.function import Function, resolve
    from hybridsearch.genome.genome import Genome
    from hybridsearch.genome.units import Space
    from hybridsearch.rates import own_rates
    from hybridsearch.session import resume, search
    from hybridsearch.transplant.saving import load_function, save_function
    from hybridsearch.transplant.swap import swap

__version__ = "0.1.0"
__all__ = [
    "Activation",
    "Config",
    "Function",
    "Genome",
    "Run",
    "Space",
    "UserError",
    "compare",
    "export_function",
    "load_config",
    "load_function",
    "load_run",
    "load_runs",
    "own_rates",
    "parameter_groups",
    "resolve",
    "resume",
    "save_function",
    "search",
    "swap",
]
_HOMES = {
    "Activation": "genome.activation",
    "Config": "config",
    "Function": "genome.function",
    "Genome": "genome.genome",
    "Run": "analysis.runs",
    "Space": "genome.units",
    "UserError": "errors",
    "compare": "comparison.run",
    "export_function": "export.write",
    "load_config": "config",
    "load_function": "transplant.saving",
    "load_run": "analysis.runs",
    "load_runs": "analysis.runs",
    "own_rates": "rates",
    "parameter_groups": "genome.activation",
    "resolve": "genome.function",
    "resume": "session",
    "save_function": "transplant.saving",
    "search": "session",
    "swap": "transplant.swap",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hybridsearch' has no attribute {name!r}")
    return getattr(import_module(f"hybridsearch.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
