from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hybridsearch.errors import UserError
from hybridsearch.store import disk
from hybridsearch.store.disk import held_by, hold, read_lines, write_text


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_text(path, "old")

    def fail(partial: Path, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "replace", fail)
    with pytest.raises(UserError, match=r"f cannot be written: No space left on device; .* resume"):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_behind_half_a_line_no_other_is_put(tmp_path, monkeypatch):
    path = tmp_path / "l.jsonl"
    file = disk.Appender(path)
    file.add("1\n2\n")
    whole = disk.write

    def fill(descriptor: int, data: bytes) -> None:
        whole(descriptor, data[:2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(disk, "write", fill)
        with pytest.raises(UserError, match=r"l.jsonl cannot be written: No space left on device"):
            file.add("333\n")
    with pytest.raises(UserError, match="an earlier write or sync of it has failed"):
        file.add("4\n")
    file.close()
    file.close()
    assert path.read_text() == "1\n2\n33"
    with closing(disk.Appender(path)) as again:
        again.add("333\n")
    assert path.read_text() == "1\n2\n333\n"


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


@pytest.mark.parametrize("listed", [True, False], ids=["locks listed", "not listed"])
def test_who_holds_a_folder_is_seen_without_a_lock(tmp_path, monkeypatch, listed):
    if not listed:  # as where the system is no Linux
        monkeypatch.setattr(disk, "LOCKS", tmp_path / "none")
    assert held_by(tmp_path) is None
    taken = []
    with hold(tmp_path):
        monkeypatch.setattr(disk.fcntl, "flock", lambda *words: taken.append(words))
        assert held_by(tmp_path) == os.getpid()
    assert held_by(tmp_path) == (None if listed else os.getpid())  # this process goes on
    assert taken == []


def test_a_killed_holder_is_gone_and_its_number_alone_says_nothing(tmp_path):
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom hybridsearch.store.disk import hold\n"
        "with hold(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    assert held_by(tmp_path) == process.pid
    process.kill()
    process.communicate()
    assert held_by(tmp_path) is None
    (tmp_path / disk.LOCK).write_text(str(os.getpid()))  # a number that another process has now
    assert held_by(tmp_path) is None


@pytest.mark.parametrize(
    "line, holder",
    [
        ("1: FLOCK  ADVISORY  WRITE 77 {dev}:{ino} 0 EOF", 77),
        ("1: FLOCK  ADVISORY  WRITE 4242 00:99:{ino} 0 EOF", 4242),  # an overlay's device
        ("1: FLOCK  ADVISORY  WRITE 77 00:99:{ino} 0 EOF", None),  # another file's number
        ("1: FLOCK  ADVISORY  READ 77 {dev}:{ino} 0 EOF", None),
        ("1: POSIX  ADVISORY  WRITE 77 {dev}:{ino} 0 EOF", None),
        ("1: -> FLOCK  ADVISORY  WRITE 77 {dev}:{ino} 0 EOF", None),  # waits for it
        ("nonsense", None),
    ],
)
def test_the_list_of_locks_is_read_with_care(tmp_path, monkeypatch, line, holder):
    lock = tmp_path / disk.LOCK
    lock.write_text("4242")
    about = lock.stat()
    dev = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}"
    (tmp_path / "locks").write_text(line.format(dev=dev, ino=about.st_ino) + "\n")
    monkeypatch.setattr(disk, "LOCKS", tmp_path / "locks")
    assert held_by(tmp_path) == holder
