"""Commands that write what people take away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hybridsearch.cli.apps import app


@app.command
def export(
    what: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    format: Annotated[
        Literal["torch", "latex", "sympy", "onnx", "jax"],
        Parameter(
            help="torch (a Python file with an nn.Module that needs only torch), jax, sympy "
            "(Python files), latex (a line), or onnx (a model)."
        ),
    ] = "torch",
    out: Annotated[Path | None, Parameter(help="The file; without it, text is printed.")] = None,
    channels: Annotated[
        int | None, Parameter(help="Number of channels that the file begins with; onnx needs it.")
    ] = None,
    axis: Annotated[
        int | None, Parameter(help="Axis of the channels; default 1, for jax -1.")
    ] = None,
    trained: Annotated[
        Path | None,
        Parameter(
            help="File with trained betas [betas, channels] to begin with: .json, .safetensors, or "
            ".pt (a state dict). A search keeps none, so they come from your own training."
        ),
    ] = None,
    dims: Annotated[
        int | None,
        Parameter(help="Dimensions of an ONNX model's input; default 4, or 2 on axis -1."),
    ] = None,
) -> int:
    """Write a function for use without hybridsearch. What was written is run and compared with
    the evaluator, in values and gradients, before the file is there.

    Parameters
    ----------
    what
        A formula, a name (GELU), a token text, or the folder of a run, whose winner is meant.
    """
    from hybridsearch.export.write import export_function

    made = export_function(
        what, format, out, channels=channels, axis=axis, trained=trained, dims=dims
    )
    if made.path is None:
        print(made.text, end="")
    else:
        print(made.path)
    if made.hint:
        print(f"hybridsearch: {made.hint}", file=sys.stderr)
    if made.checked:
        print(f"checked: {made.checked}", file=sys.stderr)
    return 0
