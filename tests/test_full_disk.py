"""A real small file system that is full: one line, nothing lost, and a resume with more room."""

from __future__ import annotations

import os
import subprocess

import pytest

from hybridsearch import engine
from hybridsearch.analysis.runs import load_run
from hybridsearch.errors import UserError
from hybridsearch.observe import Silent
from hybridsearch.session import resume, search
from hybridsearch.tables.recording import Recording


@pytest.fixture
def small(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("mounting a file system needs rights that are not there")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def payloads(folder):
    return [payload for payload, _ in load_run(folder).trials]


@pytest.mark.parametrize("room", [0, 30_000])
def test_a_full_disk_ends_in_one_line_and_a_resume_goes_on(
    tiny, tmp_path, small, monkeypatch, room
):
    monkeypatch.setattr(engine, "CHECKPOINT_EVERY", 0.0)
    config = tiny(budget=12, batch=4, strategy="rl")
    whole = search(config, tmp_path / "whole" / "a")
    folder, ballast = small / "run", small / "ballast"
    free = os.statvfs(small)
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - room))
    with pytest.raises(UserError) as error:
        search(config, folder)
    assert "No space left on device" in str(error.value) or "disk is full" in str(error.value)
    assert "\n" not in str(error.value)
    before = payloads(folder) if (folder / "trials.jsonl").exists() else []
    ballast.unlink()
    if (folder / "config.yaml").exists():
        resume(folder)
    else:
        search(config, folder)
    assert payloads(folder) == payloads(whole["folder"])
    assert payloads(folder)[: len(before)] == before


def test_a_recording_on_a_full_disk_goes_on_when_there_is_room(tiny, small):
    recording = Recording.start(small / "table", tiny(), [])
    free = os.statvfs(small)
    ballast = small / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize))
    work = [("all", [(f, range(1)) for f in recording.functions[:2]])]
    with pytest.raises(UserError, match="No space left on device"):
        recording.train(work, Silent())
    ballast.unlink()
    recording.train(work, Silent())
    assert len(Recording(small / "table").cells) == 2
