"""A screen before any proposer: it makes many candidates, a model of what was trained chooses few.

The proposer remains the source of every candidate. A policy learns by its gradient from proposals
that were not chosen, for chosen ones are not drawn with the policy's probabilities: a share of them
is trained unscreened, and it rehearses on samples that the model judges. Chosen ones reach it, and
a population, as functions that somebody else tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridsearch.config import ScreenConfig
from hybridsearch.genome.preflight import inspect
from hybridsearch.genome.units import Space, Tokens
from hybridsearch.propose.base import Candidate, Source
from hybridsearch.propose.novelty import Novelty, has_verdict, packed_keys, unpacked_keys
from hybridsearch.surrogate.experience import Experience
from hybridsearch.surrogate.features import Features, describe
from hybridsearch.surrogate.process import Hyper, Posterior, fit
from hybridsearch.surrogate.targets import exponential
from hybridsearch.types import Outcome, Proposal, State, Status

REHEARSE = 32  # least functions trained between two rehearsals, each of which costs some 20 ms
OFTEN = 0.125  # and their least share of all
MET = 100_000  # genomes whose keys are kept
GROWTH = 2  # the hyperparameters are fitted anew when there are so many times more functions
KEPT = 3  # times as many functions are kept as the model learns from, before some are dropped


class Trained(NamedTuple):
    """A function that the model learns from."""

    genome: Tokens
    reward: float


class Screen:
    """Proposals of `source`, most of them chosen by upper confidence bound from a pool.

    Before `first` functions are known, unless there is experience, and when the pool runs dry, the
    source proposes by itself. A choice takes what is under way, asked and not told, for seen, as
    it does with its own, so that two asks do not ask one question either.
    """

    def __init__(
        self,
        source: Source,
        space: Space,
        config: ScreenConfig,
        experience: Experience | None = None,
    ) -> None:
        self._source, self._config = source, config
        self._experience = experience or Experience()
        self._first = 0 if self._experience else config.first
        self.name = source.name
        self._novelty = Novelty(space)
        self._heard: set[str] = set()  # the keys of all functions that were trained
        self._trained: list[Trained] = []  # of them, in their order, what the model may need yet
        self._seen = self._experience.describe([])  # of `_trained`, row by row
        self._pool: dict[str, Candidate] = {}  # by key, in the order of drawing
        self._shown = self._experience.describe([])  # of `_pool`, row by row
        self._asked: dict[int, tuple[str, Tokens]] = {}  # by id, what is under way to be trained
        self._flying = self._experience.describe([])  # of the first of `_asked`, row by row
        self._met: dict[Tokens, str] = {}  # what `_keys` found, which is always the same
        self._hyper: Hyper | None = None
        self._fitted = 0  # how many functions the hyperparameters were fitted to
        self._rehearsed = 0  # how many were trained at the last rehearsal
        self._owed = 0.0  # the part of a proposal that rounding has kept from the policy

    def ask(self, n: int) -> list[Proposal]:
        """n proposals with new ids, unscreened ones first; what the pool cannot give, the source
        proposes by itself.
        """
        asked = self._ask(n)
        self._send(asked)
        return asked

    def _ask(self, n: int) -> list[Proposal]:
        if len(self._heard) < self._first:
            return self._with_ids(self._source.ask, n)
        exact = n * self._source.policy_share * self._config.unscreened + self._owed
        free = min(math.floor(exact), n)
        self._owed = exact - free
        asked = self._with_ids(self._source.ask_policy, free)
        asked += self._choose(n - len(asked))
        return asked + self._with_ids(self._source.ask, n - len(asked))

    def _send(self, asked: Sequence[Proposal]) -> None:
        """Keep in mind, until they are told, the proposals of which the model will learn."""
        under_way = {key for key, _ in self._asked.values()}
        for proposal, key in zip(asked, self._keys([p.genome.tokens for p in asked]), strict=True):
            if key and key not in self._heard and key not in under_way:
                under_way.add(key)
                self._asked[proposal.id] = key, proposal.genome.tokens

    def _with_ids(self, ask: Callable[[int], list[Proposal]], n: int) -> list[Proposal]:
        """Ask the source, with the ids that come next."""
        if n <= 0:
            return []
        self._source.next_id = self._novelty.next_id
        asked = ask(n)
        self._novelty.next_id = self._source.next_id
        return asked

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """The model learns from all; the source from its own, and adopts the chosen ones."""
        ordered = sorted(outcomes, key=lambda o: o.proposal.id)
        self._receive({o.proposal.id for o in ordered})
        judged = [o for o in ordered if has_verdict(o)]
        others = [o for o in ordered if not self._novelty.waits_for(o)]
        chosen = self._novelty.settle(ordered)
        self._novelty.note([o.proposal.genome.tokens for o in others if has_verdict(o)])
        self._learn(judged)
        self._source.tell(others)
        if chosen:
            self._source.adopt(chosen)
        rest = max(REHEARSE, OFTEN * self._rehearsed)
        if len(self._heard) >= max(self._first, self._rehearsed + rest):
            self._source.rehearse(self._judge)
            self._rehearsed = len(self._heard)

    def _receive(self, ids: Collection[int]) -> None:
        """These proposals are under way no more."""
        described = list(self._asked)[: len(self._flying)]
        left = [row for row, id_ in enumerate(described) if id_ not in ids]
        if len(left) < len(described):
            self._flying = self._flying.take(left)
        self._asked = {id_: one for id_, one in self._asked.items() if id_ not in ids}

    # The model -----------------------------------------------------------------------------

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        """Take in the functions that were trained, each once."""
        fresh = []
        for o in outcomes:
            if o.key in self._heard or o.status is Status.REJECTED:
                continue
            self._heard.add(o.key)
            fresh.append(Trained(o.proposal.genome.tokens, float(o.reward or 0.0)))
        if fresh:
            self._trained += fresh
            features = self._experience.describe([t.genome for t in fresh])
            self._seen = Features.join([self._seen, features])
        if len(self._trained) > KEPT * self._config.rows:
            self._drop()

    def _drop(self) -> None:
        """Forget what the model will never learn from again: what is neither among the best now
        nor among the last, for of the last at most those are passed over that are the best.
        """
        rewards = self._rewards()
        rows = np.union1d(self._best(rewards), np.arange(len(rewards))[-self._config.rows :])
        self._trained = [self._trained[row] for row in rows.tolist()]
        self._seen = self._seen.take(rows)

    def _rewards(self) -> NDArray[np.float64]:
        return np.array([t.reward for t in self._trained])

    def _best(self, rewards: NDArray[np.float64]) -> NDArray[np.intp]:
        """The rows of the best, half as many as the model learns from; earlier ones of equals."""
        return np.argsort(-rewards, kind="stable")[: self._config.rows // 2]

    def _model(self) -> Posterior:
        """The process after all that it should learn from: the best half and the last."""
        rewards = self._rewards()
        rows = np.arange(len(rewards))
        if len(rows) > self._config.rows:
            best = self._best(rewards)
            late = np.setdiff1d(rows, best)[len(best) - self._config.rows :]
            rows = np.sort(np.concatenate([best, late]))
        features, targets = self._seen.take(rows), exponential(rewards[rows])
        if self._hyper is None or len(self._heard) >= GROWTH * self._fitted:
            self._hyper = fit(features, targets, self._hyper)
            self._fitted = len(self._heard)
        return Posterior(features, targets, self._hyper)

    def _judge(self, genomes: Sequence[Tokens]) -> list[float]:
        """What the model promises of genomes, in standard deviations of what was trained; of those
        that preflight rejects as little as the worst.
        """
        mean, variance = self._model().predict(self._experience.describe(genomes))
        promise = mean + self._config.optimism * np.sqrt(variance)
        poor = np.array([not key for key in self._keys(genomes)])
        promise[poor] = promise.min()
        return [float(p) for p in promise]

    # The pool ------------------------------------------------------------------------------

    def _choose(self, n: int) -> list[Proposal]:
        """Up to n candidates of the pool that promise most."""
        if n <= 0:
            return []
        pool = self._config.pool
        self._refill(min(n * self._config.draws, pool) if self._pool else pool)
        if not self._pool:
            return []
        asked_before = self._under_way()
        rows, promise = self._model().choose(self._shown, n, self._config.optimism, asked_before)
        candidates = list(self._pool.values())
        asked = self._novelty.propose_from([candidates[row] for row in rows], self.name)
        self._source.skip([p.genome.tokens for p in asked])
        left = np.setdiff1d(np.arange(len(candidates)), rows)
        if len(left) > self._config.pool:
            best = np.argsort(-promise[left], kind="stable")[: self._config.pool]
            left = np.sort(left[best])
        self._keep(left)
        return asked

    def _under_way(self) -> Features:
        """Of what was asked for before and not told."""
        new = [genome for _, genome in self._asked.values()][len(self._flying) :]
        if new:
            self._flying = Features.join([self._flying, self._experience.describe(new)])
        return self._flying

    def _refill(self, n: int) -> None:
        """Draw n candidates; those that are new and may train join the pool. Those that have been
        tried since they came leave it.
        """
        waiting = self._novelty.waiting

        def free(key: str) -> bool:
            return key not in waiting and self._novelty.open(key)

        still = [row for row, key in enumerate(self._pool) if free(key)]
        if len(still) < len(self._pool):
            self._keep(np.array(still, dtype=np.intp))
        drawn = self._source.draw(n)
        fresh: dict[str, Candidate] = {}
        for candidate, key in zip(drawn, self._keys([c.genome for c in drawn]), strict=True):
            if key and key not in self._pool and free(key):
                fresh.setdefault(key, candidate)
        if fresh:
            self._pool |= fresh
            features = self._experience.describe([c.genome for c in fresh.values()])
            self._shown = Features.join([self._shown, features])

    def _keys(self, genomes: Sequence[Tokens]) -> list[str]:
        """The key of every genome, "" of one that preflight rejects."""
        if len(self._met) > MET:
            self._met.clear()
        new = list(dict.fromkeys(genome for genome in genomes if genome not in self._met))
        for genome, found in zip(new, inspect(new), strict=True):
            self._met[genome] = "" if found.rejected else found.key
        return [self._met[genome] for genome in genomes]

    def _keep(self, rows: NDArray[np.intp]) -> None:
        items = list(self._pool.items())
        self._pool = dict(items[row] for row in rows.tolist())
        self._shown = self._shown.take(rows)

    # State ---------------------------------------------------------------------------------

    def state(self) -> State:
        values, done = self._novelty.state()
        own = State(
            {
                "novelty": values,
                "trained": [[list(t.genome), t.reward] for t in self._trained],
                "asked": [[id_, key, list(genome)] for id_, (key, genome) in self._asked.items()],
                "pool": [[key, candidate.to_json()] for key, candidate in self._pool.items()],
                "hyper": self._hyper and list(self._hyper),
                "fitted": self._fitted,
                "rehearsed": self._rehearsed,
                "owed": self._owed,
            },
            {
                "done": done,
                "heard": packed_keys(self._heard),
                "seen": self._seen.expected,
                "shown": self._shown.expected,
                "flying": self._flying.expected,
            },
        )
        return own.holding(source=self._source.state())

    def restore(self, state: State) -> None:
        values = state.values
        self._novelty.restore(values["novelty"], state.arrays["done"])
        self._heard = unpacked_keys(state.arrays["heard"])
        self._trained = [Trained(tuple(genome), reward) for genome, reward in values["trained"]]
        # Not expected again: a product of matrices rounds a row by where it stands among others.
        self._seen = describe([t.genome for t in self._trained])
        self._seen = self._seen.expecting(state.arrays["seen"])
        self._pool = {key: Candidate.from_json(row) for key, row in values["pool"]}
        self._shown = describe([c.genome for c in self._pool.values()])
        self._shown = self._shown.expecting(state.arrays["shown"])
        # A checkpoint of an older version does not know what is under way.
        asked, expected = values.get("asked", []), state.arrays.get("flying")
        self._asked = {id_: (key, tuple(genome)) for id_, key, genome in asked}
        if expected is not None:
            flying = [genome for _, genome in self._asked.values()][: len(expected)]
            self._flying = describe(flying).expecting(expected)
        self._hyper = Hyper(*values["hyper"]) if values["hyper"] else None
        self._fitted, self._owed = values["fitted"], values["owed"]
        self._rehearsed = values["rehearsed"]
        self._source.restore(state.part("source"))
