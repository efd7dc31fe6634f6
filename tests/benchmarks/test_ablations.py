"""The ablations benchmark: what is taken away, and one small table from end to end."""

from __future__ import annotations

import json

import ablations
import pytest

from hybridsearch.config import make_config


def test_without_a_part_everything_else_stays():
    config = make_config({"budget": 7, "screen": {"optimism": 1.5}})
    for settings in ablations.PARTS.values():
        changed = ablations.without(config, settings)
        assert changed != config and changed.budget == 7
    assert ablations.without(config, ablations.PARTS["experience"]).screen.optimism == 1.5


def test_a_table_from_end_to_end(tmp_path, small_table):
    config = make_config(
        {"table": str(tmp_path / "t.safetensors"), "budget": 16, "pool": "inline", "seed": 5}
        | {"fidelity": {"rungs": [0.25, 1.0]}, "screen": {"experience": "none"}}
        | {"controller": {"hidden": 8, "embedding": 4}}
    )
    found = ablations.on_table(config, 2, tmp_path / "out")
    assert list(found) == [ablations.DEFAULT, *ablations.PARTS]
    assert found["experience"].early == found[ablations.DEFAULT].early  # there was none
    result = ablations.compared(found)
    assert result["experience"]["adds"]["value"] == 0
    assert result["experience"]["p_better"]["value"] == 0.5
    assert result["screen"]["adds"]["value"] != 0 and 0 <= result["screen"]["p_holm"] <= 1
    json.dumps(result, allow_nan=False)
    assert ablations.compared(ablations.on_table(config, 2, tmp_path / "out")) == result


def test_a_table_that_is_not_there_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        ablations.main(["--tables", "nowhere", "--quick"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
