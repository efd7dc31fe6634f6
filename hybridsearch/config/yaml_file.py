"""YAML files with settings, read so that nothing of them is dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hybridsearch.errors import UserError

MERGE = "tag:yaml.org,2002:merge"  # `<<`, which may stand in a mapping more than once


class _Twice(yaml.MarkedYAMLError):
    """A key stands twice in a mapping."""


class _Loader(yaml.SafeLoader):
    """PyYAML's, which lets the last of equal keys count; here they are an error.

    Looked at is what stands in the file, before merge keys bring in what anchors have: that a
    mapping may state anew.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if (key.tag, key.value) in seen:
                    raise _Twice(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises: UserError with the line when it is no YAML, or states a setting twice; OSError.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        what = f"{error.problem}; leave one" if isinstance(error, _Twice) else "not valid YAML"
        raise UserError(f"{path}{where}: {what}") from error
