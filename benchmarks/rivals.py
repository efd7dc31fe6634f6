"""Searches of other libraries, each as a user of it would write it, on the space of core units.

Every rival asks for the reward (0 to 1) of functions until `Spent` says that there are no more
evaluations. They run one after the other, and every function is trained in full: both are to the
advantage of the rivals, whose own parallel modes know less at every step.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

from hybridsearch.genome.units import Space, Tokens, input_token

Answer = Callable[[Sequence[Tokens]], list[float]]
POPULATION, TOURNAMENT, CROSSOVER, MUTATION = 50, 3, 0.5, 0.2  # eaSimple as its tutorial has it
ATTEMPTS = 10_000  # of PyGlove to propose something new before it gives up
CHALLENGERS = 1000  # of SMAC at every step; its 10,000 are more than one unit has functions
LEAVES = 10_000  # of a tree of SMAC; its default makes room for a million, a tenth of a second each
RETRAIN = 32  # evaluations after which SMAC fits its forest again, which takes a second


class Spent(Exception):
    """The budget is used up."""


class Choices:
    """A space as a list of categorical choices, which is what these libraries take.

    options: for every choice its options, by name. With several sizes the number of units is the
    first choice, and what stands behind the last unit is not read.
    """

    def __init__(self, space: Space) -> None:
        self._least, most = space.min_units, space.max_units
        self.options: dict[str, list[str]] = {}
        if most > self._least:
            self.options["units"] = [str(n) for n in range(self._least, most + 1)]
        unary, binary = list(space.unary), list(space.binary)
        for unit in range(1, most + 1):
            inputs = [input_token(k) for k in range(unit)]
            named = [binary, unary, inputs, unary, inputs]
            for name, those in zip(("b", "u1", "i1", "u2", "i2"), named, strict=True):
                self.options[f"{name}_{unit}"] = those

    def tokens(self, chosen: Sequence[str]) -> Tokens:
        """The genome of one option per choice."""
        units = int(chosen[0]) if "units" in self.options else self._least
        start = int("units" in self.options)
        return tuple(chosen[start : start + 5 * units])

    def named(self, chosen: dict[str, str]) -> Tokens:
        """The genome of an option per name."""
        return self.tokens([chosen[name] for name in self.options])


def optuna_(sampler: str, space: Space, seed: int, answer: Answer) -> None:
    """Optuna with its default settings; sampler: the class in `optuna.samplers`."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = Choices(space)
    study = optuna.create_study(
        direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=seed)
    )

    def objective(trial: optuna.Trial) -> float:
        chosen = {n: str(trial.suggest_categorical(n, o)) for n, o in choices.options.items()}
        return answer([choices.named(chosen)])[0]

    study.optimize(objective, n_trials=None)


def pyglove_regularized(space: Space, seed: int, answer: Answer) -> None:
    """PyGlove's regularized evolution with its defaults (population 100, tournaments of 10), and
    its wrapper that leaves out repeats, without which it stalls.
    """
    import pyglove as pg

    choices = Choices(space)
    program = pg.Dict({name: pg.oneof(options) for name, options in choices.options.items()})
    evolution = pg.evolution.regularized_evolution(
        mutator=pg.evolution.mutators.Uniform(seed=seed), seed=seed
    )
    algorithm = pg.geno.Deduping(
        evolution,
        # Its own hash tells equal proposals apart by what is written on them.
        hash_fn=lambda dna: hash(tuple(dna.to_numbers())),
        max_proposal_attempts=ATTEMPTS,
    )
    for chosen, feedback in pg.sample(program, algorithm):
        feedback(answer([choices.named(dict(chosen))])[0])


def deap_simple(space: Space, seed: int, answer: Answer) -> None:
    """DEAP's `eaSimple` on lists of integers: two-point crossover, one gene mutated on average."""
    import random

    from deap import algorithms, base, creator, tools

    if not hasattr(creator, "Reward"):
        creator.create("Reward", base.Fitness, weights=(1.0,))
        creator.create("Genes", list, fitness=creator.Reward)
    random.seed(seed)
    choices = Choices(space)
    options = list(choices.options.values())
    highest = [len(o) - 1 for o in options]

    def draw() -> list[int]:
        return [random.randint(0, top) for top in highest]

    def evaluate(some: Sequence[list[int]]) -> list[tuple[float]]:
        chosen = [[o[k] for o, k in zip(options, genes, strict=True)] for genes in some]
        return [(reward,) for reward in answer([choices.tokens(c) for c in chosen])]

    toolbox = base.Toolbox()
    toolbox.register("individual", tools.initIterate, creator.Genes, draw)
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register(
        "mutate", tools.mutUniformInt, low=[0] * len(highest), up=highest, indpb=1 / len(highest)
    )
    toolbox.register("select", tools.selTournament, tournsize=TOURNAMENT)
    toolbox.register("evaluate", lambda genes: genes)
    toolbox.register("map", lambda _, some: evaluate(list(some)))
    population = toolbox.population(n=POPULATION)
    while True:  # until the budget ends it
        population, _ = algorithms.eaSimple(
            population, toolbox, cxpb=CROSSOVER, mutpb=MUTATION, ngen=1000, verbose=False
        )


def smac_forest(space: Space, seed: int, answer: Answer) -> None:
    """SMAC3's random forest with expected improvement (its facade for such spaces)."""
    from ConfigSpace import Categorical, ConfigurationSpace
    from smac import HyperparameterOptimizationFacade as Facade
    from smac import Scenario
    from smac.main.config_selector import ConfigSelector
    from smac.model.random_forest import RandomForest
    from smac.runhistory.dataclasses import TrialValue

    class Selector(ConfigSelector):
        def _get_x_best(self, rows):  # type: ignore[no-untyped-def]
            """The same, but with one prediction for all configurations, not one for each."""
            costs = self._model.predict_marginalized(rows)[0].ravel()
            return rows[costs.argmin()], costs.min()

    choices = Choices(space)
    configurations = ConfigurationSpace(seed=seed)
    free = {name: o for name, o in choices.options.items() if len(o) > 1}
    configurations.add([Categorical(name, o) for name, o in free.items()])
    fixed = {name: o[0] for name, o in choices.options.items() if len(o) == 1}
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            configurations,
            deterministic=True,
            n_trials=space.count(),
            seed=seed,
            output_directory=folder,  # type: ignore[arg-type]
        )
        smac = Facade(
            scenario,
            _unused,
            model=RandomForest(
                configurations,
                n_trees=10,
                ratio_features=1.0,
                min_samples_split=2,
                min_samples_leaf=1,
                log_y=True,
                max_leaf_nodes=LEAVES,
                n_jobs=1,
                seed=seed,
            ),
            acquisition_maximizer=Facade.get_acquisition_maximizer(
                scenario, challengers=CHALLENGERS
            ),
            config_selector=Selector(scenario, retrain_after=RETRAIN),
            overwrite=True,
            logging_level=False,
        )
        logging.getLogger("smac").setLevel(logging.ERROR)
        for trial in iter(smac.ask, None):
            chosen = {**fixed, **dict(trial.config)}
            # Its forest takes the logarithm of costs.
            cost = 1.0 - answer([choices.named(chosen)])[0]
            smac.tell(trial, TrialValue(cost=max(cost, 1e-6)), save=False)


def _unused(config: object, seed: int = 0) -> float:
    raise AssertionError("evaluations go through ask and tell")


Rival = Callable[[Space, int, Answer], None]
RIVALS: dict[str, Rival] = {
    "optuna_tpe": partial(optuna_, "TPESampler"),
    "optuna_random": partial(optuna_, "RandomSampler"),
    "pyglove_regularized": pyglove_regularized,
    "deap_simple": deap_simple,
    "smac_forest": smac_forest,
}
PACKAGES = {"optuna": "optuna", "pyglove": "pyglove", "deap": "deap", "smac": "smac"}
