"""No command writes over what another has made, or somebody; and where the cache of a run is."""

import pytest

from hybridsearch.analysis.runs import LOG
from hybridsearch.cli import main
from hybridsearch.comparison.folder import RESULT as COMPARED
from hybridsearch.comparison.run import TRACES, compare
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.paper.run import RESULT, Asked, benchmark
from hybridsearch.session import search
from hybridsearch.store.folders import (
    KNOWN_BY,
    REPLACED,
    cache_of,
    expect_nothing_lost,
    expect_own,
)
from hybridsearch.tables.recording import FUNCTIONS

COMMANDS = {
    "run": ["--budget", "4", "--out"],
    "comparison": ["compare", "--strategies", "random", "--seeds", "1", "--budget", "4", "--out"],
    "recording": ["record", "--record.replicates", "2", "--out"],
    "benchmark": ["benchmark", "--scale", "small", "--out"],
}


def test_the_marks_are_the_files_that_each_writes():
    assert {
        "run": (LOG,),
        "comparison": (TRACES,),
        "recording": (FUNCTIONS,),
        "benchmark": (RESULT, f"*-lr*/{FUNCTIONS}"),
    } == KNOWN_BY
    assert len({*(first for first, *_ in KNOWN_BY.values()), COMPARED}) == 5


@pytest.mark.parametrize("made", KNOWN_BY)
@pytest.mark.parametrize("kind", [*COMMANDS, "resumed"])
def test_another_ones_folder_is_refused_and_left_as_it_is(tmp_path, capsys, kind, made):
    words = COMMANDS.get(kind, ["resume"])
    if kind == made or (kind, made) == ("resumed", "run"):
        expect_own(tmp_path, made)
        return
    folder = tmp_path / "a folder"
    folder.mkdir()
    files = {KNOWN_BY[made][0]: "a line\n", "config.yaml": "budget: 7\n", "environment.json": "{}"}
    for name, text in files.items():
        (folder / name).write_text(text)
    assert main([*words, str(folder)]) == 2
    told = capsys.readouterr().err
    assert f"holds a {made}" in told and len(told.splitlines()) == 1
    assert {path.name: path.read_text() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in REPLACED.items() for name in names]
)
def test_a_file_that_somebody_put_there_is_left_as_it_is(tmp_path, capsys, kind, name):
    """A config for instance, from which the command is to begin."""
    file = tmp_path / name
    file.write_text("budget: 4\n")
    words = [*COMMANDS[kind], str(tmp_path)]
    assert main([*words, "--config", str(file)] if name == "config.yaml" else words) == 2
    told = capsys.readouterr().err
    assert f"holds a {name} that no {kind} wrote; choose" in told and len(told.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert file.read_text() == "budget: 4\n"


def test_what_a_command_wrote_before_its_first_record_it_may_replace(tmp_path):
    for name in ("config.yaml", "environment.json"):
        (tmp_path / name).touch()
    for kind in ("run", "comparison"):
        expect_nothing_lost(tmp_path, kind)


def test_a_cache_is_where_the_config_says_or_beside_a_folder_that_was_moved(tmp_path):
    said, beside = tmp_path / "elsewhere.sqlite", tmp_path / "runs" / "cache.sqlite"
    folder = tmp_path / "runs" / "a"
    assert cache_of(None, folder) == cache_of(str(said), folder) == beside
    said.touch()
    assert cache_of(str(said), folder) == said


def test_an_empty_file_is_nobodys(tmp_path):
    (tmp_path / FUNCTIONS).touch()
    expect_own(tmp_path, "run")


def test_what_was_begun_and_has_no_result_yet_is_refused_too(tiny, tmp_path, monkeypatch):
    """A comparison that trains has a line only when a whole run is done, a benchmark its result
    last.
    """

    def stopped(*rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridsearch.comparison.run._trained", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(tiny(), ["random"], 1, tmp_path / "comparison")
    asked = Asked(scale="small", networks=("resnet8",), only=("ReLU",), seeds=1)
    monkeypatch.setattr("hybridsearch.paper.run.config_of", lambda *rest: tiny())
    monkeypatch.setattr("hybridsearch.paper.grid._train", stopped)
    with pytest.raises(KeyboardInterrupt):
        benchmark(asked, make_config({}), tmp_path / "benchmark")
    for made in ("comparison", "benchmark"):
        with pytest.raises(UserError, match=f"holds a {made}"):
            search(tiny(), tmp_path / made)
        assert not (tmp_path / made / LOG).exists()
