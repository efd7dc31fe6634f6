"""What a run that measured times says of score against time: its Pareto front, and a scale."""

from __future__ import annotations

from hybridsearch.engine import Search
from hybridsearch.genome.function import resolve
from hybridsearch.propose.pareto import pareto_front
from hybridsearch.types import Json

REFERENCES = ("ReLU", "Swish", "GELU")  # what everybody knows, from the cheapest to the dearest
NANO = 1e9


def time_report(run: Search) -> dict[str, Json]:
    """For the summary. "pareto": the front of the fully trained functions, the best score first;
    "times": nanoseconds per element of the REFERENCES, which are timed now, null where that fails.
    """
    known = [resolve(name) for name in REFERENCES]
    tasks = [run.recorder.evaluator.time_task(f.spec, f.key) for f in known]
    done = run.recorder.evaluate(tasks)
    times = {
        f.name: None if (cost := done[task.hash].cost) is None else NANO * cost
        for f, task in zip(known, tasks, strict=True)
    }
    return {"pareto": front(run), "times": times}


def front(run: Search) -> list[dict[str, Json]]:
    """The fully trained functions that no other one beats in score and time, best score first."""
    full = [entry for _, entry in run.known.finalists(len(run.known))]
    best_first = reversed(pareto_front([(entry.score, entry.cost) for entry in full]))
    rows = []
    for place in best_first:
        entry = full[place]
        function = resolve(entry.spec)
        assert entry.cost is not None
        rows.append(
            {
                "function": entry.spec,
                "expression": function.name,
                "label": function.label,
                "key": function.key,
                "fitness": entry.fitness,
                "nanoseconds_per_element": NANO * entry.cost,
            }
        )
    return rows
