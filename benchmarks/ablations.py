"""What each part of the hybrid adds: the same searches with one part taken away.

    python benchmarks/ablations.py [--tables digits,cifar10] [--seeds N] [--seed K] [--budget N]
                                   [--out FOLDER] [--json FILE] [--quick]

Per table and part: the mean regret over evaluations 1 to 300, that at the end, and the functions
until one of the target set was trained; and how that differs from the default, paired by seed, with
Holm's correction over the parts. With --out every run is kept, and the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from replays import measured
from reporting import (
    add_arguments,
    add_runs,
    listed,
    print_table,
    run_folder,
    search_config,
    write_json,
)

from hybridsearch.comparison.measures import Measures
from hybridsearch.comparison.summary import estimate, rng_for
from hybridsearch.comparison.words import number, spell
from hybridsearch.config import Config, make_config
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.statistics import probability_better
from hybridsearch.evidence.strategies import (
    censored_median,
    holm,
    interquartile_mean,
    mean_difference,
    paired_p,
)
from hybridsearch.types import Json

DEFAULT = "default"
# part -> the settings without it
PARTS: dict[str, dict[str, Json]] = {
    "screen": {"screen": {"use": "off"}},
    "experience": {"screen": {"experience": "none"}},
    "exploration": {"screen": {"optimism": 0.0}},
    "growing batches": {"batch": 8},
    "exchange": {"hybrid": {"exchange": False}},
    "bandit": {"hybrid": {"bandit": False}},
    "random candidates": {"hybrid": {"random": 0.0, "settle": 0}},
    "controller": {"hybrid": {"bandit": False, "share": 0.0}},
    "population": {"hybrid": {"bandit": False, "share": 1.0}},
    "rehearsal": {"controller": {"rehearsal": 0}},
    "unscreened share": {"screen": {"unscreened": 0.0}},
    "forecasts": {"fidelity": {"forecast": False}},
    "early stopping": {"fidelity": {"rungs": [1.0]}},
}


@dataclass(frozen=True)
class Ablation:
    """What the runs without a part were worth. early: [seeds], mean regret over evaluations 1 to
    300; end: [seeds], that after the last; to_target: [seeds], inf where it was not met.
    """

    early: Sequence[float]
    end: Sequence[float]
    to_target: Sequence[float]

    @classmethod
    def of(cls, runs: Sequence[Measures]) -> Ablation:
        return cls(
            [run.early for run in runs],
            [float(run.regret[-1]) for run in runs],
            [run.to_target for run in runs],
        )


def without(config: Config, settings: dict[str, Json]) -> Config:
    """The config with these settings, sections changed in part."""
    merged = config.model_dump()
    for name, value in settings.items():
        merged[name] = {**merged[name], **value} if isinstance(value, dict) else value
    return make_config(merged)


def on_table(config: Config, seeds: int, folder: Path) -> dict[str, Ablation]:
    """The runs of every part's absence, and of the default, on the table of a config."""
    ways = {
        name: partial(without, settings={"strategy": "hybrid", **settings})
        for name, settings in {DEFAULT: {}, **PARTS}.items()
    }
    runs = measured(config, ways, seeds, folder)
    return {name: Ablation.of(ones) for name, ones in runs.items()}


def compared(found: dict[str, Ablation]) -> dict[str, Json]:
    """Every part's absence in numbers, and against the default."""
    whole = found[DEFAULT]
    absent = [name for name in found if name != DEFAULT]
    p_values = holm([paired_p(found[name].early, whole.early) for name in absent])
    result: dict[str, Json] = {}
    for name, runs in found.items():
        rng = rng_for(f"ablation/{name}")
        result[name] = {
            "mean_regret_1_300": estimate(interquartile_mean([runs.early], rng=rng)),
            "regret_at_end": estimate(interquartile_mean([runs.end], rng=rng)),
            "evaluations_to_target": estimate(censored_median(runs.to_target, rng=rng)),
        }
    for name, p in zip(absent, p_values, strict=True):
        rng, early = rng_for(f"ablation/pair/{name}"), np.array(found[name].early)
        worse = mean_difference(early, whole.early, rng=rng)
        better = probability_better(-np.array(whole.early), -early, rng=rng)
        result[name] |= {"adds": estimate(worse), "p_better": estimate(better), "p_holm": p}
    return result


def show(name: str, seeds: int, budget: int, result: dict[str, Json]) -> None:
    """A row per part."""
    rows = []
    for part, values in result.items():
        row = [DEFAULT if part == DEFAULT else f"without {part}"]
        for key in ("mean_regret_1_300", "regret_at_end", "evaluations_to_target"):
            row.append(_spelled(values[key]))
        more = "" if part == DEFAULT else _spelled(values["adds"], signed=True)
        rows.append((*row, more, "" if part == DEFAULT else f"{values['p_holm']:.2g}"))
    print_table(
        f"{name}: the hybrid without a part, {seeds} seeds, {budget:,} distinct functions",
        ("", "regret 1-300", "at the end", "until target", "regret 1-300 that it adds", "p"),
        rows,
        "interquartile means and medians; differences are means, paired by seed; 95% intervals; p "
        "by Wilcoxon after Holm",
    )


def _spelled(value: dict[str, float | None], signed: bool = False) -> str:
    ends = [float("inf") if value[key] is None else value[key] for key in ("value", "low", "high")]
    if not signed:
        return spell(Interval(*ends))
    mean, low, high = ((("+" if end > 0 else "") + number(end)) for end in ends)
    return f"{mean} ({low} to {high})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--tables", default="digits", help="recorded tables, with commas between")
    add_runs(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.budget = 2, 40
    result: dict[str, Json] = {"seeds": [options.seed, options.seed + options.seeds]}
    with run_folder(parser, options.out) as folder:
        for name in listed(options.tables):
            config = search_config(f"table_{name}", options)
            result[name] = compared(on_table(config, options.seeds, folder / name))
            show(name, options.seeds, options.budget, result[name])
    write_json(options.json, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
