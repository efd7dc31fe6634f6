from __future__ import annotations

import json
import sqlite3

import pytest

from hybridsearch.digests import dump
from hybridsearch.errors import UserError
from hybridsearch.store import cache as module
from hybridsearch.store.cache import Cache, look_up
from hybridsearch.types import Evaluation, Status, Task


def task(**changes) -> Task:
    return Task(**{"function": "f", "key": "k", "steps": 3, "seed": 1, "context": "c", **changes})


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
    monkeypatch.setattr(module, "COMMIT_EVERY", -1.0)
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
    tasks = [task(seed=k) for k in range(2 * module.TASKS_PER_QUERY + 7)]
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
    cache.claims.close()


def good(seed=1) -> Evaluation:
    return Evaluation(task(seed=seed).hash, Status.OK, 0.25, 0.9, ((10, 0.5),), seconds=3.0)


@pytest.fixture
def filled(tmp_path):
    """The path of a cache with 50 evaluations."""
    cache = Cache(tmp_path / "c.sqlite")
    for seed in range(50):
        cache.add(good(seed))
    cache.close()
    return cache.path


def opened(path, abandoned):
    """A cache, and the list of what it tells."""
    told = []
    return abandoned(Cache(path, told.append)), told


@pytest.mark.parametrize("column", ["payload", "volatile"])
def test_a_changed_row_is_dropped_and_told_and_can_be_stored_again(filled, abandoned, column):
    with sqlite3.connect(filled) as db:
        other = f"replace(replace({column}, '0.25', '0.26'), '3.0', '4.0')"
        change = f"UPDATE evaluations SET {column} = {other} WHERE task = ?"
        assert db.execute(change, (task(seed=3).hash,)).rowcount == 1
    db.close()
    cache, told = opened(filled, abandoned)
    hits, misses = cache.split([task(seed=3), task(seed=4)])
    assert [m.seed for m in misses] == [3]
    assert list(hits) == [task(seed=4).hash]
    assert "1 damaged evaluation" in told[0]
    cache.add(good(3))
    cache.commit()
    again, told = opened(filled, abandoned)
    assert again.split([task(seed=3)])[0][task(seed=3).hash].payload() == good(3).payload()
    assert told == []


def test_no_flipped_byte_gives_a_wrong_result(filled, abandoned):
    """Of every 97th byte of the file; what comes back is right, or nothing, or one line."""
    data, tasks = filled.read_bytes(), [task(seed=k) for k in range(50)]
    noticed = 0
    for place in range(0, len(data), 97):
        flipped = bytearray(data)
        flipped[place] ^= 0x11
        filled.write_bytes(flipped)
        try:
            cache, told = opened(filled, abandoned)
            hits, _ = cache.split(tasks)
        except UserError:
            noticed += 1
            continue
        noticed += bool(told)
        for one in tasks:
            if one.hash in hits:
                assert hits[one.hash].payload() == good(one.seed).payload()
        cache.claims.close()
    assert noticed > 10


def test_a_damaged_file_is_put_aside_and_a_new_one_begun(filled, abandoned):
    data = bytearray(filled.read_bytes())
    data[120:4000] = b"x" * 3880  # the header stays
    filled.write_bytes(data)
    cache, told = opened(filled, abandoned)
    assert cache.split([task()])[0] == {}
    assert "was damaged" in told[0]
    cache.add(good())
    cache.commit()
    assert opened(filled, abandoned)[0].split([task()])[1] == []
    assert len(list(filled.parent.glob("*.damaged-*"))) == 1


@pytest.mark.parametrize("swap", [True, False])
def test_a_file_that_is_deleted_or_exchanged_in_use_is_noticed(filled, abandoned, tmp_path, swap):
    old = filled.read_bytes()
    cache, told = opened(filled, abandoned)
    filled.unlink()
    if swap:
        (tmp_path / "old").write_bytes(old)
        (tmp_path / "old").rename(filled)
    cache.add(good(77))
    cache.commit()
    assert "deleted or exchanged" in told[0]
    found = opened(filled, abandoned)[0].split([task(seed=77), task(seed=0)])[0]
    assert len(found) == (2 if swap else 1)


def test_what_is_missing_is_put_back(filled, abandoned):
    cache, _ = opened(filled, abandoned)
    fault = Evaluation(task(seed=99).hash, Status.ERROR, message="killed")
    assert cache.put_back([good(k) for k in range(45, 55)] + [fault]) == 5
    assert cache.put_back([good(k) for k in range(45, 55)]) == 0
    assert opened(filled, abandoned)[0].split([task(seed=54), task(seed=99)])[1] == [task(seed=99)]


def test_a_cache_of_before_the_checksums_is_brought_up_to_date(tmp_path, abandoned):
    path = tmp_path / "c.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE evaluations (task TEXT PRIMARY KEY, payload TEXT NOT NULL, "
            "volatile TEXT NOT NULL) WITHOUT ROWID"
        )
        row = good().task, dump(good().payload()), dump(good().volatile())
        db.execute("INSERT INTO evaluations VALUES (?, ?, ?)", row)
    db.close()
    for _ in range(2):
        cache, told = opened(path, abandoned)
        assert cache.split([task()])[0][task().hash].payload() == good().payload()
        assert told == []


def test_a_full_disk_is_one_line_and_nothing_is_stored_by_half(filled, abandoned, monkeypatch):
    cache, _ = opened(filled, abandoned)
    pages = cache._db.execute("PRAGMA page_count").fetchone()[0]
    cache._db.execute(f"PRAGMA max_page_count = {pages}")
    for seed in range(100, 300):
        cache._new[task(seed=seed).hash] = good(seed)
    with pytest.raises(UserError, match="cannot be written: database or disk is full"):
        cache.commit()
    assert opened(filled, abandoned)[0].split([task(seed=100)])[0] == {}


def test_wal_is_not_used(tmp_path, abandoned):
    path = tmp_path / "c.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x)")
    db.close()
    opened(path, abandoned)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    db.close()


# Reading a cache that others use --------------------------------------------------------------


def everything(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_it_is_looked_up_without_a_change(filled, tmp_path):
    before = everything(tmp_path)
    found = look_up(filled, [good().task, "not there", good().task])
    assert everything(tmp_path) == before
    assert found == {good().task: found[good().task]}
    assert found[good().task].payload() == good().payload()
    assert found[good().task].cached


def test_a_damaged_row_is_passed_over_and_stays(filled):
    db = sqlite3.connect(filled)
    db.execute("UPDATE evaluations SET payload = replace(payload, '0', '1')")
    db.commit()
    db.close()
    before = filled.read_bytes()
    assert look_up(filled, [good().task]) == {}
    assert filled.read_bytes() == before


def test_what_a_kill_left_half_done_is_not_repaired(filled, tmp_path):
    """A hot journal is rolled back by the next driver; who only reads must say so, or wait."""
    db = sqlite3.connect(filled, isolation_level=None)
    db.execute("PRAGMA cache_size = 1")
    db.execute("BEGIN IMMEDIATE")
    rows = [(f"t{k}", "x" * 900, "y", "z") for k in range(400)]
    db.executemany("INSERT INTO evaluations VALUES (?, ?, ?, ?)", rows)
    folder = tmp_path / "left"
    folder.mkdir()
    for suffix in ("", "-journal"):  # as they are on the disk at that moment
        name = filled.name + suffix
        (folder / name).write_bytes((filled.parent / name).read_bytes())
    db.execute("ROLLBACK")
    db.close()
    before = everything(folder)
    assert len(before) == 2
    with pytest.raises(UserError, match="cannot be read now"):
        look_up(folder / filled.name, [good().task])
    assert everything(folder) == before


@pytest.mark.parametrize("what", ["missing", "no cache", "another table", "wal"])
def test_a_cache_that_cannot_be_read_is_one_line(tmp_path, what):
    path = tmp_path / "cache.sqlite"
    if what == "no cache":
        path.write_text("hello " * 1000)
    elif what != "missing":
        db = sqlite3.connect(path)
        if what == "wal":
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE other (x)")
        db.commit()
        db.close()
    before = everything(tmp_path)
    with pytest.raises(UserError, match="WAL" if what == "wal" else "cannot be read now"):
        look_up(path, ["t"])
    assert everything(tmp_path) == before
