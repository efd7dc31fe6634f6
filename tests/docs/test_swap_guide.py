"""The guide's blocks run, from top to bottom, and print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "swap.md"


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip(" ─")]


def test_every_block_runs(capsys):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    assert sum(language == "python" for language, _ in blocks) >= 6
    namespace: dict[str, object] = {"__name__": "guide"}
    printed = ""
    for language, text in blocks:
        if language == "python":
            exec(compile(text, str(GUIDE), "exec"), namespace)
            printed = capsys.readouterr().out
        elif not language:  # what the block before prints
            assert lines(text) == lines(printed)
