"""What is exported, and where it comes from: an expression, or the winner of a run.

A run's folder is untrusted: its function is read by the genome's parser, and of its names only
what `plain` leaves of them is ever written into a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hybridsearch.analysis.remarks import beaten, disguised, named
from hybridsearch.analysis.runs import CONFIG, SUMMARY, Run, load_run
from hybridsearch.analysis.tables import compared_on, gap_words, sentence
from hybridsearch.errors import UserError
from hybridsearch.genome.function import Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.paths import is_file

FOLDERS = ("runs/", "./", "../", "/", "~")  # no formula begins like this
LONGEST = 160  # characters of a name that a file repeats


@dataclass(frozen=True)
class Origin:
    """A function to export. story: sentences about where it comes from, safe in a docstring."""

    function: Function
    story: tuple[str, ...]


def plain(text: object) -> str:
    """A text as one short line that can stand in a docstring: printable, without double quotes.

    What is not printable (line ends, controls, marks that turn the direction of writing, half
    surrogates of undecodable names) becomes "?".
    """
    line = "".join(c if c.isprintable() else "?" for c in str(text).replace('"', "'"))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def find(what: str | Genome | Function) -> Origin:
    """What the user means: the folder of a run, or anything that `resolve` takes.

    Raises: UserError in one line for what is neither, or a run without a winner.
    """
    if isinstance(what, str) and _is_folder(what.strip()):
        return winner(load_run(Path(what.strip()).expanduser()))
    return Origin(resolve(what), ())


def _is_folder(text: str) -> bool:
    if text.startswith(FOLDERS):
        return True
    return is_file(Path(text) / CONFIG)  # False for what can be no file's name


def winner(run: Run) -> Origin:
    """The winner of a run and its verdict.

    Raises: UserError when it has none, or its records are damaged.
    """
    folder = plain(run.folder)
    if run.summary is None:
        raise UserError(
            f"{folder}: the run is not finished, so it has no winner; continue it with "
            f"python -m hybridsearch resume, or export a formula"
        )
    summary = run.summary
    if not summary.get("winner"):
        instead = summary.get("incumbent")
        advice = f"; its best function was {plain(instead)}, export that" if instead else ""
        raise UserError(f"{folder}: the run has no winner ({_verdict(summary)}){advice}")
    try:
        function = run.tested(summary["winner"])
        gap, rival = summary["difference_to_best_baseline"], summary["best_baseline"]
        measure = run.measure
        mean, interval = gap_words(gap, measure)
        seeds = compared_on(summary)
        label, who = plain(rival["label"]), named(summary)
        notes = [plain(note) for note in (beaten(summary), disguised(summary)) if note]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/{SUMMARY} is damaged: its winner cannot be read") from error
    config = run.config
    fixed = plain(", ".join(config.network.fixed))
    network = plain(config.network.name) + (f" with {fixed} fixed" if fixed else "")
    return Origin(
        function,
        (
            f"The {who} of the run '{plain(run.folder.resolve().name)}' (strategy "
            f"{plain(config.label)}, data {plain(config.data.name)}, network "
            f"{network}, seed {config.seed}).",
            f"Verdict: {_verdict(summary)}.",
            f"Test {plain(measure.name)}, {who} minus best baseline ({label}): {mean}, "
            f"{100 * config.retest.confidence:g}% interval {interval} ({seeds}).",
            *(f"{note}." for note in notes),
        ),
    )


def _verdict(summary: dict[str, object]) -> str:
    verdict = summary.get("verdict")
    return plain(sentence(summary)) if isinstance(verdict, str) else "no verdict"
