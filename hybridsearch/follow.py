"""A run told by its log: how far it is, and what it is at, from the records alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from hybridsearch.config import Config
from hybridsearch.fidelity import rung_steps
from hybridsearch.genome.function import BASELINES, baselines
from hybridsearch.observe import Snapshot
from hybridsearch.race import trainings
from hybridsearch.records import END, EVALUATION
from hybridsearch.store.log import Record
from hybridsearch.types import TEST, TIME, Json, numbers_for

RECENT = 6  # functions that are remembered


@dataclass(frozen=True)
class Stage:
    """What a run is at: "search", "race", "retest", "test" or "duel"; `done` of `total` functions,
    or trainings after the search.
    """

    name: str
    total: int
    done: int


class Follow:
    """Takes in the records of a run, and knows what its search would say of itself.

    ended: why the search ended, "" before. recent: payloads of the last functions' outcomes. rung,
    on_rung: the last one trained on, from 1, and how many functions there in this batch.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.recent: deque[dict[str, Json]] = deque(maxlen=RECENT)
        self.ended, self.rung, self.on_rung = "", 0, 0
        self._steps = rung_steps(config.fidelity, config.training.steps)
        first, count = config.retest.first, config.retest.seeds
        self._retest_seeds = set(numbers_for(config.seed, "retest", first, count))
        self._fresh: set[str] = set()  # keys of functions with a training that was run
        self._full: dict[str, float] = {}  # key -> fitness of what was trained to the end
        self._stopped = 0  # functions that learned something and did not come to the end
        self._known = self._trained = self._rejected = self._batches = 0
        self._proposals = self._distinct = self._taken = 0
        self._incumbent = ""
        self._fitness: float | None = None
        self._raced = self._retested = self._tested = 0
        self._tests: int | None = None  # functions whose test split is opened
        self._duel = False  # whether winner and best baseline are two

    def see(self, records: Iterable[Record]) -> None:
        """Take in records, in their order."""
        for payload, volatile in records:
            kind = payload["kind"]
            if kind == EVALUATION and payload["split"] != TIME:
                if self.ended:
                    self._after(payload)
                else:
                    self._evaluation(payload, bool(volatile["cached"]))
            elif kind == "outcome":
                self._outcome(payload)
            elif kind == END:
                self.ended = str(payload["why"])
            elif kind == "winner":
                self._tests = len(payload["validation"])
                self._duel = payload["winner"] != payload["best_baseline"]

    def _evaluation(self, payload: dict[str, Json], cached: bool) -> None:
        steps = int(payload["steps"])
        if steps not in self._steps:
            return
        place = self._steps.index(steps)
        if payload["status"] == "ok":
            self._taken += steps - (self._steps[place - 1] if place else 0)
        if not cached:
            self._fresh.add(payload["key"])
        self.on_rung = self.on_rung + 1 if place + 1 == self.rung else 1
        self.rung = place + 1

    def _outcome(self, payload: dict[str, Json]) -> None:
        self._proposals += 1
        self._batches = int(payload["batch"])
        self.on_rung = 0
        self._rejected += payload["status"] == "rejected" and not payload["known"]
        if not payload["order"]:
            return
        self._distinct = int(payload["order"])
        self._trained += payload["key"] in self._fresh
        self.recent.append(payload)
        if payload["status"] != "ok" or not (payload["reward"] or 0) > 0:
            return
        fitness = float(payload["fitness"])
        if payload["rung"] < len(self._steps) - 1:
            self._stopped += 1
            return
        self._full[payload["key"]] = fitness
        if self._fitness is None or fitness > self._fitness:
            self._incumbent, self._fitness = str(payload["function"]), fitness

    def _after(self, payload: dict[str, Json]) -> None:
        if str(payload["split"]).startswith(TEST):
            self._tested += 1
        elif payload["seed"] in self._retest_seeds:
            self._retested += 1
        else:
            self._raced += 1

    def snapshot(self) -> Snapshot:
        """As the search would give it. A proposal beyond the budget, which no log has, is not
        counted; seconds are not looked for, and are 0.
        """
        return Snapshot(
            budget=self.config.budget,
            proposals=self._proposals,
            distinct=self._distinct,
            trained=self._trained,
            cache_hits=self._distinct - self._trained,
            rejected=self._rejected,
            training_steps=self._taken,
            batches=self._batches,
            incumbent=self._incumbent,
            fitness=self._fitness,
            scored=self.config.fitness,
            limit=self.config.seconds,
        )

    def stage(self) -> Stage:
        """Where the run is; totals after the search as far as they can be told before."""
        config = self.config
        if not self.ended or config.table is not None or not self._full:
            return Stage("search", config.budget, self._distinct)
        if self._tests is not None:
            seeds = config.retest.seeds
            tests = self._tests * seeds
            if self._duel and config.retest.duel and self._tested >= tests:
                return Stage("duel", 2 * seeds, self._tested - tests)
            return Stage("test", tests, self._tested)
        finalists = config.retest.finalists
        entering = config.race.entering(self._distinct, finalists)
        wanted = max(entering, finalists)  # as `Knowledge.entrants`
        candidates = min(wanted, len(self._full) + self._stopped)
        races = candidates > finalists
        total = trainings(config, candidates)
        if races and self._raced < total and not self._retested:
            return Stage("race", total, self._raced)
        functions = len(BASELINES) + min(candidates, finalists)
        if not races:  # the best are known, and which of them are baselines; not who fills them up
            best = sorted(self._full, key=lambda key: -self._full[key])[:finalists]
            functions = len({*best, *(f.key for f in baselines())}) + candidates - len(best)
        return Stage("retest", functions * config.retest.seeds, self._retested)
