"""The public function and the command: what is written, printed, refused, and left behind."""

from __future__ import annotations

import json

import pytest
import torch

import hybridsearch
from hybridsearch.cli import main
from hybridsearch.errors import UserError
from hybridsearch.export import write
from hybridsearch.export.frameworks import load
from hybridsearch.export.write import export_function


def test_the_public_name_is_not_the_room():
    assert hybridsearch.export_function is export_function
    assert "export" not in hybridsearch.__all__


def test_a_file_is_written_and_works(tmp_path):
    made = export_function("x*sigmoid(beta*x)", "torch", tmp_path / "swish.py", channels=4)
    assert made.path == tmp_path / "swish.py"
    assert made.path.read_text() == made.text
    assert "2,000 points" in made.checked
    act = load(made.path).Swish()
    assert act(torch.ones(2, 4)).shape == (2, 4)
    assert [p.name for p in made.path.parent.iterdir() if p.is_file()] == ["swish.py"]


def test_trained_betas_are_in_the_file(tmp_path):
    betas = torch.linspace(-2, 3, 200).reshape(1, 200)
    torch.save({"features.1.betas": betas}, tmp_path / "net.pt")
    made = export_function("Swish", "torch", tmp_path / "a.py", trained=tmp_path / "net.pt")
    act = load(made.path).Swish()
    assert torch.equal(act.betas, betas)
    assert max(map(len, made.text.splitlines())) <= 100
    assert "begin at trained values, for 200 channels" in " ".join(made.text.split())
    with pytest.raises(ValueError, match="200 channels"):
        load(made.path).Swish(3)


def test_latex_is_a_line():
    made = export_function("x*sigmoid(beta*x)", "latex")
    assert made.text == r"x\cdot \sigma\left(\beta\,x\right)" + "\n"
    assert made.checked == ""


def test_what_differs_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    real = write.torch_file
    monkeypatch.setattr(write, "torch_file", lambda w: real(w).replace("sigmoid", "tanh"))
    (tmp_path / "old.py").write_text("kept")
    with pytest.raises(UserError, match="values differ"):
        export_function("Swish", "torch", tmp_path / "old.py")
    assert main(["export", "Swish", "--out", str(tmp_path / "new.py")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["old.py"]
    assert (tmp_path / "old.py").read_text() == "kept"


def test_the_command_prints_or_writes(tmp_path, capsys, run):
    assert main(["export", "-x*sigmoid(x)", "--format", "latex"]) == 0
    captured = capsys.readouterr()
    assert captured.out == r"-x\cdot \sigma\left(x\right)" + "\n"
    assert captured.err == ""
    assert main(["export", "tanh(x)*beta"]) == 0
    captured = capsys.readouterr()
    compile(captured.out, "printed", "exec")
    assert captured.err.startswith("checked: 2,000 points against the evaluator: float64 values")
    assert captured.err.count("\n") == 1
    out = tmp_path / "winner.py"
    assert main(["export", str(run()), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert "The winner of the run 'first'" in out.read_text()


def test_a_run_as_hostile_as_can_be_is_exported_or_refused(run, capsys):
    name = 'x"""\n\nraise SystemExit("run")\nr"""'
    folder = run(name, best_baseline={"label": name}, verdict=name)
    assert main(["export", str(folder)]) == 0
    assert "Swish" in capsys.readouterr().out
    summary = json.loads((folder / "summary.json").read_text())
    summary["winner"]["expression"] = name
    (folder / "summary.json").write_text(json.dumps(summary))
    assert main(["export", str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["x*sigmoidd(x)"], "sigmoid"),
        (["runs/none"], "holds no run"),
        (["Swish", "--format", "torhc"], "torch"),
        (["Swish", "--channels", "0"], "1 or more"),
        (["Swish", "--format", "latex", "--channels", "3"], "leave it out"),
        (["Swish", "--dims", "3"], "leave it out"),
        (["Swish", "--format", "onnx"], "add --out"),
        (["Swish", "--trained", "none.pt"], "cannot be read"),
        (["ReLU", "--trained", "none.pt"], "no betas"),
        (["Swish", "--out", "/proc/none/a.py"], "cannot be written"),
        (["Swish", "--out", "."], "cannot be written"),
        (["sqrt(-cosh(x))"], "cannot be checked"),
        ([], "requires an argument"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert list(tmp_path.iterdir()) == []


def test_channels_must_be_those_of_the_trained_betas(tmp_path):
    (tmp_path / "a.json").write_text("[[1, 2]]")
    with pytest.raises(UserError, match="has betas for 2"):
        export_function("Swish", trained=tmp_path / "a.json", channels=3)
    with pytest.raises(UserError, match="unknown format 'tex'"):
        export_function("Swish", "tex")


def test_what_changes_nothing_is_told():
    assert "no trainable betas" in export_function("GELU", axis=99, channels=3).hint
    assert export_function("GELU").hint == ""
    assert export_function("x*sigmoid(beta*x)", axis=1).hint == ""
