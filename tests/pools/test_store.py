"""Checkpoints go through a store of fsspec."""

from __future__ import annotations

import pytest

from hybridsearch.errors import UserError
from hybridsearch.pools.store import check_store, download, remove, upload


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_file_comes_back_as_it_was(tmp_path, kind):
    url = "memory://children" if kind == "memory" else (tmp_path / "store").as_uri()
    path = tmp_path / "child"
    check_store(url, "probe")
    path.write_bytes(b"weights")
    upload(url, path)
    path.unlink()
    download(url, path)
    assert path.read_bytes() == b"weights"
    remove(url, ["child", "never there"])
    path.unlink()
    download(url, path)
    assert list(tmp_path.glob("child*")) == []


def test_no_store_is_fine_and_a_bad_one_is_told_in_a_line(tmp_path):
    check_store("", "probe")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cluster\.children: .* cannot be written to"):
        check_store((tmp_path / "file").as_uri(), "probe")
    with pytest.raises(UserError, match=r"cannot be written to"):
        check_store("nosuch://bucket", "probe")
