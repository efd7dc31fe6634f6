"""Children that share a device: how many, in turns, and what happens when memory runs out."""

from __future__ import annotations

import pytest
import torch

from hybridsearch.evaluate.accelerator import Host
from hybridsearch.evaluate.packing import FILL, MOST, PROBE, Packer

GIB = 2**30


def child(name, turns, log=None, fail=None):
    """A child of so many turns that returns its name."""

    def course():
        for turn in range(turns):
            if fail == turn:
                raise ValueError(f"{name} failed")
            if log is not None:
                log.append(name)
            yield
        return name

    return course


def children(count, turns=20, log=None):
    return {f"c{k}": child(f"c{k}", turns, log) for k in range(count)}


@pytest.mark.parametrize("total, fits", [(0.5, 0), (1, 1), (2.4, 2), (4.8, 4), (80, MOST)])
def test_as_many_train_together_as_memory_holds(fake_gpu, total, fits):
    gpu = fake_gpu(total=total * GIB)
    packer = Packer(gpu)
    found = dict(packer.run(children(20)))
    assert found == {f"c{k}": f"c{k}" if fits else None for k in range(20)}
    assert gpu.most == max(fits, 1)
    if fits > 1:
        assert packer.limit == min(MOST, int(FILL * total))
        assert "release" not in gpu.log  # it was planned so that it did not come to that


def test_the_config_bounds_the_pack(fake_gpu):
    gpu = fake_gpu()
    assert len(dict(Packer(gpu, most=3).run(children(7)))) == 7
    assert gpu.most == gpu.streams == 3


def test_the_first_child_is_alone_until_it_was_measured(fake_gpu):
    log = []
    packer = Packer(fake_gpu(), most=2)
    list(packer.run(children(2, turns=10, log=log)))
    assert log[: PROBE + 2] == ["c0"] * PROBE + ["c0", "c1"]
    log.clear()
    list(packer.run(children(2, turns=2, log=log)))  # known by now
    assert log == ["c0", "c1", "c0", "c1"]


def test_children_shorter_than_the_measurement_are_measured_at_their_end(fake_gpu):
    packer = Packer(fake_gpu(total=2.5 * GIB))
    assert len(dict(packer.run(children(5, turns=2)))) == 5
    assert packer.limit == 2


def test_a_child_that_ends_makes_room_for_the_next(fake_gpu):
    gpu = fake_gpu()
    log = []
    starts = {"long": child("long", 30, log)} | {f"s{k}": child(f"s{k}", 3, log) for k in range(4)}
    order = [name for name, _ in Packer(gpu, most=2).run(starts)]
    assert order == ["s0", "s1", "s2", "s3", "long"]
    assert gpu.streams == 2


def test_when_memory_runs_out_the_pack_is_halved_and_children_start_again(fake_gpu):
    gpu = fake_gpu(total=10 * GIB)
    packer = Packer(gpu)
    begun = []

    def greedy(name):
        def course():
            begun.append(name)
            for turn in range(20):
                if turn == 9 and name == "c5" and begun.count("c5") == 1:
                    gpu.total = 4.5 * GIB  # another program takes memory
                yield
            return name

        return course

    found = dict(packer.run({f"c{k}": greedy(f"c{k}") for k in range(9)}))
    assert found == {f"c{k}": f"c{k}" for k in range(9)}
    assert packer.limit == 4
    assert gpu.log == ["synchronize", "release"]
    again = {name for name in begun if begun.count(name) == 2}
    assert len(begun) == 13
    assert again < {f"c{k}" for k in range(9)}
    assert "c0" not in again  # who came first stays


def test_halving_goes_on_down_to_one(fake_gpu):
    gpu = fake_gpu(total=10 * GIB)
    packer = Packer(gpu)
    run = packer.run(children(8, turns=30))
    packer.limit = 8  # a measurement that was too good
    gpu.total = 1.5 * GIB
    assert dict(run) == {f"c{k}": f"c{k}" for k in range(8)}
    assert packer.limit == 1
    assert gpu.log == ["synchronize", "release"] * 3  # 8, 4, 2


def test_one_that_does_not_fit_alone_is_named_and_the_others_go_on(fake_gpu):
    gpu = fake_gpu()

    def big():
        yield
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    found = dict(Packer(gpu).run({**children(3), "big": big, "z": child("z", 3)}))
    assert found == {"c0": "c0", "c1": "c1", "c2": "c2", "big": None, "z": "z"}


def test_other_errors_are_raised_and_the_rest_is_closed(fake_gpu):
    closed = []

    def watched():
        try:
            while True:
                yield
        finally:
            closed.append(True)

    starts = {"watched": watched, "bad": child("bad", 9, fail=3)}
    packer = Packer(fake_gpu(), limit=2)
    with pytest.raises(ValueError, match="bad failed"):
        list(packer.run(starts))
    assert closed == [True]


def test_a_cpu_packs_without_streams_or_memory():
    assert dict(Packer(Host()).run(children(3))) == {f"c{k}": f"c{k}" for k in range(3)}
