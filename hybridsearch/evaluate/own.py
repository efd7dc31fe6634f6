"""Code of the user's: `package.module:callable`, from the current directory or installed."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from hybridsearch.config import Config
from hybridsearch.digests import checksum
from hybridsearch.errors import UserError, told
from hybridsearch.sources import sources_of

# The file that Python was started with, and its name in processes that multiprocessing starts.
SCRIPTS = {"__main__", "__mp_main__"}

# What a loaded module's file held when it was first asked for, by name.
_loaded: dict[str, tuple[ModuleSpec | None, bytes]] = {}


def own_code(config: Config) -> dict[str, str]:
    """The network, loss and metric that are the user's, by setting."""
    names = {
        "network": config.network.name,
        "loss": config.training.loss,
        "metric": config.metric.name,
    }
    return {setting: name for setting, name in names.items() if ":" in name}


def import_callable(spec: str) -> Callable[..., Any]:
    """The object that `package.module:callable` names; the current directory is searched as well.

    Raises: UserError when the spec has no such form, the import fails, it is not callable, or it
    stands in the script that runs, which is another one in workers.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise UserError(f"expected package.module:callable, got {spec!r}")
    if module_name in SCRIPTS:
        raise _no_script(spec)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except SystemExit as error:  # as a script does that reads its arguments
        raise UserError(
            f"{spec}: {module_name} ended the program when it was imported ({told(error)}); keep "
            "what it does as a script under if __name__ == '__main__'"
        ) from error
    except Exception as error:
        raise UserError(f"{spec}: cannot import {module_name}: {one_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(f"{spec}: {module_name} has no {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"{spec}: expected a callable, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _no_script(spec: str) -> UserError:
    return UserError(
        f"{spec}: put {spec.partition(':')[2]} into a file of its own and name that; neither "
        "workers nor the cache can know the script that runs"
    )


def modules_of(spec: str) -> dict[str, Path]:
    """The files, by module, that a callable comes from: its own and those of the user's that it
    imports (`sources`).

    Raises: UserError where it was made in the script that runs.
    """
    found = inspect.unwrap(import_callable(spec))
    modules = {spec.partition(":")[0], str(getattr(found, "__module__", None))}
    if modules & SCRIPTS:
        raise _no_script(spec)
    return sources_of(sorted(m for m in modules if m not in sys.stdlib_module_names))


def digest_of_code(spec: str) -> str:
    """16 hex digits that stand for names and content of a callable's modules (`modules_of`): the
    same in every process, whatever else was imported there.

    Raises: UserError when one was edited since this process imported it, and so is not what runs;
    and when the module that is named has no file, and so could change unseen. Python's own has none
    at times; its version is known.
    """
    parts: list[str | bytes] = []
    modules, own = modules_of(spec), spec.partition(":")[0]
    if own not in modules and own.partition(".")[0] not in sys.stdlib_module_names:
        raise UserError(
            f"{spec}: no file of {own} is found, by which workers and the cache would know its "
            "code; put it into a .py file of its own"
        )
    for name, file in sorted(modules.items()):
        text = file.read_bytes()
        parts += [name, text]
        if name not in sys.modules:
            continue
        loaded = getattr(sys.modules[name], "__spec__", None)
        before, was = _loaded.setdefault(name, (loaded, text))
        if before is not loaded:  # imported anew, or reloaded
            _loaded[name] = loaded, text
        elif was != text:
            raise UserError(
                f"{spec}: {name} was edited after this process imported it; start Python again, "
                "so that what runs is what the file says"
            )
    return checksum(*parts, digits=16)


def one_line(error: Exception) -> str:
    """Type, first line and place of a user's error: the command line shows no traceback."""
    text = told(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    theirs = [f for f in frames if f.filename not in ours and not f.filename.startswith("<")]
    if theirs:
        text += f" ({Path(theirs[-1].filename).name} line {theirs[-1].lineno})"
    return text
