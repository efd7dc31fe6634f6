"""The guide's cluster on one machine, as a reader would start it. Short: CI runs it too."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from hybridsearch.analysis.runs import load_run
from hybridsearch.cli import main

pytestmark = pytest.mark.extras
pytest.importorskip("distributed")

from .dask_cluster import ROOT, children, environment, free_port  # noqa: E402

GUIDE = ROOT / "docs" / "guides" / "clusters.md"
SMALL = (
    "--batch 2 --training.steps 20 --retest.seeds 2 --retest.finalists 1 "
    "--race.candidates 2 --race.seeds 2 --training.kernel tape"
)


def test_the_commands_of_the_guide_run(tmp_path):
    """And the search writes what it writes without a cluster."""
    section = GUIDE.read_text("utf-8").partition("## On one machine")[2].partition("\n## ")[0]
    commands = re.findall(r"^    (python -m .*)$", section, re.M)[:3]
    port = str(free_port())
    scheduler, worker, search = (
        [sys.executable, *shlex.split(line.replace("8786", port))[1:]] for line in commands
    )
    assert search[1:4] == ["-m", "hybridsearch", "--pool"]
    search[search.index("40")] = "4"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = []
    try:
        for command in (scheduler, worker):
            full = [*command, "--no-dashboard"]
            started.append(subprocess.Popen(full, cwd=tmp_path, env=environment(), **quiet))
        words = [*search[5:], *shlex.split(SMALL), "--quiet", "--out"]
        there, here = tmp_path / "there" / "run", tmp_path / "here" / "run"
        full = [*search[:5], *words, str(there)]
        subprocess.run(full, cwd=tmp_path, env=environment(), check=True, timeout=240)
        assert main(["--pool", "inline", *words, str(here)]) == 0
    finally:
        for process in started[::-1]:
            for pid in children(process.pid):
                subprocess.run(["kill", "-9", str(pid)], check=False)
            process.kill()
            process.wait()
    logs = [[payload for payload, _ in load_run(path).trials] for path in (there, here)]
    assert logs[0] == logs[1]
