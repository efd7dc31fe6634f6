"""The screen: what it chooses, what it hands on, and that it makes a search find more."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.genome.canonical import keys
from hybridsearch.genome.preflight import inspect
from hybridsearch.genome.units import Space
from hybridsearch.propose.random import RandomProposer
from hybridsearch.propose.screen import Screen
from hybridsearch.session import make_proposer
from hybridsearch.surrogate.features import describe
from hybridsearch.surrogate.process import Posterior
from hybridsearch.types import Outcome, State, Status

SPACE = Space()


def make(strategy="random", seed=0, **screen):
    return make_proposer(
        make_config({"strategy": strategy, "seed": seed, "screen": {"use": "on", **screen}})
    )


def worth(genome) -> float:
    """A reward that the behaviour decides: near softplus in shape and size is good."""
    seen = describe([genome, ("add", "softplus", "x", "softplus", "x")])
    gap = sum(
        min(np.square(part[0] - part[1]).sum(), np.square(part[0] + part[1]).sum())
        for part in (seen.even, seen.odd)
    )
    return float(np.exp(-8 * gap - 0.5 * np.square(seen.size[0] - seen.size[1]).sum()))


def told(proposals, known=()):
    outcomes = []
    for p in proposals:
        found = inspect([p.genome.tokens])[0]
        status = Status.REJECTED if found.rejected else Status.OK
        reward = 0.0 if found.rejected else worth(p.genome.tokens)
        outcomes.append(Outcome(p, found.key, status, reward, reward, known=found.key in known))
    return outcomes


def search(proposer, functions, batch=4):
    """Rewards of the first distinct functions that trained, and who proposed each."""
    rewards, origins, known = [], [], set()
    while len(rewards) < functions:
        outcomes = told(proposer.ask(batch), known)
        for o in outcomes:
            if o.key not in known and o.status is Status.OK:
                rewards.append(o.reward)
                origins.append(o.proposal.proposer)
            known.add(o.key)
        proposer.tell(outcomes)
    return np.array(rewards), origins


def test_screened_proposals_are_better_than_the_sources_own():
    plain = [search(RandomProposer(SPACE, s), 40)[0] for s in range(4)]
    screened = [search(make(seed=s), 40)[0] for s in range(4)]
    later = slice(8, None)
    assert np.mean([r[later].mean() for r in screened]) > 3 * np.mean(
        [r[later].mean() for r in plain]
    )
    assert min(r.max() for r in screened) > 0.75


def test_it_proposes_nothing_that_is_known_or_cannot_train():
    screen = make(first=4)
    first = screen.ask(8)
    screen.tell(told(first))
    seen = set(keys([p.genome.tokens for p in first]))
    for _ in range(5):
        asked = screen.ask(8)
        found = inspect([p.genome.tokens for p in asked])
        assert all(row.rejected is None for row in found)
        assert not {row.key for row in found} & seen
        seen |= {row.key for row in found}
        screen.tell(told(asked))


def test_what_somebody_else_had_trained_is_not_chosen_later():
    """A function that waits in the pool and comes to be known leaves it."""
    screen = make(first=4)
    screen.tell(told(screen.ask(8)))
    screen.tell(told(screen.ask(4)))
    waiting = next(iter(screen._pool.values())).genome
    other = RandomProposer(SPACE, 5).ask(1)[0]
    [outcome] = told([type(other)(10_000, type(other.genome)(waiting), "guest")])
    screen.tell([outcome])
    screen.ask(4)
    assert outcome.key not in screen._pool


def test_a_choice_knows_what_is_under_way(monkeypatch):
    """What was asked for by then and is not told, each function once; not its own ask's."""
    screen = make("rl", first=4)
    choose, seen = Posterior.choose, []

    def noted(self, others, n, optimism, asked):
        seen.append(asked)
        return choose(self, others, n, optimism, asked)

    monkeypatch.setattr(Posterior, "choose", noted)
    screen.tell(told(screen.ask(8)))
    for _ in range(2):
        screen.tell(told(screen.ask(4)))
    assert [len(features) for features in seen] == [0, 0, 0]
    batches = [screen.ask(4) for _ in range(5)]
    screen.tell([replace(o, status=Status.ERROR, reward=None) for o in told(batches.pop(1))])
    screen.tell(told(batches.pop(2)))
    screen.ask(1)
    found = inspect([p.genome.tokens for batch in batches for p in batch])
    keys = {row.key: row.form for row in found if not row.rejected and row.key not in screen._heard}
    assert 6 < len(seen[-1]) == len(keys)
    assert len(screen._asked) == len(keys) + 1


def test_a_state_holds_what_is_under_way():
    screen = make("hybrid", first=4)
    screen.tell(told(screen.ask(8)))
    batches = [screen.ask(2) for _ in range(6)]
    screen.tell(told(batches.pop(2)))
    state = screen.state()
    assert len(state.values["asked"]) > 6
    other = make("hybrid", seed=9)
    other.restore(State(json.loads(json.dumps(state.values)), state.arrays))
    for _ in range(3):
        one, two = screen.ask(2), other.ask(2)
        assert one == two
        batch = batches.pop()
        screen.tell(told(batch))
        other.tell(told(batch))
    # One of an older version knows nothing of it, and goes on all the same.
    old = make("hybrid", seed=9)
    values = {name: value for name, value in state.values.items() if name != "asked"}
    arrays = {name: array for name, array in state.arrays.items() if name != "flying"}
    old.restore(State(values, arrays))
    assert len(old.ask(2)) == 2
    old.tell(told(batch))


@pytest.mark.parametrize("strategy, share", [("rl", 1.0), ("hybrid", None), ("evolution", 0.0)])
def test_a_share_of_the_policys_proposals_stays_unscreened(strategy, share):
    screen = make(strategy, first=4, unscreened=0.25)
    free = total = 0
    for batch in range(24):
        asked = screen.ask(8)
        chosen = [p for p in asked if p.id in screen._novelty._waiting]
        if batch > 1:
            free, total = free + len(asked) - len(chosen), total + len(asked)
            if len(chosen) < len(asked):
                assert {p.proposer for p in asked if p not in chosen} == {"rl"}
        screen.tell(told(asked))
    if share is None:
        assert 0 < free / total < 0.25
    else:
        assert free / total == pytest.approx(0.25 * share, abs=0.02)


def test_the_policy_gradient_gets_unscreened_samples_only():
    screen = make("rl", first=4)
    policy = screen._source
    adopted, gradient = [], []
    tell, adopt = policy.tell, policy.adopt
    policy.tell = lambda outcomes: (gradient.extend(outcomes), tell(outcomes))
    policy.adopt = lambda outcomes: (adopted.extend(outcomes), adopt(outcomes))
    drawn, chosen = set(), set()
    for _ in range(12):
        asked = screen.ask(8)
        picked = {p.id for p in asked if p.id in screen._novelty._waiting}
        assert {p.id for p in asked} - picked == set(policy._asked)  # with known probabilities
        chosen |= picked
        drawn |= {p.id for p in asked} - picked
        screen.tell(told(asked))
    assert {o.proposal.id for o in gradient} == drawn and drawn
    assert {o.proposal.id for o in adopted} == chosen and chosen
    best = max(adopted, key=lambda o: o.reward)
    assert best.proposal.genome.tokens in [m.genome for m in policy._adopted]


def test_a_policy_rehearses_what_the_model_promises():
    """Judged samples move the policy to where the model expects most; without, it stays."""

    def near(rehearsal):
        config = {"strategy": "rl", "screen": {"use": "on", "first": 16, "unscreened": 0.0}}
        config["controller"] = {"rehearsal": rehearsal, "imitation": 0.0, "hidden": 16}
        screen = make_proposer(make_config(config))
        for _ in range(60):
            screen.tell(told(screen.ask(16)))
        sample = screen._source.draw(200)
        return np.mean([worth(c.genome) for c in sample])

    assert near(32) > 2 * near(0)


def test_chosen_children_join_the_population_and_name_their_parents():
    screen = make("evolution", first=4)
    seen = {}
    for _ in range(8):
        asked = screen.ask(8)
        for p in asked:
            assert all(parent in seen for parent in p.parents)
            seen[p.id] = p
        screen.tell(told(asked))
    assert any(p.parents for p in seen.values())
    members = {m.id for m in screen._source.best()}
    assert len(members & set(seen)) == len(members) == 20


def test_a_hybrids_choices_come_from_all_its_sources_by_name():
    _, origins = search(make("hybrid"), 120)
    assert set(origins) == {"rl", "evolution", "random"}


def test_the_model_forgets_neither_the_best_nor_the_last():
    screen = make(first=4, rows=16)
    search(screen, 60)
    model = screen._model()
    assert len(model.features) == 16
    best = describe([max(screen._trained, key=lambda t: t.reward).genome])
    last = describe([screen._trained[-1].genome])
    for one in (best, last):
        assert (np.abs(model.features.even - one.even).max(axis=1) == 0).any()


def test_the_pool_keeps_what_promises_most(monkeypatch):
    screen = make(first=4, pool=16, draws=16)
    screen.tell(told(screen.ask(8)))
    left = []

    def watched(rows):
        """Before some of the pool go: what it promises, chosen ones aside, and who stays."""
        promise = screen._judge([candidate.genome for candidate in screen._pool.values()])
        stays = set(rows.tolist())
        chosen = screen._novelty.waiting
        gone = {row for row, key in enumerate(screen._pool) if key not in chosen} - stays
        left.append(([promise[row] for row in stays], [promise[row] for row in gone]))
        Screen._keep(screen, rows)

    monkeypatch.setattr(screen, "_keep", watched)
    for _ in range(3):
        screen.tell(told(screen.ask(4)))
    overflown = [(stay, go) for stay, go in left if go]
    assert len(overflown) >= 2
    for stay, go in overflown:
        assert len(stay) == 16 and min(stay) >= max(go)


def test_what_the_model_drops_it_would_not_have_used(monkeypatch):
    """Also after the state was taken and given back, which holds no more than is kept."""
    runs = {}
    for kept in (2, 1000):
        monkeypatch.setattr("hybridsearch.propose.screen.KEPT", kept)
        screen = make("hybrid", first=4, rows=16)
        before, _ = search(screen, 60)
        assert (len(screen._trained) <= 2 * 16) == (kept == 2)
        again = make("hybrid", first=4, rows=16)
        again.restore(screen.state())
        known = {found.key for found in inspect([t.genome for t in screen._trained])}
        assert known <= again._heard and len(again._heard) >= 60
        after, origins = search(again, 40)
        runs[kept] = before.tolist(), after.tolist(), origins
    assert runs[2] == runs[1000]


def test_a_state_holds_what_cannot_be_computed_again_and_no_more():
    screen = make("hybrid", first=4)
    search(screen, 30)
    state = screen.state()
    text = json.dumps(state.values)
    other = make("hybrid", seed=9)
    other.restore(State(json.loads(text), state.arrays))
    assert [p.genome for p in other.ask(8)] == [p.genome for p in screen.ask(8)]
    assert len(text) < 200_000


def test_nothing_to_choose_from_everything():
    with pytest.raises(UserError, match=r"^screen\.use: exhaustive proposes every function"):
        make("exhaustive")


def test_which_strategies_are_screened():
    def screened(strategy, use="auto"):
        config = make_config({"strategy": strategy, "screen": {"use": use}})
        return isinstance(make_proposer(config), Screen), config.asks(0), config.label

    assert screened("hybrid") == (True, 2, "hybrid")
    assert screened("hybrid", "off") == (False, 32, "hybrid-screen")
    two = {"strategy": "hybrid", "evolution": {"objectives": "score_time"}}
    assert not make_config(two).screened
    assert screened("rl") == (True, 2, "rl")
    assert screened("evolution") == (False, 32, "evolution")
    assert screened("evolution", "on") == (True, 2, "evolution+screen")


def test_batches_grow_with_what_the_model_knows():
    config = make_config({"strategy": "hybrid"})
    assert [config.asks(n) for n in (0, 32, 48, 64, 128, 1000)] == [2, 2, 3, 4, 8, 32]
    assert {make_config({"strategy": "hybrid", "batch": 5}).asks(n) for n in (0, 500)} == {5}


def test_labels_and_configs():
    config = make_config({"screen": {"optimism": 1.0}})
    for label in ("rl", "rl+screen", "hybrid-screen", "local+screen"):
        assert config.labelled(label).label == label
        assert config.labelled(label).screen.optimism == 1.0
    assert config.labelled("hybrid").screened and not config.labelled("evolution").screened
