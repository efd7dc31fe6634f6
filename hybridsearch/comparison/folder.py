"""What a comparison leaves behind: tidy data, one table and one figure a question, and words."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hybridsearch.analysis.pictures import draw_found
from hybridsearch.comparison.field import Field
from hybridsearch.comparison.measures import MARKS, TOPS, Measures
from hybridsearch.comparison.questions import Question, questions
from hybridsearch.comparison.summary import Runs, Summary
from hybridsearch.comparison.trace import Trace
from hybridsearch.comparison.words import report, unit_of
from hybridsearch.config import Config
from hybridsearch.store.disk import write_json, write_text
from hybridsearch.types import Json

RESULT, FOUND = "comparison.json", "found_functions.png"
FOUND_TITLE = "Which functions were found?"


def write_comparison(
    folder: Path,
    traces: Sequence[Trace],
    runs: Runs,
    summary: Summary,
    config: Config,
    where: str,
) -> None:
    """Write everything but the traces. traces: of `runs`, strategy by strategy.

    where: what answered, in words.
    """
    asked = questions(runs, summary, unit_of(config))
    every = [m for rows in runs.values() for m in rows]
    _write_csv(folder / "runs.csv", _RUN, map(_run_row, traces, every))
    _write_csv(folder / "curves.csv", _CURVE, _curve_rows(traces, every))
    _draw_found(folder / FOUND, traces, summary.field)
    for question in asked:
        _write_csv(folder / f"{question.name}.csv", question.columns, question.rows)
        question.draw(folder / f"{question.name}.png")
    sections = iter([*map(_section, asked), f"## {FOUND_TITLE}\n\n![{FOUND_TITLE}]({FOUND})\n"])
    write_text(folder / "README.md", report(summary, config, where, sections))
    write_json(folder / RESULT, summary.to_json())  # last: it says that all is there


def _draw_found(path: Path, traces: Sequence[Trace], field: Field) -> None:
    """Draw the functions that are truly best of those that any run evaluated."""
    met = {field.row[function] for trace in traces for function in trace.functions}
    best = sorted(met, key=lambda row: int(field.rank[row]))
    specs = [field.specs[row] for row in best]
    title = f"Top functions found by {len(traces)} run(s), by their true score"
    draw_found([spec for spec in specs if " " in spec], path, title)


_RUN = (
    *("strategy", "seed", "evaluated", "training_steps", "ended", "mean_regret_1_300"),
    *(f"regret_at_{mark}" for mark in MARKS),
    *("area", "evaluations_to_target", "evaluations_to_target_as_incumbent"),
    *("evaluations_to_top_1pct", *(f"found_of_top_{k}" for k in TOPS)),
)
_CURVE = ("strategy", "seed", "functions", "training_steps", "true_regret")


def _run_row(trace: Trace, m: Measures) -> list[Json]:
    """One run; a time that did not come within the budget and a mark beyond it are empty."""
    times = [int(t) if math.isfinite(t) else "" for t in (m.to_target, m.to_incumbent, m.to_good)]
    return [
        *(trace.strategy, trace.seed, m.evaluated, int(m.steps[-1]), trace.ended, m.early),
        *(m.at(mark) if mark <= len(m.regret) else "" for mark in MARKS),
        *(m.area, *times, *(m.found.get(k, "") for k in TOPS)),
    ]


def _curve_rows(traces: Iterable[Trace], every: Iterable[Measures]) -> Iterator[list[Json]]:
    """The points at which the regret changes, and the last of every run."""
    for trace, m in zip(traces, every, strict=True):
        last = len(m.regret) - 1
        for k, (regret, steps) in enumerate(zip(m.regret.tolist(), m.steps.tolist(), strict=True)):
            if k in (0, last) or regret != m.regret[k - 1]:
                yield [trace.strategy, trace.seed, k + 1, steps, regret]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Json]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _section(question: Question) -> str:
    """A question in Markdown: heading, figure, table."""
    lines = [f"## {question.title}", "", f"![{question.title}]({question.name}.png)", ""]
    lines.append("| " + " | ".join(question.headings) + " |")
    lines.append("|" + "---|" * len(question.headings))
    lines += ["| " + " | ".join(row) + " |" for row in question.shown]
    return "\n".join(lines) + "\n"
