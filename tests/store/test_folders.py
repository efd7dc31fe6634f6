"""No command writes over what another has made."""

import pytest

from hybridsearch.analysis.runs import LOG
from hybridsearch.cli import main
from hybridsearch.comparison.folder import RESULT as COMPARED
from hybridsearch.comparison.run import TRACES
from hybridsearch.paper.run import RESULT
from hybridsearch.store.folders import KNOWN_BY, expect_own
from hybridsearch.tables.recording import FUNCTIONS

COMMANDS = {
    "run": ["--budget", "4", "--out"],
    "comparison": ["compare", "--strategies", "random", "--seeds", "1", "--budget", "4", "--out"],
    "recording": ["record", "--record.replicates", "2", "--out"],
    "benchmark": ["benchmark", "--scale", "small", "--out"],
}


def test_the_marks_are_the_files_that_each_writes():
    assert KNOWN_BY == {
        "run": LOG,
        "comparison": TRACES,
        "recording": FUNCTIONS,
        "benchmark": RESULT,
    }
    assert len({*KNOWN_BY.values(), COMPARED}) == 5


@pytest.mark.parametrize("made", KNOWN_BY)
@pytest.mark.parametrize("kind", [*COMMANDS, "resumed"])
def test_another_ones_folder_is_refused_and_left_as_it_is(tmp_path, capsys, kind, made):
    words = COMMANDS.get(kind, ["resume"])
    if kind == made or (kind, made) == ("resumed", "run"):
        expect_own(tmp_path, made)
        return
    folder = tmp_path / "a folder"
    folder.mkdir()
    files = {KNOWN_BY[made]: "a line\n", "config.yaml": "budget: 7\n", "environment.json": "{}"}
    for name, text in files.items():
        (folder / name).write_text(text)
    assert main([*words, str(folder)]) == 2
    told = capsys.readouterr().err
    assert f"holds a {made}" in told and len(told.splitlines()) == 1
    assert {path.name: path.read_text() for path in folder.iterdir()} == files


def test_an_empty_file_is_nobodys(tmp_path):
    (tmp_path / KNOWN_BY["recording"]).touch()
    expect_own(tmp_path, "run")
