"""How a command that runs for long is watched: on the screen, briefly, or by a program."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from hybridsearch.observe import Both, Observer, Silent
from hybridsearch.types import Json

STOPPED = 130  # the exit status after Ctrl-C, as shells have it


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """What is printed where. Without either flag everything is on stdout."""

    quiet: Annotated[
        bool, Parameter(negative="", help="Print the verdict and nothing before it.")
    ] = False
    json: Annotated[
        bool,
        Parameter(
            negative="",
            help="Print the summary as JSON on stdout and nothing else there; what a person would "
            "see meanwhile goes to stderr.",
        ),
    ] = False

    @property
    def progress(self) -> Console:
        """Where the course of things is told: not on a stdout that holds only the answer."""
        return Console(stderr=self.quiet or self.json)

    @contextmanager
    def watching(self, console: Console, first: str = "") -> Iterator[Observer]:
        """Somebody who watches: a display, or nobody. first: a line for when it begins."""
        from hybridsearch.progress import Display

        if self.quiet:
            yield Silent()
        else:
            with Display(console, first) as display:
                yield display

    def answer(self, summary: Json, lines: Sequence[str], show: Callable[[Console], None]) -> None:
        """Print the end: the summary for programs, the lines of a brief answer, or all of it."""
        if self.json:
            print_json(summary)
        elif self.quiet:
            print("\n".join(lines))
        else:
            show(Console())


PLAIN = Output()


def print_json(value: Json) -> None:
    """One JSON object on stdout, for programs."""
    print(json.dumps(value, indent=2, allow_nan=False))


Board = Annotated[
    bool,
    Parameter(
        negative="",
        help="Write the course of the search for TensorBoard, to FOLDER/tensorboard. No setting: "
        "it is not kept in config.yaml, and a resume wants it said again.",
    ),
]


def watched(
    folder: Path, run: Callable[[Observer], dict[str, Json]], output: Output, board: bool
) -> int:
    """Run with somebody watching, then show the results; Ctrl-C says how to go on."""
    from hybridsearch.analysis.runs import CONFIG, SUMMARY
    from hybridsearch.analysis.tables import show_summary, verdict_lines

    console = output.progress
    begun = time.time()
    try:
        with (
            output.watching(console, f"Run folder: {folder}") as observer,
            _board(folder, observer, board) as everybody,
        ):
            summary = run(everybody)
    except KeyboardInterrupt:
        if _written(folder / SUMMARY, begun):
            words = "Stopped; the run is finished, only pictures may be missing. Draw them"
            words += f" in its report: python -m hybridsearch report {quote(str(folder))}"
        elif (folder / CONFIG).is_file():
            words = "Stopped; nothing computed is lost. Continue: python -m hybridsearch resume "
            words += quote(str(folder))
        else:
            words = "Stopped before the run began. The same command begins it"
        console.print(f"\n{words}", highlight=False, markup=False, soft_wrap=True)
        return STOPPED
    output.answer(summary, verdict_lines(summary), lambda console: show_summary(summary, console))
    return 0


def _written(path: Path, since: float) -> bool:
    """Whether a file was written since then, in seconds of the epoch."""
    return path.is_file() and path.stat().st_mtime >= since


@contextmanager
def _board(folder: Path, observer: Observer, wanted: bool) -> Iterator[Observer]:
    """The observer, and TensorBoard beside it where it is wanted."""
    if not wanted:
        yield observer
        return
    from hybridsearch.tensorboard import TensorBoard

    with TensorBoard(folder, observer.note) as board:
        yield Both(observer, board)
