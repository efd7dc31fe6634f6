"""Getting data sets into the data home: by download with checksum, or from files at hand."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.data.cifar import CIFAR10, CIFAR100
from hybridsearch.evaluate.data.files import FileSet, data_home, locate, read_part
from hybridsearch.evaluate.data.idx import FASHION_MNIST

Progress = Callable[[str], None]

FILE_SETS = {data.name: data for data in (FASHION_MNIST, CIFAR10, CIFAR100)}


@dataclass(frozen=True)
class Remote:
    """Where a data set is published. base: URL that ends in /; md5: by file name there."""

    base: str
    md5: dict[str, str]


# MD5s as published by the authors (README of zalandoresearch/fashion-mnist, cifar.html).
REMOTES = {
    "fashion_mnist": Remote(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": Remote(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
    ),
    "cifar100": Remote(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},
    ),
}


def fetch(name: str, folder: str | None = None, progress: Progress | None = None) -> Path:
    """Make a data set available to every config, and return the folder it now lies in.

    With `folder`: its files are read as a check, then linked into the data home (copied where
    links are not possible). Without: downloaded into the data home, unless already found. Nothing
    is printed; `progress` is called with short texts such as "train.gz 40% of 26.4 MB".
    Raises: UserError for an unknown name, bad files, a failed download or a wrong checksum.
    """
    if name == "digits":
        raise UserError("digits ships inside scikit-learn; there is nothing to fetch")
    if name not in FILE_SETS:
        raise UserError(f"no data set {name!r} to fetch{nearest(name, FILE_SETS)}")
    data, target = FILE_SETS[name], data_home() / name
    say = progress or (lambda _: None)
    try:
        if folder is not None:
            return _adopt(data, locate(data, folder).resolve(), target, say)
        try:
            found = locate(data, None)
        except UserError:
            return _download(data, target, say)
        return _kept(data, found, say)
    except OSError as error:
        raise UserError(
            f"{error.filename or target.parent}: {error.strerror or error}; HYBRIDSEARCH_DATA sets "
            "another folder for data"
        ) from error


def _check(data: FileSet, folder: Path, say: Progress) -> None:
    say(f"checking {folder}")
    for part in ("train", "test"):
        read_part(data, part, str(folder))


def _kept(data: FileSet, found: Path, say: Progress) -> Path:
    try:
        _check(data, found, say)
    except UserError as error:
        raise UserError(f"{error} (remove {found} first)") from error
    return found


def _make_room(target: Path) -> None:
    """Remove an old link at `target`, never files. Raises: UserError when there are files."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    if target.exists():
        raise UserError(f"{target} is already there; remove it first, then run this again")


def _adopt(data: FileSet, source: Path, target: Path, say: Progress) -> Path:
    _check(data, source, say)
    if not target.is_symlink() and source.is_relative_to(target.resolve()):
        return source  # it lies in the data home already
    _make_room(target)
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        say(f"copying {source} to {target}")
        shutil.copytree(source, target)
    return target


def _download(data: FileSet, target: Path, say: Progress) -> Path:
    """Everything happens in a temporary folder beside `target`, so none is ever half there."""
    _make_room(target)
    remote = REMOTES[data.name]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{data.name}-") as temporary:
        new = Path(temporary) / data.name
        new.mkdir()
        for file, md5 in remote.md5.items():
            path = _retrieve(remote.base + file, md5, new, say)
            if path.name.endswith(".tar.gz"):
                say(f"unpacking {file}")
                _unpack(path, new)
                path.unlink()
        _check(data, new, say)
        new.rename(target)
    return target


def _unpack(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(folder, filter="data")  # refuses paths that lead outside
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{path.name}: cannot be unpacked ({error})") from error


class _Bar:
    """What pooch expects of a progress bar; says each new percent."""

    def __init__(self, file: str, say: Progress) -> None:
        self.file, self.say = file, say
        self.total = self.done = self.percent = 0

    def update(self, count: int) -> None:
        self.done = min(self.done + count, self.total)
        percent = 100 * self.done // max(self.total, 1)
        if percent > self.percent:
            self.percent = percent
            self.say(f"{self.file} {percent}% of {self.total / 1e6:.1f} MB")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def _retrieve(url: str, md5: str, folder: Path, say: Progress) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise UserError("downloads need pooch: pip install hybridsearch[data]") from error
    file = url.rsplit("/", 1)[-1]
    responses: list[Any] = []
    downloader = pooch.HTTPDownloader(
        progressbar=_Bar(file, say),
        chunk_size=1 << 16,
        headers={"Accept-Encoding": "identity"},  # the checksum is of the .gz itself
        hooks={"response": lambda response, **_: responses.append(response)},
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch announces every download on stderr
    try:
        path = pooch.retrieve(url, f"md5:{md5}", file, folder, downloader=downloader)
    except OSError as error:  # requests' exceptions are OSErrors
        raise UserError(
            f"{url}: download failed ({type(error).__name__}); try again, or get the files "
            "another way and use --folder PATH"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{url}: the checksum is not md5 {md5}, so the file was not kept; try again, or get "
            "the files another way and use --folder PATH"
        ) from error
    finally:
        logger.setLevel(level)
        for response in responses:  # pooch leaves the connection of a failed download open
            response.close()
    return Path(path)
