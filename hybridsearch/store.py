"""What is kept: the run's log, which is the truth, and the shared cache, which is an index.

A record of the log is one line of JSON with a deterministic `payload` and a `volatile` part
(seconds, host, cached). Two runs are the same when their payloads are.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hybridsearch.errors import UserError
from hybridsearch.types import Evaluation, Json, State, Status, Task

SYNC_EVERY = 0.1  # seconds: an fsync costs milliseconds, so records are synced in groups
COMMIT_EVERY = 1.0  # seconds between the cache's transactions, which cost several fsyncs each
LOCK = ".lock"
TASKS_PER_QUERY = 500  # SQLite before 3.32 takes at most 999 parameters

Record = tuple[dict[str, Json], dict[str, Json]]  # payload, volatile

# One encoder for all: json.dumps would make one per call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def dump(value: Json) -> str:
    """JSON with a fixed order and no spare space, so that equal values are equal bytes."""
    return _encode(value)


class RunLog:
    """Append-only JSONL, flushed per record, synced in groups.

    Opened on a log that has records already, it replays: an append must equal the record that
    stands next in the file and is then not written again. So a resumed run either reproduces what
    is there or stops at the first record that differs.
    """

    def __init__(self, path: Path, position: int = 0) -> None:
        """position: how many records are already accounted for (by a checkpoint).

        Raises: UserError when the log has fewer, or a damaged one.
        """
        self.path, self.position = path, position
        cut_torn_tail(path)
        records = list(read_log(path)) if path.exists() else []
        if len(records) < position:
            raise UserError(
                f"{path} has {len(records):,} records, its checkpoint counts {position:,}; remove "
                "the checkpoint to go on from what the log has"
            )
        self._past, self.ahead = records[:position], deque(records[position:])
        self._file = path.open("a", encoding="utf-8")
        self._synced = time.monotonic()
        self._dirty = False

    def take_past(self) -> list[Record]:
        """The records up to `position`; they are given away once, since they may be many."""
        past, self._past = self._past, []
        return past

    def append(self, payload: dict[str, Json], volatile: dict[str, Json] | None = None) -> None:
        """Write one record, or check it against the one that is there.

        Raises: UserError naming the line where a resumed run departs from its log.
        """
        self.position += 1
        if self.ahead:
            there, _ = self.ahead.popleft()
            if dump(there) != dump(payload):
                raise UserError(
                    f"{self.path} line {self.position}: the resumed run gives another record than "
                    "the log has (other versions, data or machine?); start a new run instead"
                )
            return
        self._file.write(dump({"payload": payload, "volatile": volatile or {}}) + "\n")
        self._file.flush()
        self._dirty = True
        if time.monotonic() - self._synced > SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Make everything written so far survive a power loss."""
        if self._dirty:
            os.fsync(self._file.fileno())
        self._dirty = False
        self._synced = time.monotonic()

    def close(self) -> None:
        self.sync()
        self._file.close()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a folder to this process: two that append to one file would spoil it.

    A lock on a file that the system takes back when the process ends, however that happens. Where
    the file system has no locks, nothing is kept. Raises: UserError when another process has it.
    """
    with (folder / LOCK).open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            by = file.read().strip()
            raise UserError(
                f"{folder} is in use by another process{f' ({by})' if by else ''}; wait for it, "
                "stop it, or choose another folder"
            ) from error
        except OSError:
            yield
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def cut_torn_tail(path: Path) -> None:
    """Cut off a last line that was not written whole, as a kill can leave it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)


def read_lines(path: Path, fields: Sequence[str]) -> Iterator[dict[str, Json]]:
    """The lines of a JSONL file, each an object that has these fields.

    Raises: UserError naming the first line that is damaged.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return  # being written
            try:
                record = json.loads(line)
                for name in fields:
                    record[name]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path} line {number}: damaged record") from error
            yield record


def read_log(path: Path) -> Iterator[Record]:
    """The records of a log. Raises: UserError naming the first line that is damaged."""
    for record in read_lines(path, ("payload", "volatile")):
        yield record["payload"], record["volatile"]


class Cache:
    """Evaluations by task hash, shared by all strategies and runs: one SQLite file.

    Additions are seen at once by this object, by others after a transaction, which is made at
    most every COMMIT_EVERY seconds unless `commit` is called. A kill loses what was not committed,
    which costs nothing where the log has it. ERROR and TIMEOUT, the machine's faults, are never
    stored. The rollback journal is kept on purpose: it is safe under every SQLite that ships with
    Python, WAL is not.
    """

    def __init__(self, path: Path) -> None:
        """Raises: UserError when the file is no cache or cannot be written."""
        self.path = path
        self._new: dict[str, Evaluation] = {}
        self._committed = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS evaluations "
                "(task TEXT PRIMARY KEY, payload TEXT NOT NULL, volatile TEXT NOT NULL) "
                "WITHOUT ROWID"
            )
        except (sqlite3.DatabaseError, OSError) as error:
            raise UserError(f"cache {path} cannot be used ({error}); move it away") from error

    def split(self, tasks: Iterable[Task]) -> tuple[dict[str, Evaluation], list[Task]]:
        """Tasks that are known, by hash (marked as cached), and those that are not."""
        wanted = list(tasks)
        names = [task.hash for task in wanted]
        hits = {name: replace(self._new[name], cached=True) for name in names if name in self._new}
        names = [name for name in names if name not in hits]
        for start in range(0, len(names), TASKS_PER_QUERY):
            part = names[start : start + TASKS_PER_QUERY]
            marks = ",".join("?" * len(part))
            found = self._db.execute(f"SELECT * FROM evaluations WHERE task IN ({marks})", part)
            for name, payload, volatile in found:
                about = {**json.loads(volatile), "cached": True}
                hits[name] = Evaluation.from_json(json.loads(payload), about)
        return hits, [task for task in wanted if task.hash not in hits]

    def add(self, evaluation: Evaluation) -> None:
        """Store an evaluation, unless it is the machine's fault."""
        if evaluation.status in (Status.OK, Status.DIVERGED):
            self._new.setdefault(evaluation.task, evaluation)
            if time.monotonic() - self._committed > COMMIT_EVERY:
                self.commit()

    def commit(self) -> None:
        """Write what was added, for others to see and to survive a kill and a power loss.

        Raises: UserError when the file cannot be written.
        """
        rows = [(e.task, dump(e.payload()), dump(e.volatile())) for e in self._new.values()]
        try:
            if rows:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?)", rows)
                self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._db.rollback()
            raise UserError(f"cache {self.path} cannot be written ({error})") from error
        self._new.clear()
        self._committed = time.monotonic()

    def close(self) -> None:
        self.commit()
        self._db.close()


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, value: Json) -> None:
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def save_checkpoint(path: Path, values: Mapping[str, Json], proposer: State) -> None:
    """Write the state of a run atomically, as tensors and JSON (safetensors), no pickle."""
    note = {"run": dump(dict(values)), "proposer": dump(proposer.values)}
    partial = path.with_name(path.name + ".partial")
    save_file(dict(proposer.arrays), partial, metadata=note)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> tuple[dict[str, Json], State] | None:
    """The last checkpoint of a run; None where there is none yet.

    Raises: UserError when it is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            note = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(note["run"]), State(json.loads(note["proposer"]), arrays)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path}: damaged checkpoint; remove it to replay the log") from error
