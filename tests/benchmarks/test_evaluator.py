from __future__ import annotations

import sys

import evaluator
import pytest
import torch

from hybridsearch.errors import UserError


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_cuda_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluator.py", "--quick", "--device", "cuda"])
    assert evaluator.main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "cuda" in said.err


def test_a_part_that_fails_leaves_the_others(monkeypatch, capsys, tmp_path):
    def fails(machine, options, report):
        raise UserError("no such data")

    def works(machine, options, report):
        report.add("data_input_speedup", 4.5)

    monkeypatch.setattr(evaluator, "default_environment", lambda: None)  # leave the tests their own
    monkeypatch.setitem(evaluator.PARTS, "memory", fails)
    monkeypatch.setitem(evaluator.PARTS, "input", works)
    arguments = ["--part", "memory", "input", "--json", str(tmp_path / "f.json")]
    monkeypatch.setattr(sys, "argv", ["evaluator.py", *arguments])
    assert evaluator.main() == 1
    said = capsys.readouterr().out
    assert "memory: not measured: no such data" in said
    assert "4.5" in said
    assert "4.5" in (tmp_path / "f.json").read_text()
