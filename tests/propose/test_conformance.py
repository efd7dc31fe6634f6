"""What every proposer must do. A new one is tested by adding its name to PROPOSERS."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from hybridsearch.config import ControllerConfig
from hybridsearch.genome.units import Space
from hybridsearch.propose.ppo import ControllerProposer
from hybridsearch.propose.random import RandomProposer
from hybridsearch.types import Outcome, Proposal, Proposer, State, Status

CONFIG = ControllerConfig(hidden=8, embedding=4)
PROPOSERS: dict[str, Callable[[Space, int], Proposer]] = {
    "random": RandomProposer,
    "rl": lambda space, seed: ControllerProposer(space, CONFIG, seed),
}
SPACES = {
    "one": Space(1, 1),
    "three": Space(1, 3),
    "subset": Space(2, 2, unary=("id", "tanh"), binary=("add", "gate")),
}
N = 12


@pytest.fixture(params=PROPOSERS, name="make")
def _make(request):
    return PROPOSERS[request.param]


@pytest.fixture(params=SPACES, name="space")
def _space(request):
    return SPACES[request.param]


def outcome(proposal: Proposal, status: Status = Status.OK, known: bool = False) -> Outcome:
    """A reward that depends on the genome alone; one genome in three is rejected or an error."""
    key = str(proposal.genome)
    reward: float | None = {Status.OK: (sum(map(ord, key)) % 17) / 17, Status.ERROR: None}.get(
        status, 0.0
    )
    return Outcome(proposal, key, status, reward, reward, known=known)


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


def test_ask_gives_at_most_n_new_genomes_of_the_space(make, space):
    proposer = make(space, 0)
    ids = set()
    for n in (1, 5, N, 0, 2):
        proposals = proposer.ask(n)
        assert len(proposals) <= n and (proposals or n == 0)
        assert all(p.genome.tokens in space for p in proposals)
        ids |= {p.id for p in proposals}
        proposer.tell([outcome(p) for p in proposals])
    assert len(ids) == 1 + 5 + N + 2


def test_same_seed_same_proposals(make, space):
    a, b, other = make(space, 7), make(space, 7), make(space, 8)
    first = a.ask(N)
    assert first == b.ask(N)
    assert [p.genome for p in first] != [p.genome for p in other.ask(N)]


@pytest.mark.parametrize("between", [False, True], ids=["after tell", "between ask and tell"])
def test_restored_it_goes_on_bit_for_bit(make, space, between):
    one, two = make(space, 1), make(space, 99)
    two.tell(mixed(two.ask(N)))  # what it was before must leave no trace
    one.tell(mixed(one.ask(N)))
    asked = one.ask(N) if between else []
    two.restore(copy(one.state()))
    for _ in range(3):
        one.tell(mixed(asked))
        two.tell(mixed(asked))
        assert same(one.state(), two.state())
        asked = one.ask(N)
        assert asked == two.ask(N)


def test_a_snapshot_does_not_change_later(make, space):
    proposer = make(space, 1)
    snapshot = proposer.state()
    before = copy(snapshot)
    proposer.tell(mixed(proposer.ask(N)))
    assert same(snapshot, before)


def test_a_restored_state_is_not_shared(make, space):
    proposer, source = make(space, 1), make(space, 2)
    snapshot = source.state()
    before = copy(snapshot)
    proposer.restore(snapshot)
    proposer.tell(mixed(proposer.ask(N)))
    assert same(snapshot, before)


def test_the_order_of_outcomes_does_not_matter(make, space):
    one, two = make(space, 1), make(space, 1)
    for _ in range(2):
        outcomes = mixed(one.ask(N))
        two.ask(N)
        one.tell(outcomes)
        two.tell(outcomes[::-1])
        assert same(one.state(), two.state())


def test_errors_teach_nothing(make, space):
    """An ERROR among others changes nothing, and a batch of them is as if it had been empty."""
    one, two = make(space, 1), make(space, 1)
    asked = one.ask(N)
    two.ask(N)
    good = [outcome(p) for p in asked[2:]]
    one.tell(good)
    two.tell(good + [outcome(p, Status.ERROR) for p in asked[:2]])
    assert same(one.state(), two.state())

    asked = one.ask(N)
    before = one.state()
    one.tell([outcome(p, Status.ERROR) for p in asked])
    after = one.state()
    assert all(np.array_equal(before.arrays[k], after.arrays[k]) for k in before.arrays)
    before.values.pop("asked", None), after.values.pop("asked", None)
    assert before.values == after.values


def test_an_empty_batch_changes_nothing(make, space):
    proposer = make(space, 1)
    proposer.ask(N)
    before = proposer.state()
    proposer.tell([])
    assert same(proposer.state(), before)


@pytest.mark.parametrize("status, known", [(Status.REJECTED, False), (Status.OK, True)])
def test_it_goes_on_when_everything_is_rejected_or_known(make, space, status, known):
    proposer = make(space, 1)
    for _ in range(30):
        asked = proposer.ask(N)
        assert asked and all(p.genome.tokens in space for p in asked)
        proposer.tell([outcome(p, status, known) for p in asked])
    assert len({p.genome for p in proposer.ask(200)}) > 10  # no single point is left over
