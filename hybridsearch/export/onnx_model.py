"""Functions as ONNX models, made by torch from the file that is written for it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from hybridsearch.errors import UserError
from hybridsearch.export.check import Answer, Deviation, Grid, compare, evaluator, grid, steady
from hybridsearch.export.files import Wish, summary
from hybridsearch.export.frameworks import ELSEWHERE, begun, said, torch_module

MAGNIFIED = (
    "ONNX Runtime approximates sigmoid, tanh and erf, which this function may magnify; "
    "take --format torch"
)
ROWS = 200  # at least, of points that every channel sees


def onnx_model(wish: Wish, source: Path, path: Path, dims: int | None) -> None:
    """Write a model with input x and output y, float32; every axis of any size, but that of the
    channels where there are betas.

    source: the function's file for torch. dims: of x; None for images after a convolution (4) or
    rows after a linear layer (2), by the axis.
    Raises: UserError when the number of channels is not said, or the axis is not among the dims.
    """
    axis = wish.axis_for("onnx")
    dims = dims or (4 if axis == 1 else 2)
    if not 2 <= dims <= 8 or not -dims <= axis < dims:
        raise UserError(f"--dims: expected 2 to 8, and the axis {axis} among them, got {dims}")
    if wish.function.starts and wish.width is None:
        raise UserError(
            f"--format onnx: {wish.function.name} has a beta per channel; add --channels N"
        )
    at, width = axis % dims, wish.width or 3
    fixed = {at} if wish.function.starts else set()
    names = ["batch", *(f"size_{k}" for k in range(1, dims))]
    names[at] = "channels"
    sizes = {k: torch.export.Dim(names[k]) for k in range(dims) if k not in fixed}
    example = torch.zeros([width if k == at else k + 2 for k in range(dims)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of its own parts
        made = torch.onnx.export(
            torch_module(wish, source, width, axis).eval(),
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=(sizes,),
        )
    assert made is not None
    made.model.doc_string = summary(wish)
    made.save(path)


def check_onnx(wish: Wish, path: Path) -> str:
    """Compare the values that ONNX Runtime computes; of gradients it knows nothing."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    width = wish.width or 3
    x = grid(wish.function, max(ROWS, 2000 // width)).x
    at = wish.axis_for("onnx") % len(shape)
    rows = np.repeat(x, width).reshape([len(x), *([1] * (len(shape) - 2)), width])
    laid = np.moveaxis(rows, -1, at)  # every point in every channel
    (found,) = session.run(None, {"x": laid.astype(np.float32)})
    values = np.moveaxis(found, at, -1).reshape(-1).astype(np.float64)

    betas = begun(wish, width, 1).betas.detach().double().numpy()
    points = Grid(rows.reshape(-1), np.tile(betas, (1, len(x))))
    known = evaluator(wish.function, points, torch.float32)
    where = steady(wish.function, points, torch.float32, known, ELSEWHERE)
    answer = Answer(values, known.slopes)
    allowed = ELSEWHERE * torch.finfo(torch.float32).eps
    off = compare(answer, known, where, allowed, MAGNIFIED)
    return said({torch.float32: Deviation(off.value, None, off.points)}, len(points.x))
