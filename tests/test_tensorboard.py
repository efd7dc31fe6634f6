"""TensorBoard beside a run: its events can be read, and the run is the same with and without."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import yaml

from hybridsearch import tensorboard as module
from hybridsearch.analysis.runs import load_run
from hybridsearch.cli import main
from hybridsearch.errors import UserError
from hybridsearch.extras import need
from hybridsearch.observe import Both, Silent
from hybridsearch.session import resume, search
from hybridsearch.tensorboard import TensorBoard

SCALARS = {
    "search/best_fitness",
    "search/cache_hits",
    "search/distinct",
    "search/new_share",
    "search/proposals",
    "search/rejected_share",
    "search/seconds",
    "search/training_steps",
    "promoted/rung_1",
    "promoted/rung_2",
}


@pytest.fixture
def at_home(tmp_path, monkeypatch, tiny_settings):
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(strategy="random", budget=24)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@pytest.fixture
def without_tensorboard(monkeypatch):
    """A machine that lacks the package, also where the tests' machine has it."""
    for name in [n for n in sys.modules if n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)


def test_without_the_package_one_line_says_so_before_anything_is_computed(
    at_home, capsys, without_tensorboard
):
    assert main(["--config", "tiny.yaml", "--out", "runs/a", "--tensorboard"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "needs tensorboard" in err and "pip install 'hybridsearch[tensorboard]'" in err
    assert not (at_home / "runs").exists()


def test_a_package_that_lacks_a_package_is_told_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"it needs nowhere_to_be_found.*hybridsearch\[x\]"):
        need("half_there", "x", "it")


@pytest.mark.extras
def test_the_events_are_those_of_the_run_and_change_nothing_of_it(at_home, capsys):
    pytest.importorskip("tensorboard")
    assert main(["--config", "tiny.yaml", "--out", "runs/a", "--tensorboard"]) == 0
    assert "tensorboard: nothing more" not in capsys.readouterr().out
    assert main(["--config", "tiny.yaml", "--out", "runs/b"]) == 0
    with_, without = load_run("runs/a"), load_run("runs/b")
    assert [p for p, _ in with_.trials] == [p for p, _ in without.trials]
    assert (at_home / "runs/a/config.yaml").read_text() == (
        at_home / "runs/b/config.yaml"
    ).read_text()
    assert not (at_home / "runs/b/tensorboard").exists()

    events = _events(at_home / "runs/a/tensorboard")
    assert set(events.Tags()["scalars"]) == SCALARS
    best = events.Scalars("search/best_fitness")
    assert best[-1].step == len(with_.distinct) == 24
    assert best[-1].value == pytest.approx(with_.summary["incumbent_fitness"])
    assert [b.value for b in best] == sorted(b.value for b in best)
    assert events.Scalars("search/proposals")[-1].value == with_.summary["budgets"]["proposals"]
    on_rung = [sum(o["rung"] >= k for o in with_.distinct) for k in range(3)]
    assert events.Scalars("promoted/rung_2")[-1].value == pytest.approx(on_rung[2] / on_rung[1])
    assert events.Images("incumbent")[-1].width > 300
    told = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "strategy: random" in told


class Writer:
    """Stands in for the package's, and keeps the last scalar of every tag."""

    def __init__(self, *_, **__):
        self.last = {}

    def add_scalar(self, tag, value, step):
        self.last[tag] = value

    def add_nothing(self, *_, **__): ...

    add_text = add_image = flush = close = add_nothing


@pytest.mark.parametrize("changes", [{"batch": 1}, {"batch": 2}, {"batch": 4, "pipeline": 2}])
def test_the_share_that_goes_on_is_that_of_the_records(tmp_path, tiny, monkeypatch, changes):
    """Also where a batch goes no further than the first rung, and where several are under way."""
    monkeypatch.setattr(module, "need", lambda *_: SimpleNamespace(SummaryWriter=Writer))
    config = tiny(strategy="random", budget=24, fidelity={"first": 2}, **changes)
    folder = tmp_path / "a"
    with pytest.raises(KeyboardInterrupt), TensorBoard(folder, pytest.fail) as board:
        search(config, folder, Both(board, Stops(after=24)))
    steps = [p["steps"] for p, _ in load_run(folder).trials if p["kind"] == "evaluation"]
    on_rung = [steps.count(k) for k in (4, 10, 20)]
    assert on_rung[0] == 24 > on_rung[1] >= on_rung[2] > 0
    for rung in (1, 2):
        share = on_rung[rung] / on_rung[rung - 1]
        assert board._writer.last[f"promoted/rung_{rung}"] == pytest.approx(share)


class Stops(Silent):
    """Somebody who presses Ctrl-C after so many functions."""

    def __init__(self, after):
        self.after = after

    def snapshot(self, now):
        if now.distinct >= self.after:
            raise KeyboardInterrupt


@pytest.mark.extras
def test_a_resume_writes_on_and_overlays_nothing(tmp_path, tiny):
    pytest.importorskip("tensorboard")
    config, folder = tiny(strategy="random", budget=24), tmp_path / "a"
    with pytest.raises(KeyboardInterrupt), TensorBoard(folder, print) as board:
        search(config, folder, Both(board, Stops(after=16)))
    assert [e.step for e in _events(folder / "tensorboard").Scalars("search/distinct")][-1] >= 16
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)  # all of it is computed again
    with TensorBoard(folder, print) as board:
        resume(folder, board)
    steps = [e.step for e in _events(folder / "tensorboard").Scalars("search/distinct")]
    assert steps == sorted(set(steps))
    assert steps[0] == 0 and steps[-1] == 24


@pytest.mark.extras
def test_a_disk_that_fails_costs_the_events_and_not_the_run(at_home, capsys, monkeypatch):
    pytest.importorskip("tensorboard")
    from torch.utils import tensorboard

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard.SummaryWriter, "add_scalar", full)
    assert main(["--config", "tiny.yaml", "--out", "runs/a", "--tensorboard"]) == 0
    out = capsys.readouterr().out
    assert out.count("tensorboard: nothing more is written (OSError") == 1
    assert "Verdict: " in out


def _events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()
