"""What a folder of results holds, so that no command writes over what another has made."""

from __future__ import annotations

from pathlib import Path

from hybridsearch.errors import UserError

# The file by which each is known, once there is anything in it; all of them keep a config.yaml or
# an environment.json besides, which the others would replace.
KNOWN_BY = {
    "run": "trials.jsonl",
    "comparison": "runs.jsonl",
    "recording": "functions.jsonl",
    "benchmark": "benchmark.json",
}


def expect_own(folder: Path, kind: str) -> None:
    """Raises: UserError when the folder holds something else than a `kind`, one of KNOWN_BY."""
    for other, name in KNOWN_BY.items():
        file = folder / name
        if other != kind and file.is_file() and file.stat().st_size:
            raise UserError(
                f"{folder} holds a {other}, and a {kind} would write over it; choose another folder"
            )
