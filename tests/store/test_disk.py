from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hybridsearch.errors import UserError
from hybridsearch.store import disk
from hybridsearch.store.disk import hold, read_lines, write_text


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_text(path, "old")

    def fail(partial: Path, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "replace", fail)
    with pytest.raises(UserError, match=r"f cannot be written: No space left on device; .* resume"):
        write_text(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("line", [b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(UserError, match="line 2: damaged"):
        list(read_lines(path, ("a",)))


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    holder = (
        "import sys, time; from pathlib import Path; from hybridsearch.store.disk import hold\n"
    )
    holder += "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            with pytest.raises(UserError, match=rf"in use by another process \({other.pid}\)"):
                hold(tmp_path).__enter__()
        finally:
            other.kill()  # as hard as a process can end
    with hold(tmp_path):
        pass
    with hold(tmp_path):  # and again, when it was let go
        pass
