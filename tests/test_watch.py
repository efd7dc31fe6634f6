"""A run seen from outside: finished, running, stopped; and nothing of it is touched."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time

import pytest
from rich.console import Console

from hybridsearch import watch as module
from hybridsearch.cli import main
from hybridsearch.errors import UserError
from hybridsearch.store.disk import hold
from hybridsearch.watch import watch


@pytest.fixture
def copy(finished_run, tmp_path):
    """A copy of a finished run: (its folder, its log, its summary), to be taken apart."""
    folder = tmp_path / "runs" / "b"
    shutil.copytree(finished_run, folder)
    return folder, folder / "trials.jsonl", folder / "summary.json"


def stopped_at(copy, share):
    """Cut the copy's log as a kill would, in the middle of a line; what was cut off."""
    folder, log, summary = copy
    (folder / "trials.head").unlink()
    data = log.read_bytes()
    lines = data.splitlines(keepends=True)
    keep = sum(len(line) for line in lines[: int(share * len(lines))]) + 20
    log.write_bytes(data[:keep])
    return data[keep:], summary.read_bytes(), summary.unlink()


def printed(folder, **more):
    text = io.StringIO()
    status = watch(folder, Console(file=text, width=200), **more)
    return status, text.getvalue()


def test_a_finished_run_gives_its_verdict(finished_run):
    status, text = printed(finished_run)
    assert status == 0
    assert "state" in text and "finished" in text
    assert "Verdict: " in text
    assert "resume" not in text


def test_a_summary_of_a_version_that_wrote_no_level_has_the_one_of_its_config(copy):
    folder, _, summary = copy
    config, told = folder / "config.yaml", json.loads(summary.read_text())
    assert told.pop("confidence") == 0.95
    summary.write_text(json.dumps(told))
    config.write_text(config.read_text().replace("confidence: 0.95", "confidence: 0.8"))
    _, text = printed(folder)
    assert "80% interval" in text and "95%" not in text


def test_once_says_how_it_is_and_ends(copy):
    stopped_at(copy, 0.3)
    status, text = printed(copy[0], once=True)
    lines = text.splitlines()
    assert status == 0
    assert lines[0].startswith("state") and "stopped at" in lines[0]
    assert "best so far" in text
    with hold(copy[0]):
        status, text = printed(copy[0], once=True)
    assert f"running (process {os.getpid()})" in text


def test_a_driver_that_is_gone_is_told_with_how_to_go_on(copy):
    stopped_at(copy, 0.5)
    status, text = printed(copy[0], every=0.01)
    assert status == 1
    assert f"python -m hybridsearch resume {copy[0]}" in text.splitlines()[-1]


def test_it_follows_a_log_that_grows_in_pieces(copy, monkeypatch):
    """Half a line is waited for; the end comes with the summary."""
    folder, log, summary = copy
    rest, told, _ = stopped_at(copy, 0.3)
    ready = threading.Event()

    def drive():
        with hold(folder):
            ready.set()
            with log.open("ab", buffering=0) as file:
                for start in range(0, len(rest), 1 + len(rest) // 40):
                    file.write(rest[start : start + 1 + len(rest) // 40])
                    time.sleep(0.005)
            summary.write_bytes(told)

    driver = threading.Thread(target=drive)
    driver.start()
    ready.wait()
    try:
        status, text = printed(folder, every=0.01)
    finally:
        driver.join()
    assert status == 0
    assert "Searching: 8 functions" in text
    assert "Verdict: " in text


def test_nothing_is_written_or_locked(copy):
    stopped_at(copy, 0.5)
    folder = copy[0]
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
    run = module.Watched(folder)
    run.look()
    with hold(folder):  # while it is being watched
        run.look()
        assert run.holder == os.getpid()
    run.look()
    assert run.holder is None
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
    assert {p: v for p, v in after.items() if p.name != ".lock"} == {
        p: v for p, v in before.items() if p.name != ".lock"
    }


def test_only_new_bytes_are_read(copy):
    folder, log, _ = copy
    rest, *_ = stopped_at(copy, 0.2)
    run = module.Watched(folder)
    run.look()
    proposals = run.course.snapshot().proposals
    data = log.read_bytes()
    log.write_bytes(b"x" * 10 + data[10:])  # what was read is not read again
    with log.open("ab") as file:
        file.write(rest)
    run.look()
    assert run.news
    assert run.course.snapshot().proposals > proposals
    run.look()
    assert not run.news


@pytest.mark.parametrize("what", ["line", "cut", "summary", "no summary"])
def test_damage_is_one_line(copy, what):
    folder, log, summary = copy
    if what == "line":
        data = log.read_bytes()
        log.write_bytes(data.replace(b'"loss"', b'"lost"', 1))
        with pytest.raises(UserError, match="line 1: damaged record"):
            printed(folder)
    elif what == "cut":
        run = module.Watched(folder)
        run.look()
        log.write_bytes(log.read_bytes()[:100])
        with pytest.raises(UserError, match="has been cut"):
            run.look()
    elif what == "summary":
        summary.write_text("{")
        with pytest.raises(UserError, match="cannot be read"):
            printed(folder)
    else:
        summary.write_text(json.dumps({"verdict": "better"}))
        with pytest.raises(UserError, match="is missing"):
            printed(folder)


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        printed(tmp_path)


def test_time_left_is_told_of_one_session_only(copy):
    stopped_at(copy, 0.2)
    folder = copy[0]
    started = json.loads((folder / "environment.json").read_text())["started"]
    with hold(folder):
        run = module.Watched(folder)
        run.look()
        lock = folder / ".lock"
        begun = module.datetime.fromisoformat(started).timestamp()
        os.utime(lock, (begun + 5, begun + 5))
        left, stage = run.left(), run.course.stage()
        pace = (time.time() - begun - 5) / stage.done
        assert left == pytest.approx(pace * (stage.total - stage.done), rel=0.05)
        assert run.snapshot().seconds == pytest.approx(time.time() - begun - 5, rel=0.05)
        os.utime(lock, (begun + 500, begun + 500))  # resumed
        assert run.left() is None
        assert run.snapshot() == run.course.snapshot()
    assert run.left() is None or run.holder is not None


def test_ctrl_c_ends_quietly(copy, monkeypatch, capsys):
    def interrupted(seconds):
        raise KeyboardInterrupt

    folder = copy[0]
    stopped_at(copy, 0.5)
    monkeypatch.setattr(module.time, "sleep", interrupted)
    with hold(folder):
        assert main(["watch", str(folder)]) == 130
    seen = capsys.readouterr()
    assert "running" in seen.out
    assert seen.err == ""
