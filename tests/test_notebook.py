"""The notebook that ships: it holds the outputs of a real comparison, and it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybridsearch import Config, search

NOTEBOOK = Path(__file__).resolve().parent.parent / "runs" / "analysis.ipynb"
SMALL = """
SEEDS, BUDGET = 2, 12
SETTINGS = {settings!r}
"""


def outputs(cells):
    return [out for cell in cells if cell["cell_type"] == "code" for out in cell["outputs"]]


def test_it_ships_with_the_outputs_of_every_cell_and_is_light():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert {out["output_type"] for out in outputs(cells)} <= {"execute_result", "display_data"}
    assert sum("image/png" in out["data"] for out in outputs(cells)) == 5
    assert NOTEBOOK.stat().st_size < 600_000
    text = json.dumps(outputs(cells))
    assert "6 runs on digits, 48 distinct functions each" in text  # 3 seeds of 2 strategies
    assert "over 3 shared seeds" in text


def executed(folder, settings, monkeypatch):
    """The outputs of the notebook in a folder with `runs`, with a small set where it makes one."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for module in ("ipykernel", "pandas"):
        pytest.importorskip(module)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    place = notebook.cells.index(*parameters) + 1
    injected = nbformat.v4.new_code_cell(SMALL.format(settings=settings))  # as papermill does
    notebook.cells.insert(place, injected)
    run = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}})
    run.execute()
    return outputs(notebook.cells)


def made(folder):
    return sorted(p.parent.name for p in folder.glob("runs/*/summary.json"))


def pictures(found):
    return sum("image/png" in out.get("data", {}) for out in found)


NEW = [f"{s}-notebook-seed{k}" for s in ("evolution", "rl") for k in (0, 1)]


@pytest.mark.extras
@pytest.mark.filterwarnings("default")  # those of the kernel's own packages
@pytest.mark.parametrize("alone", [False, True])
def test_it_runs_where_there_are_no_runs_of_both(alone, tmp_path, tiny_settings, monkeypatch):
    """None at all, or one search alone, which was asked something else."""
    (tmp_path / "runs").mkdir()
    if alone:
        search(Config(**tiny_settings(budget=6, strategy="rl")), tmp_path / "runs" / "rl-mine")
    settings = {k: v for k, v in tiny_settings().items() if k not in ("budget", "batch")}
    found = executed(tmp_path, settings, monkeypatch)
    assert made(tmp_path) == sorted([*NEW, *(["rl-mine"] if alone else [])])
    text = json.dumps(found)
    assert f"4 runs on digits, 12 distinct functions each; {int(alone)} left out" in text
    assert "over 2 shared seeds" in text
    assert pictures(found) == 5


@pytest.mark.extras
@pytest.mark.filterwarnings("default")
def test_it_runs_on_runs_without_finalists(tmp_path, monkeypatch):
    """On a recorded table nothing is retested. These ended far below their budget, as searches of a
    small space or a short time do.
    """
    for strategy in ("rl", "evolution"):
        for seed in (0, 1):
            config = Config(strategy=strategy, seed=seed, budget=12, table="digits")
            folder = tmp_path / "runs" / f"{strategy}-{seed}"
            search(config, folder)
            settings = (folder / "config.yaml").read_text()
            assert "\nbudget: 12\n" in settings
            (folder / "config.yaml").write_text(settings.replace("budget: 12\n", "budget: 1000\n"))
    found = executed(tmp_path, {}, monkeypatch)
    assert not any("notebook" in name for name in made(tmp_path))
    text = json.dumps(found)
    assert "No run has a winner: none was retested" in text
    assert "4 runs on digits, 12 distinct functions each; 0 left out" in text
    assert "rl and evolution have that on no shared seed" in text
    assert pictures(found) == 3
