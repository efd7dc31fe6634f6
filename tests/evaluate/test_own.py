"""What stands for the user's code: the file that is named, and all of theirs that it imports."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import types
from pathlib import Path

import pytest

from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate import worker
from hybridsearch.evaluate.evaluator import TrainingEvaluator, _code
from hybridsearch.evaluate.own import digest_of_code, import_callable
from hybridsearch.evaluate.probe import probe
from hybridsearch.evaluate.trajectory import FollowJob, follow
from hybridsearch.session import resume, search
from hybridsearch.types import Status

NETWORK = """
import functools
import owned_size
from torch import nn

def build(make_activation, kind=nn.Linear):
    hidden = owned_size.HIDDEN
    return nn.Sequential(kind(64, hidden), make_activation(hidden, -1), nn.Linear(hidden, 10))

def flat(make_activation):
    return nn.Sequential(nn.Flatten(), build(make_activation))

bound = functools.partial(build, kind=nn.LazyLinear)

def generated(make_activation):
    with open(__file__.replace("net.py", "made.txt")) as file:
        hidden = int(file.read())
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, hidden), make_activation(hidden, -1), nn.Linear(hidden, 10)
    )
"""
NAMES = ("owned_net", "owned_size", "owned_beside")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a network whose size stands in another file; and a way to write that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(hidden: int, made: int = 8) -> None:
        forget()
        (tmp_path / "owned_net.py").write_text(NETWORK)
        (tmp_path / "owned_size.py").write_text(f"HIDDEN = {hidden}\n")
        (tmp_path / "owned_made.txt").write_text(str(made))
        importlib.invalidate_caches()

    write(8)
    yield write
    forget()


def forget():
    """As if another process began."""
    for name in NAMES:
        sys.modules.pop(name, None)


def test_a_module_that_is_imported_counts(own):
    first = digest_of_code("owned_net:build")
    forget()
    assert digest_of_code("owned_net:build") == first
    own(16)
    assert digest_of_code("owned_net:build") != first


def test_the_digest_is_the_same_in_every_process_whatever_is_loaded(own, tmp_path):
    (tmp_path / "owned_net.py").write_text("def build():\n    import owned_size, owned_beside\n")
    (tmp_path / "owned_beside.py").write_text("import owned_size\n")
    code = "import {}\nfrom hybridsearch.evaluate.own import *\nprint(digest_of_code('{}'))"
    path = f"{Path(__file__).parents[2]}:{tmp_path}"
    for module in ("owned_beside, json.tool", "sys"):
        ran = subprocess.run(
            [sys.executable, "-c", code.format(module, "owned_net:build")],
            env={"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert ran.stdout.strip() == digest_of_code("owned_net:build"), ran.stderr


def test_what_is_no_function_has_a_digest_too(own):
    assert digest_of_code("owned_net:bound") == digest_of_code("owned_net:build")


def test_what_was_edited_after_it_was_imported_is_refused(own, tmp_path):
    first = digest_of_code("owned_net:build")
    (tmp_path / "owned_size.py").write_text("HIDDEN = 160\n")
    with pytest.raises(UserError, match="owned_size was edited after") as error:
        digest_of_code("owned_net:build")
    assert "\n" not in str(error.value)
    importlib.reload(sys.modules["owned_size"])
    assert digest_of_code("owned_net:build") != first


def test_the_script_that_runs_is_refused(own, monkeypatch):
    """Workers have another, and no digest would tell that it was edited."""

    def loss(outputs, targets):
        return outputs

    for name in ("__main__", "__mp_main__"):
        module = sys.modules.get(name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(module, "loss", loss, raising=False)
        with pytest.raises(UserError, match=r"put loss into a file of its own") as error:
            import_callable(f"{name}:loss")
        assert "\n" not in str(error.value)
    importlib.import_module("owned_net").loss = loss
    loss.__module__ = "__main__"  # as a notebook may hand one over
    with pytest.raises(UserError, match=r"put loss into a file of its own"):
        digest_of_code("owned_net:loss")


def test_code_that_stands_in_no_file_is_refused(monkeypatch):
    made = types.ModuleType("owned_typed")
    made.loss = importlib.import_module("torch").nn.functional.l1_loss
    monkeypatch.setitem(sys.modules, "owned_typed", made)
    with pytest.raises(UserError, match="owned_typed:loss: no file of owned_typed is") as error:
        digest_of_code("owned_typed:loss")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "spec",
    [
        *("torch.nn.functional:l1_loss", "torch.nn.functional:softplus", "torch:nn.Module"),
        *("math:dist", "operator:sub", "os.path:join", "importlib.machinery:FileFinder"),
    ],
)
def test_what_is_installed_is_known_whether_it_has_a_file_or_not(spec):
    assert digest_of_code(spec) == digest_of_code(spec)


def test_a_module_that_ends_the_program_when_it_is_imported_is_one_line(own, tmp_path):
    text = "import sys\nsys.exit(2)\ndef build(make_activation): pass\n"
    (tmp_path / "owned_beside.py").write_text(text)  # as one that reads its arguments
    with pytest.raises(UserError, match=r"owned_beside ended the program .*SystemExit: 2") as error:
        import_callable("owned_beside:build")
    assert "\n" not in str(error.value)


def settings(tiny_settings, network="flat"):
    return make_config(tiny_settings(budget=2, network={"name": f"owned_net:{network}"}))


def test_a_search_never_answers_for_a_network_that_is_no_more(own, tmp_path, tiny_settings):
    def task():
        evaluator = TrainingEvaluator(settings(tiny_settings), tmp_path / "children")
        return evaluator.task("ReLU", "key", 20, 0).hash

    search(settings(tiny_settings), tmp_path / "runs" / "a")
    first = task()
    own(16)
    assert task() != first  # so that the cache has nothing for it
    with pytest.raises(UserError, match="or your own code"):
        resume(tmp_path / "runs" / "a")


def test_a_worker_that_begins_after_an_edit_trains_nothing(own, tmp_path, tiny_settings):
    evaluator = TrainingEvaluator(settings(tiny_settings), tmp_path / "children")

    def train(seed):
        worker.trainer_for.cache_clear()  # as if another process began
        (found,) = evaluator.evaluate([evaluator.task("ReLU", "key", 2, seed)])
        return found

    assert train(0).status is Status.OK
    own(16)
    found = train(1)
    assert found.status is Status.ERROR
    assert found.message.startswith("owned_net:flat: a worker process imported other code")
    assert "\n" not in found.message
    own(8)
    assert train(2).status is Status.OK


def test_nor_does_one_that_records_a_table(own, tmp_path, tiny_settings):
    evaluator = TrainingEvaluator(settings(tiny_settings), tmp_path / "children")
    digests = evaluator.data_digest, evaluator.code_digest
    assert all(digests)
    tasks = (evaluator.task("ReLU", "key", 2, 0),)
    job = FollowJob(evaluator.config, tasks, (2,), False, "cpu", math.inf, *digests)
    worker.trainer_for.cache_clear()
    assert follow(job)[0].status is Status.OK
    own(16)
    worker.trainer_for.cache_clear()
    assert "imported other code" in follow(job)[0].message


def test_a_worker_looks_at_the_code_once(own, tmp_path, tiny_settings, monkeypatch):
    def trained(config):
        evaluator = TrainingEvaluator(config, tmp_path / "children")
        worker.trainer_for.cache_clear()
        tasks = [evaluator.task("ReLU", "key", 2, seed) for seed in range(3)]
        return {result.status for result in evaluator.evaluate(tasks)}

    looked, real = [], worker.code_digest
    monkeypatch.setattr(worker, "code_digest", lambda c: (looked.append(c), real(c))[1])
    assert trained(make_config(tiny_settings())) == {Status.OK}
    assert not looked  # all is ours
    assert trained(settings(tiny_settings)) == {Status.OK}
    assert len(looked) == 1


def test_a_network_that_no_file_describes_is_told_by_its_parameters(own, tmp_path, tiny_settings):
    def context():
        return TrainingEvaluator(settings(tiny_settings, "generated"), tmp_path).context

    first = context()
    assert context() == first
    own(8, made=9)
    assert context() != first


def test_a_network_of_ours_is_told_by_its_name_alone(tiny, tmp_path, monkeypatch):
    first = TrainingEvaluator(tiny(), tmp_path)

    def other_parts(config, data):
        return probe(config, data)._replace(parts=("another",))

    monkeypatch.setattr("hybridsearch.evaluate.evaluator.probe", other_parts)
    again = TrainingEvaluator(tiny(), tmp_path)
    assert (first.context, first._timed) == (again.context, again._timed)


def test_workers_elsewhere_get_what_is_not_imported_yet(own, tmp_path):
    (tmp_path / "owned_net.py").write_text("def build(make_activation):\n    import owned_beside\n")
    (tmp_path / "owned_beside.py").write_text("")
    assert {"owned_net.py", "owned_beside.py"} <= set(_code(["owned_net:build"]).files)
    assert _code([]).files == {}
