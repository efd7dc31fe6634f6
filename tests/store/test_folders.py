"""No command writes over what another has made."""

import pytest

from hybridsearch.analysis.runs import LOG
from hybridsearch.cli import main
from hybridsearch.comparison.folder import RESULT as COMPARED
from hybridsearch.comparison.run import TRACES, compare
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.paper.run import RESULT, Asked, benchmark
from hybridsearch.session import search
from hybridsearch.store.folders import KNOWN_BY, expect_own
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
