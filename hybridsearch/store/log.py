"""The log of a run, which is the truth about it.

A record is one line of JSON: a deterministic `payload`, a `volatile` part (seconds, host, cached),
`check`, which stands for the payload and all payloads before it, and `aside`, which stands for the
volatile part at that place. Two runs are the same when their payloads are. See
docs/decisions/0021-log-and-cache.md.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from hybridsearch.digests import checksum, dump
from hybridsearch.errors import UserError
from hybridsearch.store import disk
from hybridsearch.store.anchor import START, Anchor, Mark
from hybridsearch.store.disk import Guarded, told
from hybridsearch.types import Json

SYNC_EVERY = 0.1  # seconds: an fsync costs milliseconds, so records are synced in groups
HEAD = ".head"  # the suffix of the anchor's file
BLOCK = 1 << 16  # bytes read at once from the end of a log

Record = tuple[dict[str, Json], dict[str, Json]]  # payload, volatile


class Entry(NamedTuple):
    """A record as it stands in the log."""

    payload: dict[str, Json]
    volatile: dict[str, Json]
    check: str


class RunLog(Guarded):
    """Append-only JSONL, flushed per record, synced in groups.

    Opened on a log that has records already, it replays: an append must equal the record that
    stands next in the file and is then not written again. So a resumed run either reproduces what
    is there or stops at the first record that differs.
    """

    def __init__(self, path: Path) -> None:
        """Raises: UserError naming what is damaged or lost, or why the file cannot be written."""
        super().__init__(path)
        self.position = 0
        self._anchor = Anchor(path.with_suffix(HEAD))
        try:
            entries = list(_read(path)) if path.exists() else []
            self._check_head(entries)
            self._file = _open(path)
        except UserError:
            self._anchor.close()
            raise
        self.ahead, self._past = deque(entries), list[Record]()
        self._end = Mark(len(entries), entries[-1].check if entries else "")
        self._here = ""  # the checksum at `position`
        self._synced = time.monotonic()
        self._dirty = False

    def _check_head(self, entries: list[Entry]) -> None:
        """Whether the log still has all that it certainly had."""
        records, check = self._anchor.mark
        lost = records - len(entries)
        if lost <= 0 and (records == 0 or entries[records - 1].check == check):
            return
        raise UserError(
            (
                f"{self.path}: {lost:,} record(s) at its end are lost, it had {records:,}"
                if lost > 0
                else f"{self.path} line {records}: not the record that was written there"
            )
            + f"; put the file back, or remove {self._anchor.path} to go on from what it has"
        )

    def skip(self, mark: Mark) -> bool:
        """Count the records up to a checkpoint's as the past; False, and nothing is skipped, when
        the log has others.
        """
        if mark.records > len(self.ahead):
            return False
        if mark.records and self.ahead[mark.records - 1].check != mark.check:
            return False
        self._past = [self._next() for _ in range(mark.records)]
        return True

    def _next(self) -> Record:
        entry = self.ahead.popleft()
        self.position, self._here = self.position + 1, entry.check
        return entry.payload, entry.volatile

    def take_past(self) -> list[Record]:
        """The records that were skipped; they are given away once, since they may be many."""
        past, self._past = self._past, []
        return past

    def append(self, payload: dict[str, Json], volatile: dict[str, Json] | None = None) -> None:
        """Write one record, or check it against the one that is there.

        Raises: UserError naming the line where a resumed run departs from its log, or when the
        disk does not take it.
        """
        if self.ahead:
            there, _ = self._next()
            if dump(there) != dump(payload):
                raise UserError(
                    f"{self.path} line {self.position}: the resumed run gives another record than "
                    "the log has (other versions, data or machine, or your own code?); start a new "
                    "run instead"
                )
            return
        line, check = _line(self._end.check, payload, volatile or {})
        self._on_disk(lambda: disk.write(self._file.fileno(), line))
        self.position, self._here = self.position + 1, check
        self._end = Mark(self._end.records + 1, check)
        self._dirty = True
        if time.monotonic() - self._synced > SYNC_EVERY:
            self.sync()

    @property
    def mark(self) -> Mark:
        """Where the run stands."""
        return Mark(self.position, self._here)

    def sync(self) -> None:
        """Make what was written survive a power loss. Raises: UserError when it may not."""
        if self._dirty:
            self._on_disk(self._sync)
        self._dirty = False
        self._synced = time.monotonic()

    def _sync(self) -> None:
        disk.sync(self._file.fileno())
        self._anchor.write(self._end)  # after the log: it must not count what is not there

    def close(self) -> None:
        try:
            if not self._failed:
                self.sync()
                self._on_disk(self._anchor.sync)
        finally:
            self._file.close()
            self._anchor.close()


def read_log(path: Path) -> Iterator[Record]:
    """The records of a log. Raises: UserError naming the first line that is damaged."""
    for entry in _read(path):
        yield entry.payload, entry.volatile


class Follower:
    """The records of a log that another process appends to, as they come. Nothing is locked or
    written, and only what is new is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = self._number = 0  # bytes and lines read
        self._check = START.check

    def read(self) -> list[Record]:
        """The records since the last call; a last line that is half written comes with a later one.

        Raises: UserError naming a line that is damaged, or when the log has been cut or replaced.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            size, data = 0, b""
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        if size < self._at:
            raise UserError(f"{self.path} has been cut or replaced; watch it anew")
        whole = data[: data.rfind(b"\n") + 1]
        records = []
        for line in whole.split(b"\n")[:-1]:
            self._number += 1
            entry = _entry(self.path, self._number, line + b"\n", self._check)
            self._check = entry.check
            records.append((entry.payload, entry.volatile))
        self._at += len(whole)
        return records


def last_record(path: Path, wanted: Callable[[dict[str, Json]], bool]) -> dict[str, Json] | None:
    """The payload of the last record that is wanted, found from the end of the log; None where
    there is none. Checksums are not looked at. Raises: UserError naming what is damaged.
    """
    end = path.stat().st_size
    rest = b""  # of the line that begins before what was read
    torn = True  # until the first end of a line is met, going back: what follows it is half a line
    with path.open("rb") as file:
        while end > 0:
            start = max(0, end - BLOCK)
            file.seek(start)
            data, end = file.read(end - start) + rest, start
            if torn and b"\n" not in data:
                continue  # a line that is being written
            data, torn = data.rpartition(b"\n")[0] if torn else data, False
            lines = data.split(b"\n")
            rest = lines.pop(0) if start else b""
            for line in reversed(lines):
                try:
                    payload = json.loads(line)["payload"]
                    if wanted(payload):
                        return dict(payload)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise UserError(f"{path}: damaged record") from error
    return None


def _open(path: Path) -> FileIO:
    """A log to append to, without a line that a kill has left half written."""
    new = not path.exists()
    try:
        disk.cut_torn_tail(path)
        if new:
            path.touch()
            disk.sync_folder(path.parent)
        return path.open("ab", buffering=0)
    except OSError as error:
        raise told(path, error) from error


def _read(path: Path) -> Iterator[Entry]:
    """The whole lines of a log, each checked."""
    check = START.check
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # being written, or torn by a kill
            entry = _entry(path, number, line, check)
            check = entry.check
            yield entry


def _entry(path: Path, number: int, line: bytes, before: str) -> Entry:
    """A line as a record. before: the checksum of the record before it. Raises: UserError."""
    try:
        record = json.loads(line)
        written, check = _line(before, record["payload"], record["volatile"])
        whole = written == line
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} line {number}: damaged record; put the file back, or remove this "
            f"line, those after it and {path.with_suffix(HEAD).name} to compute them anew"
        )
    return Entry(record["payload"], record["volatile"], check)


def _line(before: str, payload: Json, volatile: Json) -> tuple[bytes, str]:
    """A record as bytes, and its checksum. before: the checksum of the record before it."""
    told_, beside = dump(payload), dump(volatile)
    check = checksum(before, told_)
    aside = checksum(check, beside, digits=16)
    line = f'{{"aside":"{aside}","check":"{check}","payload":{told_},"volatile":{beside}}}\n'
    return line.encode(), check
