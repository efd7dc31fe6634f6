"""C++ text -> a loaded library, through the machine's compiler and a private cache.

Compiled files are code that this process will run, so the folder that holds them must belong to
the user and be closed to others (mode 0700); else a private temporary folder takes its place.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from functools import cache
from itertools import count
from pathlib import Path

from hybridsearch.errors import first_line, told

FLAGS = (
    *("-O3", "-march=native", "-shared", "-fPIC", "-fopenmp-simd", "-w"),
    # Contraction would let the compiler choose which sums are fused, and so the bits; comparisons
    # with nan keep their meaning, but may be evaluated ahead of time.
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
)
# GCC's partial redundancy elimination makes branches of selections, and no vectors of those (one
# function in twenty was ten times slower). Scheduling before registers are allocated gains 5%:
# these are long chains of dependent operations.
GCC_FLAGS = ("-fno-tree-pre", "-fschedule-insns")
TIME_LIMIT = 120.0  # seconds for one file; 0.3 is usual
MOST = 5000  # compiled files that are kept, of some 40 kB each
OFTEN = 64  # compilations of this process between two looks whether there are more
OLD = 3600.0  # seconds after which a folder of work is of a compilation that was killed

_compilations = count()


class NoCompiler(Exception):
    """There is no working C++ compiler here; the message says what was tried."""


class Refused(NoCompiler):
    """The compiler ended in an error: at the text, or for want of room."""


@cache
def compiler() -> tuple[str, str]:
    """The compiler's path, and what identifies what it makes: its version, flags and processor.

    CXX in the environment names another one; CXX=none means none.
    Raises: NoCompiler.
    """
    wanted = os.environ.get("CXX")
    names = [wanted] if wanted else ["g++", "clang++", "c++"]
    for name in names:
        path = shutil.which(name)
        if path is None:
            continue
        try:
            version = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=TIME_LIMIT, check=True
            ).stdout.splitlines()[0]
        except (OSError, subprocess.SubprocessError, IndexError):
            continue
        return path, " ".join([version, *_flags(version), processor_identity()])
    raise NoCompiler(f"no C++ compiler found ({', '.join(names)})")


def _flags(version: str) -> tuple[str, ...]:
    """FLAGS, and GCC's own; on x86 the full width of the registers, where there is AVX-512."""
    if "clang" in version.lower():
        return FLAGS
    wide = platform.machine() == "x86_64"
    return (*FLAGS, *GCC_FLAGS, *(("-mprefer-vector-width=512",) if wide else ()))


def processor_features() -> str:
    """The line of /proc/cpuinfo that lists them; "" where it lists none.

    Raises: OSError where there is no such file.
    """
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def processor_name() -> str:
    """The processor's model, for people and for what depends on its speed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def processor_identity() -> str:
    """What the bits of a training depend on: the processor's features, which -march=native compiles
    for, and by which torch and NumPy choose their loops. Not its model.
    """
    try:
        features = processor_features()
    except OSError:
        return platform.processor()
    return hashlib.blake2b(features.encode(), digest_size=8).hexdigest()


@cache
def folder() -> Path:
    """Where compiled kernels are kept."""
    return private_folder("kernels")


def private_folder(name: str) -> Path:
    """hybridsearch/NAME in the user's cache, mode 0700. Where that cannot be, a temporary one that
    all processes of the user share; where somebody else has taken its name, one of this process
    alone, which is removed at its end.

    Raises: OSError where there is no room for any.
    """
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: of a user without a home
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        path = base / "hybridsearch" / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
        if private(path):
            return path
    with contextlib.suppress(OSError):
        path = Path(tempfile.gettempdir(), f"hybridsearch-{os.geteuid()}-{name}")
        path.mkdir(exist_ok=True, mode=0o700)
        if private(path):
            return path
    path = Path(tempfile.mkdtemp(prefix=f"hybridsearch-{name}-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def private(path: Path) -> bool:
    """Whether a file or folder is ours and nobody else can write to it."""
    status = path.lstat()
    return (
        status.st_uid == os.geteuid()
        and not stat.S_ISLNK(status.st_mode)
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def load(source: str) -> ctypes.CDLL:
    """Compile a C++ text, unless it was before, and load it. Where the folder of compiled kernels
    is of no use, as on a disk that is full, it is compiled among the temporary files and not kept.

    Raises: NoCompiler where there is none, or it fails on this text, or there is no room at all.
    """
    path, identity = compiler()
    digest = hashlib.blake2b((identity + "\0" + source).encode(), digest_size=16).hexdigest()
    with contextlib.suppress(OSError, Refused):
        return _kept(path, source, folder() / f"{digest}.so")
    try:
        with tempfile.TemporaryDirectory(
            prefix="hybridsearch-", ignore_cleanup_errors=True
        ) as work:
            library = Path(work, "kernel.so")
            _compile(path, source, library)
            return ctypes.CDLL(str(library))  # what is loaded stays when its file goes
    except OSError as error:
        raise NoCompiler(f"a compiled kernel cannot be kept or loaded: {told(error)}") from error


def _kept(path: str, source: str, library: Path) -> ctypes.CDLL:
    """The library of a text, in the folder of compiled kernels."""
    with contextlib.suppress(OSError):  # not there yet, or damaged: compiled now
        if private(library):
            found = ctypes.CDLL(str(library))
            with contextlib.suppress(OSError):
                os.utime(library)  # so that it is not among the oldest
            return found
    _compile(path, source, library)
    made = ctypes.CDLL(str(library))
    if next(_compilations) % OFTEN == 0:
        tidy(library.parent)
    return made


def tidy(folder: Path) -> None:
    """Remove the compiled files that were not asked for for longest, beyond MOST, and what killed
    compilations left. Another process that had yet to load one compiles it again.
    """

    def used(path: Path) -> float:
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
        return time.time()  # another process removed it

    with contextlib.suppress(OSError):
        libraries = list(folder.glob("*.so"))
        if len(libraries) > MOST:
            for path in sorted(libraries, key=used)[:-MOST]:
                path.unlink(missing_ok=True)
        for path in folder.glob(".build-*"):
            if time.time() - used(path) > OLD:
                shutil.rmtree(path, ignore_errors=True)


def _compile(path: str, source: str, library: Path) -> None:
    """Raises: NoCompiler, and OSError where the library's folder cannot be written to."""
    with tempfile.TemporaryDirectory(
        dir=library.parent, prefix=".build-", ignore_cleanup_errors=True
    ) as work:
        text, made = Path(work, "kernel.cpp"), Path(work, "kernel.so")
        text.write_text(source, encoding="utf-8")
        command = [path, *_flags(compiler()[1]), "-o", str(made), str(text)]
        there = {**os.environ, "TMPDIR": work}  # for the compiler's own intermediate files
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIME_LIMIT, env=there
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NoCompiler(f"{path} could not be run: {error}") from error
        if done.returncode:
            said = first_line(done.stderr or done.stdout, "no message")
            raise Refused(f"{path} failed: {said}")
        made.chmod(0o700)
        made.replace(library)  # atomically: another worker may load it at the same time
