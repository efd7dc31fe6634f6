"""Of what a result was made with: versions, hardware, revision."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

from hybridsearch.kernels.build import processor_name
from hybridsearch.threads import usable_cores
from hybridsearch.types import Json


def environment() -> dict[str, Json]:
    """Versions, hardware and git revision: what a reader needs to judge or repeat a run."""
    packages = ("hybridsearch", "torch", "numpy", "scipy", "joblib", "deap", "scikit-learn")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": sys.argv,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "cuda": _cuda(),
        "git": _git(),
    }


def _cuda() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]


def _git() -> str | None:
    """The revision of the checkout that this package runs from, with "+" when it was edited."""
    here = Path(__file__).resolve().parent

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return ask("rev-parse", "HEAD") + ("+" if ask("status", "--porcelain", str(here)) else "")
    except (OSError, subprocess.SubprocessError):
        return None
