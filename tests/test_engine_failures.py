"""The loop by itself, with an evaluator that always fails."""

from types import SimpleNamespace

from hybridsearch.engine import Search
from hybridsearch.genome.units import Space
from hybridsearch.observe import Silent
from hybridsearch.propose.evolution import EvolutionProposer
from hybridsearch.propose.random import RandomProposer
from hybridsearch.records import MemoryRecorder
from hybridsearch.types import Evaluation, Scale, Status

SPACE = Space(1, 1, unary=("id", "tanh", "sin"), binary=("gate", "mul"))


def failing(config, proposer, path) -> Search:
    """A search in which the machine fails at every training."""
    evaluator = SimpleNamespace(scale=Scale.of_classes("loss", 10), forget=lambda tasks: None)
    recorder = MemoryRecorder(evaluator)
    run = Search(config, proposer, recorder, Silent(), path)

    def fail(ascent, done, batch):
        assert batch < 50, "the search does not end"
        for child in ascent.alive:
            child.failure = Evaluation("task", Status.ERROR, message="killed")
        ascent.alive = []

    run.ladder.tasks, run.ladder.go_on = lambda ascent: [], fail
    return run


def test_a_machine_that_only_fails_ends_a_search(tiny, tmp_path):
    run = failing(tiny(patience=4), RandomProposer(SPACE, 0), tmp_path / "checkpoint")
    assert run.run() == "4 batches in a row brought no new function"
    assert run.known.distinct == 0


def test_a_proposer_that_repeats_nothing_ends_before(tiny, tmp_path):
    config = tiny(patience=1000)
    proposer = EvolutionProposer(SPACE, config.evolution, 0)
    run = failing(config, proposer, tmp_path / "checkpoint")
    assert run.run() == "the proposer has nothing left to propose"
    assert run.proposals < 50
