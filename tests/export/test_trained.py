"""Trained betas: what is read, and what is refused in one line."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hybridsearch.errors import UserError
from hybridsearch.export.trained import read_betas
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import resolve

SWISH = resolve("Swish")
VALUES = torch.tensor([[0.25, -1.5, 0.1]])


def test_every_kind_of_file(tmp_path):
    """A list, an object, and the state dicts of a network and of one activation."""
    named = {"layer.0.act.betas": VALUES, "layer.0.weight": torch.ones(2, 2)}
    (tmp_path / "a.json").write_text(json.dumps(VALUES.tolist()))
    (tmp_path / "b.json").write_text(json.dumps({"betas": VALUES.tolist(), "note": "x"}))
    save_file(named, tmp_path / "c.safetensors")
    torch.save(named, tmp_path / "d.pt")
    act = Activation(SWISH, 3, 1)
    with torch.no_grad():
        act.betas.copy_(VALUES)
    torch.save(act.state_dict(), tmp_path / "e.pth")
    torch.save(VALUES.bfloat16().float(), tmp_path / "f.pt")
    for name in ("a.json", "b.json", "c.safetensors", "d.pt", "e.pth"):
        found = read_betas(tmp_path / name, SWISH)
        assert found.dtype == np.float32
        assert np.array_equal(found, VALUES.numpy())
    assert read_betas(tmp_path / "f.pt", SWISH).shape == (1, 3)


class Runs:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Runs()))
    torch.save({"betas": Runs()}, tmp_path / "worse.pt")
    for name in ("evil.pt", "worse.pt"):
        with pytest.raises(UserError, match="made of tensors alone"):
            read_betas(tmp_path / name, SWISH)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[[1, 2", "damaged"),
        ("a.json", "[" * 100000, "damaged"),
        ("a.json", "[1, 2]", r"shape \[1, channels\], got \[2\]"),
        ("a.json", "[[1], [2]]", r"got \[2, 1\]"),
        ("a.json", "[[]]", r"got \[1, 0\]"),
        ("a.json", "[[1, 2], [3]]", "rows of numbers"),
        ("a.json", '[["a"]]', "rows of numbers"),
        ("a.json", '[[{"a": 1}]]', "rows of numbers"),
        ("a.json", "[[1, NaN]]", "finite"),
        ("a.json", "[[1e300]]", "finite"),
        ("a.json", "{}", "an entry 'betas'.*none"),
        ("a.json", '{"a.betas": 1, "b.betas": 2}', "a.betas, b.betas; save the one"),
        ("a.safetensors", "no", "cannot be read"),
        ("a.pt", "no", "cannot be read"),
        ("a.npy", "no", "expected a .json, .safetensors or .pt"),
        ("none.pt", None, "cannot be read"),
        ("none.json", None, "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=words) as error:
        read_betas(tmp_path / name, SWISH)
    assert "\n" not in str(error.value)


def test_a_function_without_betas_has_none_to_train(tmp_path):
    with pytest.raises(UserError, match="ReLU has no betas"):
        read_betas(tmp_path / "a.json", resolve("ReLU"))
