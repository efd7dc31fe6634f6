"""Which replicates are trained side by side: fixed by the config, never by what is cached, how
many workers there are, or a timing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hybridsearch.types import Task

# Networks so small that K replicates in one network beat K trainings, with every function tried
# (docs/decisions/0010). From 28x28 images on they do not, and are trained one by one.
STACKED = frozenset({"digits_mlp", "digits_cnn"})


def stacks(network: str, seeds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """The stack of every seed: `size` consecutive seeds, the last ones what is left.

    () for a child that is trained alone: where it would be the only one, or the network (a name of
    `config.network`) is not one that is stacked.
    """
    if network not in STACKED:
        return [()] * len(seeds)
    rows = [tuple(seeds[k - k % size :][:size]) for k in range(len(seeds))]
    return [row if len(row) > 1 else () for row in rows]


def jobs_of(tasks: Iterable[Task]) -> dict[str, tuple[Task, ...]]:
    """Tasks by the job that does them, equal ones once: those of one stack together, others alone.

    A job has the name of its first task's hash; jobs stand in the order of their first tasks.
    """
    groups: dict[str, list[Task]] = {}
    for name, task in {task.hash: task for task in tasks}.items():
        about = replace(task, seed=task.stack[0]).hash if task.stack else name
        groups.setdefault(about, []).append(task)
    return {group[0].hash: tuple(group) for group in groups.values()}
