"""What a log file says of a long run: how far it is, and an honest guess of what is left."""

import io

import pytest
from rich.console import Console

from hybridsearch import progress
from hybridsearch.observe import Snapshot, duration
from hybridsearch.progress import Display, describe


@pytest.mark.parametrize(
    "seconds, words",
    [(0.4, "0 s"), (90, "90 s"), (119.4, "119 s"), (1020, "17 min"), (11327, "3.1 h")],
)
def test_durations_are_in_the_unit_that_people_would_say(seconds, words):
    assert duration(seconds) == words


@pytest.fixture
def watched(monkeypatch):
    """A display into a log file, the clock in its hands, and the lines of the file."""
    now, text = [100.0], io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Display(Console(file=text, width=200)) as display:
        yield display, now, lambda: text.getvalue().splitlines()


def test_what_was_there_at_the_start_does_not_count_as_work(watched):
    """Else a recording that is half done would promise to end in seconds."""
    display, now, lines = watched
    display.stage("record", 2000)
    display.advance(1000)
    now[0] += 60.0
    display.advance(1030)  # 2 s each, 970 to come
    assert lines()[-1] == "1,030/2,000 trainings  about 32 min left"


def test_nothing_is_said_of_what_is_left_before_that_is_worth_something(watched):
    display, now, lines = watched
    display.stage("record", 100)
    display.advance(0)
    now[0] += 60.0
    display.advance(2)
    assert lines()[-1] == "2/100 trainings"
    now[0] += 60.0
    display.advance(10)
    assert lines()[-1] == "10/100 trainings  about 18 min left"


@pytest.mark.parametrize("limit, left", [(None, "25.0 h"), (1800.0, "20 min"), (600.0, "0 s")])
def test_a_search_ends_with_its_budget_or_its_time_whichever_is_first(watched, limit, left):
    display, now, lines = watched
    display.stage("search", 30_100)
    display.advance(0)
    now[0] += 300.0
    display.snapshot(Snapshot(30_100, seconds=600.0, limit=limit))
    display.advance(100)
    assert lines()[-1].endswith(f"about {left} left")


def test_a_score_is_told_in_its_own_words():
    def best(**given):
        return dict(describe(Snapshot(budget=1, incumbent="GELU", **given)))["best so far"]

    assert best(fitness=-0.1011, scored="loss").endswith("(loss 0.1011 on validation)")
    assert best(fitness=0.9, scored="accuracy").endswith("(accuracy 0.9000 on validation)")
    assert best(fitness=-0.5, scored="metric").endswith("(-0.5000 on validation)")


def test_a_new_stage_begins_anew(watched):
    display, now, lines = watched
    display.stage("search", 10)
    display.advance(0)
    now[0] += 50.0
    display.advance(10)
    display.stage("record", 100)
    now[0] += 50.0
    display.advance(0)
    now[0] += 50.0
    display.advance(50)
    assert lines()[-1] == "50/100 trainings  about 50 s left"


def test_what_is_not_known_of_a_rung_is_left_out_and_lines_stand_below_the_counts():
    console = Console(force_terminal=True, width=60, file=io.StringIO(), record=True)
    display = Display(console)
    display.stage("search", 10)
    display.training(2, 3, 0)
    display.below = ("#7  a line of any length " + "x" * 80,)
    console.print(display._render())
    text = console.export_text()
    assert "rung 2: 3 " in text
    [line] = [line for line in text.splitlines() if "#7" in line]
    assert len(line.rstrip()) <= 60 and line.rstrip().endswith("…")
