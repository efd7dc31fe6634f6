"""The loop: ask, inspect, train, tell; until the budget, the time or the space is used up.

Everything that decides the course of a run is computed here from deterministic values in a fixed
order, so that a run is the same with one worker or many, with a cold cache or a warm one, and
after a kill and a resume.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hybridsearch.config import Config
from hybridsearch.fleet import Fleet
from hybridsearch.flight import Flight
from hybridsearch.knowledge import Knowledge, Known
from hybridsearch.ladder import Climb, Ladder
from hybridsearch.observe import Observer, Snapshot
from hybridsearch.records import CLOSE, END, Records, fault
from hybridsearch.store.anchor import Mark
from hybridsearch.store.checkpoint import load_checkpoint, save_checkpoint
from hybridsearch.types import Json, Outcome, Proposal, Proposer, Status

# Seconds between checkpoints: one costs two fsyncs, and what it lacks is replayed from the log.
CHECKPOINT_EVERY = 2.0
CHECKPOINT_COST = 0.04  # seconds that one may take at that pace; a dearer one is made more rarely
OVER = "the {:g} s of --seconds are over"


class Search:
    """One search. `run` it, then ask what is `known`.

    checkpoint: the file of its checkpoints; None makes none.
    """

    def __init__(
        self,
        config: Config,
        proposer: Proposer,
        recorder: Records,
        observer: Observer,
        checkpoint: Path | None,
    ) -> None:
        self.config, self.proposer, self.recorder = config, proposer, recorder
        self.observer, self.checkpoint = observer, checkpoint
        self.ladder = Ladder(config, recorder.evaluator)
        self.known = Knowledge(self.ladder)
        self.proposals = self.batches = self.barren = self.steps_taken = 0
        self.asked = 0  # batches
        self.fleet = Fleet(self.ladder, recorder)
        self.closed = ""  # in a few words why no more is asked for, once that is so
        self.ended = ""  # the same once the search has ended
        self.spent = 0.0  # seconds of sessions before this one
        self.started = self._saved = time.monotonic()
        self._cost = 0.0  # seconds of the last checkpoint

    def run(self) -> str:
        """Search, with checkpoints between batches; returns in a few words why it ended."""
        if not self.ended:
            self.ended = self._loop()
            self.recorder.end(self.ended)
            self._save()
        return self.ended

    def _loop(self) -> str:
        self.observer.stage("search", self.config.budget)
        self._show()
        last = 0.0
        while True:
            begun = time.monotonic()
            while not self.closed and self._asks_more:
                if not self._ask(last):
                    break
            if not self.fleet:
                return self.closed
            self._tell(self._land())
            pause = CHECKPOINT_EVERY * max(1.0, self._cost / CHECKPOINT_COST)
            if time.monotonic() - self._saved > pause:
                self._save()
            self._show()
            last = time.monotonic() - begun

    @property
    def _room(self) -> int:
        """How many functions the budget has left for batches that are not asked for yet."""
        return self.config.budget - self.known.distinct - self.fleet.trained

    @property
    def _asks_more(self) -> bool:
        """Whether a batch more may be under way."""
        few = len(self.fleet) <= self.config.pipeline
        # At the end only while that brings functions: a batch without any leaves room for ever.
        return few or (0 < self._room <= self.config.endgame and self.fleet.fruitful)

    def _ask(self, last: float) -> bool:
        """Begin a batch. False where none can begin now: `closed` says why, unless the batches that
        are under way may change it. last: seconds of the last batch.
        """
        room = self._room
        proposals: Sequence[Proposal] = ()
        if room <= 0:
            why = "the budget is used up"
        elif self._over(last):
            why = self._limit
            self._close(why)
        elif self.barren >= self.config.patience:
            why = f"{self.barren} batches in a row brought no new function"
        else:
            proposals = self.proposer.ask(
                self.config.asks(self.known.distinct + self.fleet.trained)
            )
            why = "" if proposals else "the proposer has nothing left to propose"
        if why:
            self.closed = self.closed or ("" if self.fleet else why)
            return False
        self.asked += 1
        self.fleet.start(self.asked, proposals, self.known, room)
        return True

    @property
    def _limit(self) -> str:
        return OVER.format(self.config.seconds)

    def _over(self, last: float) -> bool:
        """Whether the time of the search is over. Only whole batches count, so it ends at the
        boundary nearest to the limit. Of a stopped run the log has decided that, as far as it goes:
        with batches under way, after how many, since asking for one writes no record.
        """
        if self.config.seconds is None:
            return False
        following = self.recorder.following
        if following is not None:
            kind = CLOSE if self.fleet else END
            decided = (following["kind"], following.get("why")) == (kind, self._limit)
            return decided and following.get("asked", self.asked) == self.asked
        return self.asked > 0 and self.seconds + last / 2 > self.config.seconds

    def _close(self, why: str) -> None:
        """Ask for no more. With batches under way the log is told, since the clock will not decide
        alike again.
        """
        self.closed = why
        if self.fleet:
            self.recorder.close(why, self.asked)

    def _land(self) -> Flight:
        """Evaluate until a batch has ended, and take it out of those under way."""
        while (landed := self.fleet.land()) is None:
            self._finish(self.fleet.head())
            self.fleet.go_on()
        # Checkpoints of children; where none is under way, also those that a kill has left.
        self.recorder.evaluator.forget(landed.page.tasks if self.fleet else None)
        return landed

    def _finish(self, head: Flight) -> None:
        """Evaluate until a batch has all of its rung."""
        self.recorder.write(head.page)
        self.observer.training(head.ascent.rung + 1, head.done, head.asked)
        while head.waiting:
            self.fleet.take(self.recorder.result())
            self.recorder.write(head.page)
            self.observer.training(head.ascent.rung + 1, head.done, head.asked)

    def _tell(self, flight: Flight) -> None:
        """Know what a batch has found, log its outcomes and hand them to the proposer."""
        children = flight.ascent.children
        self.batches += 1
        self.ladder.learn(children)
        self.steps_taken += self.ladder.steps(children)
        chance = self.ladder.scale.chance
        news = {
            key: Known(spec, Status.REJECTED, chance, -1, reason)
            for key, (spec, reason) in flight.rejected.items()
        }
        costs = self._times(children) if self.config.measures_times else {}
        before = self.known.faults
        for child, fitness in zip(children, self.ladder.fitness(children), strict=True):
            news[child.key] = self.known.evaluated(child, fitness, costs.get(child.key))
        if self.known.faults and not before:
            self.observer.note(fault(self.known.fault))
        # A function that only ever fails by the machine's fault must not keep a search alive.
        new = any(entry.status is not Status.ERROR for entry in news.values())
        self.barren = 0 if new else self.barren + 1
        self.proposals += self._tell_outcomes(flight, news)
        # The machine's faults are not known: such a function may be proposed and tried again.
        for key, entry in news.items():
            if entry.status is not Status.ERROR:
                self.known.keep(key, entry)

    def _times(self, children: Sequence[Climb]) -> dict[str, float | None]:
        """Seconds per element by key, of those that trained; None where measuring failed."""
        task = self.recorder.evaluator.time_task
        tasks = {c.key: task(c.spec, c.key) for c in children if c.status is Status.OK}
        done = self.recorder.evaluate(list(tasks.values()))
        return {key: done[one.hash].cost for key, one in tasks.items()}

    def _tell_outcomes(self, flight: Flight, news: Mapping[str, Known]) -> int:
        """Log the outcomes of a batch and hand them to the proposer; how many were logged."""
        outcomes, logged = [], 0
        told: set[str] = set()
        for proposal, found in zip(flight.proposals, flight.inspections, strict=True):
            entry = self.known.get(found.key) or news.get(found.key)
            if entry is None:  # beyond the budget: it was not evaluated
                outcomes.append(Outcome(proposal, found.key, Status.ERROR, None, None))
                continue
            fitness = entry.fitness
            outcome = Outcome(
                proposal,
                found.key,
                entry.status,
                fitness,
                None if fitness is None else self.ladder.scale.reward(fitness),
                entry.rung,
                found.key in self.known or found.key in told,
                entry.message,
                entry.evaluations,
                entry.cost,
            )
            told.add(found.key)
            outcomes.append(outcome)
            order = 0 if outcome.known else entry.order
            self.recorder.note(outcome, entry.spec, flight.number, order, self.seconds)
            logged += 1
        self.proposer.tell(outcomes)
        return logged

    @property
    def seconds(self) -> float:
        """Seconds of search, earlier sessions included."""
        return self.spent + time.monotonic() - self.started

    def snapshot(self) -> Snapshot:
        return Snapshot(
            budget=self.config.budget,
            proposals=self.proposals,
            distinct=self.known.distinct,
            trained=len(self.known.trained),
            cache_hits=self.known.distinct - len(self.known.trained),
            rejected=len(self.known) - self.known.distinct,
            training_steps=self.steps_taken,
            seconds=self.seconds,
            batches=self.batches,
            incumbent=self.known.best.spec if self.known.best else "",
            fitness=self.known.best.fitness if self.known.best else None,
            scored=self.config.fitness,
            limit=self.config.seconds,
        )

    def _show(self) -> None:
        self.observer.snapshot(self.snapshot())
        self.observer.advance(self.known.distinct)

    # Checkpoints ---------------------------------------------------------------------------

    def _save(self) -> None:
        """Write a checkpoint: what the log does not tell, and how much of the log it goes with."""
        if self.checkpoint is None:
            return
        began = time.monotonic()
        mark = self.recorder.settle()
        values: dict[str, Json] = {
            "steps_taken": self.steps_taken,
            "proposals": self.proposals,
            "batches": self.batches,
            "barren": self.barren,
            "spent": self.seconds,
            "fleet": self.fleet.to_json(),
            "asked": self.asked,
            "closed": self.closed,
            "ended": self.ended,
            **mark._asdict(),
        }
        save_checkpoint(self.checkpoint, values, self.proposer.state())
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def restore(self) -> str:
        """Take up the state of the last checkpoint, where there is one; returns in words why it is
        of no use, or "". Without it the search is computed again from what the log has, in no more
        time than it has left.
        """
        self.spent = self.recorder.spent
        found = load_checkpoint(self.checkpoint) if self.checkpoint else None
        if found is None or isinstance(found, str):
            return found or ""
        values, state = found
        if why := self.recorder.go_on(Mark(values["records"], values["check"])):
            return why
        self.proposer.restore(state)
        latest = self.known.recall(self.recorder.past())
        self.steps_taken, self.closed = values["steps_taken"], values["closed"]
        self.proposals, self.batches = values["proposals"], values["batches"]
        self.barren, self.ended = values["barren"], values["ended"]
        self.spent = max(self.spent, values["spent"])
        self.asked = values["asked"]
        self.fleet.restore(values["fleet"], latest, self.ladder.scale)
        return ""
