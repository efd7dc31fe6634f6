"""The notebook that ships: it holds the outputs of a real comparison, and it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


@pytest.mark.extras
@pytest.mark.filterwarnings("default")  # those of the kernel's own packages
def test_it_runs_where_there_are_no_runs(tmp_path, tiny_settings, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for module in ("ipykernel", "pandas"):
        pytest.importorskip(module)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    settings = {k: v for k, v in tiny_settings().items() if k not in ("budget", "batch")}
    place = notebook.cells.index(*parameters) + 1
    injected = nbformat.v4.new_code_cell(SMALL.format(settings=settings))  # as papermill does
    notebook.cells.insert(place, injected)
    (tmp_path / "runs").mkdir()
    run = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}})
    run.execute()
    made = sorted(p.parent.name for p in tmp_path.glob("runs/*/summary.json"))
    assert made == [f"{s}-notebook-seed{k}" for s in ("evolution", "rl") for k in (0, 1)]
    text = json.dumps(outputs(notebook.cells))
    assert "4 runs on digits, 12 distinct functions each; 0 left out" in text
    assert "over 2 shared seeds" in text
    assert sum("image/png" in out.get("data", {}) for out in outputs(notebook.cells)) == 5
