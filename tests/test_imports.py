"""Imports go one way; the test parses them, so that it also sees those inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hybridsearch"

# Every room of the house and the level it stands on; a module imports from lower levels only,
# so rooms of one level are siblings that do not know each other.
LEVEL = {
    "errors": 0,
    "genome": 1,
    "packed": 1,
    "digests": 1,
    "extras": 1,
    "sources": 1,
    "paths": 1,
    "threads": 1,
    "config": 2,
    "kernels": 2,
    "types": 2,
    "pools": 2,
    "observe": 2,
    "surrogate": 2,
    "propose": 3,
    "fidelity": 3,
    "evaluate": 3,
    "environment": 3,
    "store": 3,
    "evidence": 3,
    "records": 4,
    "recorder": 5,
    "tables": 4,
    "ladder": 5,
    "knowledge": 6,
    "flight": 6,
    "fleet": 7,
    "past": 5,
    "forecast": 4,
    "engine": 8,
    "race": 6,
    "retest": 6,
    "follow": 9,
    "times": 9,
    "analysis": 9,
    "session": 10,
    "tabulate": 10,
    "progress": 10,
    "tensorboard": 10,
    "comparison": 11,
    "export": 11,
    "explain": 11,
    "listing": 11,
    "report": 11,
    "watch": 11,
    "paper": 11,
    "rates": 11,
    "transplant": 11,
    "cli": 12,
    "__main__": 13,
}
# Within these packages files have an order too.
INNER = {
    "genome": [
        ["primitives"],
        ["units", "torch_ops"],
        ["batch", "variation"],
        ["canonical"],
        ["parse"],
        ["algebra"],
        ["cover"],
        ["text"],
        ["preflight", "index"],
        ["reading"],
        ["genome"],
        ["function"],
        ["activation"],
        ["kin"],
    ],
    "config": [
        ["section", "yaml_file"],
        ["space", "child", "effort", "proposers"],
        ["run"],
        ["course", "reading"],
    ],
    "store": [["disk", "folders"], ["anchor", "claims", "checkpoint"], ["cache", "log"]],
    "surrogate": [["features", "targets"], ["process"], ["experience"]],
    "cli": [["apps", "helping", "watching"], ["looking", "shell", "taking", "training"]],
    "export": [
        ["expression", "origin", "trained", "check"],
        ["dialects"],
        ["files"],
        ["frameworks"],
        ["onnx_model"],
        ["write"],
    ],
    "explain": [
        ["curve", "growth"],
        ["tails", "course", "near", "met"],
        ["facts"],
        ["ask", "show"],
    ],
    "report": [["facts"], ["figures"], ["page"]],
    "kernels": [
        ["program", "build", "memory", "base"],
        ["source"],
        ["native"],
        ["tape", "compiled"],
        ["choose"],
    ],
    "comparison": [
        ["trace"],
        ["field"],
        ["measures", "play"],
        ["summary"],
        ["words"],
        ["questions", "show"],
        ["folder"],
        ["run"],
    ],
    "paper": [["published", "cost"], ["grid"], ["layout"], ["run"], ["show"]],
    "transplant": [
        ["names", "saving"],
        ["axes", "runtime"],
        ["trace"],
        ["methods", "plan", "report"],
        ["surgery"],
        ["swap"],
    ],
    "pools": [
        ["failure", "line", "passport", "scratch", "store", "deliveries"],
        ["parcel"],
        ["wire"],
        ["base"],
        ["loky"],
        ["station"],
        ["dask_worker", "ray_worker"],
        ["dask_link", "ray_link"],
        ["dask", "ray"],
        ["make"],
    ],
    "tables": [["recording"], ["table"], ["replay", "card"]],
    "evaluate": [
        ["own", "accelerator", "devices", "checkpoint", "stacks", "layers", "draws"],
        ["data", "initialise", "recompute", "graph", "packing"],
        ["deep", "input", "losses"],
        ["networks", "given", "objective"],
        ["numerics", "stacked", "probe"],
        ["judge"],
        ["training"],
        ["stack_training", "timing"],
        ["worker"],
        ["group", "trajectory"],
        ["node"],
        ["evaluator"],
    ],
}


def modules():
    return sorted(
        p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py" or p.parent != PACKAGE
    )


def imported(path: Path) -> set[str]:
    """The dotted modules of hybridsearch that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module and node.module.split(".")[0] == "hybridsearch":
                names = [f"{node.module}.{a.name}" for a in node.names]
                found |= {node.module} if node.module.count(".") else set(names)
                found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "hybridsearch"}
    return found


def room(dotted: str) -> str:
    return dotted.split(".")[1] if "." in dotted else ""


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no level; give it one in this test"
    for dotted in imported(path):
        other = room(dotted)
        if other != own and other in LEVEL:
            assert LEVEL[other] < LEVEL[own], f"{path.name} imports {dotted}, which stands above it"


@pytest.mark.parametrize("package", INNER)
def test_files_within_a_package_go_down(package):
    rank = {name: level for level, names in enumerate(INNER[package]) for name in names}
    there = {p.stem for p in (PACKAGE / package).glob("*.py")} - {"__init__"}
    there |= {p.name for p in (PACKAGE / package).iterdir() if (p / "__init__.py").exists()}
    assert there == set(rank)
    for name in there:
        file = PACKAGE / package / f"{name}.py"
        for dotted in imported(file) if file.exists() else ():
            parts = dotted.split(".")
            if len(parts) > 2 and parts[1] == package and parts[2] in rank and parts[2] != name:
                assert rank[parts[2]] < rank[name], f"{package}/{name} imports {dotted}"


def test_the_check_sees_a_backward_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from hybridsearch.engine import Search\n")
    assert "hybridsearch.engine" in imported(file)
    assert LEVEL[room("hybridsearch.engine")] > LEVEL["propose"]


def test_light_modules_do_not_import_torch():
    """`--help`, errors, and looking at functions and runs must not wait for torch."""
    import subprocess
    import sys

    looking = "hybridsearch.explain.ask, hybridsearch.watch, hybridsearch.listing"
    code = f"import sys, hybridsearch.cli, {looking}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
