from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest

from hybridsearch.errors import UserError
from hybridsearch.store import disk
from hybridsearch.store import log as module
from hybridsearch.store.anchor import SLOT, START, Anchor, Mark
from hybridsearch.store.log import Follower, RunLog, last_record, read_log


def filled(path, count=3):
    """The path of a closed log of some records."""
    log = RunLog(path)
    for k in range(count):
        log.append({"kind": "a", "k": k, "x": k / 7}, {"seconds": 2 * k})
    log.close()
    return path


def numbers(records):
    return [payload["k"] for payload, _ in records]


@pytest.fixture
def path(tmp_path):
    return filled(tmp_path / "t.jsonl")


def test_it_is_read_back(path):
    expected = [({"kind": "a", "k": k, "x": k / 7}, {"seconds": 2 * k}) for k in range(3)]
    assert list(read_log(path)) == expected


def test_torn_tail_is_cut_and_replay_checks_what_is_there(path):
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(whole.splitlines()[-1][:40])
    log = RunLog(path)
    for k in range(3):
        log.append({"kind": "a", "k": k, "x": k / 7}, {"seconds": 9})
    log.append({"k": 3})
    log.close()
    assert path.read_bytes().startswith(whole)
    assert numbers(read_log(path)) == [0, 1, 2, 3]


def test_a_resumed_run_that_departs_from_its_log_is_stopped(path):
    log = RunLog(path)
    log.append({"kind": "a", "k": 0, "x": 0.0})
    with pytest.raises(UserError, match="line 2"):
        log.append({"kind": "a", "k": 7})
    log.close()


def test_what_a_checkpoint_counts_is_the_past_and_given_away_once(path):
    log = RunLog(path)
    log.append({"kind": "a", "k": 0, "x": 0.0})
    log.append({"kind": "a", "k": 1, "x": 1 / 7})
    mark = log.mark
    log.close()
    log = RunLog(path)
    assert log.skip(mark)
    assert log.mark == mark
    assert numbers(log.take_past()) == [0, 1]
    assert log.take_past() == []
    assert [entry.payload["k"] for entry in log.ahead] == [2]
    log.close()


@pytest.mark.parametrize("mark", [Mark(4, "0" * 32), Mark(2, "0" * 32)])
def test_a_checkpoint_of_another_log_skips_nothing(path, mark):
    log = RunLog(path)
    assert not log.skip(mark)
    assert log.mark == START
    assert len(log.ahead) == 3
    log.close()


def test_a_mark_is_the_same_while_it_replays_and_while_it_writes(tmp_path):
    log, marks = RunLog(tmp_path / "t"), []
    for k in range(3):
        log.append({"k": k})
        marks.append(log.mark)
    log.close()
    log = RunLog(tmp_path / "t")
    for k in range(3):
        log.append({"k": k})
        assert log.mark == marks[k]
    log.close()


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"payload": {}}', b"3", b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_named(path, line):
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=r"line 4: damaged record; .* remove this line"):
        list(read_log(path))


def test_every_single_bit_flip_is_noticed(tmp_path):
    path = filled(tmp_path / "t.jsonl", 2)
    data = path.read_bytes()
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=r"line \d+: damaged|lost"):
            RunLog(path)
        assert path.read_bytes() == flipped  # and nothing was cut away


def test_records_that_change_places_or_volatile_parts_are_noticed(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2] + lines[1])
    with pytest.raises(UserError, match="line 2: damaged"):
        RunLog(path)
    swapped = [line.replace(b'"seconds":2', b'"seconds":4') for line in lines]
    path.write_bytes(b"".join(swapped))
    with pytest.raises(UserError, match="line 2: damaged"):
        RunLog(path)


def test_every_cut_of_the_last_fifty_records_is_noticed(tmp_path):
    """At every byte of the last five records and, of those before, in three places."""
    path = filled(tmp_path / "t.jsonl", 60)
    data = path.read_bytes()
    ends = np.cumsum([len(line) for line in data.splitlines(keepends=True)])
    cuts = {int(end) + by for end in ends[9:-1] for by in (-1, 0, 40)}
    for size in sorted(cuts | {*range(int(ends[-6]), len(data))}):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=r"record\(s\) at its end are lost, it had 60"):
            RunLog(path)
    path.with_suffix(".head").unlink()  # as the line says
    log = RunLog(path)
    assert len(log.ahead) == 59
    log.close()


def test_an_old_copy_of_another_run_is_noticed(tmp_path, path):
    other = filled(tmp_path / "o.jsonl", 4)
    lines = path.read_bytes().splitlines(keepends=True)
    log = RunLog(tmp_path / "n.jsonl")
    for k in range(4):
        log.append({"k": 10 + k})
    log.close()
    other.write_bytes((tmp_path / "n.jsonl").read_bytes())
    with pytest.raises(UserError, match="line 4: not the record that was written there"):
        RunLog(other)
    assert len(lines) == 3


def test_records_after_the_last_sync_may_be_lost_to_a_kill(tmp_path, abandoned, monkeypatch):
    monkeypatch.setattr(module, "SYNC_EVERY", 1e9)
    log = abandoned(RunLog(tmp_path / "t"))
    log.append({"k": 0})
    log.sync()
    log.append({"k": 1})
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + lines[1][:-1])
    again = abandoned(RunLog(log.path))
    assert [entry.payload for entry in again.ahead] == [{"k": 0}]


def test_a_failed_sync_ends_the_run_and_is_never_tried_again(tmp_path, monkeypatch):
    log, tries = RunLog(tmp_path / "t"), []

    def fail(descriptor):
        tries.append(descriptor)
        raise OSError(5, "Input/output error")

    log.append({"k": 0})
    monkeypatch.setattr(disk, "sync", fail)
    log._dirty = True
    with pytest.raises(UserError, match=r"cannot be written: Input/output error; .* resume"):
        log.sync()
    for again in (log.sync, lambda: log.append({"k": 1})):
        with pytest.raises(UserError, match="an earlier write or sync of it has failed"):
            again()
    log.close()
    assert len(tries) == 1
    assert log._anchor.mark.records <= 1


def test_half_a_record_on_a_full_disk_is_cut_off_at_the_next_start(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "t")
    log.append({"k": 0})

    def half(descriptor, data):
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", half)
        with pytest.raises(UserError, match="No space left on device"):
            log.append({"k": 1})
        log.close()
    log = RunLog(log.path)
    log.append({"k": 0})
    log.append({"k": 1})
    log.close()
    assert numbers(read_log(log.path)) == [0, 1]


# The anchor -----------------------------------------------------------------------------------


def read_anchor(folder):
    with contextlib.closing(Anchor(folder / "head")) as anchor:
        return anchor.mark


def test_one_of_two_slots_is_always_whole(tmp_path):
    anchor = Anchor(tmp_path / "head")
    marks = [Mark(k, f"{k:032x}") for k in range(1, 5)]
    for mark in marks:
        anchor.write(mark)
        assert read_anchor(tmp_path) == mark
    anchor.close()
    data = (tmp_path / "head").read_bytes()
    half = len(data) // 2
    found = set()
    for start in (0, half):
        torn = bytearray(data)
        torn[start + 20 : start + half] = b"\0" * (half - 20)
        (tmp_path / "head").write_bytes(torn)
        anchor = Anchor(tmp_path / "head")
        found.add(anchor.mark)
        anchor.write(Mark(9, "9" * 32))  # into the torn one
        anchor.close()
        assert read_anchor(tmp_path) == Mark(9, "9" * 32)
    assert found == {marks[2], marks[3]}


@pytest.mark.parametrize("data", [b"", b"\0" * 122, b"0000000001 3f3f"])
def test_one_that_was_never_whole_says_nothing(tmp_path, data):
    (tmp_path / "head").write_bytes(data)
    anchor = Anchor(tmp_path / "head")
    assert anchor.mark == START
    anchor.close()


@pytest.mark.parametrize("whole", range(4))
def test_a_write_that_was_cut_off_says_nothing(tmp_path, whole):
    """After so many that were not; wherever it is cut off, the next one is whole."""
    marks = [START, *(Mark(k, f"{k:032x}") for k in range(1, 6))]
    for cut in range(SLOT - 3):  # the last bytes may be those that stood there
        (tmp_path / "head").unlink(missing_ok=True)
        with contextlib.closing(Anchor(tmp_path / "head")) as anchor:
            for mark in marks[1 : whole + 1]:
                anchor.write(mark)
            with pytest.MonkeyPatch.context() as patch:
                write = disk.write
                patch.setattr(disk, "write", lambda file, data: write(file, data[:cut]))  # noqa: B023
                anchor.write(marks[whole + 1])
        assert read_anchor(tmp_path) == marks[whole]
        with contextlib.closing(Anchor(tmp_path / "head")) as anchor:
            anchor.write(marks[whole + 2])
        assert read_anchor(tmp_path) == marks[whole + 2]


def test_a_damaged_one_is_told(path):
    path.with_suffix(".head").write_text("rubbish" * 20)
    with pytest.raises(UserError, match=r"t\.head is damaged; remove it"):
        RunLog(path)


# Reading while another process writes ---------------------------------------------------------


def test_a_follower_sees_whole_lines_once_and_waits_for_the_rest(tmp_path, path):
    data, growing = path.read_bytes(), tmp_path / "growing.jsonl"
    follower, seen = Follower(growing), []
    assert follower.read() == []  # there is no file yet
    for end in range(0, len(data) + 1, 7):
        growing.write_bytes(data[:end])
        seen += follower.read()
        assert len(seen) == data[:end].count(b"\n")
    growing.write_bytes(data)
    assert [*seen, *follower.read()] == list(read_log(path))
    assert follower.read() == []


def test_a_half_line_that_a_resume_cuts_off_is_not_missed(tmp_path, path):
    data, growing = path.read_bytes(), tmp_path / "growing.jsonl"
    first = data.index(b"\n") + 1
    follower = Follower(growing)
    growing.write_bytes(data[: first + 9])
    assert len(follower.read()) == 1
    growing.write_bytes(data[:first])
    assert follower.read() == []
    growing.write_bytes(data)
    assert numbers(follower.read()) == [1, 2]


@pytest.mark.parametrize("line", [0, 2])
def test_a_follower_checks_what_it_reads(path, line):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"kind":"a"', b'"kind":"b"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=f"line {line + 1}: damaged"):
        Follower(path).read()


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_the_last_record_of_a_kind_is_found_from_the_end(tmp_path, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    path = filled(tmp_path / "t.jsonl", 9)
    with path.open("ab") as file:
        file.write(b'{"half')
    for k in (0, 4, 8):
        assert last_record(path, lambda p, k=k: p["k"] == k)["x"] == k / 7
    assert last_record(path, lambda p: p["k"] < 5)["k"] == 4
    assert last_record(path, lambda p: False) is None
    path.write_bytes(b"")
    assert last_record(path, lambda p: True) is None


def test_damage_at_the_end_is_told(path):
    with path.open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(UserError, match="damaged record"):
        last_record(path, lambda p: True)
