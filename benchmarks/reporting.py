"""What the benchmark programs share: two flags, a table on the screen, a JSON file of evidence."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hybridsearch.config import Config, make_config, read_settings
from hybridsearch.errors import UserError

PACKAGES = ("hybridsearch", "numpy", "scipy", "scikit-learn", "torch")
EDGELESS = 1000  # columns, of what no terminal shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --quick (a small version, to see that it runs) and --json PATH (keep the numbers)."""
    parser.add_argument(
        "--quick", action="store_true", help="a small version in seconds; its numbers prove nothing"
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="also write the numbers to this file"
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --seeds, --seed, --budget, --out: which searches on a table, and where they are kept."""
    parser.add_argument("--seeds", type=int, default=100, help="runs of each")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--budget", type=int, default=1000, help="distinct functions of a run")
    parser.add_argument("--out", type=Path, help="folder in which every run is kept")


@contextmanager
def run_folder(parser: argparse.ArgumentParser, out: Path | None) -> Iterator[Path]:
    """The folder of the runs: `out`, or one that passes. A mendable error in the block ends the
    program in one line with status 2, Ctrl-C with 130 and what is kept.
    """
    try:
        with tempfile.TemporaryDirectory() as passing:
            yield out or Path(passing)
    except UserError as error:
        parser.exit(2, f"{error}\n")
    except KeyboardInterrupt:
        kept = f"; runs in {out} are kept, the same command goes on" if out else ""
        parser.exit(130, f"\nstopped{kept}\n")


def search_config(source: str, options: argparse.Namespace) -> Config:
    """The config of that name or file, with the budget and the first seed of `add_runs`."""
    changed = {"budget": options.budget, "seed": options.seed}
    return make_config({**read_settings(source), **changed}, source)


def listed(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def machine() -> dict[str, Any]:
    """Where the numbers were measured: system, processor, usable cores, versions."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    usable = getattr(os, "sched_getaffinity", None)  # Linux only
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(usable(0)) if usable else os.cpu_count(),
        "versions": versions,
    }


def write_json(path: Path | None, result: Mapping[str, Any]) -> None:
    """Write the numbers, with the machine under "machine"; nothing where `path` is None.

    Raises: ValueError when a number is nan or infinite, which JSON cannot hold.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**result, "machine": machine()}, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = ""
) -> None:
    """Print a table: first column to the left, all others to the right; floats to 4 digits.

    What is too wide for a terminal goes on in the next line, for an expression that ends in dots is
    none; a file or a pipe has no edge.
    """
    table = Table(title=title, caption=caption or None, title_justify="left", highlight=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, Console(width=EDGELESS).measure(table).maximum)
    console.print(table)


def _processor() -> str:
    """The processor's name; Linux keeps it where `platform` does not look."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
