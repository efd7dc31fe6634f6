"""The user's own modules, as they travel to a machine that does not have them."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hybridsearch.digests import checksum
from hybridsearch.errors import UserError
from hybridsearch.pools.passport import PACKAGE

LARGEST = 8 << 20  # bytes of all source files together


@dataclass(frozen=True)
class Code:
    """Source files by their path below `root`, the folder that the driver runs in; paths: the
    folders below it that modules are imported from.
    """

    root: str = ""
    paths: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        parts: list[str | bytes] = list(self.paths)
        for name in sorted(self.files):
            parts += [name, self.files[name]]
        return checksum(*parts, digits=16)

    def lies_in(self, folder: Path) -> bool:
        """Whether a folder holds these files already, as one that machines share does."""
        try:
            return all((folder / name).read_bytes() == text for name, text in self.files.items())
        except OSError:
            return False

    def unpack(self, folder: Path) -> None:
        """Write the files below a folder. Raises: ValueError for a path that leads out of it."""
        for name, text in self.files.items():
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or PurePosixPath(name).is_absolute():
                raise ValueError(f"expected a path below the folder, got {name!r}")
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)


def gather_code(root: Path) -> Code:
    """The source of every module that this process has imported from below a folder; neither this
    package nor installed ones.

    Raises: UserError where that is more than source code would be.
    """
    root = root.resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    found: dict[str, bytes] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not file or not file.endswith(".py"):
            continue
        path = Path(file).resolve()
        others = path.is_relative_to(PACKAGE) or any(path.is_relative_to(i) for i in installed)
        if path.is_relative_to(root) and not others and path.is_file():
            found[path.relative_to(root).as_posix()] = path.read_bytes()
    size = sum(map(len, found.values()))
    if size > LARGEST:
        largest = max(found, key=lambda name: len(found[name]))
        raise UserError(
            f"the modules imported from {root} have {size:,} bytes of source ({largest} "
            f"{len(found[largest]):,}), more than the {LARGEST:,} that are sent to workers: "
            "install them there, or keep data out of source files"
        )
    entries = [Path(entry or ".").resolve() for entry in sys.path]
    below = [e.relative_to(root).as_posix() for e in entries if e.is_relative_to(root)]
    used = [e for e in dict.fromkeys(below) if any(_under(name, e) for name in found)]
    return Code(str(root), tuple(used), found)


def _under(name: str, folder: str) -> bool:
    return folder == "." or PurePosixPath(name).is_relative_to(folder)
