from __future__ import annotations

import json

import racing
import repeated


def test_races_of_every_size_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(racing, "ONE_IN", (None, 4))
    arguments = ["--quick", "--processes", "1", "--json", str(tmp_path / "racing.json")]
    monkeypatch.setattr(repeated, "LokyPool", lambda processes: Here())
    assert racing.main(arguments) == 0
    found = json.loads((tmp_path / "racing.json").read_text())
    few, many = found["rows"]
    assert few["candidates"] == 24 and few["trainings"] == 84
    assert many["candidates"] == 512 // 4 and many["trainings"] > 400
    assert many["regret_of_candidates"] <= few["regret_of_candidates"]
    assert few["regret_of_answer"]["mean"] >= few["regret_of_candidates"]
    assert few["less_24"] == {"mean": 0.0, "low": 0.0, "high": 0.0}


class Here:
    """A pool that works in this process."""

    def run(self, function, jobs, limit):
        return ((name, function(job)) for name, job in jobs.items())

    def close(self): ...
