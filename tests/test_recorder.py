from __future__ import annotations

import pytest

from hybridsearch.recorder import AT_RISK, Recorder
from hybridsearch.store import Cache, RunLog
from hybridsearch.types import Evaluation, Status, Task

TASKS = [Task("f", f"key{k}", 10, 1, "context") for k in range(4)]


class Backwards:
    """The last task is done first; `until` says how many are before a kill."""

    def __init__(self, seconds, until=99):
        self.seconds, self.until, self.asked = seconds, until, []

    def evaluate(self, tasks, keep=False):
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
    assert [p["key"] for p, _ in again.ahead] == ["key0", "key1", "key2", "key3"]


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
    second.evaluate(TASKS)
    assert second.evaluator.asked == []
    second.cache.close()
    hits, misses = abandoned(Cache(tmp_path / "cache")).split(TASKS)
    assert len(hits) == 4
    assert misses == []
