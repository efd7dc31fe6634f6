"""The user's modules travel as source, no more and no less."""

from __future__ import annotations

import importlib
import sys

import pytest

from hybridsearch.errors import UserError
from hybridsearch.pools import parcel
from hybridsearch.pools.parcel import Code, gather_code


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a package and a module in src, all imported, and one that is not."""
    (tmp_path / "parcelled").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "parcelled" / "__init__.py").write_text("from parcelled import inner\n")
    (tmp_path / "parcelled" / "inner.py").write_text("import beside_it\n")
    (tmp_path / "src" / "beside_it.py").write_text("X = 1\n")
    (tmp_path / "not_imported.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "src")
    importlib.import_module("parcelled")
    yield tmp_path
    for name in ("parcelled", "parcelled.inner", "beside_it"):
        sys.modules.pop(name, None)


def test_what_was_imported_from_below_the_folder_is_gathered(project):
    code = gather_code(project)
    assert sorted(code.files) == ["parcelled/__init__.py", "parcelled/inner.py", "src/beside_it.py"]
    assert set(code.paths) == {".", "src"}
    assert code.files["src/beside_it.py"] == b"X = 1\n"


def test_neither_this_package_nor_installed_ones_are_gathered():
    root = parcel.PACKAGE.parent
    assert not any(n.startswith("hybridsearch/") for n in gather_code(root).files)
    site = next(p for p in sys.path if p.endswith("site-packages"))
    assert gather_code(parcel.Path(site)).files == {}


def test_a_parcel_unpacks_to_what_it_was_made_of(project, tmp_path_factory):
    code = gather_code(project)
    folder = tmp_path_factory.mktemp("there")
    assert code.lies_in(project) and not code.lies_in(folder)
    code.unpack(folder)
    assert code.lies_in(folder)
    (folder / "src" / "beside_it.py").write_text("X = 2\n")
    assert not code.lies_in(folder)


def test_the_digest_depends_on_names_and_content():
    one = Code("/a", (".",), {"a.py": b"x"})
    assert one.digest == Code("/b", (".",), {"a.py": b"x"}).digest
    assert len({one.digest, Code("", (".",), {"b.py": b"x"}).digest, Code().digest}) == 3


@pytest.mark.parametrize("name", ["../out.py", "/out.py", "a/../../out.py"])
def test_a_path_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="below the folder"):
        Code("", (), {name: b""}).unpack(tmp_path / "there")


def test_too_much_is_refused_with_the_largest_named(project, monkeypatch):
    monkeypatch.setattr(parcel, "LARGEST", 10)
    with pytest.raises(UserError, match=r"parcelled/__init__\.py 28"):
        gather_code(project)
