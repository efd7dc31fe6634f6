"""A function, or one of a run -> all that is known of it, as plain values for people and programs.

Where a number is infinite the value is the text "infinity" or "-infinity", where there is none it
is null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from hybridsearch.analysis.plots import FunctionCurve, plot_functions
from hybridsearch.analysis.runs import Run, load_run
from hybridsearch.errors import UserError
from hybridsearch.explain import met
from hybridsearch.explain.curve import Curve
from hybridsearch.explain.facts import Facts, facts, normal
from hybridsearch.explain.near import nearest_known, standings
from hybridsearch.explain.tails import tail
from hybridsearch.genome.function import Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.preflight import inspect
from hybridsearch.paths import is_folder
from hybridsearch.store.disk import expect_parent
from hybridsearch.types import Json

BETAS = (0.5, 1.0, 2.0)
LOOKED_AT = (-2.0, -1.0, 0.0, 1.0, 2.0)
ALONE = 3  # with more parameters they are only changed together
METHOD = (
    "float64 with bounds of its rounding; turning points and zeros by root finding up to |x| = 20, "
    "ends from points up to |x| = 1e6"
)


@dataclass(frozen=True)
class Asked:
    """A function, and the run and the proposal of it where one was meant. name: of a file."""

    function: Function
    name: str
    run: Run | None = None
    outcome: dict[str, Json] | None = None


def ask(text: str) -> Asked:
    """What a text means: FOLDER#ID, FOLDER (its winner, or the best so far), or a function.

    Raises: UserError when it is none of them.
    """
    folder, mark, number = text.rpartition("#")
    if mark:
        if not number.isdigit():
            raise UserError(f"expected the id of a proposal after '#', got {number!r}")
        run = load_run(folder)
        outcome = met.outcome_of(run, int(number))
        return Asked(resolve(Genome.from_text(str(outcome["genome"]))), number, run, outcome)
    if not text:
        raise UserError("expected a formula, a name or the folder of a run, got nothing")
    if is_folder(text):  # False, too, for what is too long to be a folder's name
        run = load_run(text)
        function, first = _best(run)
        return Asked(function, "winner" if run.summary else "best", run, first)
    try:
        function = resolve(text)
    except UserError:
        if "/" in text and is_folder(Path(text).parent) and not set(text) & set("()*+ "):
            raise UserError(f"{text} is no folder of a run, and no function") from None
        raise
    return Asked(function, re.sub(r"[^\w.-]+", "-", text).strip("-")[:60] or function.key[:8])


def _best(run: Run) -> tuple[Function, dict[str, Json] | None]:
    """The winner of a run, or while there is none the best that was trained to the end; and with
    which proposal it came.
    """
    winner = (run.summary or {}).get("winner")
    if winner:
        function = resolve(str(winner["expression"]))
        keys = {function.key, winner["key"]}
    elif run.fully_trained:
        best = max(run.fully_trained, key=lambda o: float(o["fitness"]))
        function, keys = resolve(str(best["function"])), {best["key"]}
    else:
        raise UserError(f"{run.folder}: no function has been trained to the end yet")
    return function, next(iter(met.proposals(run, keys)), None)


def explain(asked: Asked, picture: Path | None) -> dict[str, Json]:
    """Everything about it. picture: file of the PNG to draw; None draws none."""
    function = asked.function
    curve = Curve.of(function)
    if picture is not None:
        expect_parent(picture)
        draw(curve, picture)
    answer = _function(function) | _facts(facts(curve))
    answer |= {
        "parameters": parameters(function),
        "near": plain(nearest_known(function)),
        "tables": plain(standings(function)),
        "method": METHOD,
        "picture": None if picture is None else str(picture),
        "run": None if asked.run is None else _run(asked, asked.run),
    }
    return answer


def _function(function: Function) -> dict[str, Json]:
    genome = function.genome
    rejected = inspect([genome.tokens])[0].rejected if genome else None
    return {
        "formula": function.name if genome is None else genome.formula,
        "label": function.label,
        "tokens": None if genome is None else str(genome),
        "latex": None if genome is None else genome.latex,
        "key": function.key,
        "starts": list(function.starts),
        "preflight": {"searched": genome is not None, "rejected": rejected},
    }


def _facts(found: Facts) -> dict[str, Json]:
    return {f.name: plain(getattr(found, f.name)) for f in fields(found)}


def parameters(function: Function) -> list[dict[str, Json]]:
    """What trainable parameters do: at each of BETAS, all together and, of a few, each alone, f at
    LOOKED_AT, E f'^2 under N(0,1), and both ends.
    """
    count = len(function.starts)
    sets: list[tuple[str, Sequence[int]]] = [("beta" if count == 1 else "all", range(count))]
    if 1 < count <= ALONE:
        sets += [(f"beta {k + 1}", [k]) for k in range(count)]
    rows = []
    for name, moved in sets if count else []:
        for value in BETAS:
            starts = [value if k in moved else s for k, s in enumerate(function.starts)]
            curve = Curve.of(function, starts)
            seen = curve.at(np.array(LOOKED_AT))
            rows.append(
                {
                    "which": name,
                    "value": value,
                    "at": plain(dict(zip(map(str, LOOKED_AT), seen.value.tolist(), strict=True))),
                    "gain": plain(normal(curve).gain),
                    "left": tail(curve, -1).says,
                    "right": tail(curve, 1).says,
                }
            )
    return rows


def draw(curve: Curve, path: Path) -> None:
    """f and f' as a PNG, beside them those of other parameters, where it has any.

    Raises: UserError when the file cannot be written.
    """
    function = curve.function
    drawn = [_drawn(curve, function.label)]
    for value in [v for v in BETAS if v not in function.starts] if function.starts else []:
        other = Curve.of(function, [value] * len(function.starts))
        many = "parameters" if len(function.starts) > 1 else "parameter"
        drawn.append(_drawn(other, f"with its {many} at {value:g}"))
    try:
        plot_functions(drawn, path, "The function and its slope, beside ReLU")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose --out") from error


def _drawn(curve: Curve, label: str) -> FunctionCurve:
    x = np.linspace(-5, 5, 801)
    seen = curve.at(x)
    return FunctionCurve(label, x, seen.value, seen.slope)


def _run(asked: Asked, run: Run) -> dict[str, Json]:
    """What its run knows of it."""
    function, outcome = asked.function, asked.outcome
    keys = {function.key} | ({str(outcome["key"])} if outcome else set())
    rows, why = met.evaluations(run, keys)
    same = met.proposals(run, keys)
    return {
        "folder": str(run.folder),
        "finished": run.summary is not None,
        "outcome": outcome,
        "proposed": [
            {name: o[name] for name in ("id", "batch", "proposer", "genome", "formula", "known")}
            for o in same
        ],
        "equivalents": met.equivalents(run, keys, str(function.genome)),
        "lineage": plain(met.ancestry(run, int(outcome["id"]))) if outcome else None,
        "evaluations": [_evaluated(row) for row in rows],
        "cache": why,
        "chances": met.chances(outcome) if outcome else [],
    }


def _evaluated(row: met.Evaluated) -> dict[str, Json]:
    result = row.result
    told = {f.name: getattr(row, f.name) for f in fields(row) if f.name != "result"}
    about = ("task", "loss", "metric", "message", "seconds", "host", "cost")
    return {**told, "status": result.status.value, **{n: plain(getattr(result, n)) for n in about}}


def plain(value: object) -> Json:
    """A value as strict JSON: dataclasses as objects, what is infinite in words, nan as null."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else "infinity" if value > 0 else "-infinity"
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value
