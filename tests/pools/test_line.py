"""Who goes first."""

from __future__ import annotations

from hybridsearch.pools.line import Line, Ranked, rank_of
from hybridsearch.pools.loky import LokyPool


def test_the_lowest_rank_goes_first_and_who_came_first_among_equals():
    line = Line()
    for item, rank in (("a", 1.0), ("b", 0.0), ("c", 1.0), ("d", -2.0), ("e", 0.0)):
        line.add(item, rank)
    assert line.take() == "d"
    line.put_back("d")
    assert len(line) == 5
    assert [line.take() for _ in range(5)] == ["d", "b", "e", "a", "c"]
    assert not line


def test_what_is_put_back_cannot_be_overtaken_and_items_are_never_compared():
    line = Line()
    line.add({}, -5.0)
    line.add({}, -5.0)
    line.put_back({"first": 1})
    assert line.take() == {"first": 1}


def test_jobs_without_ranks_are_of_one_rank():
    jobs = Ranked()
    jobs["a"] = 1
    jobs.ranks["b"] = 3.0
    assert (rank_of(jobs, "a"), rank_of(jobs, "b"), rank_of({"b": 1}, "b")) == (0.0, 3.0, 0.0)


def identity(x):
    return x


def test_a_pool_begins_what_is_urgent_first():
    """All but what its worker was given ahead."""
    jobs = Ranked()
    for k in range(40):
        jobs[str(k)] = k
        jobs.ranks[str(k)] = float(k % 2)
    pool = LokyPool(1)
    try:
        order = [result for _, result in pool.run(identity, jobs, 60.0)]
    finally:
        pool.close()
    assert sorted(order) == list(range(40))
    assert order == [*range(0, 40, 2), *range(1, 40, 2)]
