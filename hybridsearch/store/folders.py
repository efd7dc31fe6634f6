"""What a folder of results holds, so that no command writes over what another has made, and where
its cache is.
"""

from __future__ import annotations

from pathlib import Path

from hybridsearch.errors import UserError

# The files by which each is known, once there is anything in them; all of them keep a config.yaml
# or an environment.json besides, which the others would replace. A benchmark has the recordings of
# its columns long before its result.
KNOWN_BY = {
    "run": ("trials.jsonl",),
    "comparison": ("runs.jsonl",),
    "recording": ("functions.jsonl",),
    "benchmark": ("benchmark.json", "*-lr*/functions.jsonl"),
}
# What each replaces under names that people use too, as for the config that they begin it with; and
# its own files, of which it has written one before.
REPLACED = {
    "run": ("config.yaml",),
    "comparison": ("config.yaml", "README.md"),
    "recording": ("config.yaml", "card.md"),
    "benchmark": ("README.md",),
}
BEFORE = {
    "run": ("environment.json", "trials.jsonl", "trials.head", "summary.json"),
    "comparison": ("environment.json", "runs.jsonl"),
    "recording": ("functions.jsonl",),
    "benchmark": ("environment.json", "benchmark.json"),
}
# Known by the file alone: a comparison that trains has a line of it only when a whole run is done.
EVEN_EMPTY = ("comparison",)


def cache_of(said: str | None, folder: Path) -> Path:
    """Where the cache of a run is. said: by its config; beside its folder, where that was moved or
    copied to and the other is not there.
    """
    there = Path(said) if said else None
    return there if there and there.is_file() else folder.resolve().parent / "cache.sqlite"


def expect_own(folder: Path, kind: str) -> None:
    """Raises: UserError when the folder holds something else than a `kind`, one of KNOWN_BY."""
    for other in KNOWN_BY:
        if other != kind and _holds(folder, other):
            raise UserError(
                f"{folder} holds a {other}, and a {kind} would write over it; choose another folder"
            )


def expect_nothing_lost(folder: Path, kind: str) -> None:
    """Raises: UserError when a `kind` that begins in the folder would write over a file that none
    has written.
    """
    if any((folder / name).exists() for name in BEFORE[kind]):
        return
    for name in REPLACED[kind]:
        if (folder / name).exists():
            raise UserError(f"{folder} holds a {name} that no {kind} wrote; choose another --out")


def _holds(folder: Path, kind: str) -> bool:
    found = (file for name in KNOWN_BY[kind] for file in folder.glob(name) if file.is_file())
    return any(kind in EVEN_EMPTY or file.stat().st_size for file in found)
