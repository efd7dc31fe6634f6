"""Checkpoints in an object store, by fsspec."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import fsspec

from hybridsearch.errors import UserError, told


def check_store(url: str, name: str) -> None:
    """See that a store takes a file and gives it back; "" is none.

    Raises: UserError where it does not.
    """
    if not url:
        return
    try:
        with fsspec.open(f"{url}/{name}", "wb") as file:
            file.write(name.encode())
        with fsspec.open(f"{url}/{name}", "rb") as file:
            if file.read() != name.encode():
                raise OSError("it gives back something else than was written")
        filesystem, path = fsspec.core.url_to_fs(f"{url}/{name}")
        filesystem.rm(path)
    except Exception as error:  # of whatever library stands behind the URL
        raise UserError(
            f"cluster.children: {url} cannot be written to ({told(error)}); "
            "expected a URL of fsspec, and the package and rights that it needs"
        ) from error


def download(url: str, path: Path) -> None:
    """Get `path.name` from a store. One that is missing costs time, so any error is as good."""
    partial = path.with_suffix(".download")
    with contextlib.suppress(Exception):
        with fsspec.open(f"{url}/{path.name}", "rb") as file, partial.open("wb") as out:
            shutil.copyfileobj(file, out)
        partial.replace(path)
    partial.unlink(missing_ok=True)


def upload(url: str, path: Path) -> None:
    """Put a file into a store; where that fails the child is trained again elsewhere."""
    target = f"{url}/{path.name}"
    with (
        contextlib.suppress(Exception),
        path.open("rb") as file,
        fsspec.open(target, "wb") as out,
    ):
        shutil.copyfileobj(file, out)


def remove(url: str, names: Iterable[str]) -> None:
    """Delete files from a store; those that are not there are no error."""
    for name in names:
        with contextlib.suppress(Exception):
            filesystem, path = fsspec.core.url_to_fs(f"{url}/{name}")
            filesystem.rm(path)
