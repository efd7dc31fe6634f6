from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from hybridsearch import store
from hybridsearch.errors import UserError
from hybridsearch.store import (
    Cache,
    RunLog,
    hold,
    load_checkpoint,
    read_log,
    save_checkpoint,
)
from hybridsearch.types import Evaluation, State, Status, Task


def test_log_is_read_back(tmp_path):
    log = RunLog(tmp_path / "t.jsonl")
    log.append({"kind": "a", "x": 1.5}, {"seconds": 2})
    log.append({"kind": "b"})
    log.close()
    assert list(read_log(log.path)) == [
        ({"kind": "a", "x": 1.5}, {"seconds": 2}),
        ({"kind": "b"}, {}),
    ]


def test_torn_tail_is_cut_and_replay_checks_what_is_there(tmp_path):
    path = tmp_path / "t.jsonl"
    log = RunLog(path)
    for k in range(3):
        log.append({"k": k})
    log.close()
    with path.open("a") as file:
        file.write('{"payload":{"k":3},"vol')
    log = RunLog(path, position=1)
    assert [p["k"] for p, _ in log.ahead] == [1, 2]
    log.append({"k": 1})
    log.append({"k": 2}, {"seconds": 9})
    log.append({"k": 3})
    log.close()
    assert [p["k"] for p, _ in read_log(path)] == [0, 1, 2, 3]


def test_a_resumed_run_that_departs_from_its_log_is_stopped(tmp_path):
    log = RunLog(tmp_path / "t.jsonl")
    log.append({"k": 0})
    log.append({"k": 1})
    log.close()
    log = RunLog(log.path, position=1)
    with pytest.raises(UserError, match="line 2"):
        log.append({"k": 7})
    log.close()


@pytest.mark.parametrize("line", ["{", "[]", '{"payload": {}}', "3"])
def test_a_damaged_record_is_named(tmp_path, line):
    path = tmp_path / "t.jsonl"
    path.write_text('{"payload": {"k": 0}, "volatile": {}}\n' + line + "\n")
    with pytest.raises(UserError, match="line 2: damaged"):
        list(read_log(path))


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


def test_cache_gives_back_what_it_got_and_never_the_machines_faults(tmp_path):
    cache = Cache(tmp_path / "deep" / "cache.sqlite")
    good = Evaluation(task().hash, Status.OK, 0.25, 0.9, ((10, 0.5),), seconds=3.0, host="h")
    cache.add(good)
    for k, status in enumerate((Status.ERROR, Status.TIMEOUT)):
        cache.add(Evaluation(task(seed=10 + k).hash, status))
    cache.close()
    cache = Cache(cache.path)
    hits, misses = cache.split([task(), task(seed=10), task(seed=11)])
    assert [m.seed for m in misses] == [10, 11]
    found = hits[task().hash]
    assert found.cached
    assert found.seconds == 3.0
    assert found.payload() == good.payload()
    assert json.loads(json.dumps(found.payload())) == json.loads(json.dumps(good.payload()))


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    path = tmp_path / "cache.sqlite"
    path.write_text("hello " * 1000)
    with pytest.raises(UserError, match="cannot be used"):
        Cache(path)


def test_checkpoint_round_trip_and_damage(tmp_path):
    path = tmp_path / "c.safetensors"
    assert load_checkpoint(path) is None
    state = State({"n": 3, "big": 2**80}, {"w": np.arange(6, dtype=np.float32).reshape(2, 3)})
    save_checkpoint(path, {"position": 4}, state)
    values, back = load_checkpoint(path)
    assert values == {"position": 4}
    assert back.values == state.values
    assert np.array_equal(back.arrays["w"], state.arrays["w"])
    save_checkpoint(path, {"position": 5}, State({"n": 4}))
    assert load_checkpoint(path)[0] == {"position": 5}
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_checkpoint(path)


def test_a_log_that_is_shorter_than_its_checkpoint_says(tmp_path):
    log = RunLog(tmp_path / "t.jsonl")
    log.append({"k": 0})
    log.close()
    with pytest.raises(UserError, match="has 1 records, its checkpoint counts 2"):
        RunLog(log.path, position=2)


def test_the_past_of_a_log_is_given_away_once(tmp_path):
    log = RunLog(tmp_path / "t.jsonl")
    for k in range(3):
        log.append({"k": k})
    log.close()
    log = RunLog(log.path, position=2)
    assert [p["k"] for p, _ in log.take_past()] == [0, 1]
    assert log.take_past() == []
    assert [p["k"] for p, _ in log.ahead] == [2]
    log.close()


def test_additions_are_seen_at_once_here_and_elsewhere_after_a_commit(
    abandoned, tmp_path, monkeypatch
):
    cache, other = (abandoned(Cache(tmp_path / "c.sqlite")) for _ in range(2))
    good = Evaluation(task().hash, Status.OK, 0.25, 0.9)
    cache.add(good)
    assert cache.split([task()])[0][task().hash].cached
    assert other.split([task()])[0] == {}
    cache.commit()
    assert other.split([task()])[0][task().hash].payload() == good.payload()
    monkeypatch.setattr(store, "COMMIT_EVERY", -1.0)
    late = Evaluation(task(seed=2).hash, Status.DIVERGED)
    cache.add(late)
    assert other.split([task(seed=2)])[0][late.task].status is Status.DIVERGED


def test_two_that_add_the_same_agree(abandoned, tmp_path):
    cache, other = (abandoned(Cache(tmp_path / "c.sqlite")) for _ in range(2))
    for one in (cache, other, cache):
        one.add(Evaluation(task().hash, Status.OK, 0.25, 0.9))
        one.commit()
    assert len(other.split([task()])[0]) == 1


def test_many_tasks_are_looked_up_together(abandoned, tmp_path):
    cache = abandoned(Cache(tmp_path / "c.sqlite"))
    tasks = [task(seed=k) for k in range(2 * store.TASKS_PER_QUERY + 7)]
    for one in tasks[::3]:
        cache.add(Evaluation(one.hash, Status.OK, 0.25, 0.9))
    cache.commit()
    hits, misses = cache.split(tasks)
    assert set(hits) == {t.hash for t in tasks[::3]}
    assert misses == [t for t in tasks if t.hash not in hits]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    cache.add(Evaluation(task().hash, Status.OK, 0.25, 0.9))
    cache._db.execute("DROP TABLE evaluations")
    with pytest.raises(UserError, match="cannot be written"):
        cache.commit()
    cache._db.close()


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    holder = "import sys, time; from pathlib import Path; from hybridsearch.store import hold\n"
    holder += "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            with pytest.raises(UserError, match=rf"in use by another process \({other.pid}\)"):
                hold(tmp_path).__enter__()
        finally:
            other.kill()  # as hard as a process can end
    with hold(tmp_path):
        pass
    with hold(tmp_path):  # and again, when it was let go
        pass
