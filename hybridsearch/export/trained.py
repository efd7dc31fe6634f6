"""Trained betas from a file: they become the start values in what is written.

A search keeps no child's weights, so a run has none to offer; whoever has trained a network with a
function saves its betas (`torch.save(net.state_dict(), ...)`) and names that file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from hybridsearch.errors import UserError
from hybridsearch.genome.function import Function

Betas = NDArray[np.float32]
NAME = "betas"  # of the parameter, as in `Activation` and in the files that are written


def read_betas(path: Path, function: Function) -> Betas:
    """The betas of one activation, [number of betas, channels] float32.

    path: .json (a list, or an object), .safetensors, or .pt/.pth (tensors only, nothing is run);
    an object or state dict has one entry that is called "betas" or ends in ".betas".
    Raises: UserError when it cannot be read, or does not fit the function.
    """
    if not function.starts:
        raise UserError(f"--trained: {function.name} has no betas")
    try:
        found = np.array(_read(path), dtype=np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: expected rows of numbers, one row per beta") from error
    expected = f"{path}: expected betas of shape [{len(function.starts)}, channels]"
    if found.ndim != 2 or len(found) != len(function.starts) or not found.shape[1]:
        raise UserError(f"{expected}, got {list(found.shape)}")
    with np.errstate(over="ignore"):
        betas = found.astype(np.float32)
    if not np.isfinite(betas).all():
        raise UserError(f"{expected} and finite numbers, got nan or infinity")
    return betas


def _read(path: Path) -> object:
    """What the file holds of betas, as nested lists."""
    kind = path.suffix.lower()
    if kind == ".json":
        return _json(path)
    if kind not in (".safetensors", ".pt", ".pth"):
        raise UserError(f"--trained: expected a .json, .safetensors or .pt file, got {path}")
    try:
        if kind == ".safetensors":
            held: object = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a reader meets in a file that is something else
        raise UserError(f"{path}: cannot be read, or is not made of tensors alone") from error
    chosen = _choose(held, path) if isinstance(held, Mapping) else held
    return chosen.detach().double().tolist() if isinstance(chosen, torch.Tensor) else chosen


def _json(path: Path) -> object:
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read, or is damaged") from error
    return _choose(held, path) if isinstance(held, dict) else held


def _choose(held: Mapping[object, object], path: Path) -> object:
    """The one entry that is an activation's betas."""
    names = [str(n) for n in held if str(n).rpartition(".")[2] == NAME]
    if len(names) != 1:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise UserError(
            f"{path}: expected the betas of one activation (an entry {NAME!r}), got "
            f"{some or 'none'}; save the one that you mean"
        )
    return held[names[0]]
