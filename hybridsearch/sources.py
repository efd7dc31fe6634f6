"""The user's own code behind a module: what it imports, and what that imports, as source.

Found by reading, not by what a process happens to have imported: so driver and workers, a notebook
and a fresh start find the same.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = {"site-packages", "dist-packages"}  # names of folders that packages are installed in


def is_own(file: Path) -> bool:
    """Whether a file is the user's: neither this package's, nor Python's, nor installed."""
    path = file.resolve()
    python = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
    return not (INSTALLED & set(path.parts)) and not any(
        path.is_relative_to(folder) for folder in (PACKAGE, *python)
    )


def sources_of(modules: Sequence[str]) -> dict[str, Path]:
    """The files, by dotted name of the module, of `modules` and of all of the user's that they
    import at any depth: at their top, inside functions, and by `import_module` of a plain text.

    Nothing is imported. A module that is loaded under another search path is the loaded one.
    """
    found: dict[str, Path] = {}
    met = {"": False}  # name -> whether it, or what is below it, may be the user's
    waiting = list(modules)
    while waiting:
        whole = waiting.pop()
        parts = whole.split(".")
        for name in (".".join(parts[: n + 1]) for n in range(len(parts))):
            if name not in met:
                spec = find(name)
                file = Path(spec.origin) if spec and spec.origin and spec.has_location else None
                met[name] = spec is not None and (file is None or is_own(file))
                if spec and file and file.is_file() and (met[name] or name in modules):
                    found[name] = file
                    waiting += _imports(file, name, spec) if met[name] else ()
            if not met[name] and whole not in modules:
                break
    return found


def find(name: str) -> ModuleSpec | None:
    """The spec of a module, loaded or not; None where there is none. Imports nothing."""
    if isinstance(spec := getattr(sys.modules.get(name), "__spec__", None), ModuleSpec):
        return spec
    path = None
    if above := name.rpartition(".")[0]:
        package = find(above)
        if package is None or package.submodule_search_locations is None:
            return None
        path = list(package.submodule_search_locations)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # a finder of others'; who imports it will see
            continue
        if spec is not None:
            return spec
    return None


def _imports(file: Path, name: str, spec: ModuleSpec) -> Iterator[str]:
    """Dotted names that a module may import; some are no modules but what is in them."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # not of this Python, or no Python
        return
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if base)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = getattr(node.args[0], "value", None)
            if called in ("import_module", "__import__") and isinstance(first, str):
                yield _absolute(first, package)


def _absolute(name: str, package: str) -> str:
    """A name without leading dots; "" where there is no package that far up."""
    try:
        return resolve_name(name, package) if name else ""
    except ImportError:
        return ""
