"""The only place that writes and syncs files: whole or not at all, and errors in one line.

All that changes a run's files goes through `write`, `sync`, `replace` and `commit`, so that a test
can end the process before and after each of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hybridsearch.errors import UserError
from hybridsearch.types import Json

LOCK = ".lock"
LOCKS = Path("/proc/locks")


def told(path: Path, error: Exception, what: str = "cannot be written") -> UserError:
    """An error of the disk for people."""
    reason = getattr(error, "strerror", None) or str(error)
    return UserError(
        f"{path} {what}: {reason}; what was logged before is kept, so mend that and resume"
    )


def make_folder(path: Path) -> None:
    """Make a folder, and those above it. Raises: UserError when something else is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be made a folder: {error.strerror}; choose another"
        ) from error


def expect_parent(path: Path) -> None:
    """Raises: UserError when the folder that a file is to be put in is not there: to make one by
    a slip of the pen is worse than to say so.
    """
    if not path.parent.is_dir():
        raise UserError(
            f"{path} cannot be written: there is no folder {path.parent}; make it, or choose "
            "another place"
        )


# The four that touch the disk ----------------------------------------------------------------


def write(descriptor: int, data: bytes) -> None:
    """All of the data, or an OSError. A part may have been written even then."""
    while data:
        data = data[os.write(descriptor, data) :]


def sync(descriptor: int) -> None:
    os.fsync(descriptor)


def replace(partial: Path, path: Path) -> None:
    partial.replace(path)


def commit(database: sqlite3.Connection) -> None:
    database.execute("COMMIT")


# ----------------------------------------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def put(partial: Path, path: Path) -> None:
    """Give a finished file its name; it survives a power loss from then on."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
    replace(partial, path)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically. Raises: UserError when the disk does not take it."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        replace(partial, path)
    except OSError as error:
        raise told(path, error) from error


def write_json(path: Path, value: Json) -> None:
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Json]:
    """An object from a file. Raises: UserError when it cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read, or is damaged") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected an object, got {type(value).__name__}")
    return value


class Guarded:
    """A file after whose first failure nothing is tried again: after a failed fsync the next one
    may succeed though the data are gone, and behind half a line no other may stand.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._failed = path, False

    def _on_disk(self, do: Callable[[], None]) -> None:
        """Raises: UserError when the disk does not take it, or has failed before."""
        try:
            if self._failed:
                raise OSError("an earlier write or sync of it has failed")
            do()
        except OSError as error:
            self._failed = True
            raise told(self.path, error) from error


class Appender(Guarded):
    """A file of lines that is only ever appended to, by one process, without buffering.

    Raises: UserError when the disk does not take something.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            cut_torn_tail(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise told(path, error) from error

    def add(self, lines: str) -> None:
        """Append whole lines."""
        self._on_disk(lambda: write(self._file.fileno(), lines.encode()))

    def sync(self) -> None:
        """Make what was added survive a power loss."""
        self._on_disk(lambda: sync(self._file.fileno()))

    def close(self) -> None:
        """Sync and close; once more does nothing."""
        try:
            if not (self._failed or self._file.closed):
                self.sync()
        finally:
            self._file.close()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a folder to this process: two that append to one file would spoil it.

    A lock on a file that the system takes back when the process ends, however that happens. Where
    the file system has no locks, nothing is kept. Raises: UserError when another process has it, or
    the folder cannot be written.
    """
    try:
        file = (folder / LOCK).open("a+b", buffering=0)
    except OSError as error:
        raise told(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            by = file.read().decode("ascii", "replace").strip()
            raise UserError(
                f"{folder} is in use by another process{f' ({by})' if by else ''}; wait for it, "
                "stop it, or choose another folder"
            ) from error
        except OSError:
            yield
            return
        try:
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        except OSError as error:
            raise told(folder, error) from error
        yield


def held_by(folder: Path) -> int | None:
    """The process of this machine that holds a folder; None where there is none.

    No lock is taken to find out, not for a moment: a driver that begins in that moment would find
    its folder in use, and end. Linux lists its locks by device and file number; a file system that
    shows another device there (overlays) is known by the process number that `hold` writes. Where
    nothing is listed that number counts for as long as there is such a process. Holders on other
    machines, or outside of this container, are not seen.
    """
    try:
        with (folder / LOCK).open(encoding="ascii", errors="replace") as file:
            about, text = os.fstat(file.fileno()), file.read(32).strip()
    except OSError:
        return None
    written = int(text) if text.isdecimal() else None
    try:
        listed = LOCKS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return written if written and _lives(written) else None
    device = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}"
    for line in listed:  # 1: FLOCK  ADVISORY  WRITE 7145 fe:00:2206045 0 EOF; see proc(5)
        words = line.split()
        if len(words) < 8 or words[1:4:2] != ["FLOCK", "WRITE"] or not words[4].isdecimal():
            continue
        where, _, number = words[5].rpartition(":")
        process = int(words[4])
        if number == str(about.st_ino) and (where == device or process == written):
            return process
    return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # being written
            try:
                record = json.loads(line)
                for name in fields:
                    record[name]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{path} line {number}: damaged record") from error
            yield record
