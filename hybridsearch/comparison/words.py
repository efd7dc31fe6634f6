"""A comparison in words: what is shown, and what is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hybridsearch.comparison.measures import EARLY
from hybridsearch.comparison.summary import Pair, Summary
from hybridsearch.config import Config
from hybridsearch.evidence.resampling import Interval
from hybridsearch.tables.table import name_of

LEVEL = 0.05  # of Holm's p, below which a difference is called shown
UNITS = {
    "loss": "nats of cross-entropy",
    "accuracy": "of accuracy (0 to 1)",
    "metric": "of the metric",
}
BASELINE = "random"
ONE_SEED = "one seed shows nothing, and has no interval; take more (--seeds)"
NAMED = 8  # functions of the target set that are named


def verdict(pair: Pair) -> str:
    """What may be said of a pair: who is better, or that it is not shown.

    Shown is a difference where Holm's p is below LEVEL and the interval of P leaves out a half;
    where there is no interval nothing is.
    """
    apart = pair.better.low > 0.5 or pair.better.high < 0.5
    if pair.p >= LEVEL or not apart:
        return f"{pair.a} and {pair.b}: no difference shown"
    first, second = (pair.a, pair.b) if pair.better.mean > 0.5 else (pair.b, pair.a)
    return f"{first} is better than {second}"


def chance_of(pair: Pair) -> str:
    """How often the one that looks better is better: P(name better), with its interval."""
    p, name = pair.better, pair.a
    if p.mean < 0.5:
        p, name = turned(p), pair.b
    return f"P({name} better) {share(p)}"


def turned(p: Interval) -> Interval:
    """The probability of the contrary."""
    return Interval(1 - p.mean, 1 - p.high, 1 - p.low)


def share(p: Interval) -> str:
    """A probability with its interval, for people."""
    ends = "-" if math.isnan(p.low) else f"{p.low:.2f} to {p.high:.2f}"
    return f"{p.mean:.2f} ({ends})"


def number(value: float, digits: int = 4) -> str:
    """A number for people: a whole one with commas, else `digits` significant digits."""
    if math.isinf(value):
        return "beyond"
    if value == round(value) and abs(value) >= 1:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"


def spell(interval: Interval | None) -> str:
    """An estimate with its interval; beyond is what lies beyond the budget, - what there is not."""
    if interval is None:
        return "-"
    if math.isinf(interval.low) or (math.isnan(interval.low) and math.isinf(interval.mean)):
        return "beyond the budget"
    return f"{number(interval.mean)} ({_ends(interval)})"


def _ends(interval: Interval, digits: int = 4) -> str:
    if math.isnan(interval.low):
        return "-"
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}"


def unit_of(config: Config) -> str:
    """What a regret is counted in; a loss of the user's has a unit that only they know, and data of
    theirs may have another one than classes have.
    """
    loss, shipped = config.training.loss, ":" not in config.data.name
    classes = loss == "cross_entropy" or (loss == "auto" and shipped)
    return UNITS[config.fitness] if config.fitness != "loss" or classes else "of the loss"


def batches(config: Config, names: Sequence[str]) -> str:
    """How many proposals a batch has: of most strategies, then of those that differ."""
    sizes = {}
    for name in names:
        one = config.labelled(name)
        first, last = one.asks(0), one.asks(config.budget)
        sizes[name] = str(last) if first == last else f"{first} to {last}"
    usual = max(sizes.values(), key=lambda size: int(size.split()[-1]))
    others = [f"{size} for {name}" for name, size in sizes.items() if size != usual]
    return ", ".join([usual, *others])


def report(summary: Summary, config: Config, where: str, tables: Iterator[str]) -> str:
    """The README of a comparison's folder. where: what answered; tables: parts in Markdown."""
    field, n = summary.field, summary.seeds
    unit = unit_of(config)
    names = ", ".join(summary.strategies)
    lines = [
        f"# {names} on {where}",
        "",
        f"{n} seed(s) each, {summary.budget:,} distinct functions a run, batches of "
        f"{batches(config, list(summary.strategies))}. Regret is the best truth less the truth of "
        f"the incumbent, in {unit}; the incumbent is the best fully trained function so far by the "
        "score that the search saw, before there is one the best of those that were stopped, by "
        "the score predicted for them. "
        f"Truth is {field.source}.",
        "",
        "## What is shown",
        "",
        f"On the mean true regret over evaluations 1 to {min(EARLY, summary.budget)}, paired by "
        f"seed (Wilcoxon, {len(summary.pairs)} pair(s), Holm's correction, p below {LEVEL}):",
        "",
        *_shown(summary),
        "",
        "## What is not shown",
        "",
        *_not_shown(summary),
        "",
        "## The target set",
        "",
        *_target(summary, where),
        "",
        *tables,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _shown(summary: Summary) -> Iterator[str]:
    shown = [p for p in summary.pairs if "no difference" not in verdict(p)]
    for pair in shown:
        yield f"- {verdict(pair)}: {_numbers(pair)}."
    if not shown:
        yield "- Nothing: no strategy is shown to be better than another."


def _numbers(pair: Pair) -> str:
    gap = pair.difference
    return (
        f"{chance_of(pair)}, mean regret of {pair.a} less that of {pair.b} {number(gap.mean, 3)} "
        f"({_ends(gap, 3)}), Holm's p {pair.p:.2g}"
    )


def _not_shown(summary: Summary) -> Iterator[str]:
    for pair in summary.pairs:
        if "no difference" in verdict(pair):
            yield f"- {verdict(pair)}: {_numbers(pair)}. It may be there and too small for this."
    for pair in summary.pairs:
        if BASELINE in (pair.a, pair.b):
            name = pair.b if pair.a == BASELINE else pair.a
            sign = 1 if pair.b == BASELINE else -1
            gap = sorted((sign * pair.difference.low, sign * pair.difference.high))
            if gap[0] > 0:  # never of one seed, whose ends are nan
                yield (
                    f"- **{name} has a larger mean regret than random search** (95% interval of "
                    f"the difference {number(gap[0], 3)} to {number(gap[1], 3)})."
                )
    yield (
        "- Another task: all runs share one table (or one data set and network), and intervals "
        "resample seeds only. What wins here need not win there."
    )
    if summary.seeds < 2:
        yield f"- Anything: {ONE_SEED}."
    elif summary.seeds < 10:
        yield (
            f"- Much at all: with {summary.seeds} seed(s) intervals are rough, and Wilcoxon's "
            "least p is "
            f"{2 ** (1 - summary.seeds):.2g} before the correction."
        )
    if not summary.field.whole:
        yield (
            "- Regret against the best there is: nobody knows it here. It is against the best "
            "score that any of these runs observed or retested, so that the best run looks "
            "better than it is, and further strategies would change all numbers."
        )
    short = {name: s.short for name, s in summary.strategies.items() if s.short}
    if short:
        told = ", ".join(f"{name} {count}" for name, count in short.items())
        yield (
            f"- What runs would do with the whole budget, of those that ended before it ({told}): "
            "they keep their last incumbent."
        )
    budget = summary.budget
    if budget < EARLY:
        yield f"- Anything beyond {budget} evaluations; `mean_regret_1_300` ends there."


def _target(summary: Summary, where: str) -> Iterator[str]:
    field, m = summary.field, summary.field.target_size
    best = sorted(range(field.size), key=lambda k: field.rank[k])[: min(m, NAMED)]
    listed = ", ".join(f"`{_spelled(field.specs[k])}`" for k in best)
    listed += ", ..." if m > NAMED else ""
    yield (
        f"{m} of {field.size:,} functions: those within one standard error "
        f"({number(field.error, 3)}) of the best true mean ({number(field.best, 5)}), or the top "
        f"0.1% where that is more. {listed}."
    )
    yield ""
    if field.random_expectation is not None:
        yield (
            f"Drawn uniformly without repeats, a function of it is met after (N+1)/(m+1) = "
            f"{number(field.random_expectation)} functions on average. The strategy `random` draws "
            "spellings, of which some functions have more than others, so that it may need more "
            "or less."
        )
    else:
        yield "How many functions there are is not known, so random search has no expectation."


def _spelled(spec: str) -> str:
    """A genome as a formula; a key as it is."""
    return name_of(spec) if " " in spec else spec
