"""What a run knows of one function: where it came from, what it was evaluated at, and as what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hybridsearch.analysis.runs import Run
from hybridsearch.errors import UserError
from hybridsearch.fidelity import rung_steps
from hybridsearch.records import evaluation_of
from hybridsearch.store.cache import look_up
from hybridsearch.store.folders import cache_of
from hybridsearch.types import Evaluation, Json, Task, number_for, numbers_for

DEEP = 4  # generations shown
RACED = 64  # seeds of a race that are recognised


@dataclass(frozen=True)
class Ancestor:
    """A proposal and what it was made from. how: the operator, as in
    `types.Proposal`.

    again: it stands in the tree already, where its parents are shown. left_out: parents that are
    beyond DEEP or not in the log.
    """

    id: int
    formula: str
    proposer: str
    how: str
    status: str
    fitness: float | None
    order: int
    parents: tuple[Ancestor, ...]
    left_out: tuple[int, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class Evaluated:
    """One evaluation. purpose: "search", "race", "retest", "duel" or "time". rung: from 1; None
    where it is no rung's. logged, cached: where it stands.
    """

    purpose: str
    split: str
    steps: int
    rung: int | None
    seed: int
    result: Evaluation
    logged: bool
    cached: bool


def outcome_of(run: Run, number: int) -> dict[str, Json]:
    """The outcome of a proposal. Raises: UserError when the run has none of that id."""
    for outcome in run.outcomes:
        if outcome["id"] == number:
            return outcome
    ids = [o["id"] for o in run.outcomes]
    there = f"{min(ids)} to {max(ids)}" if ids else "none yet"
    raise UserError(f"{run.folder} has no proposal {number}; expected an id of its log: {there}")


def ancestry(run: Run, number: int, deep: int = DEEP) -> Ancestor:
    """The family tree of a proposal, as far as the log and `deep` generations go."""
    known = {o["id"]: o for o in run.outcomes}
    met: set[int] = set()

    def tree(one: int, left: int) -> Ancestor:
        outcome = known[one]
        again = one in met
        met.add(one)
        there = [p for p in outcome["parents"] if p in known and p < one]
        grown = tuple(tree(p, left - 1) for p in there) if left and not again else ()
        return Ancestor(
            one,
            str(outcome["formula"]),
            str(outcome["proposer"]),
            str(outcome["operator"]),
            str(outcome["status"]),
            outcome["fitness"],
            int(outcome["order"]),
            grown,
            tuple(p for p in outcome["parents"] if not again and (not left or p not in there)),
            again and bool(outcome["parents"]),
        )

    return tree(number, deep)


def chances(outcome: dict[str, Json]) -> list[tuple[str, float]]:
    """Every token with the probability that the controller gave it when it drew the proposal; none
    of a proposal that no policy drew.
    """
    return list(
        zip(str(outcome["genome"]).replace("|", " ").split(), outcome["chances"], strict=False)
    )


def proposals(run: Run, keys: set[str]) -> list[dict[str, Json]]:
    """The outcomes of a function, whatever genome stood for it."""
    return [o for o in run.outcomes if o["key"] in keys]


def equivalents(run: Run, keys: set[str], genome: str) -> list[str]:
    """The other genomes of the same function that the run proposed, as token text."""
    every = dict.fromkeys(str(o["genome"]) for o in proposals(run, keys))
    return [text for text in every if text != genome]


def evaluations(run: Run, keys: set[str]) -> tuple[list[Evaluated], str]:
    """Every evaluation of a function in the log and in the cache; why the latter is of no use, "".

    The cache has no index by function: asked for are all tasks that the function would have with
    the settings, seeds and lengths that the log has of any function.
    """
    logged: dict[str, tuple[dict[str, Json], Evaluation]] = {}
    for record in run.trials:
        payload = record[0]
        if payload["kind"] == "evaluation" and payload["key"] in keys:
            logged[payload["task"]] = payload, evaluation_of(record)
    asked = {task.hash: task for task in _tasks(run, keys)}
    try:
        cache = cache_of(run.config.cache, run.folder)
        cached, why = look_up(cache, [*logged, *asked]), ""
    except UserError as error:
        cached, why = {}, str(error)
    rows = []
    for name in [*logged, *(n for n in cached if n not in logged)]:
        if name in logged:
            payload, result = logged[name]
            split, steps, seed = payload["split"], payload["steps"], payload["seed"]
        else:
            task, result = asked[name], cached[name]
            split, steps, seed = task.split, task.steps, task.seed
        purpose = "time" if split == "time" else _purpose(run, int(seed))
        rung = _rung(run, int(steps)) if purpose == "search" else None
        found = name in logged, name in cached
        rows.append(Evaluated(purpose, str(split), int(steps), rung, int(seed), result, *found))
    return rows, why


def _tasks(run: Run, keys: set[str]) -> Iterator[Task]:
    """What the function's tasks would be, with everything else as in the log."""
    parts = {
        (p["steps"], p["seed"], p["context"], p["split"], p["kernel"], tuple(p.get("stack", ())))
        for p in run.evaluations
    }
    for steps, seed, context, split, kernel, stack in sorted(parts):
        for key in sorted(keys):
            if not stack or seed in stack:
                yield Task("", key, steps, seed, context, split, kernel, stack)


def _purpose(run: Run, seed: int) -> str:
    config = run.config
    if seed == number_for(config.seed, "search", 0):
        return "search"
    retest = config.retest
    if seed in numbers_for(config.seed, "retest", retest.first, retest.seeds):
        return "retest"
    if retest.duel and seed in numbers_for(config.seed, "retest", retest.further, retest.seeds):
        return "duel"
    return "race" if seed in numbers_for(config.seed, "race", 0, RACED) else "another"


def _rung(run: Run, steps: int) -> int | None:
    every: Sequence[int] = rung_steps(run.config.fidelity, run.config.training.steps)
    return every.index(steps) + 1 if steps in every else None
