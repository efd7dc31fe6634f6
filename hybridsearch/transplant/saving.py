"""A winner as a small JSON file: text and numbers, and nothing that runs.

{"format": "hybridsearch function", "version": 1, "spec": "gate scale x id x",
 "formula": "x*sigmoid(beta*x)", "key": "...", "betas": [1.0], "origin": {...}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hybridsearch.analysis.runs import Run, load_run, on_fresh_seeds
from hybridsearch.errors import UserError
from hybridsearch.genome.function import Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.store.disk import expect_parent, read_json, write_json
from hybridsearch.types import Json

FORMAT, VERSION = "hybridsearch function", 1
_LONGEST = 10_000  # characters of a spec: the longest that a search proposes has some hundred


def save_function(
    path: str | Path,
    function: str | Genome | Function | Run,
    *,
    betas: Sequence[float] | None = None,
    origin: Mapping[str, Json] | None = None,
) -> None:
    """Write a function to a file.

    function: as for `Activation`, or a finished run (`load_run`), whose winner is taken; `origin`
    then says where it comes from: `fixed`, the groups that were not searched; `metric` and `test`,
    its mean on test data. betas: trained values to start from, one for each beta, such as
    `activation.betas.mean(dim=1).tolist()`; None: the function's own. (All values of all channels
    are in a model's state_dict.) origin: whatever is worth knowing, as JSON.

    Raises: UserError when the run has no winner, a beta is missing, or the file cannot be written.
    """
    said: dict[str, Json] = dict(origin or {})
    if isinstance(function, Run):
        function, found = _winner(function)
        said = found | said
    function = resolve(function)
    if betas is not None:
        function = _starting(function, list(betas), "betas")
    path = Path(path)
    expect_parent(path)
    write_json(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "spec": function.spec,
            "formula": function.name,
            "key": function.key,
            "betas": list(function.starts),
            "origin": said,
        },
    )


def load_function(path: str | Path) -> Function:
    """The function of a file, or of a finished run's folder (its winner).

    `Activation` and `swap` take it, and its betas start where the file says. Raises: UserError when
    it is no such file, was written by a newer version, or its parts do not belong together.
    """
    path = Path(path)
    if path.is_dir():
        return _winner(load_run(path))[0]
    value = read_json(path)
    if value.get("format") != FORMAT:
        raise UserError(f"{path}: expected a file of save_function, got something else")
    if value.get("version") != VERSION:
        raise UserError(
            f"{path}: expected version {VERSION}, got {value.get('version')!r}; update hybridsearch"
        )
    spec = value.get("spec")
    if not isinstance(spec, str) or len(spec) > _LONGEST:
        raise UserError(f"{path}: expected a function's text as 'spec', got something else")
    function = resolve(spec)
    if value.get("key") != function.key:
        raise UserError(
            f"{path}: expected the key of {function.name}, {function.key}, got "
            f"{value.get('key')!r}; the file was changed, or comes from another version"
        )
    return _starting(function, value.get("betas"), f"{path}: betas")


def _starting(function: Function, betas: Json, where: str) -> Function:
    """The function with other start values of its betas."""
    need = len(function.starts)
    if not isinstance(betas, list) or len(betas) != need:
        got = f"{len(betas)} values" if isinstance(betas, list) else repr(betas)
        raise UserError(f"{where}: expected {need} values for {function.name}, got {got}")
    numbers = []
    for beta in betas:
        if isinstance(beta, bool) or not isinstance(beta, int | float) or not math.isfinite(beta):
            raise UserError(f"{where}: expected finite numbers, got {beta!r}")
        numbers.append(float(beta))
    return replace(function, starts=tuple(numbers))


def _winner(run: Run) -> tuple[Function, dict[str, Json]]:
    """A run's winner, and what there is to say of where it comes from."""
    summary = run.summary or {}
    winner = summary.get("winner")
    if not isinstance(winner, dict) or not isinstance(winner.get("expression"), str):
        raise UserError(f"{run.folder}: expected a finished run with a winner, got none; resume it")
    try:
        function = run.tested(winner)
    except UserError:
        raise
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{run.folder}: expected the winner's key, {winner.get('key')!r}, got that of "
            f"{winner['expression']}, {error.args[0]}; the summary is damaged"
        ) from error
    said: dict[str, Json] = {"run": run.folder.name}
    for name in ("data", "network", "strategy", "seed", "verdict"):
        said[name] = summary.get(name)
    said["fixed"] = list(run.config.network.fixed)
    metric = summary.get("metric")
    said["metric"] = metric.get("name") if isinstance(metric, dict) else None
    return function, said | {"test": on_fresh_seeds(summary)["winner"].get("mean")}
