from __future__ import annotations

import os

import pytest

from hybridsearch import recorder as recorders
from hybridsearch.errors import UserError
from hybridsearch.recorder import AT_RISK, Recorder
from hybridsearch.store import claims
from hybridsearch.store.cache import Cache
from hybridsearch.store.log import RunLog, read_log
from hybridsearch.types import Evaluation, Status, Task

TASKS = [Task("f", f"key{k}", 10, 1, "context") for k in range(4)]


class Backwards:
    """The last task is done first; `until` says how many are before a kill."""

    def __init__(self, seconds, until=99):
        self.seconds, self.until, self.asked = seconds, until, []

    def evaluate(self, tasks, keep_below=0):
        self.asked += tasks
        for number, task in enumerate(reversed(tasks)):
            if number == self.until:
                raise KeyboardInterrupt
            yield Evaluation(task.hash, Status.OK, 0.5, 0.9, seconds=self.seconds)


@pytest.fixture
def make(tmp_path, abandoned):
    """A function that makes a recorder on the same files, as a fresh process would."""

    def build(evaluator):
        log, cache = RunLog(tmp_path / "log"), Cache(tmp_path / "cache")
        return Recorder(abandoned(log), abandoned(cache), evaluator)

    return build


def test_results_are_logged_in_the_order_of_the_tasks(make, tmp_path, abandoned):
    recorder = make(Backwards(1.0))
    done = recorder.evaluate(TASKS)
    assert set(done) == {t.hash for t in TASKS}
    recorder.log.close()
    again = abandoned(RunLog(tmp_path / "log"))
    assert [entry.payload["key"] for entry in again.ahead] == ["key0", "key1", "key2", "key3"]


@pytest.mark.parametrize("seconds", [2 * AT_RISK, AT_RISK / 10])
def test_a_kill_takes_next_to_no_training_that_waits_for_its_turn(make, seconds):
    """Nothing is closed here, as in a kill: only what was committed is seen by the next process."""
    with pytest.raises(KeyboardInterrupt):
        make(Backwards(seconds, until=3)).evaluate(TASKS)
    second = make(Backwards(seconds))
    second.evaluate(TASKS)
    lost = len(second.evaluator.asked) - 1  # one had not been computed
    assert lost == (0 if seconds > AT_RISK else 3)
    assert lost * seconds <= AT_RISK


def test_what_the_log_has_reaches_the_cache_after_a_kill(make, tmp_path, abandoned):
    first = make(Backwards(0.0))
    first.evaluate(TASKS)  # in the log, not committed
    assert abandoned(Cache(tmp_path / "cache")).split(TASKS)[0] == {}
    second = make(Backwards(0.0))
    assert second.restore_cache() == 4
    second.evaluate(TASKS)
    assert second.evaluator.asked == []
    second.cache.close()
    hits, misses = abandoned(Cache(tmp_path / "cache")).split(TASKS)
    assert len(hits) == 4
    assert misses == []


def test_what_another_driver_trains_is_waited_for_and_not_trained(make, tmp_path, abandoned):
    """It claims one task, finishes it, and dies while it claims another."""
    other = Cache(tmp_path / "cache")
    other.claims.me = f"{os.getppid()}:"
    alive = [True]
    assert other.claims.take([TASKS[1].hash, TASKS[2].hash]) == {TASKS[1].hash, TASKS[2].hash}
    recorder = make(Backwards(0.0))

    def pause(seconds):
        if not other._new:
            other.add(Evaluation(TASKS[1].hash, Status.OK, 0.5, 0.9))
            other.commit()
            alive[0] = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "_alive", lambda holder: alive[0])
        patch.setattr(recorders.time, "sleep", pause)
        done = recorder.evaluate(TASKS)
    assert len(done) == 4
    assert done[TASKS[1].hash].cached
    assert {t.key for t in recorder.evaluator.asked} == {"key0", "key2", "key3"}
    assert recorder.cache.claims.expired == 1
    recorder.log.close()
    told = [p["key"] for p, _ in read_log(tmp_path / "log")]
    assert told == ["key0", "key1", "key2", "key3"]
    other.close()


def test_an_evaluator_that_ends_too_early_is_a_line_and_not_a_wait_for_ever(make, monkeypatch):
    class Forgetful(Backwards):
        def evaluate(self, tasks, keep_below=0):
            yield from super().evaluate(tasks[1:])

    def slept(seconds):
        raise AssertionError("nobody else trains anything")

    monkeypatch.setattr(recorders.time, "sleep", slept)
    recorder = make(Forgetful(2 * AT_RISK))
    with pytest.raises(UserError, match=r"got none of 1 \(the first is of f\); .*`resume`"):
        recorder.evaluate(TASKS)
    again = make(Backwards(0.0))
    again.evaluate(TASKS)
    assert again.evaluator.asked == TASKS[:1]


class Failing(Backwards):
    """The machine fails at some of the tasks, by key."""

    def __init__(self, *keys):
        super().__init__(0.0)
        self.keys = keys

    def evaluate(self, tasks, keep_below=0):
        for result, task in zip(super().evaluate(tasks), reversed(tasks), strict=True):
            lost = Evaluation(task.hash, Status.ERROR, message="no memory")
            yield lost if task.key in self.keys else result


RELU = [Task("ReLU", f"key{k}", 10, 1, "context") for k in range(4)]


@pytest.mark.parametrize("needed", [{"key0"}, ()])
def test_who_is_needed_is_named_where_the_machine_fails_it_and_tried_again_by_a_resume(
    make, tmp_path, needed
):
    """So is all where all fail. What others have failed at is not in the log then, though they were
    done before: a machine that fails all is mended, and they have not failed.
    """
    fails = [task.key for task in RELU if not needed or task.key != "key1"]
    words = r"^ReLU: a training failed twice by the machine's fault: no memory; .*`resume` tries"
    with pytest.raises(UserError, match=words) as error:
        make(Failing(*fails)).evaluate(RELU, needed=needed)
    assert "\n" not in str(error.value)
    assert list(read_log(tmp_path / "log")) == []
    again = make(Failing())
    done = again.evaluate(RELU, needed=needed)
    assert {result.status for result in done.values()} == {Status.OK} and not again.faults


def test_who_is_not_needed_may_fail_and_a_resume_knows_it(make, tmp_path):
    first = make(Failing("key1", "key2"))
    done = first.evaluate(RELU, needed={"key0"})
    assert [done[t.hash].status for t in RELU] == [Status.OK, *[Status.ERROR] * 2, Status.OK]
    told = [payload["status"] for payload, _ in read_log(tmp_path / "log")]
    assert told == [done[t.hash].status for t in RELU]
    second = make(Failing())
    second.restore_cache()
    assert {k: r.status for k, r in second.evaluate(RELU, needed={"key0"}).items()} == {
        k: r.status for k, r in done.items()
    }
    assert second.evaluator.asked == []
    assert first.faults == second.faults == {"key1": "no memory", "key2": "no memory"}


def test_an_error_and_a_later_success_of_one_task_are_both_replayed(make):
    class Moody(Backwards):
        def evaluate(self, tasks, keep_below=0):
            self.asked += tasks
            bad = len(self.asked) == 1
            status = Status.ERROR if bad else Status.OK
            yield Evaluation(tasks[0].hash, status, *(() if bad else (0.5, 0.9)), message="m")

    first = make(Moody(0.0))
    given = [first.evaluate(TASKS[:1])[TASKS[0].hash].status for _ in range(2)]
    assert given == [Status.ERROR, Status.OK]
    second = make(Moody(0.0))
    second.restore_cache()
    again = [second.evaluate(TASKS[:1])[TASKS[0].hash].status for _ in range(2)]
    assert again == given
    assert second.evaluator.asked == []
