"""Runs -> one HTML file that needs nothing else, and its pictures beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy.special import expit

from hybridsearch.analysis import course
from hybridsearch.analysis.pictures import axis, draw_run
from hybridsearch.analysis.plots import baseline_curve, function_curve, plot_functions
from hybridsearch.analysis.remarks import named, remarks, retested
from hybridsearch.analysis.runs import CONFIG, RATES, Run, load_run
from hybridsearch.analysis.tables import (
    compared_on,
    compared_scores,
    gap_words,
    level,
    rate_lines,
    resampled,
    sentence,
)
from hybridsearch.errors import UserError
from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.report import facts
from hybridsearch.report.figures import plot_best_so_far, plot_diversity, plot_token_shares
from hybridsearch.store.disk import expect_parent, make_folder, read_json, write_text
from hybridsearch.types import Json, Measure, fitness_words

PAGE = "report.html"
SHOWN = 8  # rows of what is common among the best


@dataclass(frozen=True)
class Image:
    """alt: what it shows, for those who do not see it. data: a PNG in base64."""

    alt: str
    caption: str
    data: str

    @classmethod
    def of(cls, path: Path, alt: str, caption: str = "") -> Image:
        return cls(alt, caption, base64.b64encode(path.read_bytes()).decode("ascii"))


def report(folders: Sequence[str | Path], out: Path | None = None) -> Path:
    """Write the report of runs, finished or not; returns its file.

    out: folder of the page and its pictures, those of each run in one of its name; nothing is
    written elsewhere. Default the folder of the run, or of the first of several, where those of the
    runs stay in their own. Nothing that a run names is imported.
    Raises: UserError when a folder holds no run, or its records are damaged.
    """
    if not folders:
        raise UserError("expected the folder of a run, or several")
    runs = [load_run(folder) for folder in folders]
    place = out or runs[0].folder
    expect_parent(place)
    make_folder(place)
    names, files = _names(runs), _files(runs)
    shown = [
        _section(run, name, file, place, _own(run, file, out))
        for run, name, file in zip(runs, names, files, strict=True)
    ]
    environment = Environment(
        loader=PackageLoader("hybridsearch.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        title=_title(runs),
        subtitle=_subtitle(runs),
        runs=shown,
        compared=_compared(runs, names, place),
    )
    write_text(place / PAGE, page)
    return place / PAGE


def _title(runs: Sequence[Run]) -> str:
    strategies = list(dict.fromkeys(run.config.label for run in runs))
    data = list(dict.fromkeys(run.config.data.name for run in runs))
    return f"Activation functions for {', '.join(data)}: {', '.join(strategies)}"


def _subtitle(runs: Sequence[Run]) -> str:
    nets = list(dict.fromkeys(run.config.network.name for run in runs))
    count = f"{len(runs)} runs" if len(runs) > 1 else str(runs[0].folder)
    return f"network {', '.join(nets)}; {count}; hybridsearch"


def _names(runs: Sequence[Run]) -> list[str]:
    """What tells the runs apart: strategy and seed, or the folder where that is not enough."""
    short = [f"{run.config.label}, seed {run.config.seed}" for run in runs]
    ends = _ends(runs)
    return _told_apart(s if short.count(s) == 1 else e for s, e in zip(short, ends, strict=True))


def _files(runs: Sequence[Run]) -> list[str]:
    """What the runs are called in the names of files."""
    return _told_apart(end.replace("/", "-") for end in _ends(runs))


def _ends(runs: Sequence[Run]) -> list[str]:
    """Of every run's folder as much of its end as no other folder has."""
    paths = [run.folder.resolve().parts for run in runs]

    def end(path: tuple[str, ...]) -> str:
        others = [other for other in paths if other != path]
        lengths = range(1, len(path) + 1)
        own = next(n for n in lengths if all(other[-n:] != path[-n:] for other in others))
        return Path(*path[-own:]).as_posix()

    return [end(path) for path in paths]


def _told_apart(names: Iterable[str]) -> list[str]:
    """The names, with a number where one is there already."""
    found: list[str] = []
    for name in names:
        free, number = name, 2
        while free in found:
            free, number = f"{name} ({number})", number + 1
        found.append(free)
    return found


def _own(run: Run, file: str, out: Path | None) -> Path:
    """Folder of the pictures that every run has: the run's, which may be another's and is left
    alone where the page is to be elsewhere.
    """
    if out is None or out.resolve() == run.folder.resolve():
        return run.folder
    return out / file


def _section(run: Run, name: str, file: str, place: Path, own: Path) -> dict[str, Any]:
    """Everything that the page says of one run. place: folder of the pictures that only a page has;
    own: of those that every run has.
    """
    summary = run.summary or {}
    winner, baseline = summary.get("winner"), summary.get("best_baseline")
    gap = summary.get("difference_to_best_baseline")
    drawn = {path.stem: path for path in draw_run(run.folder, own)}
    best = facts.fully_trained(run)
    return {
        "name": name,
        "kind": summary.get("verdict", ""),
        "verdict": sentence(run.summary),
        "winner": winner["label"] if winner else "",
        "named": named(summary),
        "remarks": remarks(summary) if summary else [],
        "incumbent": _incumbent(run),
        "baseline": baseline["label"] if baseline else "",
        "difference": "{} ({})".format(*gap_words(gap, run.measure)) if gap else "",
        "seeds": len(winner["test_scores"]) if winner else 0,
        "scores": compared_scores(summary),
        "rates": _rates(run),
        "compared_on": compared_on(summary, "fresh seeds") if winner else "",
        "validation": axis(run),
        "measure": run.measure.title,
        "resampled": resampled(summary) if winner else "",
        "level": level(summary),
        "tested": _tested(summary, run.measure) if winner else [],
        "found": _found(run, file, drawn, place),
        "course": _course(run, name, file, drawn, place),
        "tokens": facts.common_tokens(run)[:SHOWN],
        "shapes": facts.common_shapes(run)[:SHOWN],
        "best_count": len(facts.best(run)),
        "full_count": len(best),
        "rungs": facts.promotion(run),
        "rejected": facts.rejections(run)[:SHOWN],
        "cost": facts.cost(run),
        "spent": _spent(facts.cost(run)),
        "command": facts.command(run),
        "environment": _environment(run),
        "settings": (run.folder / CONFIG).read_text(encoding="utf-8"),
    }


def _incumbent(run: Run) -> str:
    """The best function so far; "" where there is none. What is only as good as chance is none, as
    a finished run says.
    """
    if run.summary:
        return str(run.summary.get("incumbent") or "")
    best = facts.fully_trained(run)
    return str(best[0]["formula"]) if best else ""


def _rates(run: Run) -> list[str]:
    """What was found when each had its own learning rate, where that was asked."""
    path = run.folder / RATES
    return rate_lines(read_json(path)) if path.is_file() else []


def _tested(summary: dict[str, Json], measure: Measure) -> list[dict[str, Json]]:
    """Finalists and baselines, the best on validation first."""
    rows = retested(summary)
    return [
        {
            "role": role,
            "mark": role not in ("finalist", "baseline"),
            "label": row["label"],
            "validation": fitness_words(row["validation"]),
            "mean": measure.words(row["mean"]),
            "interval": f"{measure.words(row['low'])} to {measure.words(row['high'])}",
        }
        for role, row in sorted(rows, key=lambda item: -item[1]["validation"])
    ]


def _found(run: Run, file: str, drawn: dict[str, Path], place: Path) -> list[Image]:
    """The winner beside ReLU and Swish, then the other pictures of what was found."""
    images = []
    summary = run.summary or {}
    best, who = summary.get("winner"), named(summary)
    if best and isinstance(genome := resolve(best["expression"]).genome, Genome):
        path = place / f"winner-{file}.png"
        curves = [function_curve(genome, best["label"])]
        curves += [baseline_curve("Swish-1", lambda x: x * expit(x))]
        plot_functions(curves, path, f"The {who} and its slope, beside Swish and ReLU")
        images.append(Image.of(path, f"the {who} and its derivative beside Swish and ReLU"))
    for stem, alt in (
        (
            "found_functions",
            "the best functions of the search, before the race",
        ),
        (
            "retest",
            f"test {run.measure.name} of finalists and baselines on fresh seeds, with intervals",
        ),
        ("pareto", "score against time"),
    ):
        if stem in drawn:
            images.append(Image.of(drawn[stem], alt))
    return images


def _course(run: Run, name: str, file: str, drawn: dict[str, Path], place: Path) -> list[Image]:
    images = []
    if "search_curve" in drawn:
        images.append(
            Image.of(drawn["search_curve"], "every function evaluated, and the best so far")
        )
    if shares := course.token_shares(facts.controllers(run)):
        path = place / f"controller-{file}.png"
        plot_token_shares(shares, [list(UNARY), list(BINARY)], path)
        images.append(
            Image.of(
                path,
                "how the controller's choices moved over the run, a row per function",
                f"Counted in {len(shares.at)} parts of what the controller proposed; below the "
                "screen what it proposed is what was chosen of its samples.",
            )
        )
    if spread := course.diversity(run):
        path = place / f"diversity-{file}.png"
        plot_diversity({name: spread}, path)
        images.append(Image.of(path, "how many proposals were new, and how many kinds they used"))
    return images


def _compared(runs: Sequence[Run], names: Sequence[str], place: Path) -> Image | None:
    """Best so far of several runs in one picture."""
    if len(runs) < 2:
        return None
    path = place / "best_so_far.png"
    curves = {name: course.best_so_far(run) for name, run in zip(names, runs, strict=True)}
    scales = {axis(run) for run in runs}
    if len(scales) > 1:
        return None
    plot_best_so_far(curves, path, "Best so far", scales.pop())
    return Image.of(path, "the best fitness so far of every run")


def _spent(cost: facts.Cost) -> list[tuple[str, str]]:
    steps = f"{cost.steps / cost.full_steps:.0%}" if cost.full_steps else "-"
    return [
        ("functions evaluated", f"{cost.functions:,}"),
        ("proposals", f"{cost.proposals:,}"),
        ("rejected before training", f"{cost.rejected:,}"),
        ("of the steps that full training takes", steps),
        ("search", _lasting(cost.search_seconds)),
        ("race and retest", _lasting(cost.retest_seconds)),
        ("training, all workers", _lasting(cost.training_seconds)),
        (f"not spent: {cost.cached:,} results from the cache", _lasting(cost.cached_seconds)),
    ]


def _lasting(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return str(timedelta(seconds=round(seconds)))


def _environment(run: Run) -> list[tuple[str, str]]:
    about = run.environment
    versions = about.get("versions") or {}
    return [
        ("begun", str(about.get("started", ""))),
        ("machine", f"{about.get('processor', '')}, {about.get('cores', '')} cores"),
        ("GPUs", ", ".join(about.get("cuda") or []) or "none"),
        ("system", str(about.get("platform", ""))),
        ("python", str(about.get("python", ""))),
        ("packages", ", ".join(f"{n} {v}" for n, v in versions.items())),
        ("revision", str(about.get("git") or "not a checkout")),
    ]
