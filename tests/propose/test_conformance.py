"""What every proposer must do, plain and under a screen. A new one is tested by its name in
`session.STRATEGIES`.
"""

import json
import random
from collections.abc import Callable

import numpy as np
import pytest

from hybridsearch.config import make_config
from hybridsearch.genome.canonical import keys
from hybridsearch.genome.units import Space
from hybridsearch.session import SOURCES, STRATEGIES, make_proposer
from hybridsearch.store.checkpoint import load_checkpoint, save_checkpoint
from hybridsearch.types import Outcome, Proposal, Proposer, State, Status

# So small that a few batches lead through every phase of a strategy.
SMALL = {
    "controller": {"hidden": 8, "embedding": 4},
    "evolution": {"population": 8},
    "regularized": {"population": 8, "sample": 3},
    "local": {"starts": 6},
    "screen": {"use": "off", "experience": "none", "first": 4, "pool": 40, "draws": 4},
}
TWO = {"evolution": {"population": 8, "objectives": "score_time"}}
APART = {"hybrid": {"bandit": False, "exchange": False}}


def maker(name: str, **changes) -> Callable[[Space, int], Proposer]:
    def make(space: Space, seed: int) -> Proposer:
        sizes = {"min_units": space.min_units, "max_units": space.max_units}
        sets = {"unary": list(space.unary), "binary": list(space.binary)}
        changed = {**SMALL, **changes, "seed": seed, "strategy": name, "space": sizes | sets}
        return make_proposer(make_config(changed))

    return make


ON = {"screen": {**SMALL["screen"], "use": "on"}}
PROPOSERS = {name: maker(name) for name in STRATEGIES} | {
    **{f"{name}+screen": maker(name, **ON) for name in SOURCES},
    "hybrid, experienced": maker("hybrid", screen={**ON["screen"], "experience": "digits"}),
    "evolution, two objectives": maker("evolution", **TWO),
    "hybrid, apart": maker("hybrid", **APART),
}
ENDLESS = {
    "random",
    "rl",
    "random+screen",
    "rl+screen",
}  # they draw independently of what was proposed
REPEATING = ENDLESS | {"hybrid", "hybrid, apart", "hybrid+screen", "hybrid, experienced"}
SPACES = {
    "one": Space(1, 1),
    "three": Space(1, 3),
    "subset": Space(2, 2, unary=("id", "tanh"), binary=("add", "gate")),
}
TINY = {
    "eighteen": Space(1, 1, unary=("id", "tanh", "beta"), binary=("add", "gate")),
    "two units": Space(1, 2, unary=("id", "sin"), binary=("sub",)),
    "single genome": Space(1, 1, unary=("id",), binary=("mul",)),
}
N = 12


@pytest.fixture(params=PROPOSERS, name="name")
def _name(request):
    return request.param


@pytest.fixture(params=SPACES, name="space")
def _space(request, name):
    if (name, request.param) == ("exhaustive", "three"):
        pytest.skip("too large for exhaustive")
    return SPACES[request.param]


@pytest.fixture(name="make")
def _make(name):
    return PROPOSERS[name]


def outcome(proposal: Proposal, status: Status = Status.OK, known: bool = False) -> Outcome:
    """A reward and a cost that depend on the genome alone."""
    total = sum(map(ord, str(proposal.genome)))
    reward: float | None = {Status.OK: total % 17 / 17, Status.ERROR: None}.get(status, 0.0)
    cost = None if total % 5 == 0 else 1e-9 * (total % 11)
    key = proposal.genome.key
    return Outcome(proposal, key, status, reward, reward, known=known, cost=cost)


def mixed(proposals):
    kinds = (Status.OK, Status.OK, Status.REJECTED, Status.OK, Status.ERROR, Status.DIVERGED)
    return [outcome(p, kinds[p.id % 6], known=p.id % 5 == 0) for p in proposals]


def copy(state: State) -> State:
    """Through JSON and bytes, as a checkpoint does."""
    values = json.loads(json.dumps(state.values))
    return State(values, {k: np.array(a, copy=True) for k, a in state.arrays.items()})


def same(a: State, b: State) -> bool:
    return (
        copy(a).values == copy(b).values
        and a.arrays.keys() == b.arrays.keys()
        and all(np.array_equal(a.arrays[k], b.arrays[k]) for k in a.arrays)
    )


def settled(value):
    """A state's values without what waits for outcomes or failed by the machine's fault."""
    if isinstance(value, dict):
        open_ = ("asked", "waiting", "steps", "failed")
        return {k: settled(v) for k, v in value.items() if k not in open_}
    return value


def functions(proposals) -> list[str]:
    return keys([p.genome.tokens for p in proposals])


@pytest.mark.parametrize("size", [1, 5, N, 64])
def test_asked_it_gives_at_most_n_of_the_space_with_new_ids(make, space, size):
    proposer = make(space, 0)
    assert proposer.ask(0) == []
    asked = []
    for _ in range(20 if size == 1 else 4):
        batch = proposer.ask(size)
        assert len(batch) <= size
        assert all(p.genome.tokens in space for p in batch)
        asked += batch
        proposer.tell(mixed(batch))
    assert [p.id for p in asked] == list(range(len(asked)))
    assert all(parent < p.id for p in asked for parent in p.parents)
    assert len(asked) == 4 * size or size == 1 or space is SPACES["subset"]
    for p in asked:  # how it was made
        assert (p.operator in ("crossover", "mutation", "neighbour")) == bool(p.parents)
        assert p.parents or p.operator in ("random", "walk", "policy")
        assert len(p.chances) == (len(p.genome.tokens) if p.operator == "policy" else 0)
        assert all(0 <= chance <= 1 for chance in p.chances)


def test_no_function_is_proposed_twice(name, make, space):
    if name in REPEATING:
        pytest.skip("draws from a policy or at random")
    proposer = make(space, 0)
    asked = []
    for _ in range(8):
        batch = proposer.ask(N)
        asked += functions(batch)
        proposer.tell([outcome(p) for p in batch])
    assert len(set(asked)) == len(asked) > 30


@pytest.mark.parametrize("tiny", TINY.values(), ids=TINY)
def test_it_exhausts_a_tiny_space(name, make, tiny):
    proposer = make(tiny, 3)
    every = set(keys(list(tiny.enumerate())))
    asked, ids = [], []
    for _ in range(200):
        batch = proposer.ask(64 if name in ENDLESS else 5)
        if not batch or (name in ENDLESS and set(asked) == every):
            break
        found = functions(batch)
        ids += [p.id for p in batch]
        proposer.tell([outcome(p, known=key in asked) for p, key in zip(batch, found, strict=True)])
        asked += found
    assert set(asked) == every
    assert len(set(ids)) == len(ids)
    if name not in ENDLESS:
        assert proposer.ask(1) == proposer.ask(64) == []
    if name not in REPEATING:
        assert len(asked) == len(every)


def test_same_seed_same_proposals(name, make, space):
    a, b, other = make(space, 7), make(space, 7), make(space, 8)
    for _ in range(3):
        first, second = a.ask(N), b.ask(N)
        assert first == second
        a.tell(mixed(first))
        b.tell(mixed(second))
    if name != "exhaustive":
        assert [p.genome for p in make(space, 7).ask(N)] != [p.genome for p in other.ask(N)]


def test_restored_at_any_point_it_goes_on_bit_for_bit(make, space):
    one = make(space, 1)
    for _ in range(5):
        two, three = make(space, 99), make(space, 98)
        for dirty in (two, three):  # what it was before must leave no trace
            dirty.tell(mixed(dirty.ask(N)))
        two.restore(copy(one.state()))
        asked = one.ask(N)
        assert two.ask(N) == asked
        three.restore(copy(one.state()))  # between ask and tell
        for proposer in (one, two, three):
            proposer.tell(mixed(asked))
        assert same(one.state(), two.state())
        assert same(one.state(), three.state())


def nudged(value):
    """JSON values with every fraction changed a little."""
    if isinstance(value, dict):
        return {name: nudged(one) for name, one in value.items()}
    if isinstance(value, list):
        return [nudged(one) for one in value]
    return 0.75 * value + 0.01 if isinstance(value, float) else value


def test_every_number_of_a_state_is_taken_up(make, space):
    """Also those that a few batches leave at what they began with."""
    one, two = make(space, 1), make(space, 2)
    for _ in range(3):
        one.tell(mixed(one.ask(N)))
    state = copy(one.state())
    other = State(nudged(state.values), state.arrays)
    two.restore(other)
    assert copy(two.state()).values == other.values


def test_a_state_survives_a_checkpoint(make, space, tmp_path):
    one, two = make(space, 1), make(space, 2)
    for batch in range(3):
        save_checkpoint(tmp_path / f"{batch}", {}, one.state())
        _, state = load_checkpoint(tmp_path / f"{batch}")
        two.restore(state)
        assert same(one.state(), two.state())
        one.tell(mixed(one.ask(N)))


def test_a_snapshot_does_not_change_later(make, space):
    proposer = make(space, 1)
    for _ in range(3):
        snapshot = proposer.state()
        before = copy(snapshot)
        proposer.tell(mixed(proposer.ask(N)))
        assert same(snapshot, before)


def test_a_restored_state_is_not_shared(make, space):
    proposer, source = make(space, 1), make(space, 2)
    source.tell(mixed(source.ask(N)))
    snapshot = source.state()
    before = copy(snapshot)
    proposer.restore(snapshot)
    proposer.tell(mixed(proposer.ask(N)))
    assert same(snapshot, before)


def test_the_order_of_outcomes_does_not_matter(make, space):
    one, two = make(space, 1), make(space, 1)
    for batch in range(4):
        outcomes = mixed(one.ask(N))
        two.ask(N)
        one.tell(outcomes)
        shuffled = [outcomes[k] for k in np.random.default_rng(batch).permutation(len(outcomes))]
        two.tell(shuffled)
        assert same(one.state(), two.state())


def test_errors_teach_nothing(make, space):
    """An ERROR among others changes nothing, and of a batch of them nothing is kept."""
    one, two = make(space, 1), make(space, 1)
    for _ in range(3):
        asked = one.ask(N)
        two.ask(N)
        good = [outcome(p) for p in asked[2:]]
        failed = [outcome(p, Status.ERROR) for p in asked[:2]]
        one.tell(good)
        one.tell(failed)  # else a screen would take them for under way
        two.tell(good + failed)
        a, b = one.state(), two.state()
        assert settled(a.values) == settled(b.values)
        assert all(np.array_equal(a.arrays[k], b.arrays[k]) for k in a.arrays)

    asked = one.ask(N)
    before = one.state()
    one.tell([outcome(p, Status.ERROR) for p in asked])
    after = one.state()
    assert all(np.array_equal(before.arrays[k], after.arrays[k]) for k in before.arrays)
    assert settled(before.values) == settled(after.values)


def test_a_reward_that_is_no_number_teaches_nothing(make, space):
    one, two = make(space, 1), make(space, 1)
    for _ in range(2):
        asked = one.ask(N)
        two.ask(N)
        good = [outcome(p) for p in asked[1:]]
        bad = Outcome(asked[0], "", Status.OK, float("nan"), float("nan"))
        one.tell([*good, outcome(asked[0], Status.ERROR)])
        two.tell([*good, bad])
        assert same(one.state(), two.state())


def open_(value, names=("asked", "waiting", "steps", "failed")) -> list:
    """What waits for outcomes in a state's values, and what came back without a verdict."""
    if not isinstance(value, dict):
        return []
    return [x for k, v in value.items() for x in (v if k in names else open_(v))]


def test_a_later_ask_may_be_told_first(name, make, space):
    """As of several batches under way: an older one goes on to higher rungs, and is the better."""
    proposer = make(space, 1)
    for _ in range(2):
        first, second = proposer.ask(N), proposer.ask(N)
        proposer.tell([outcome(p) for p in second])
        before = proposer.state()
        assert open_(before.values) or name.startswith("random")
        proposer.tell([outcome(p) for p in first])
        after = proposer.state()
        assert open_(after.values) == []
        learnt = settled(before.values) != settled(after.values) or any(
            not np.array_equal(a, after.arrays[k]) for k, a in before.arrays.items()
        )
        assert learnt == (name != "random")


def test_an_empty_batch_changes_nothing(make, space):
    proposer = make(space, 1)
    for _ in range(2):
        asked = proposer.ask(N)
        before = proposer.state()
        proposer.tell([])
        assert same(proposer.state(), before)
        proposer.tell(mixed(asked))


@pytest.mark.parametrize("status, known", [(Status.REJECTED, False), (Status.OK, True)])
def test_it_goes_on_when_everything_is_rejected_or_known(make, space, status, known):
    proposer = make(space, 1)
    asked = []
    for _ in range(30):
        batch = proposer.ask(N)
        if not batch:  # only because there is no more
            assert set(functions(asked)) == set(keys(list(space.enumerate())))
            return
        assert all(p.genome.tokens in space for p in batch)
        asked += batch
        proposer.tell([outcome(p, status, known) for p in batch])
    assert len(set(functions(asked[-200:]))) > 10  # no single point is left over


def test_global_generators_are_left_alone(make, space):
    one, two = make(space, 1), make(space, 1)
    for batch in range(4):
        random.seed(batch)
        np.random.seed(batch)
        before = random.getstate(), str(np.random.get_state())
        asked = one.ask(N)
        one.tell(mixed(asked))
        assert (random.getstate(), str(np.random.get_state())) == before
        random.seed(1000 + batch)
        assert two.ask(N) == asked
        two.tell(mixed(asked))
