"""Where files of a data set lie, and how they are found and read."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.splits import Split

Part = Literal["train", "test"]


@dataclass(frozen=True)
class FileSet:
    """A data set in files of a fixed layout; each file may also be there with .gz added.

    parse: from the folder and the names of a part's files to the part; raises UserError.
    subfolder: the folder that the official archive unpacks to, looked into as well.
    elsewhere: folders to look into besides the data home.
    """

    name: str
    classes: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    parse: Callable[[Path, tuple[str, ...]], Split]
    subfolder: str = ""
    elsewhere: tuple[Path, ...] = ()
    advice: str = ""


LARGEST = 1 << 28  # bytes of a file, unpacked: CIFAR-100's largest has 154 million


def data_home() -> Path:
    """$HYBRIDSEARCH_DATA, or ~/.cache/hybridsearch/data; a data set lies in its subfolder NAME."""
    home = os.environ.get("HYBRIDSEARCH_DATA") or "~/.cache/hybridsearch/data"
    return Path(home).expanduser().absolute()


def locate(data: FileSet, folder: str | None) -> Path:
    """The folder with all files of `data`: in `folder` if given, else wherever it may lie.

    Raises: UserError that names a missing file and the command that gets it.
    """

    def missing(place: Path) -> list[str]:
        return [n for n in data.train + data.test if not _with_gz(place / n).is_file()]

    home = data_home() / data.name
    roots = [Path(folder).expanduser()] if folder is not None else [home, *data.elsewhere]
    places = [place for root in roots for place in (root, root / data.subfolder)]
    best = min(places, key=lambda place: len(missing(place)))
    if not missing(best):
        return best
    command = f"python -m hybridsearch data {data.name}"
    raise UserError(
        f"{data.name}: no file {missing(best)[0]} in {best}; get the data with `{command}` "
        f"(downloads) or `{command} --folder PATH` (files you have){data.advice}"
    )


def read_part(data: FileSet, part: Part, folder: str | None) -> Split:
    """All official images of a part, [N, C, H, W] uint8. Raises: UserError (missing or damaged)."""
    return data.parse(locate(data, folder), data.train if part == "train" else data.test)


def read_bytes(path: Path) -> bytes:
    """The content of `path`, or of `path`.gz decompressed. Raises: UserError if unreadable, or
    larger than any file of a data set.
    """
    path = _with_gz(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"{path}: more than {LARGEST:,} bytes; get the file again")
        return content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); get the file again") from error


def check_labels(path: Path, highest: int, classes: int) -> None:
    """Raises: UserError if the highest label in the file does not fit the data set."""
    if highest >= classes:
        raise UserError(
            f"{path}: expected labels 0..{classes - 1}, got {highest}; is it another data set?"
        )


def _with_gz(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")
