"""A run's folder on a machine of a cluster: shared by its worker processes, bounded, and removed.

Processes hold a shared lock while they use it, which the system takes back however they end; who
gets it alone may remove the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOCK = "lock"
GONE = ".gone-"  # how the name of what is being removed begins
OLD = 24 * 3600.0  # seconds after which the folder of a run that nobody uses is removed
MOST = 10 << 30  # bytes of checkpoints; the oldest go first, and are trained again if needed


class Scratch:
    """The folder of one run, made if it is not there; private to the user.

    Raises: OSError where it cannot be made or belongs to somebody else.
    """

    def __init__(self, run: str, base: Path | None = None) -> None:
        self.base = base or Path(tempfile.gettempdir(), f"hybridsearch-{os.geteuid()}")
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.base.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise OSError(f"{self.base} must belong to this user and be closed to others")
        sweep(self.base)
        self.folder = self.base / run
        self._lock = self._hold()
        self.children = self.folder / "children"
        self.children.mkdir(exist_ok=True)

    def _hold(self) -> int:
        """A shared lock on the folder as it is there now: another may just have removed it."""
        while True:
            self.folder.mkdir(exist_ok=True)
            try:
                lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_SH)
            with contextlib.suppress(OSError):
                if os.fstat(lock).st_ino == (self.folder / LOCK).stat().st_ino:
                    return lock
            os.close(lock)

    def put(self, name: str, fill: Callable[[Path], None]) -> Path:
        """The path of a file or folder of that name, filled unless it is there; all or nothing."""
        path = self.folder / name
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".put-") as work:
                made = Path(work, "made")
                fill(made)
                with contextlib.suppress(OSError):  # another process was faster
                    made.replace(path)
        return path

    def trim(self, most: int = MOST) -> None:
        """Remove the oldest checkpoints beyond so many bytes."""
        there: list[tuple[float, int, Path]] = []
        for path in self.children.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                there.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in there)
        for _, size, path in sorted(there):
            if total <= most:
                break
            path.unlink(missing_ok=True)
            total -= size

    def close(self) -> None:
        """Let go of the folder; the last one that does removes it."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(self.folder)
        os.close(self._lock)


def _remove(folder: Path) -> None:
    """Remove a folder of which the lock is held alone. It loses its name first: whoever opens it
    while files go one by one gets a new folder, not half of this one.
    """
    gone = tempfile.mkdtemp(prefix=GONE, dir=folder.parent)
    folder.rename(Path(gone, folder.name))
    shutil.rmtree(gone, ignore_errors=True)


def sweep(base: Path, old: float = OLD) -> None:
    """Remove what runs left behind whose processes were killed, once it is old."""
    for folder in base.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < old:
                continue
            if folder.name.startswith(GONE):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            lock = os.open(folder / LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)
