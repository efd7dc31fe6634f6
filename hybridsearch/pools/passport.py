"""Who computes: what of a machine and its packages can change a result, compared in one line."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from hybridsearch.digests import checksum

PACKAGE = Path(__file__).resolve().parent.parent
# What must agree, in words; the first that does not is named.
COMPARED = {
    "version": ("hybridsearch {}", "install the driver's version there"),
    "source": ("other source files of hybridsearch ({})", "install the same ones on both"),
    "python": ("Python {}", "use the driver's minor version there"),
    "torch": ("torch {}", "install the driver's version there"),
    "numpy": ("numpy {}", "install the driver's version there"),
    "features": (
        "processor features {}",
        "use processors of the driver's kind, or start with --training.kernel tape (or eager), "
        "which admits any, for results that depend in their last bits on who trained",
    ),
    "compiler": (
        "the compiler {}",
        "install the driver's compiler there, or start with --training.kernel tape (or eager), "
        "which no compiler changes",
    ),
    "gpu": ("the GPU {}", "only GPUs of the driver's model and libraries give its numbers"),
}


@dataclass(frozen=True)
class Passport:
    """One process that computes. source: digest of the package's files. processor: its model;
    features: digest of what it can do. compiler: what identifies the compiler of kernels, for this
    processor; gpu: model and libraries. The last three are "" of a worker that has none, and of a
    driver that does not care.
    """

    host: str
    version: str
    source: str
    python: str
    torch: str
    numpy: str
    processor: str
    features: str
    compiler: str
    gpu: str

    @classmethod
    def of_this_process(cls, processor: str, features: str, compiler: str, gpu: str) -> Passport:
        import numpy
        import torch

        from hybridsearch import __version__

        return cls(
            host=socket.gethostname(),
            version=__version__,
            source=digest_of_source(),
            python=".".join(platform.python_version_tuple()[:2]),
            torch=str(torch.__version__),  # a class of torch's own, which would import it
            numpy=numpy.__version__,
            processor=processor,
            features=features,
            compiler=compiler,
            gpu=gpu,
        )

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, str]) -> Passport:
        return cls(**line)


def differs(driver: Passport, worker: Passport, where: str) -> str:
    """Why a worker cannot compute for a driver: one line that names what each has; "" if it can.

    where: the worker's address.
    """
    for name, (words, advice) in COMPARED.items():
        wanted, found = getattr(driver, name), getattr(worker, name)
        if wanted and wanted != found:
            has = words.format(found) if found else f"no {name}"
            return (
                f"worker {where} on {worker.host} has {has}, the driver on {driver.host} "
                f"{words.format(wanted)}: {advice}"
            )
    return ""


@cache
def digest_of_source(package: Path = PACKAGE) -> str:
    """8 hex digits that stand for the Python and C++ files of the package, by relative path."""
    files = sorted(p for pattern in ("*.py", "*.hpp") for p in package.rglob(pattern))
    parts: list[str | bytes] = []
    for path in files:
        parts += [path.relative_to(package).as_posix(), path.read_bytes()]
    return checksum(*parts, digits=8)
