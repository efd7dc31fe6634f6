"""Writes the table of settings into the page `settings.md` when the site is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from hybridsearch.config import Config

PLACE = "<!-- settings -->"


def rows(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Markdown for a section: a heading, its plain settings as a table, then its sections."""
    plain, sections = [], []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            sections.append((name, kind))
        else:
            default = field.get_default(call_default_factory=True)
            shown = "; ".join(map(str, default)) if isinstance(default, tuple) else str(default)
            shown = "" if default is None else shown if len(shown) < 60 else "all"
            text = (field.description or "").replace("|", "\\|")
            plain.append(f"| `{above}{name}` | {f'`{shown}`' if shown else ''} | {text} |")
    yield f"\n## {above.rstrip('.') or 'The search'}\n\n{' '.join((model.__doc__ or '').split())}\n"
    yield "| setting | default | what it is |\n|---|---|---|"
    yield from plain
    for name, kind in sections:
        yield from rows(kind, f"{above}{name}.")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page."""
    return markdown.replace(PLACE, "\n".join(rows(Config))) if PLACE in markdown else markdown
