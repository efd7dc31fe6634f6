from __future__ import annotations

import pytest

from hybridsearch.types import Task


def task(**changes) -> Task:
    return Task(**{"function": "f", "key": "k", "steps": 3, "seed": 1, "context": "c", **changes})


def test_task_hash_covers_everything_but_the_spelling():
    base = task().hash
    assert task(function="g").hash == base
    changes = [{"key": "l"}, {"steps": 4}, {"seed": 2}, {"context": "d"}, {"split": "test"}]
    changes += [{"kernel": "tape"}, {"stack": (1,)}, {"stack": (1, 2)}, {"stack": (2, 1)}]
    assert len({base, *(task(**change).hash for change in changes)}) == 1 + len(changes)


def test_a_task_outside_its_stack_is_refused():
    with pytest.raises(ValueError, match="seed 1 is not in its stack"):
        task(stack=(2, 3))
