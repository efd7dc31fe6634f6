from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from hybridsearch.store import claims as module
from hybridsearch.store.claims import Claims

HOLDER = """
import sys, time
from pathlib import Path
from hybridsearch.store import claims
claims.RENEW = float(sys.argv[2])
one = claims.Claims(Path(sys.argv[1]))
print(*sorted(one.take(sys.argv[3:])), flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A function that starts another process which claims tasks; returns it."""
    started = []

    def start(*names, renew=0.05):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "claims"), str(renew), *names]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def mine(tmp_path):
    claims = Claims(tmp_path / "claims")
    yield claims
    claims.close()


def test_what_another_claims_is_not_taken_until_he_is_dead(holder, mine):
    other = holder("a", "b")
    assert mine.take(["a", "c"]) == {"c"}
    assert mine.others()
    other.kill()
    other.wait()
    assert mine.take(["a", "b"]) == {"a", "b"}
    assert mine.expired == 2
    assert not mine.others()


def test_a_driver_that_only_waits_is_seen_until_it_does_no_more(mine, monkeypatch):
    waiting = Claims(mine.path)
    waiting.me = f"{os.getppid()}:waiting"
    monkeypatch.setattr(module, "_alive", lambda holder: True)
    for _ in range(2):
        waiting.wait()
    assert mine.others() and mine.take(["a"]) == {"a"}
    waiting.wait(False)
    assert not mine.others()
    waiting.close()


def rows(claims):
    return claims._db.execute("SELECT task, holder FROM claims ORDER BY task").fetchall()


def test_the_claims_of_a_killed_driver_keep_nobody_from_its_rest_and_are_removed(
    holder, mine, monkeypatch
):
    """Else every later run would commit after every rung."""
    killed, alive = holder("a", "b"), holder("c")
    killed.kill()
    killed.wait()
    assert mine.others()
    assert len(rows(mine)) == 3  # it may only look dead
    monkeypatch.setattr(module, "LASTS", 0.4)
    time.sleep(0.5)
    assert mine.others()
    assert [task for task, _ in rows(mine)] == ["c"]
    alive.kill()
    alive.wait()
    assert not mine.others()


def test_a_driver_that_was_paused_keeps_its_claims(mine, monkeypatch):
    """They are not removed, and where somebody has done so they come back; what somebody has taken
    over stays his.
    """
    monkeypatch.setattr(module, "RENEW", 0.02)
    paused, other = Claims(mine.path), f"{os.getppid()}:"
    paused.me = f"{os.getpid()}:paused"
    monkeypatch.setattr(module, "_alive", lambda holder: True)
    with monkeypatch.context() as patch:
        patch.setattr(Claims, "_beat", lambda self: None)
        paused.take(["a", "b", "c"])
    with monkeypatch.context() as patch:
        patch.setattr(module, "LASTS", -1.0)
        assert not mine.others()
    assert len(rows(mine)) == 3
    mine._db.execute("DELETE FROM claims WHERE task != 'c'")
    mine._db.execute("UPDATE claims SET holder = ?", (other,))
    paused.release(["b"])
    paused._beat()
    deadline = time.monotonic() + 10
    while len(rows(mine)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rows(mine) == [("a", paused.me), ("c", other)]
    paused.close()


def test_a_process_that_is_dead_and_not_yet_waited_for_holds_nothing(holder, mine):
    other = holder("a")
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert mine.take(["a"]) == {"a"}


def test_what_is_renewed_lasts_and_what_is_not_expires(holder, mine, monkeypatch):
    monkeypatch.setattr(module, "LASTS", 0.6)
    holder("alive", renew=0.05)
    holder("frozen", renew=60)
    time.sleep(1.2)
    assert mine.take(["alive", "frozen"]) == {"frozen"}
    assert mine.expired == 1


def test_a_holder_that_lost_a_claim_does_not_release_the_one_of_another(holder, mine, monkeypatch):
    assert mine.take(["a"]) == {"a"}
    monkeypatch.setattr(module, "LASTS", -1.0)
    thief = Claims(mine.path)
    thief.me = f"{os.getppid()}:"
    assert thief.take(["a"]) == {"a"}
    mine.release()
    monkeypatch.setattr(module, "LASTS", 60.0)
    monkeypatch.setattr(module, "_alive", lambda holder: True)
    assert mine.take(["a"]) == set()
    thief.close()


def test_what_is_released_is_anybodys(holder, mine):
    assert mine.take(["a", "b"]) == {"a", "b"}
    mine.release(["a"])
    other = holder("a", "b")
    assert mine.take(["a", "b"]) == {"b"}
    other.kill()


def test_claims_of_before_a_reboot_are_void(mine, monkeypatch):
    other = Claims(mine.path)
    other.me = f"{os.getppid()}:"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_boot", lambda: "another")
        other.take(["a"])
        other.take(["b"])
    monkeypatch.setattr(module, "_alive", lambda holder: True)
    assert mine.take(["a"]) == {"a"}
    assert not mine.others()
    other.close()


def test_a_damaged_file_is_begun_anew_and_one_that_cannot_be_is_done_without(tmp_path):
    path = tmp_path / "claims"
    path.write_text("rubbish" * 1000)
    claims = Claims(path)
    assert claims.take(["a"]) == {"a"}
    claims.close()
    claims = Claims(tmp_path / "none" / "claims")
    assert claims.take(["a"]) == {"a"}
    assert not claims.others()
    claims.close()
