"""The report: its facts are those of the records, its page is one file that shows them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hybridsearch.analysis import course, pictures
from hybridsearch.analysis.remarks import BOTH
from hybridsearch.analysis.runs import load_run
from hybridsearch.analysis.tables import sentence
from hybridsearch.cli import main
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.genome.batch import behaviour
from hybridsearch.genome.genome import Genome
from hybridsearch.report import facts
from hybridsearch.report import page as page_module
from hybridsearch.report.page import report
from hybridsearch.session import search


@pytest.fixture(scope="module")
def runs(tiny_settings, tmp_path_factory):
    """Two finished runs."""

    folder = tmp_path_factory.mktemp("runs")
    for name, strategy in (("a", "rl"), ("b", "evolution")):
        settings = tiny_settings(strategy=strategy, budget=40, screen={"use": "off"})
        search(make_config(settings), folder / name)
    return [load_run(folder / name) for name in "ab"]


class Page(HTMLParser):
    """What a page has, and whether its elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [v for k, v in attributes if k in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_one_file_that_has_everything(runs, tmp_path):
    text = report([run.folder for run in runs], tmp_path / "out").read_text()
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags and "link" not in page.tags
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert len(page.sources) >= 11
    assert "default-src 'none'" in text
    for run in runs:
        assert run.summary["winner"]["label"] in page.text
        assert sentence(run.summary).partition(":")[2].strip() in page.text
        for row in run.summary["finalists"]:
            assert f"{100 * row['mean']:.2f}" in page.text
    assert (tmp_path / "out" / "best_so_far.png").exists()


def test_what_few_have_in_common_is_not_told(runs, tmp_path):
    assert facts.common_tokens(runs[0]) == facts.common_shapes(runs[0]) == []  # the best are 4
    assert "common among the best" not in report([runs[0].folder], tmp_path / "few").read_text()


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are empty files, and so take no time; what each was made of, by its path."""
    made = {}

    def empty(*given, **_):
        path = next(value for value in given if isinstance(value, Path))
        path.touch()
        made[path] = given[0]

    for module in (pictures, page_module):
        for name in [name for name in vars(module) if name.startswith("plot_")]:
            monkeypatch.setattr(module, name, empty)
    return made


def copied(run, *folders):
    for folder in folders:
        shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("*.png", "*.html"))
    return folders


def changed(folder, **changes):
    saved = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**saved, **changes}))


def test_runs_of_one_name_are_told_apart(runs, tmp_path, undrawn):
    """The same strategy, seed and name of the folder; one of them twice."""
    one, two = copied(runs[0], tmp_path / "exp1" / "first", tmp_path / "exp2" / "first")
    out = tmp_path / "out"
    page = Page(report([one, two, two, runs[1].folder], out).read_text())
    names = ["exp1/first", "exp2/first", "exp2/first (2)"]
    assert list(undrawn[out / "best_so_far.png"]) == [*names, "evolution-screen, seed 0"]
    for name in undrawn[out / "best_so_far.png"]:
        assert f"{name}: what was found" in page.text
    for file in ("exp1-first", "exp2-first", "exp2-first (2)", "b"):
        assert (out / f"winner-{file}.png").exists()
        assert (out / file / "search_curve.png").exists()


def test_with_a_place_for_the_page_the_run_is_only_read(runs, tmp_path, undrawn):
    [folder] = copied(runs[0], tmp_path / "shared")
    before = sorted(folder.rglob("*"))
    report([folder], tmp_path / "mine")
    assert sorted(folder.rglob("*")) == before
    names = {"search_curve", "found_functions", "best_functions", "retest"}
    assert {path.stem for path in (tmp_path / "mine" / "shared").iterdir()} == names
    report([folder])
    assert {path.stem for path in folder.glob("*.png")} >= names


def test_what_is_at_chance_was_not_found(runs, tmp_path, undrawn):
    """It was trained to the end, and is no function of which to say that it is the best so far."""
    [folder] = copied(runs[0], tmp_path / "chance")
    run = load_run(folder)
    top = max(float(o["fitness"]) for o in run.fully_trained)
    nothing = {"verdict": "nothing trained", "winner": None, "best_baseline": None, "duel": None}
    nothing |= {"finalists": [], "baselines": [], "difference_to_best_baseline": None}
    changed(folder, **nothing, incumbent=None, incumbent_fitness=None, chance=top)
    page = Page(report([folder]).read_text())
    assert "Nothing trained: no function came to the end better than chance." in page.text
    assert "Best so far of those" not in page.text
    assert not (folder / "found_functions.png").exists()
    changed(folder, incumbent="tanh(x)", chance=top - 0.01, faults=1, fault="no memory")
    page = Page(report([folder]).read_text())
    assert "Nothing retested: the machine failed a training of each" in page.text
    assert "tanh(x)Best so far of those trained" in page.text.replace("\n", "").replace("  ", "")
    assert (folder / "found_functions.png").exists()


def test_test_and_interval_stand_before_validation(runs, tmp_path):
    text = report([runs[0].folder], tmp_path / "order").read_text()
    head = re.findall(r"<th[^>]*>([^<]*)</th>", text)
    assert head[:5] == ["", "function", "test", "95% interval", "validation"]


def test_what_it_says_is_what_the_records_say(runs, monkeypatch):
    monkeypatch.setattr(facts, "FEW", 1)
    assert facts.common_tokens(runs[0]) and facts.common_shapes(runs[0])
    for run in runs:
        x, best = course.best_so_far(run)
        assert len(x) == len(run.distinct) == 40
        assert best[-1] == run.summary["incumbent_fitness"]
        assert np.nanmax(best) == best[-1]
        came = [count for _, count in facts.promotion(run)]
        assert came == sorted(came, reverse=True)
        assert came[-1] == len(facts.fully_trained(run))
        cost = facts.cost(run)
        assert cost.functions == run.summary["budgets"]["distinct"]
        assert cost.rejected == run.summary["budgets"]["rejected"]
        assert sum(n for _, n in facts.rejections(run)) >= cost.rejected
    shares = course.token_shares(facts.controllers(runs[0]))
    held = [("tanh" in o["genome"].split()) for o in facts.controllers(runs[0])]
    weights = np.diff([0, *np.linspace(0, len(held), len(shares.at) + 1).round()[1:]])
    assert np.average(shares.values["tanh"], weights=weights) == pytest.approx(np.mean(held))
    assert course.token_shares(facts.controllers(runs[1])) is None  # it has no controller
    best = facts.fully_trained(runs[0])[: round(0.1 * 40)]
    for common in facts.common_tokens(runs[0]):
        holds = [common.name in o["function"].split() for o in best]
        assert common.best == pytest.approx(np.mean(holds))


def test_the_best_are_counted_as_they_are(runs, tmp_path, monkeypatch):
    """Under early stopping fewer than a tenth come to the end: then these are the best."""
    monkeypatch.setattr(facts, "FEW", 1)
    monkeypatch.setattr(facts, "BEST", 0.9)
    full = len(facts.fully_trained(runs[0]))
    assert 0 < full < 36
    page = Page(report([runs[0].folder], tmp_path / "count").read_text())
    told = f"The best: {full} of the {full} functions that were trained to the end; all: the 40"
    assert told in page.text


def test_the_page_says_the_level_of_its_intervals(runs, tmp_path):
    copy = tmp_path / "level"
    shutil.copytree(runs[0].folder, copy)
    saved = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps({**saved, "confidence": 0.8}))
    text = report([copy]).read_text()
    assert "80% interval</th>" in text and "95% interval" not in text


def test_a_winner_found_again_has_one_row_that_says_both(runs, tmp_path, monkeypatch):
    copy = tmp_path / "again"
    shutil.copytree(runs[0].folder, copy)
    saved = json.loads((copy / "summary.json").read_text())
    saved["winner"] = saved["best_baseline"]
    saved["finalists"] = [saved["winner"], *saved["finalists"][1:]]
    (copy / "summary.json").write_text(json.dumps(saved))
    drawn = []
    monkeypatch.setattr(pictures, "plot_retest", lambda rows, *_, **__: drawn.extend(rows))
    monkeypatch.setattr(page_module, "Image", SimpleNamespace(of=lambda *_: SimpleNamespace(
        alt="", caption="", data="")))  # fmt: skip
    text = report([copy]).read_text()
    assert text.count(f'<td class="role">{BOTH}</td>') == 1
    assert 'class="role">winner</td>' not in text
    assert [row.kind for row in drawn].count(BOTH) == 1
    assert len({row.label for row in drawn}) == len(drawn)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("max(x, 0)", {"monotone", "flat on one side", "0 at 0", "has a kink"}),
        ("tanh(x)", {"monotone", "odd", "flat on both sides", "0 at 0"}),
        ("|x|", {"even", "0 at 0", "has a kink"}),
        ("x^3", {"monotone", "odd", "0 at 0"}),
        ("cos(x)", {"even"}),
        ("exp(x)", {"monotone", "flat on one side"}),
        ("exp(-x^2)", {"even", "flat on both sides"}),
    ],
)
def test_words_for_shapes(formula, words):
    found = behaviour([Genome.parse(formula).tokens], facts.GRID, np.ones((1, 1)))
    assert facts.shape(found.values[0, 0], found.slopes[0, 0]) == words


def test_a_run_that_is_not_finished_has_a_page_too(runs, tmp_path):
    copy = tmp_path / "stopped"
    shutil.copytree(runs[0].folder, copy)
    (copy / "summary.json").unlink()
    text = report([copy]).read_text()
    assert "not finished" in text
    stopped = load_run(copy)
    assert stopped.distinct[0]["formula"] is not None
    so_far, whole = facts.cost(stopped), facts.cost(runs[0])
    assert so_far.steps == whole.steps == runs[0].summary["budgets"]["training_steps"] > 0
    assert (so_far.search_seconds, so_far.retest_seconds) == (None, None)
    page = Page(text).text
    assert "-search" in page and "-race and retest" in page


def test_the_page_says_on_which_seeds_the_two_were_compared(runs, tmp_path):
    copy = tmp_path / "duel"
    shutil.copytree(runs[0].folder, copy)
    saved = json.loads((copy / "summary.json").read_text())
    assert "On those seeds" not in report([copy]).read_text()
    saved["duel"] = {"seeds": 2, "winner": {"mean": 0.625}, "best_baseline": {"mean": 0.5}}
    (copy / "summary.json").write_text(json.dumps(saved))
    page = Page(report([copy]).read_text()).text
    assert f"On those seeds {saved['winner']['label']} has 62.50%" in page
    assert "over 2 fresh seeds that named neither" in page


def test_what_others_wrote_is_escaped(runs, tmp_path):
    copy = tmp_path / "evil"
    shutil.copytree(runs[0].folder, copy)
    summary = json.loads((copy / "summary.json").read_text())
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    summary["winner"]["label"] = summary["finalists"][0]["label"] = evil
    summary["verdict"] = '"><script>x</script>'
    (copy / "summary.json").write_text(json.dumps(summary))
    environment = json.loads((copy / "environment.json").read_text())
    environment["processor"] = evil
    (copy / "environment.json").write_text(json.dumps(environment))
    text = report([copy]).read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", text)
    assert evil in page.text


def test_the_command_line(runs, tmp_path, capsys):
    assert main(["report", str(runs[0].folder), "--out", str(tmp_path / "p")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "p" / "report.html")
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "holds no run" in capsys.readouterr().err
    with pytest.raises(UserError, match="expected the folder of a run"):
        report([])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--out", "runs/a b", "--seed", "3"], "--out NEW --seed 3"),
        (["--seed", "3", "--out=runs/a"], "--seed 3 --out=NEW"),
        (["--seed", "3"], "--seed 3"),
    ],
)
def test_a_run_is_repeated_in_another_folder(given, told):
    command = ["/somewhere/hybridsearch/__main__.py", *given]
    run = SimpleNamespace(environment={"command": command})
    assert facts.command(run) == f"python -m hybridsearch {told}"


@pytest.mark.parametrize(
    "command",
    [
        ["/somewhere/hybridsearch/__main__.py", "compare", "--seeds", "3"],
        ["/somewhere/mine/__main__.py", "--seed", "3"],
        ["mine.py"],
        [],
    ],
)
def test_a_run_that_no_search_of_the_command_line_made_is_repeated_by_its_config(command):
    run = SimpleNamespace(environment={"command": command}, folder=Path("c/rl-0"))
    told = "python -m hybridsearch --config c/rl-0/config.yaml --out NEW"
    assert facts.command(run) == told
    bare = SimpleNamespace(environment={"command": ["/somewhere/hybridsearch/__main__.py"]})
    assert facts.command(bare) == "python -m hybridsearch"


def test_windows_are_never_too_small():
    outcomes = [{"genome": "id x", "known": False}] * 15
    assert course.token_shares(outcomes) is None
    assert course.diversity(SimpleNamespace(outcomes=outcomes * 2)).at.shape == (3,)


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1000, True)])
def test_a_real_browser_draws_it(runs, tmp_path, width, dark):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("there is no Chromium here")
    page, picture = report([runs[0].folder], tmp_path / "p"), tmp_path / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={width},1400", f"--screenshot={picture}"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    assert pixels.shape[1] == width
    corner = pixels[5:50, :8].mean()  # the page's background
    assert corner < 0.2 if dark else corner > 0.9
    assert pixels.std() > 0.05  # something is drawn
    assert (pixels[:, -4:].std(axis=0) < 0.01).all()  # nothing runs over the right edge
