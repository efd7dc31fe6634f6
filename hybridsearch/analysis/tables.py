"""The result of a run as a table on the terminal."""

from __future__ import annotations

from shlex import quote

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hybridsearch.analysis.remarks import all_fell_out, named, remarks
from hybridsearch.evidence.statistics import CONFIDENCE
from hybridsearch.types import Json, Measure, fitness_words

SAYS = {
    "better": "better: on test, the winner beats the best baseline",
    "not shown": "not shown: on test, no difference to the best baseline is shown",
    "worse": "worse: on test, the winner is worse than the best baseline",
    "rediscovered": "rediscovered: the winner is one of the baselines",
    "nothing trained": "nothing trained: no function came to the end better than chance",
}
FELL_OUT = "nothing retested: the machine failed a training of each of the best functions"


def score_name(fitness: str, measure: Measure) -> str:
    """What the scores of a run are, with the minus of those of which less is better; for a table
    what `pictures.axis` is for an axis.
    """
    if fitness == "loss":
        return "minus the loss"
    return measure.name if measure.higher else f"minus {measure.name}"


def gap_words(gap: dict[str, float], measure: Measure) -> tuple[str, str]:
    """A difference with its unit, and its interval without."""
    mean, low, high = (measure.words(float(gap[end]), True) for end in ("mean", "low", "high"))
    return mean, f"{low.removesuffix(' points')} to {high.removesuffix(' points')}"


def level(summary: dict[str, Json]) -> str:
    """The intervals of a retest with their level, such as "95% interval"."""
    return f"{100 * summary.get('confidence', CONFIDENCE):g}% interval"


def compared_on(summary: dict[str, Json], what: str = "seeds") -> str:
    """The seeds on which winner and best baseline were compared: how many, and which."""
    if duel := summary.get("duel"):
        return f"{duel['seeds']} {what} that named neither"
    return f"{len(summary['winner']['test_scores'])} {what}"


def compared_scores(summary: dict[str, Json]) -> str:
    """What winner and best baseline have on the seeds on which they were compared; "" where those
    are the seeds of the table.
    """
    if not (duel := summary.get("duel")):
        return ""
    measure = Measure(**summary["metric"])
    ours, theirs = (measure.words(duel[name]["mean"]) for name in ("winner", "best_baseline"))
    names = summary["winner"]["label"], summary["best_baseline"]["label"]
    return f"On those seeds {names[0]} has {ours}, {names[1]} {theirs}"


def show_rates(found: dict[str, Json], console: Console) -> None:
    """Print what `own_rates` has found: scores by learning rate, then the comparison."""
    of = score_name(found["fitness"], Measure(**found["metric"]))
    table = Table(title="By learning rate, on validation", caption=of)
    table.add_column("")
    table.add_column("function", overflow="fold")
    for rate in found["rates"]:
        own = " (the run's)" if rate == found["own"] else ""
        table.add_column(f"{rate:g}{own}", justify="right", no_wrap=True)
    best = found["best_baseline"]["key"]
    marks = {found["winner"]["key"]: "winner", best: "best baseline"}
    rows = sorted(found["baselines"], key=lambda row: -max(row["validation"]))
    for row in (found["winner"], *rows):
        cells = [
            f"[bold]{fitness_words(value)}[/bold]" if rate == row["rate"] else fitness_words(value)
            for rate, value in zip(found["rates"], row["validation"], strict=True)
        ]
        table.add_row(marks.get(row["key"], "baseline"), escape(row["label"]), *cells)
    console.print(table)
    console.print("\n".join(map(escape, rate_lines(found))), highlight=False, soft_wrap=True)


def rate_lines(found: dict[str, Json]) -> list[str]:
    """What `own_rates` has found, in sentences."""
    measure = Measure(**found["metric"])
    rows = found["winner"], found["best_baseline"]
    mean, interval = gap_words(found["difference"], measure)
    ours, theirs = (f"{r['label']} {measure.words(r['mean'])} at {r['rate']:g}" for r in rows)
    lines = [
        f"Each at its own learning rate: test {measure.title}, {ours}, {theirs}: {mean}, "
        f"{level(found)} {interval} ({found['seeds']} seeds that named neither function nor "
        f"rate): {found['verdict']}"
    ]
    for row in rows:
        if len(found["rates"]) > 1 and row["rate"] in (found["rates"][0], found["rates"][-1]):
            which = "lowest" if row["rate"] == found["rates"][0] else "highest"
            lines.append(
                f"{row['label']} is best at the {which} rate tried, {row['rate']:g}: a better one "
                "may lie beyond (--factors)"
            )
    return lines


def resampled(summary: dict[str, Json]) -> str:
    """What the intervals of a retest are over."""
    own = ":" in summary["data"]  # a callable's data may be anything; those that ship are images
    what = "examples" if own else "images"
    return f"seeds and test {what}" if summary["test_examples"] > 1 else "seeds"


def sentence(summary: dict[str, Json] | None) -> str:
    """The verdict of a run in a sentence; on a recorded table it is one already. None: there is
    none yet.
    """
    if summary is None:
        return "the run is not finished"
    if all_fell_out(summary):
        return FELL_OUT
    words = SAYS.get(summary["verdict"], str(summary["verdict"]))
    return words.replace("the winner", f"the {named(summary)}")


def show_summary(summary: dict[str, Json], console: Console) -> None:
    """Print the finalists beside the baselines, the verdict, and what it cost."""
    if summary["finalists"]:
        console.print(_table(summary))
    if "pareto" in summary:
        console.print(_front(summary))
    verdict, *rest = map(escape, verdict_lines(summary))
    lines = [f"[bold]{verdict}[/bold]", *rest]
    spent = summary["budgets"]
    lines += [
        f"Search ({summary['strategy']}, seed {summary['seed']}): "
        f"{spent['proposals']:,} proposals, "
        f"{spent['distinct']:,} distinct functions evaluated ({spent['trained']:,} trained, "
        f"{spent['cache_hits']:,} from the cache), {spent['rejected']:,} rejected untrained, "
        f"{spent['training_steps']:,} training steps, {spent['seconds']:,.0f} s",
        f"Everything is in {escape(str(summary['folder']))}; one page of it: "
        f"python -m hybridsearch report {escape(quote(str(summary['folder'])))}",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def verdict_lines(summary: dict[str, Json]) -> list[str]:
    """The verdict, and where there is a winner, that, its difference to the best baseline, and what
    else to know of it.
    """
    winner, best = summary["winner"], summary["best_baseline"]
    lines = [f"Verdict: {sentence(summary)}"]
    if winner:
        measure = Measure(**summary["metric"])
        mean, interval = gap_words(summary["difference_to_best_baseline"], measure)
        lines += [
            f"{named(summary).capitalize()} on validation: {winner['label']}",
            f"Best baseline on validation: {best['label']}",
            f"Test {measure.title}, {named(summary)} minus best baseline: {mean}, "
            f"{level(summary)} {interval} ({compared_on(summary)}, paired; "
            f"{resampled(summary)} resampled)",
        ]
        if scores := compared_scores(summary):
            lines.append(f"{scores}; the table has the seeds that named the two")
    return [*lines, *remarks(summary)]


def _table(summary: dict[str, Json]) -> Table:
    """One row per function, best on validation first within its group."""
    measure = Measure(**summary["metric"])
    unit = " in %" if measure.name == "accuracy" else ""
    title = f"Retest on fresh seeds: test {measure.title}{unit} (mean, {level(summary)})"
    scores = score_name(summary["fitness"], measure)
    caption = None if scores == measure.name else f"validation: {scores}"
    table = Table(title=title, caption=caption)
    table.add_column("")
    table.add_column("function", overflow="fold")
    for heading in ("validation", "test", "low", "high"):
        table.add_column(heading, justify="right", no_wrap=True)
    winner, best = summary["winner"]["key"], summary["best_baseline"]["key"]
    marks = {("finalists", winner): named(summary), ("baselines", best): "best baseline"}
    for group in ("finalists", "baselines"):
        rows = sorted(summary[group], key=lambda row: -row["validation"])
        for row in rows:
            table.add_row(
                marks.get((group, row["key"]), group[:-1]),
                escape(row["label"]),
                fitness_words(row["validation"]),
                *(measure.words(row[name]).removesuffix("%") for name in ("mean", "low", "high")),
                style="bold" if row["key"] in (winner, best) else None,
            )
        table.add_section()
    return table


def _front(summary: dict[str, Json]) -> Table:
    """Score against time: the functions that no other one beats in both, and known ones' times."""
    words = "Score against time: none is as good in less time"
    table = Table(title=words, caption=f"timed on {summary['timed_on']}")
    table.add_column("")
    table.add_column("function", overflow="fold")
    scores = score_name(summary["fitness"], Measure(**summary["metric"]))
    table.add_column(f"search, {scores}", justify="right")
    table.add_column("ns per element", justify="right")
    for row in summary["pareto"]:
        numbers = fitness_words(row["fitness"]), f"{row['nanoseconds_per_element']:.3g}"
        table.add_row("front", escape(row["label"]), *numbers)
    table.add_section()
    for name, time in summary["times"].items():
        table.add_row("to compare", name, "", "not measured" if time is None else f"{time:.3g}")
    return table
