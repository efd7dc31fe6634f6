"""The cache of evaluations that all runs share: an index, of which the logs are the truth."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from hybridsearch.digests import checksum, dump
from hybridsearch.errors import UserError
from hybridsearch.store import disk
from hybridsearch.store.claims import Claims
from hybridsearch.store.disk import told
from hybridsearch.types import Evaluation, Status, Task

COMMIT_EVERY = 1.0  # seconds between the cache's transactions, which cost several fsyncs each
TASKS_PER_QUERY = 500  # SQLite before 3.32 takes at most 999 parameters
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
Tell = Callable[[str], None]


class Cache:
    """Evaluations by task hash, shared by all strategies and runs: one SQLite file.

    Additions are seen at once by this object, by others after a transaction, which is made at
    most every COMMIT_EVERY seconds unless `commit` is called. A kill loses what was not committed,
    which costs nothing where the log has it. ERROR and TIMEOUT, the machine's faults, are never
    stored. A row that does not fit its checksum is dropped; a file that is damaged, deleted or
    exchanged while it is in use is replaced by a new one, which is told.

    The rollback journal is kept on purpose: it is safe under every SQLite that ships with Python;
    WAL was not with several connections before SQLite 3.51.3 (https://sqlite.org/wal.html).

    claims: which tasks are being trained by whom.
    """

    def __init__(self, path: Path, tell: Tell = lambda text: None) -> None:
        """Raises: UserError when the file is no cache or cannot be written."""
        self.path, self._tell = path, tell
        self._new: dict[str, Evaluation] = {}
        self._committed = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except sqlite3.DatabaseError as error:
            if _damage(error) != sqlite3.SQLITE_CORRUPT:
                raise self._unusable(error) from error
            self._set_aside()
        except OSError as error:
            raise self._unusable(error) from error
        self.claims = Claims(path.with_name(path.name + ".claims"))

    def _unusable(self, error: Exception) -> UserError:
        return UserError(f"cache {self.path} cannot be used ({error}); move it away")

    def _open(self) -> None:
        self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            _prepare(self._db)
        except sqlite3.DatabaseError:
            self._db.close()
            raise
        self._identity = _identity(self.path)

    def _set_aside(self) -> None:
        """Put a damaged file away and begin a new one."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        self._db.close()
        try:
            disk.replace(self.path, aside)
            self._open()
        except (OSError, sqlite3.DatabaseError) as error:
            raise self._unusable(error) from error
        self._tell(
            f"cache {self.path} was damaged; it is kept as {aside.name}, and a new one is begun "
            "with what the log of this run has"
        )

    def split(self, tasks: Iterable[Task]) -> tuple[dict[str, Evaluation], list[Task]]:
        """Tasks that are known, by hash (marked as cached), and those that are not."""
        wanted = list(tasks)
        names = [task.hash for task in wanted]
        hits = {name: replace(self._new[name], cached=True) for name in names if name in self._new}
        hits |= self._found([name for name in names if name not in hits])
        return hits, [task for task in wanted if task.hash not in hits]

    def _found(self, names: list[str]) -> dict[str, Evaluation]:
        """Those of the tasks that the file has, marked as cached."""
        found: dict[str, Evaluation] = {}
        for start in range(0, len(names), TASKS_PER_QUERY):
            found |= self._query(names[start : start + TASKS_PER_QUERY])
        return found

    def _query(self, names: list[str]) -> dict[str, Evaluation]:
        """The same of at most TASKS_PER_QUERY."""
        found, bad = {}, []
        try:
            for name, evaluation in _read(self._db, names):
                if evaluation is None:
                    bad.append(name)
                else:
                    found[name] = evaluation
            if bad:
                self._tell(f"cache {self.path}: {len(bad)} damaged evaluation(s) dropped")
                self._db.executemany("DELETE FROM evaluations WHERE task = ?", [(n,) for n in bad])
        except sqlite3.DatabaseError as error:
            if _damage(error) is None:
                raise told(self.path, error, "cannot be read") from error
            self._set_aside()
            return {}
        return found

    def put_back(self, evaluations: Iterable[Evaluation]) -> int:
        """Store those that are missing and lasting; how many they were."""
        wanted = {e.task: e for e in evaluations if _lasts(e)}
        there = self._found(list(wanted))
        self._new |= {name: e for name, e in wanted.items() if name not in there}
        self.commit()
        return len(wanted) - len(there)

    def add(self, evaluation: Evaluation) -> None:
        """Store an evaluation, unless it is the machine's fault."""
        if _lasts(evaluation):
            self._new.setdefault(evaluation.task, evaluation)
            if time.monotonic() - self._committed > COMMIT_EVERY:
                self.commit()
        else:
            self.claims.release([evaluation.task])

    def commit(self) -> None:
        """Write what was added, for others to see and to survive a kill and a power loss.

        Raises: UserError when the file cannot be written.
        """
        if self._new:
            self._stay()
            try:
                self._write()
            except sqlite3.DatabaseError as error:
                if self._db.in_transaction:
                    self._db.rollback()
                if _damage(error) is None:
                    raise told(self.path, error) from error
                self._set_aside()
                self._write()
        self.claims.release(self._new)
        self._new.clear()
        self._committed = time.monotonic()

    def _write(self) -> None:
        rows = []
        for e in self._new.values():
            payload, volatile = dump(e.payload()), dump(e.volatile())
            rows.append((e.task, payload, volatile, checksum(e.task, payload, volatile)))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?, ?)", rows)
        disk.commit(self._db)

    def _stay(self) -> None:
        """Open the file anew when the one that is open has lost its name."""
        if _identity(self.path) == self._identity:
            return
        self._db.close()
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        self._tell(f"cache {self.path} was deleted or exchanged while in use; opened anew")

    def close(self) -> None:
        try:
            self.commit()
        finally:
            self.claims.close()
            self._db.close()


def look_up(path: Path, tasks: Iterable[str]) -> dict[str, Evaluation]:
    """Evaluations by task hash, those of a cache that others may be using; nothing is changed.

    The connection may only read, so that a journal that a kill has left, which the next driver
    rolls back, is an error here. Damaged rows are passed over. Raises: UserError when there is no
    cache, or it cannot be read now.
    """
    names, found = list(dict.fromkeys(tasks)), dict[str, Evaluation]()
    try:
        with path.open("rb") as file:
            header = file.read(20)
        if header[18:20] == b"\2\2":  # to read a file in WAL mode writes others beside it
            raise UserError(f"cache {path} is in WAL mode, which a resumed run ends")
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
        with closing(db):
            for start in range(0, len(names), TASKS_PER_QUERY):
                part = _read(db, names[start : start + TASKS_PER_QUERY])
                found |= {name: evaluation for name, evaluation in part if evaluation}
    except (OSError, sqlite3.DatabaseError) as error:
        raise UserError(f"cache {path} cannot be read now: {error}") from error
    return found


def _read(db: sqlite3.Connection, names: list[str]) -> Iterator[tuple[str, Evaluation | None]]:
    """Those of the tasks that are there, marked as cached; None for a row that is damaged."""
    marks = ",".join("?" * len(names))
    query = f"SELECT task, payload, volatile, checksum FROM evaluations WHERE task IN ({marks})"
    for name, payload, volatile, check in db.execute(query, names):
        if checksum(name, payload, volatile) != check:
            yield name, None
            continue
        about = {**json.loads(volatile), "cached": True}
        yield name, Evaluation.from_json(json.loads(payload), about)


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = NORMAL")
    if db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        db.execute("PRAGMA journal_mode = DELETE")
    db.execute(
        "CREATE TABLE IF NOT EXISTS evaluations "
        "(task TEXT PRIMARY KEY, payload TEXT NOT NULL, volatile TEXT NOT NULL, "
        'checksum TEXT NOT NULL DEFAULT "") WITHOUT ROWID'
    )
    if "checksum" not in [row[1] for row in db.execute("PRAGMA table_info(evaluations)")]:
        _add_checksums(db)


def _lasts(evaluation: Evaluation) -> bool:
    """Whether it is the function's result and not the machine's fault."""
    return evaluation.status in (Status.OK, Status.DIVERGED)


def _damage(error: sqlite3.DatabaseError) -> int | None:
    """The kind of damage that an error tells of; None where it is something else."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what extends it
    return code if code in DAMAGE else None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name; None where none has."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _add_checksums(db: sqlite3.Connection) -> None:
    """Bring a cache of before the checksums up to date."""
    db.create_function("sum_of", 3, checksum, deterministic=True)
    db.execute("BEGIN IMMEDIATE")
    db.execute('ALTER TABLE evaluations ADD COLUMN checksum TEXT NOT NULL DEFAULT ""')
    db.execute("UPDATE evaluations SET checksum = sum_of(task, payload, volatile)")
    disk.commit(db)
