"""The site builds without a warning, and has what it promises."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="extra docs")
pytest.importorskip("mkdocstrings", reason="extra docs")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.extras,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of MkDocs and its plugins
]


def test_the_site_builds(tmp_path, monkeypatch, caplog):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    assert not [r for r in caplog.records if r.name.startswith("mkdocs")]
    for page, words in {
        "settings.html": "diverged_above",
        "reference.html": "One run. ",
        "guides/your-own-network-and-data.html": "A regression, in 20 lines",
    }.items():
        assert words in (tmp_path / "site" / page).read_text(encoding="utf-8")
