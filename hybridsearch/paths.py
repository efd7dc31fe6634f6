"""Whether a text that may as well be a formula is a path: False, too, for what can be none."""

from __future__ import annotations

from pathlib import Path


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; a name too long, or with a NUL in it, is that of none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """The same of folders."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False
