"""Planted bugs can still be planted: what each changes is there, once, and stays Python."""

from __future__ import annotations

import planted
import pytest


@pytest.mark.parametrize("bug", planted.BUGS, ids=lambda bug: bug.name)
def test_what_a_bug_changes_is_there_once(bug):
    source = (planted.ROOT / "hybridsearch" / bug.file).read_text(encoding="utf-8")
    assert source.count(bug.old) == 1
    assert bug.old != bug.new
    compile(source.replace(bug.old, bug.new), bug.file, "exec")
