"""A run from its config to its summary: folder, search, retest, pictures; and going on later."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from shlex import quote

import yaml
from threadpoolctl import threadpool_limits

from hybridsearch.analysis.pictures import draw_run
from hybridsearch.analysis.runs import CONFIG, ENVIRONMENT, LOG, SUMMARY, run_config
from hybridsearch.config import ENDS, Config, course, departures, make_config
from hybridsearch.engine import Search
from hybridsearch.environment import environment
from hybridsearch.errors import UserError
from hybridsearch.evaluate.evaluator import Evaluator, TrainingEvaluator
from hybridsearch.genome.function import BASELINES, resolve
from hybridsearch.genome.kin import kin_of
from hybridsearch.genome.units import Space
from hybridsearch.observe import Observer, Silent, Snapshot, duration
from hybridsearch.past import experience_of, settled
from hybridsearch.propose.base import Source
from hybridsearch.propose.evolution import EvolutionProposer
from hybridsearch.propose.exhaustive import ExhaustiveProposer
from hybridsearch.propose.hybrid import HybridProposer
from hybridsearch.propose.local import LocalProposer
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.propose.random import RandomProposer
from hybridsearch.propose.regularized import RegularizedProposer
from hybridsearch.propose.screen import Screen
from hybridsearch.race import Race, race, trainings
from hybridsearch.recorder import Recorder
from hybridsearch.records import EVALUATION
from hybridsearch.retest import Retest, retest
from hybridsearch.store.cache import Cache
from hybridsearch.store.disk import hold, make_folder, read_json, write_json, write_text
from hybridsearch.store.folders import cache_of, expect_nothing_lost, expect_own
from hybridsearch.store.log import HEAD as SUFFIX
from hybridsearch.store.log import RunLog
from hybridsearch.tables.replay import TableEvaluator, table_config
from hybridsearch.tables.table import Table, load_table
from hybridsearch.threads import one_thread
from hybridsearch.times import time_report
from hybridsearch.types import Json, Proposer

CHECKPOINT, CHILDREN = "checkpoint.safetensors", "children"
BEGAN_WITH = "settings"  # in environment.json, those of the course of the search
HEAD = Path(LOG).with_suffix(SUFFIX).name  # the log's anchor


# Strategy -> the proposer of that name, from the space and the whole config.
SOURCES: dict[str, Callable[[Space, Config], Source]] = {
    "rl": lambda space, c: ControllerProposer(space, c.controller, c.seed),
    "random": lambda space, c: RandomProposer(space, c.seed),
    "evolution": lambda space, c: EvolutionProposer(space, c.evolution, c.seed),
    "regularized": lambda space, c: RegularizedProposer(space, c.regularized, c.seed),
    "local": lambda space, c: LocalProposer(space, c.local, c.seed),
    "hybrid": lambda space, c: HybridProposer(space, c.hybrid, c.controller, c.evolution, c.seed),
}
STRATEGIES: dict[str, Callable[[Space, Config], Proposer]] = {
    **SOURCES,
    "exhaustive": lambda space, c: ExhaustiveProposer(space),
}


def search(
    config: Config | None = None, out: str | Path | None = None, observer: Observer | None = None
) -> dict[str, Json]:
    """Run a search and its retest; returns the summary that is written to the run's folder.

    config: default `Config()`. out: folder of the run, which must not hold one with records yet;
    default runs/STRATEGY-DATA-seedN-TIME. observer: told how it goes. Of a run that could not
    begin nothing is left behind.
    Raises: UserError with one line for anything the user can mend.
    """
    config = config or Config()
    folder = Path(out) if out else default_folder(config)
    _expect_free(folder)
    expect_searchable(config)
    # The cache's place is resolved now, so that a resume from elsewhere finds it again.
    cache = Path(config.cache) if config.cache else folder.parent / "cache.sqlite"
    config = config.model_copy(update={"cache": str(cache.resolve())})
    config, evaluator = make_evaluator(config, folder)  # fails before anything is written
    config = settled(config)
    ours = not folder.exists()
    make_folder(folder)
    with hold(folder):
        _expect_free(folder)  # once more: another process may have begun one meanwhile
        write_json(folder / ENVIRONMENT, {**environment(), BEGAN_WITH: course(config)})
        write_text(folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        try:
            return _run(config, folder, evaluator, observer or Silent())
        except UserError as error:
            # What the disk refused to the log can be resumed when that is mended.
            full = isinstance(error.__cause__, OSError) and (folder / LOG).exists()
            if not full and not _has_records(folder):
                _take_back(folder, ours)
            raise


def resume(
    folder: str | Path, observer: Observer | None = None, pool: str | None = None
) -> dict[str, Json]:
    """Continue a run where it stopped; a finished one is retested from its records.

    pool: where children train from here on, if not where the run's config says.
    Raises: UserError when the folder holds no run, or what it holds cannot be continued.
    """
    folder = Path(folder)
    config = run_config(folder)
    expect_own(folder, "run")
    if pool is not None:
        config = make_config({**config.model_dump(), "pool": pool}, "--pool")
    expect_searchable(config)
    # The config names the place where the run began; the folder may have been moved since.
    config = config.model_copy(update={"cache": str(cache_of(config.cache, folder))})
    config, evaluator = make_evaluator(config, folder)
    with hold(folder):
        _take_up(config, folder)
        return _run(config, folder, evaluator, observer or Silent())


def _take_up(config: Config, folder: Path) -> None:
    """Note the settings with which a run goes on. Runs of older versions have no note.

    Raises: UserError when its config.yaml has been edited into that of another search, or that of
    one that is over was edited at all.
    """
    path = folder / ENVIRONMENT
    about = read_json(path) if path.exists() else {}
    changed = departures(about.get(BEGAN_WITH, {}), config)
    over = (folder / SUMMARY).exists()
    for name, was, now in changed:
        if over or name not in ENDS:
            raise UserError(
                f"{folder / CONFIG} is not what the run began with: {name} was {was} and is {now}; "
                "take that back, or begin another run beside it, which finds in the cache what "
                "this one has trained"
            )
    if changed:
        write_json(path, {**about, BEGAN_WITH: course(config)})


def _has_records(folder: Path) -> bool:
    """Whether a run has left anything to lose, or has had it: the anchor tells of a lost log."""
    left = (folder / name for name in (LOG, HEAD, CHECKPOINT, SUMMARY))
    return any(path.exists() and path.stat().st_size > 0 for path in left)


def _expect_free(folder: Path) -> None:
    """Raises: UserError when the folder holds a run, results of another kind, or a config that no
    run wrote; a run without a record yet may be replaced.
    """
    expect_own(folder, "run")
    expect_nothing_lost(folder, "run")
    if (folder / CONFIG).exists() and _has_records(folder):
        raise UserError(
            f"{folder} holds a run already: continue it with `python -m hybridsearch resume "
            f"{quote(str(folder))}`, or choose another --out"
        )


def _take_back(folder: Path, ours: bool) -> None:
    """Remove a run that could not begin. ours: the folder was made for it, and goes too."""
    if ours:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in (CONFIG, ENVIRONMENT, LOG, HEAD):
        (folder / name).unlink(missing_ok=True)


def make_evaluator(config: Config, folder: Path) -> tuple[Config, Evaluator]:
    """What evaluates a run's functions: trainings, or the recorded table that the config names;
    and the config, with what a table brings.
    """
    if config.table is None:
        return config, TrainingEvaluator(config, folder / CHILDREN)
    table = load_table(config.table)
    config = table_config(table, config)
    return config, TableEvaluator(table, config)


def default_folder(config: Config) -> Path:
    """runs/STRATEGY-DATA-seedN-TIME, or runs/STRATEGY-table-NAME-seedN-TIME."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs", f"{config.label}-{source_name(config)}-seed{config.seed}-{stamp}")


def source_name(config: Config) -> str:
    """What a search is made on, as part of a folder's name: data, or table-NAME."""
    return safe_name(f"table-{Path(config.table).stem}" if config.table else config.data.name)


def safe_name(name: str) -> str:
    """A name as part of a file's, which never leads out of its folder."""
    return re.sub(r"[^\w.-]+", "-", name)


def expect_searchable(config: Config) -> None:
    """Raises: UserError when the strategy cannot do what the config asks of it."""
    if config.measures_times and (config.pipeline or config.endgame):
        raise UserError(
            "evolution.objectives: score_time times functions while nothing else trains, so "
            f"it takes neither pipeline (got {config.pipeline}) nor endgame (got "
            f"{config.endgame}); leave them at 0"
        )
    if config.screened and config.strategy not in SOURCES:
        raise UserError(
            f"screen.use: {config.strategy} proposes every function in turn, so there is nothing "
            "to choose; expected off or auto"
        )


def make_proposer(config: Config) -> Proposer:
    """The proposer that `config.strategy` names. Raises: UserError, as `expect_searchable`."""
    expect_searchable(config)
    space = config.space.space()
    if not config.screened:
        return STRATEGIES[config.strategy](space, config)
    source = SOURCES[config.strategy](space, config)
    return Screen(source, space, config.screen, experience_of(config))


def _run(config: Config, folder: Path, evaluator: Evaluator, observer: Observer) -> dict[str, Json]:
    with ExitStack() as stack:
        # One thread for controller and driver: their bits must not depend on the machine.
        stack.enter_context(one_thread())
        stack.enter_context(threadpool_limits(1))
        stack.callback(evaluator.close)
        assert config.cache is not None
        cache = Cache(Path(config.cache), observer.note)
        stack.callback(cache.close)
        log = RunLog(folder / LOG)
        stack.callback(log.close)
        recorder = Recorder(log, cache, evaluator)
        if back := recorder.restore_cache():
            observer.note(
                f"the cache lacked {back:,} evaluation(s) of this run, which are put back"
            )
        run = Search(config, make_proposer(config), recorder, observer, folder / CHECKPOINT)
        if why := run.restore():
            observer.note(f"checkpoint not used, {why}; the search is computed again from its log")
        observer.note(evaluator.note())
        evaluator.calibrate()
        if isinstance(evaluator, TrainingEvaluator):
            observer.note(_outlook(config, evaluator))
        ended = run.run()
        observer.note(f"search ended: {ended}")
        found = run.snapshot()
        times = time_report(run) if config.measures_times else {}
        before, started = _retested(log, evaluator), time.monotonic()
        table = evaluator.table if isinstance(evaluator, TableEvaluator) else None
        raced, answer = Race(()), None
        if table is None:
            finalists = config.retest.finalists
            candidates = config.race.entering(found.distinct, finalists)
            entrants = run.known.entrants(candidates, finalists)
            raced = race(config, entrants, recorder, observer)
            answer = retest(config, raced.finalists, recorder, observer)
        summary = summarise(config, run, found, answer, ended, recorder.faults)
        summary["race"] = {"candidates": raced.candidates, "trainings": raced.trainings}
        if isinstance(evaluator, TrainingEvaluator):
            summary["prior"] = evaluator.objective.prior_score(config.fitness)
            if times:
                summary |= {"timed_on": evaluator.timed_on(), **times}
        if table is not None:
            summary |= _on_table(table, run)
        summary["retest_seconds"] = round(before + time.monotonic() - started, 1)
    write_json(folder / SUMMARY, summary)
    draw_run(folder)
    return {**summary, "folder": str(folder)}


def _outlook(config: Config, evaluator: TrainingEvaluator) -> str:
    """What comes after the search, of which neither its budget nor the time left tells anything."""
    finalists = config.retest.finalists
    known = config.budget if config.seconds is None else 0  # what time allows for, nobody knows
    candidates = min(config.race.entering(known, finalists), config.budget)
    raced = trainings(config, candidates)
    parts = {"race": raced} if raced else {}
    parts["retest"] = (min(finalists, config.budget) + len(BASELINES)) * config.retest.seeds
    if config.retest.duel:
        parts["comparison"] = 2 * config.retest.seeds
    total = sum(parts.values())
    told = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    line = f"after the search up to {total:,} full trainings ({told})"
    if evaluator.full_seconds is None or evaluator.device != "cpu":
        return line  # a GPU trains several at a time
    lasting = duration(total * evaluator.full_seconds / evaluator.workers)
    return f"{line}, about {lasting} with ReLU's speed"


def _retested(log: RunLog, evaluator: Evaluator) -> float:
    """Seconds that earlier sessions have spent on race and retest, at least: of the trainings that
    the log has of them beyond the search, as if all workers had always been busy.
    """
    if not isinstance(evaluator, TrainingEvaluator):
        return 0.0
    about = (e.volatile for e in log.ahead if e.payload["kind"] == EVALUATION)
    return sum(float(v["seconds"]) for v in about if not v["cached"]) / evaluator.side_by_side


def summarise(
    config: Config,
    run: Search,
    now: Snapshot,
    answer: Retest | None,
    ended: str,
    faults: Mapping[str, str],
) -> dict[str, Json]:
    """The summary of a run; its keys are read by programs, see runs/README.md. faults: what the
    machine said of functions that fell out after the search.
    """
    best = resolve(now.incumbent) if now.incumbent else None
    summary: dict[str, Json] = {
        "strategy": config.label,
        "seed": config.seed,
        "data": config.data.name,
        "network": config.network.name,
        "fitness": config.fitness,
        "metric": vars(run.recorder.evaluator.measure),
        "chance": run.ladder.scale.chance,
        "incumbent": best.name if best else None,
        "incumbent_fitness": now.fitness,
        "ended": ended,
        "faults": run.known.faults + len(faults),
        "fault": next(iter([*faults.values()][::-1]), run.known.fault) or None,
        "verdict": answer.verdict if answer else "nothing trained",
        "winner": None,
        "winner_is": None,
        "best_baseline": None,
        "difference_to_best_baseline": None,
        "duel": None,
        "finalists": [],
        "baselines": [],
        "budgets": {
            "proposals": now.proposals,
            "distinct": now.distinct,
            "trained": now.trained,
            "cache_hits": now.cache_hits,
            "rejected": now.rejected,
            "training_steps": now.training_steps,
            "seconds": round(now.seconds, 1),
        },
    }
    if answer:
        gap, kin = answer.difference, kin_of(answer.winner.function)
        summary |= {
            "test_examples": answer.winner.values.shape[1],
            "confidence": config.retest.confidence,
            "winner": answer.winner.to_json(),
            "winner_is": asdict(kin) if kin else None,
            "best_baseline": answer.best_baseline.to_json(),
            "difference_to_best_baseline": {"mean": gap.mean, "low": gap.low, "high": gap.high},
            "duel": answer.duel.to_json() if answer.duel else None,
            "finalists": [t.to_json() for t in answer.finalists],
            "baselines": [t.to_json() for t in answer.baselines],
        }
    return summary


def _on_table(table: Table, run: Search) -> dict[str, Json]:
    """What the summary of a search on a recorded table says instead of a retest."""
    if not (found := run.known.finalists(1)):
        return {}
    key = found[0][0]
    truth, best = float(table.truth[table.index[key]]), float(table.truth.max())
    rank = int((table.truth > truth).sum()) + 1
    words = (
        f"on a recorded table: the incumbent is number {rank:,} of {len(table.keys):,} by its true "
        f"score, {best - truth:.4f} below the best ({table.scale.fitness})"
    )
    return {"verdict": words, "true_score": truth, "true_regret": best - truth, "true_rank": rank}
