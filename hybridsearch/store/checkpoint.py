"""The state of a search between batches: tensors and JSON in one file (safetensors), no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hybridsearch.digests import checksum_of_arrays, dump
from hybridsearch.store.disk import put, told
from hybridsearch.types import Json, State

VERSION = 2  # raised by every change after which an old checkpoint means something else


def save_checkpoint(path: Path, values: Mapping[str, Json], proposer: State) -> None:
    """Write the state of a run atomically. Raises: UserError when the disk does not take it."""
    run, held = dump(dict(values)), dump(proposer.values)
    check = checksum_of_arrays(proposer.arrays, run, held)
    note = {"version": str(VERSION), "run": run, "proposer": held, "check": check}
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(dict(proposer.arrays), partial, metadata=note)
        put(partial, path)
    except (OSError, SafetensorError) as error:
        raise told(path, error) from error


def load_checkpoint(path: Path) -> tuple[dict[str, Json], State] | str | None:
    """The last checkpoint of a run; None where there is none yet, in words why it is of no use.

    What it lacks the log has, so a damaged one costs time and nothing else.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            note = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version, run, proposer = note["version"], note["run"], note["proposer"]
        if version != str(VERSION):
            return f"it is of version {version}, expected {VERSION}"
        if note["check"] != checksum_of_arrays(arrays, run, proposer):
            return "it is damaged"
        return json.loads(run), State(json.loads(proposer), arrays)
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError):
        return "it is damaged"
