"""Data that were sent to this process's machine: arrays in files, without pickle.

`use` names them; from then on `load_search_data` and `load_test_data` give them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from hybridsearch.evaluate.data.splits import SearchData, Split, make_search_data

SEARCH, TEST = "search", "test"
_FILES: dict[str, str] = {}


def use(files: Mapping[str, str]) -> None:
    """Take data from these files, by name (SEARCH, TEST)."""
    _FILES.clear()
    _FILES.update(files)


def pack_search(data: SearchData, normalised: bool) -> bytes:
    """The content of a file of search data."""
    about = {"name": data.name, "classes": str(data.classes), "normalised": str(int(normalised))}
    return _pack({"train": data.train, "validation": data.validation}, about)


def pack_test(split: Split) -> bytes:
    """The content of a file of test data."""
    return _pack({"test": split}, {})


def search_data() -> SearchData | None:
    """The search data in use; None: this process loads its own."""
    if SEARCH not in _FILES:
        return None
    splits, about = _unpack(_FILES[SEARCH])
    return make_search_data(
        about["name"],
        splits["train"],
        splits["validation"],
        int(about["classes"]),
        about["normalised"] == "1",
    )


def test_data() -> Split | None:
    """The test data in use; None: this process loads its own."""
    return _unpack(_FILES[TEST])[0]["test"] if TEST in _FILES else None


def _pack(splits: Mapping[str, Split], about: dict[str, str]) -> bytes:
    arrays = {}
    for name, split in splits.items():
        arrays[f"{name}.images"] = np.ascontiguousarray(split.images)
        arrays[f"{name}.labels"] = np.ascontiguousarray(split.labels)
    return bytes(save(arrays, about))


def _unpack(path: str) -> tuple[dict[str, Split], dict[str, str]]:
    with safe_open(path, framework="numpy") as file:
        names = sorted({key.rpartition(".")[0] for key in file.keys()})  # noqa: SIM118
        splits = {
            name: Split(file.get_tensor(f"{name}.images"), file.get_tensor(f"{name}.labels"))
            for name in names
        }
        return splits, file.metadata() or {}
