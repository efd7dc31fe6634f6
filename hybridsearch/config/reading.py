"""Files and plain settings -> a config, with errors for people."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybridsearch.config.run import PART, Config
from hybridsearch.config.section import Section
from hybridsearch.config.yaml_file import read_yaml
from hybridsearch.errors import UserError, nearest
from hybridsearch.paths import is_file

PROPOSERS = ("controller", "evolution", "regularized", "local", "hybrid", "screen")


def explain(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: which setting, what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    got = problem.get("input")
    shown = "" if isinstance(got, dict | Section) or "got" in message else f" (got {got!r})"
    return f"{where + ': ' if where else ''}{message}{shown}"


def packaged_configs() -> Path:
    """The folder of the configs that ship: installed beside the package, or in the checkout."""
    try:
        return Path(str(resources.files("hybridsearch.configs")))
    except ModuleNotFoundError:  # run from a checkout that is not installed
        return Path(__file__).resolve().parents[2] / "configs"


def config_path(name: str | Path) -> Path:
    """A config file: the path itself, or where a bare name or configs/NAME leads to none, the
    packaged file of that name, with or without .yaml. Any other path means that file alone: of a
    mistyped folder no other settings must run.

    Raises: UserError when there is none, naming the packaged ones.
    """
    path = Path(name)
    if is_file(path):
        return path
    packaged = packaged_configs()
    known = {p.stem: p for p in sorted(packaged.glob("*.yaml"))}
    bare = str(name).removeprefix("configs/").removesuffix(".yaml")
    if bare in known:
        return known[bare]
    raise UserError(f"no config file {str(name)!r}{nearest(path.stem, known)}")


def read_settings(name: str | Path) -> dict[str, Any]:
    """The settings a YAML file states, checked against `Config` but without its defaults.

    Raises: UserError when the file is missing, no YAML mapping, states a key twice, or has a bad
    key or value.
    """
    path = config_path(name)
    settings = read_yaml(path) or {}
    if not isinstance(settings, dict):
        raise UserError(
            f"{path}: expected settings as `key: value` lines, got {type(settings).__name__}"
        )
    make_config(settings, str(path), PART)
    for key in ("data", "network", "metric"):
        if isinstance(settings.get(key), str):
            settings[key] = {"name": settings[key]}
    return settings


def saved_config(path: Path) -> Config:
    """The config that a run wrote into its folder. Raises: UserError when it cannot be read."""
    settings = _saved_settings(path)
    race = settings.get("race")
    if isinstance(race, dict):  # of before there was such a setting: goes on as it began
        race.setdefault("one_in", None)
    return make_config(settings, str(path))


def recorded_config(saved: Path | Mapping[str, Any], source: str) -> Config:
    """The config of a recording or a table, from its file or as it was stored; without the
    sections of proposers, which it does not read and which another version may have written.

    Raises: UserError when it cannot be read.
    """
    settings = _saved_settings(saved) if isinstance(saved, Path) else saved
    return make_config({k: v for k, v in settings.items() if k not in PROPOSERS}, source)


def _saved_settings(path: Path) -> dict[str, Any]:
    try:
        settings = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected settings, got {type(settings).__name__}")
    return settings


def make_config(
    settings: dict[str, Any], source: str = "config", context: str | None = None
) -> Config:
    """A `Config` from plain settings. context: PART where others are to be added, so that none is
    judged by the default of another. Raises: UserError with one line that names the setting.
    """
    try:
        return Config.model_validate(settings, context=context)
    except ValidationError as error:
        raise UserError(f"{source}: {explain(error)}") from error


def load_config(name: str | Path, **overrides: Any) -> Config:
    """A `Config` from a YAML file (a path or a packaged name), top-level overrides on top."""
    return make_config({**read_settings(name), **overrides}, str(name))
