"""What a folder of results holds, so that no command writes over what another has made."""

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
# Known by the file alone: a comparison that trains has a line of it only when a whole run is done.
EVEN_EMPTY = ("comparison",)


def expect_own(folder: Path, kind: str) -> None:
    """Raises: UserError when the folder holds something else than a `kind`, one of KNOWN_BY."""
    for other in KNOWN_BY:
        if other != kind and _holds(folder, other):
            raise UserError(
                f"{folder} holds a {other}, and a {kind} would write over it; choose another folder"
            )


def _holds(folder: Path, kind: str) -> bool:
    found = (file for name in KNOWN_BY[kind] for file in folder.glob(name) if file.is_file())
    return any(kind in EVEN_EMPTY or file.stat().st_size for file in found)
