"""The GPU's arms on a CPU, which has no graphs and other kernels but counts as well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from parts import gpu

from hybridsearch.evaluate.training import Diverged, Trainer

ARMS = tuple(replace(arm, kernel="eager") for arm in gpu.ARMS)


@pytest.fixture
def race(tiny):
    return gpu.Race(tiny(), "Swish", "cpu", ARMS, 2, 0.01)


def test_every_arm_is_raced_in_every_round(race):
    found = gpu.measure(race)
    assert {name: len(rates) for name, rates in found.rates.items()} == {a.name: 2 for a in ARMS}
    assert all(rate > 0 for rates in found.rates.values() for rate in rates)
    assert len(found.captures) == 2
    assert len(found.compiles) == len(gpu.UNMET)
    assert dict(gpu.ratios(found.rates)).keys() == gpu.RATIOS.keys()


def test_steps_are_counted_over_all_children(race, monkeypatch):
    made = []
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda *a: made.append(1) or update(*a))
    clock = iter(range(100))
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: next(clock))
    (four,) = (arm for arm in ARMS if arm.pack == 4)
    pack = gpu.Pack(four, race, gpu.accelerator_for(gpu.torch.device("cpu")), [None] * 8)
    # begun at 0, looked at 1: one block, looked at 2: over; ended at 3
    assert pack.rate(1.5) == 4 * gpu.BLOCK / 3
    assert len(made) == 4 * gpu.BLOCK


def test_a_child_that_diverges_is_replaced(race, monkeypatch):
    (one,) = (arm for arm in ARMS if arm.name == "graph")
    pack = gpu.Pack(one, race, gpu.accelerator_for(gpu.torch.device("cpu")), [None])
    course = Trainer.course

    def short(self, child, steps, alive=None):
        made = course(self, child, steps, alive)
        for _ in range(3):
            yield next(made)
        raise Diverged("as if")

    monkeypatch.setattr(Trainer, "course", short)
    pack.courses = [pack.course()]
    pack.advance(8)
    assert next(pack.seeds) == 1 + 1 + 2  # that of the start, of the test, and two more
