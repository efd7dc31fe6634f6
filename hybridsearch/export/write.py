"""A function -> a file for somebody else, compared with the evaluator before it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hybridsearch.errors import UserError, nearest
from hybridsearch.export.dialects import latex
from hybridsearch.export.files import Wish, jax_file, sympy_file, torch_file
from hybridsearch.export.frameworks import check_jax, check_sympy, check_torch, require
from hybridsearch.export.onnx_model import check_onnx, onnx_model
from hybridsearch.export.origin import find
from hybridsearch.export.trained import read_betas
from hybridsearch.genome.function import Function
from hybridsearch.genome.genome import Genome
from hybridsearch.store import disk

FORMATS = ("torch", "latex", "sympy", "onnx", "jax")
TAKES = {  # option -> the formats that it means something to
    "channels": ("torch", "onnx", "jax"),
    "axis": ("torch", "onnx", "jax"),
    "trained": ("torch", "onnx", "jax"),
    "dims": ("onnx",),
}


@dataclass(frozen=True)
class Exported:
    """text: what was written; None of an ONNX model. path: the file, if one was asked for.
    checked: what was compared with the evaluator, in one line; "" of LaTeX, which nothing can run.
    hint: what of the wish changed nothing, in one line; "" where all did.
    """

    text: str | None
    path: Path | None
    checked: str
    hint: str = ""


def export_function(
    what: str | Genome | Function,
    format: str = "torch",
    out: str | Path | None = None,
    *,
    channels: int | None = None,
    axis: int | None = None,
    trained: str | Path | None = None,
    dims: int | None = None,
) -> Exported:
    """Write a function for use without hybridsearch.

    what: a formula, a name, a genome, or the folder of a run, whose winner is meant. format: torch
    (a Python file with an nn.Module), jax, sympy (Python files), latex (a line), onnx (a model, in
    float32). out: the file; None to have the text alone. channels, axis: what the file begins with
    (default: left to its user; axis 1, for jax -1); for onnx fixed. trained: a file with trained
    betas (see `trained.read_betas`), that they begin with. dims: of an ONNX model's input.

    The text is run and compared with the evaluator before the file is there; where they differ by
    more than rounding there is no file. Nothing that a run names is run or imported.
    Raises: UserError for what cannot be read, written, or does not agree.
    """
    if format not in FORMATS:
        raise UserError(f"--format: unknown format {format!r}{nearest(format, FORMATS)}")
    given = {"channels": channels, "axis": axis, "trained": trained, "dims": dims}
    for option, value in given.items():
        if value is not None and format not in TAKES[option]:
            raise UserError(f"--{option} says nothing to --format {format}; leave it out")
    if channels is not None and channels < 1:
        raise UserError(f"--channels: expected 1 or more, got {channels}")
    if format == "onnx" and out is None:
        raise UserError("--format onnx is no text; add --out FILE.onnx")
    if out is not None:
        disk.expect_parent(Path(out))
    require(format)
    origin = find(what)
    betas = read_betas(Path(trained), origin.function) if trained is not None else None
    if betas is not None and channels not in (None, betas.shape[1]):
        raise UserError(
            f"--channels {channels}, but {trained} has betas for {betas.shape[1]}; leave it out"
        )
    data, checked = _made(Wish(origin, channels, axis, betas), format, dims)
    if out is not None:
        _write(Path(out), data)
    text = None if format == "onnx" else data.decode()
    hint = _hint(origin.function, format, {"channels": channels, "axis": axis})
    return Exported(text, None if out is None else Path(out), checked, hint)


def _hint(function: Function, format: str, given: Mapping[str, int | None]) -> str:
    """Channels are there for betas alone, but in an ONNX model, whose input they shape."""
    said = [f"--{option}" for option, value in given.items() if value is not None]
    if function.starts or not said or format == "onnx":
        return ""
    return f"{' and '.join(said)}: no difference, since {function.label} has no trainable betas"


def _made(wish: Wish, format: str, dims: int | None) -> tuple[bytes, str]:
    """The content of the file, and how it was checked."""
    if format == "latex":
        return (latex(wish.function) + "\n").encode(), ""
    with TemporaryDirectory() as folder:
        path = Path(folder, "exported.py")
        if format == "onnx":
            path.write_text(torch_file(wish), encoding="utf-8")
            model = path.with_suffix(".onnx")
            onnx_model(wish, path, model, dims)
            return model.read_bytes(), check_onnx(wish, model)
        write, check = {
            "torch": (torch_file, check_torch),
            "jax": (jax_file, check_jax),
            "sympy": (sympy_file, check_sympy),
        }[format]
        path.write_text(write(wish), encoding="utf-8")
        return path.read_bytes(), check(wish, path)


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole. Raises: UserError when the disk does not take it."""
    if path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder; add the file's name to --out")
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        disk.replace(partial, path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be written: {reason}; choose another --out") from error
    finally:
        partial.unlink(missing_ok=True)
