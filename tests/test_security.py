"""What others may have written is read without running any of it (docs/threats.md)."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from hybridsearch.analysis.pictures import draw_run
from hybridsearch.analysis.runs import load_run
from hybridsearch.comparison.run import default_folder as comparison_folder
from hybridsearch.config import Config, DataConfig
from hybridsearch.explain.ask import ask, explain
from hybridsearch.listing import row_of
from hybridsearch.session import default_folder, search
from hybridsearch.watch import Watched

PACKAGE = Path(__file__).resolve().parent.parent / "hybridsearch"
# What runs code that it is given.
RUNS = {"eval", "exec", "compile", "pickle", "cloudpickle", "marshal", "shelve", "dill"}


def test_looking_at_a_run_imports_nothing_that_it_names(tiny, tmp_path, monkeypatch):
    done = search(tiny(budget=2, strategy="random"), tmp_path / "runs" / "a")
    theirs = tmp_path / "theirs"
    shutil.copytree(done["folder"], theirs)
    settings = yaml.safe_load((theirs / "config.yaml").read_text())
    settings["network"]["name"] = settings["data"]["name"] = "evil_module:build"
    (theirs / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert load_run(theirs).summary["winner"]
    draw_run(theirs)
    explain(ask(f"{theirs}#0"), None)
    assert row_of(theirs).state == "finished"
    (theirs / "summary.json").unlink()
    assert row_of(theirs).state == "stopped"
    Watched(theirs).look()
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("name", ["../../x:y", "a/b:c", "..:x", "/etc:passwd", "a\\b:c", "x\0:y"])
@pytest.mark.parametrize("folder", [default_folder, comparison_folder])
def test_a_name_never_leads_out_of_its_folder(name, folder):
    data = DataConfig.model_construct(name=name)
    path = folder(Config().model_copy(update={"data": data}))
    assert len(path.parts) == 2
    assert path.parts[1] not in ("..", ".")
    assert re.fullmatch(r"[\w.-]+", path.parts[1])


def test_nothing_in_the_package_runs_text_or_unpickles():
    """But what goes between driver and workers."""
    for path in PACKAGE.rglob("*.py"):
        allowed = {"pickle", "cloudpickle"} if path.parent == PACKAGE / "pools" else set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        safe = {n.func for n in ast.walk(tree) if isinstance(n, ast.Call) and loads_tensors(n)}
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").split(".")[0]]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id]
            elif isinstance(node, ast.Attribute) and node not in safe:
                text = ast.unparse(node)
                assert text not in ("torch.load", "yaml.load", "yaml.unsafe_load", "np.load"), path
            assert not (RUNS - allowed) & set(names), f"{path}: {names}"


def loads_tensors(call: ast.Call) -> bool:
    """Whether a call is torch.load(..., weights_only=True), which runs nothing of the file."""
    given = {k.arg: ast.unparse(k.value) for k in call.keywords}
    return ast.unparse(call.func) == "torch.load" and given.get("weights_only") == "True"
