"""How far a log has certainly come, kept beside it: without that, nobody misses its last lines."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hybridsearch.digests import checksum
from hybridsearch.errors import UserError
from hybridsearch.store import disk
from hybridsearch.store.disk import told

OWN = 16  # hex digits of a slot's own checksum
SLOT = 10 + 1 + 32 + 1 + OWN + 1  # bytes: records, checksum of the last one, own; spaces, newline


class Mark(NamedTuple):
    """A place in a log: how many records are before it, and the checksum of the last of them."""

    records: int
    check: str


START = Mark(0, "")


class Anchor:
    """Two slots, written in turn, so that one is whole whenever the machine stops."""

    def __init__(self, path: Path) -> None:
        """Raises: UserError when the file is damaged or cannot be written."""
        self.path = path
        try:
            path.touch()
            self._file = path.open("r+b", buffering=0)
            data = self._file.read(2 * SLOT)
        except OSError as error:
            raise told(path, error) from error
        slots = [_read(data[:SLOT]), _read(data[SLOT : 2 * SLOT])]
        found = [mark for mark in slots if mark is not None]
        # A first slot that is not whole is what a kill leaves, and says nothing.
        if not found and len(data) >= SLOT and data.strip(b"\0"):
            self._file.close()
            raise UserError(f"{path} is damaged; remove it to go on from what the log has")
        self.mark = max(found, default=START)
        self._next = 1 if slots[0] is not None and self.mark == slots[0] else 0

    def write(self, mark: Mark) -> None:
        """Note that the log has come so far. Raises: OSError."""
        line = f"{mark.records:010d} {mark.check}"
        data = f"{line} {checksum(line, digits=OWN)}\n".encode()
        self._file.seek(self._next * SLOT)
        disk.write(self._file.fileno(), data)
        self._next, self.mark = 1 - self._next, mark

    def sync(self) -> None:
        disk.sync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _read(slot: bytes) -> Mark | None:
    """What a slot says; None where it is empty or damaged."""
    line, _, own = slot[:-1].decode("latin-1").rpartition(" ")
    if len(slot) != SLOT or checksum(line, digits=OWN) != own:
        return None
    records, check = line.split(" ")
    return Mark(int(records), check)
