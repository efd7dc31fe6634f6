"""Code of the user's: `package.module:callable`, from the current directory or installed."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hybridsearch.errors import UserError


def import_callable(spec: str) -> Callable[..., Any]:
    """The object that `package.module:callable` names; the current directory is searched as well.

    Raises: UserError when the spec has no such form, the import fails, or it is not callable.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise UserError(f"expected package.module:callable, got {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(f"{spec}: cannot import {module_name}: {one_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"{spec}: {module_name} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"{spec}: expected a callable, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def digest_of_code(spec: str) -> str:
    """16 hex digits that stand for the file that a callable comes from."""
    source = inspect.getsourcefile(inspect.unwrap(import_callable(spec))) or ""
    code = Path(source).read_bytes() if Path(source).is_file() else b""
    return blake2b(code, digest_size=8).hexdigest()


def one_line(error: Exception) -> str:
    """Type, first line and place of a user's error: the command line shows no traceback."""
    text = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    theirs = [f for f in frames if f.filename not in ours and not f.filename.startswith("<")]
    if theirs:
        text += f" ({Path(theirs[-1].filename).name} line {theirs[-1].lineno})"
    return text
