"""Who trains what, so that runs that share a cache train no task twice.

A claim is a row that its holder renews; it expires when the holder is dead or has not renewed it
for long (a frozen process), and then the task is anybody's. Claims save work and decide nothing, so
the file has no fsyncs, and where it cannot be used everybody trains for himself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path

LASTS = 30.0  # seconds after its last renewal when a claim expires
RENEW = 5.0  # seconds between renewals


class Claims:
    """The claims of one driver. expired: how many of others it has taken over."""

    def __init__(self, path: Path) -> None:
        self.path, self.expired = path, 0
        self.me = _name_of(os.getpid())
        self._held: frozenset[str] = frozenset()
        self._lock = threading.Lock()  # of what is renewed: it must not bring back what is released
        self._db = self._open()
        self._stop = threading.Event()
        self._heart: threading.Thread | None = None

    def _open(self) -> sqlite3.Connection | None:
        for _ in range(2):
            db = None
            try:
                db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
                db.execute("PRAGMA synchronous = OFF")
                db.execute("PRAGMA journal_mode = DELETE")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS claims (task TEXT PRIMARY KEY, "
                    "holder TEXT NOT NULL, boot TEXT NOT NULL, renewed REAL NOT NULL) WITHOUT ROWID"
                )
                return db
            except sqlite3.DatabaseError:
                if db is not None:
                    db.close()
                with contextlib.suppress(OSError):
                    self.path.unlink()  # what a power loss has left of it
            except OSError:
                break
        return None

    def take(self, names: Iterable[str]) -> set[str]:
        """Those of the tasks that this driver may train: nobody else does."""
        wanted = list(dict.fromkeys(names))
        if self._db is None or not wanted:
            return set(wanted)
        now, boot, mine = _now(), _boot(), []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for name in wanted:
                row = self._db.execute(
                    "SELECT holder, boot, renewed FROM claims WHERE task = ?", (name,)
                ).fetchone()
                if row is not None and row[0] != self.me:
                    if _lasts(row, now, boot):
                        continue
                    self.expired += 1
                mine.append((name, self.me, boot, now))
            self._db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", mine)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError:
            self._give_up()
            return set(wanted)
        taken = {row[0] for row in mine}
        self._held |= taken  # a new set: the thread may be reading the old one
        self._beat()
        return taken

    def release(self, names: Iterable[str] | None = None) -> None:
        """Give up claims, all by default: the results are where others see them."""
        gone = self._held if names is None else self._held.intersection(names)
        if self._db is None or not gone:
            return
        rows = [(name, self.me) for name in gone]
        with self._lock:
            self._held -= gone
            try:
                self._db.executemany("DELETE FROM claims WHERE task = ? AND holder = ?", rows)
            except sqlite3.DatabaseError:
                self._give_up()

    def wait(self, waiting: bool = True) -> None:
        """Show others, or no longer, that this driver waits for what they have: one that only waits
        claims no task by which `others` would see it.
        """
        mark = f"waiting: {self.me}"
        if not waiting:
            self.release([mark])
        elif mark not in self._held:
            self.take([mark])

    def others(self) -> bool:
        """Whether anybody else claims anything, or waits, and so may want what this driver has.
        Claims of dead drivers, for which nobody waits, are removed; not those of one that is only
        paused, nor of one that looks dead from here and renews them (in another container).
        """
        if self._db is None:
            return False
        now, boot = _now(), _boot()
        try:
            rows = self._db.execute(
                "SELECT holder, boot, MAX(renewed) FROM claims WHERE holder != ? "
                "GROUP BY holder, boot",
                (self.me,),
            ).fetchall()
            if void := [row for row in rows if _void(row, now, boot)]:  # unless renewed meanwhile
                self._db.executemany(
                    "DELETE FROM claims WHERE holder = ? AND boot = ? AND renewed <= ?", void
                )
            return any(_lasts(row, now, boot) for row in rows)
        except sqlite3.DatabaseError:
            self._give_up()
            return False

    def close(self) -> None:
        self.release()
        self._stop.set()
        if self._heart is not None:
            self._heart.join()
        if self._db is not None:
            self._db.close()

    def _give_up(self) -> None:
        """Claim nothing any more."""
        if self._db is not None:
            self._db.close()
        self._db = None

    def _beat(self) -> None:
        """Have what is held renewed from now on, by a thread with a connection of its own."""
        if self._heart is None:
            self._heart = threading.Thread(target=self._renew, name="claims", daemon=True)
            self._heart.start()

    def _renew(self) -> None:
        while not self._stop.wait(RENEW):
            try:
                with contextlib.closing(sqlite3.connect(self.path, timeout=RENEW)) as db:
                    db.execute("PRAGMA synchronous = OFF")
                    boot = _boot()
                    with self._lock, db:
                        # Also what another removed while this process was paused; what was taken
                        # over meanwhile stays with who has it.
                        now = _now()
                        mine = [(name, self.me, boot, now) for name in self._held]
                        db.executemany(
                            "INSERT INTO claims VALUES (?, ?, ?, ?) ON CONFLICT (task) DO UPDATE "
                            "SET renewed = excluded.renewed WHERE holder = excluded.holder",
                            mine,
                        )
            except sqlite3.Error:
                continue  # at the next beat


def _now() -> float:
    """Seconds on a clock that all processes of this machine share and nobody sets."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _boot() -> str:
    """Tells this run of the machine from others; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _name_of(process: int) -> str:
    """A process and when it began, since numbers are used again."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return f"{process}:"
    fields = text.rpartition(")")[2].split()  # from the third on; see proc(5)
    return f"{process}:{'dead' if fields[0] in 'ZX' else fields[19]}"


def _lasts(claim: tuple[str, str, float], now: float, here: str) -> bool:
    """Whether a claim (holder, boot, renewed) holds. here: this run of the machine."""
    holder, boot, renewed = claim
    return boot == here and now - renewed < LASTS and _alive(holder)


def _void(claim: tuple[str, str, float], now: float, here: str) -> bool:
    """Whether a claim will never hold again."""
    holder, boot, renewed = claim
    return boot != here or (now - renewed >= LASTS and not _alive(holder))


def _alive(holder: str) -> bool:
    process = int(holder.partition(":")[0])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _name_of(process) == holder
