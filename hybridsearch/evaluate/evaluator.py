"""The evaluator: tasks in, evaluations out; it sees functions and never who proposed them."""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from math import inf
from pathlib import Path
from typing import Protocol

import torch

from hybridsearch.config import Config, NetworkConfig
from hybridsearch.digests import checksum
from hybridsearch.errors import UserError
from hybridsearch.evaluate import timing
from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.data import SearchData, load_search_data, load_test_data, stock
from hybridsearch.evaluate.devices import pick_devices
from hybridsearch.evaluate.group import Group, measure_on, run_grouped
from hybridsearch.evaluate.judge import code_digest, code_of, make_objective
from hybridsearch.evaluate.networks import built_in, check_network, fixed_groups
from hybridsearch.evaluate.node import Trainings
from hybridsearch.evaluate.numerics import pick_precision
from hybridsearch.evaluate.own import modules_of, own_code
from hybridsearch.evaluate.packing import MOST
from hybridsearch.evaluate.probe import Probed, probe
from hybridsearch.evaluate.stacks import jobs_of, stacks
from hybridsearch.evaluate.worker import Job, child_path, measure, name_of_test, run
from hybridsearch.genome.function import resolve
from hybridsearch.kernels.build import processor_name
from hybridsearch.kernels.choose import Workload, choose, why_no_compiler
from hybridsearch.pools.base import InlinePool, Pool
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.line import Ranked, urgency
from hybridsearch.pools.make import make_pool
from hybridsearch.pools.parcel import Code, gather_code
from hybridsearch.pools.wire import TOKEN, Good, Kit, pack
from hybridsearch.threads import usable_cores
from hybridsearch.types import TIME, Evaluation, Json, Measure, Scale, Status, Task

VERSION = 4  # raised by every change after which the same task gives another number
OWN_VERSION = 3  # the same for tasks with a network, loss or metric of the user's, or numbers
LIMIT_FACTOR = 20  # a training may take this many times its calibrated duration ...
LIMIT_FLOOR = 30.0  # ... and at least this many seconds


class Evaluator(Protocol):
    """What a search needs of an evaluator."""

    measure: Measure
    scale: Scale
    test_images: int  # 0 until the test split is opened

    def calibrate(self) -> float: ...

    def task(self, function: str, key: str, steps: int, seed: int) -> Task: ...

    def replicates(
        self, function: str, key: str, steps: int, seeds: Sequence[int]
    ) -> list[Task]: ...

    def test_task(self, trained: Task) -> Task: ...

    def time_task(self, function: str, key: str) -> Task: ...

    def evaluate(self, tasks: Sequence[Task], keep_below: int = 0) -> Iterator[Evaluation]:
        """Yield the evaluation of every task, in the order in which they get done.

        tasks: whoever calls may append some while it runs, which are evaluated too. keep_below:
        leave a checkpoint of every child that is trained for fewer steps, so that it can go on.
        """
        ...

    def forget(self, tasks: Iterable[Task] | None = None) -> None:
        """Delete the checkpoints of the children of these tasks; of all by default."""
        ...

    def note(self) -> str: ...

    def close(self) -> None: ...


def training_config(config: Config, precision: str) -> Config:
    """The config with everything at its default that cannot change a child's number, and the
    number format that "auto" means.
    """
    fixed: dict[str, Json] = {"kernel": "auto", "stack": 1, "precision": precision}
    if not config.training.drops:  # else the learning rate of a step depends on how many there are
        fixed["steps"] = 1
    return Config(
        data=config.data,
        network=config.network,
        training=config.training.model_copy(update=fixed),
        metric=config.metric,
    )


def pick_workers(config: Config, devices: Sequence[str]) -> int:
    """The number of worker processes: as configured, else one per usable core; one per GPU."""
    if devices[0] == "cpu":
        return config.workers or usable_cores()
    return min(config.workers or len(devices), len(devices))


class TrainingEvaluator:
    """Trains child networks in a pool of workers.

    children: folder for the checkpoints of children that may go on. Raises UserError at once, not
    in a worker, when the data, network or device of the config cannot be had.
    """

    def __init__(self, config: Config, children: Path, pool: Pool | None = None) -> None:
        self.devices = pick_devices(config.device)
        self._workers = pick_workers(config, self.devices)
        self.pool = pool or make_pool(config.pool, self._workers)
        if self.pool.elsewhere and self.devices[0] != "cpu":
            self.devices = ("cuda:0",)  # the one that a worker there has for its own
        self.device, self.pack = self.devices[0], config.pack
        data = load_search_data(config.data)
        found = probe(config, data)
        sizes = found.sizes if found else ()
        self.config = training_config(config, pick_precision(config, self.device, sizes))
        self.children = children
        self.objective = make_objective(config, data)
        self.measure, self.scale = self.objective.measure, self.objective.scale(config.fitness)
        self._network, self._others = self._identity(found), found.others if found else ()
        self.data_digest, self.code_digest = data.digest, code_digest(self.config)
        self.context = self._digest(data.digest)
        self._idle = _idle(config, data)
        self._timed = self._timing_digest(data.in_shape, data.outputs)
        self._full_steps = config.training.steps
        # Children share a GPU in packs, so there they are not stacked.
        together = self.device == "cpu" and self.objective.plain and len(data.in_shape) == 3
        self._stack = config.training.stack if together else 1
        self._time_limit = config.time_limit
        self._limit: float | None = None
        self.full_seconds: float | None = None  # of a whole training of ReLU, once calibrated
        self._test = ""
        self.test_images = 0
        self._kind = config.training.kernel
        self._work = Workload(
            sizes,
            config.training.steps,
            self.config.training.precision == "bf16",
        )
        self._kernels: dict[str, str] = {}
        self._pace: dict[str, float] = {}  # seconds per step of late, by key
        self._trade = Trainings(self.config, self.device, self._kind)
        if self.pool.elsewhere:
            self._equip(config, data.digest)

    @property
    def workers(self) -> int:
        """Trainings that run at a time, or groups of them on GPUs."""
        return self.pool.workers if self.pool.elsewhere else self._workers

    @property
    def side_by_side(self) -> int:
        """Trainings that run at a time, at most."""
        packed = 1 if self.device == "cpu" else self.pack or MOST
        return max(1, self.workers * packed)

    def _equip(self, config: Config, data: str) -> None:
        """Tell the workers of a cluster what they must be, and what they are to compute with."""
        trade = self._trade
        names = (config.data.name, config.network.name, config.training.loss, config.metric.name)
        children = self.children.absolute()
        kit = Kit(
            run=checksum(platform.node(), str(children), digits=16),
            token=f"{TOKEN}{secrets.token_hex(8)}",
            trade=pack(trade),
            passport=trade.needs(),
            code=trade.code(),
            source=_code([name for name in names if ":" in name]),
            children=children,
            store=config.cluster.children or "",
            gpu=self.device != "cpu",
        )
        self.pool.equip(kit)
        self._supply(Good(stock.SEARCH, data))

    def _supply(self, good: Good) -> None:
        self.pool.supply(good, self._trade.packer(good))

    def _identity(self, found: Probed | None) -> str:
        """What stands for the network: of one of ours its name, of the user's its code, and what it
        is made of, should the code have come there in a way that cannot be read off it.
        """
        name = check_network(self.config.network)
        own = built_in(self.config.network.name) is None
        return f"{name}+{checksum(*found.parts, digits=16)}" if own and found else name

    def _digest(self, data: str) -> str:
        """Everything but function, steps and seed that changes the number, as 32 hex digits."""
        parts = {
            "version": VERSION,
            "data": data,
            "augment": self.config.data.augment,
            "inputs": self.config.data.inputs,
            "network": self._network,
            "width": self.config.network.width,
            "init": self.config.network.init,
            "fixed": sorted((g, f.key) for g, f in fixed_groups(self.config.network).items()),
            "metric": self.config.metric.model_dump(mode="json"),
            "own": self._own_code(),
            # What a task names itself, or changes no number, is left out. On a GPU recomputation
            # does: a kernel is compiled for the backward pass only.
            "training": self.config.training.model_dump(
                mode="json",
                exclude={"kernel", "stack", *(("recompute",) if self.device == "cpu" else ())},
            ),
            "device": accelerator_for(torch.device(self.device)).identity(),
            "torch": torch.__version__,
        }
        return _hex(parts)

    def _own_code(self) -> dict[str, Json]:
        """What stands for code of the user's; nothing without any and with classes as targets."""
        own = bool(own_code(self.config)) or not self.objective.plain
        version = {"version": OWN_VERSION} if own else {}
        return {**version, **code_of(self.config)}

    @property
    def origin(self) -> str:
        """What stands for the data, the network and the user's code, as 32 hex digits: what of the
        context neither settings nor the machine change.
        """
        own = self._own_code()
        return _hex({"data": self.data_digest, "network": self._network, "own": own})

    def _timing_digest(self, shape: tuple[int, ...], outputs: int) -> str:
        """Everything but function and kernel that changes how long an activation takes: which
        tensor it is given, and who computes. Not the data, nor how a child is trained.
        """
        training = self.config.training
        own = [OWN_VERSION] if "network" in own_code(self.config) else []
        parts = {
            "version": [VERSION, timing.VERSION, *own],
            "network": [self._network, self.config.network.width],
            "images": [training.batch_size, *shape, outputs],
            "precision": training.precision,
            "graph": None if self.device == "cpu" else training.graph,
            "device": accelerator_for(torch.device(self.device)).identity(),
            "processor": processor_name(),
            "torch": torch.__version__,
        }
        return _hex(parts)

    def task(self, function: str, key: str, steps: int, seed: int) -> Task:
        """The task of training a function for `steps` steps and scoring it on validation data."""
        return Task(function, key, steps, seed, self.context, kernel=self._kernel(function, key))

    def time_task(self, function: str, key: str) -> Task:
        """The task of timing a function, as training computes it: `Evaluation.cost`."""
        return Task(function, key, 0, 0, self._timed, TIME, self._kernel(function, key))

    def timed_on(self) -> str:
        """In a few words what functions are timed on, for people."""
        half = "bf16" if self._work.half else "fp32"
        where = "one thread" if self.device == "cpu" else self.device.partition(":")[0]
        return f"a tensor of {max(self._work.sizes, default=0):,} elements, {half}, {where}"

    def replicates(self, function: str, key: str, steps: int, seeds: Sequence[int]) -> list[Task]:
        """The tasks of training a function once per seed, stacked as the config says."""
        rows = stacks(self.config.network.name, seeds, self._stack)
        return [
            replace(self.task(function, key, steps, seed), stack=row)
            for seed, row in zip(seeds, rows, strict=True)
        ]

    def _kernel(self, function: str, key: str) -> str:
        """The kernel of a function, chosen once and for all workers."""
        if key not in self._kernels:
            self._kernels[key] = choose(resolve(function), self._work, self._kind, self.device)
        return self._kernels[key]

    def note(self) -> str:
        """In one line how children are computed, for the display; and which activations of the
        user's network are not the one under test, as one that was forgotten would be.
        """
        half = "bf16" if self._work.half else "fp32"
        why = why_no_compiler() if self.device == "cpu" and self._kind == "auto" else ""
        kernels = f"no native kernels: {why}" if why else f"kernels: {self._kind}"
        line = f"{self.workers} worker(s) on {self.device}, {half}, {kernels}"
        if self._idle:
            line += f"; without effect here: {', '.join(self._idle)}"
        if not self._others:
            return line
        others = ", ".join(f"{count} nn.{kind}" for kind, count in self._others)
        return f"{line}; {self.config.network.name} also has {others}, which no search replaces"

    def test_task(self, trained: Task) -> Task:
        """The same training, scored on the test split; calling this opens the test split."""
        self.open_test()
        return replace(trained, split=self._test)

    def open_test(self) -> None:
        """Load the test split, and let workers have it."""
        if not self._test:
            split = load_test_data(self.config.data)
            self.test_images = len(split.labels)
            self._test = name_of_test(split)
            self._supply(Good(stock.TEST, split.digest))

    def calibrate(self) -> float:
        """Train ReLU for a few steps in a worker; returns the hard limit of one training, seconds.

        Raises: UserError when even that fails, as a user's own network may.
        """
        self.children.mkdir(parents=True, exist_ok=True)
        if self._limit is None:
            longest = LIMIT_FLOOR
            for function, measured in self._measure():
                if isinstance(measured, Failure):
                    name = self.config.network.name
                    raise UserError(
                        f"network {name!r} failed at its first training steps: {measured.message}"
                    )
                if isinstance(measured, UserError):
                    raise measured
                seconds = measured * self._full_steps
                if function == resolve("ReLU").spec:
                    self.full_seconds = seconds
                longest = max(longest, LIMIT_FACTOR * seconds)
            self._limit = self._time_limit or longest
        return self._limit

    def _measure(self) -> Iterator[tuple[str, float | UserError | Failure]]:
        """Seconds per step of ReLU; of Swish too, where what the user's network does with its
        function could be more than a kernel can.
        """
        names = ("ReLU", *(("x*sigmoid(beta*x)",) if "network" in own_code(self.config) else ()))
        functions = {name: resolve(name) for name in names}
        tasks = [self.task(f.spec, f.key, self._full_steps, 0) for f in functions.values()]
        jobs = {t.function: self._job((t,), 0, inf) for t in tasks if t is tasks[0] or t.kernel}
        if self.device == "cpu":
            return self.pool.run(measure, jobs, inf)
        groups = {n: Group((j,), self.devices, self.children, 1) for n, j in jobs.items()}
        return self.pool.run(measure_on, groups, inf)

    def evaluate(self, tasks: Sequence[Task], keep_below: int = 0) -> Iterator[Evaluation]:
        """As `Evaluator.evaluate`. A timeout or an error of the machine is tried again once; then
        it is an ERROR.
        """
        seen = 0
        while seen < len(tasks):
            if self.device == "cpu" and tasks[seen].split != TIME:
                seen = yield from self._stream(tasks, seen, keep_below)
                continue
            # A GPU's children share it in groups, which are made of what is there.
            chunk, seen = tasks[seen:], len(tasks)
            trained = [task for task in chunk if task.split != TIME]
            timed = [task for task in chunk if task.split == TIME]  # they must have it alone
            for some, most in ((trained, self.pack), (timed, 1)):
                yield from self._twice(some, keep_below, most)

    def _stream(
        self, tasks: Sequence[Task], seen: int, keep_below: int
    ) -> Generator[Evaluation, None, int]:
        """The evaluations of tasks from number `seen` on, those that are added meanwhile included,
        up to the first that is to be timed; returns its number.
        """
        limit, jobs = self.calibrate(), Ranked[Job]()
        tried: set[str] = set()

        def take(fresh: Iterable[Task], again: bool = False) -> None:
            for group in jobs_of(fresh).values():
                name = str(len(jobs))
                jobs.ranks[name] = urgency(group[0].steps, self._pace.get(group[0].key, 0.0))
                jobs[name] = self._job(group, keep_below, limit)
                if again:
                    tried.add(name)

        def take_new() -> None:
            nonlocal seen
            fresh = list(takewhile(lambda task: task.split != TIME, islice(tasks, seen, None)))
            seen += len(fresh)
            take(fresh)

        take_new()
        for name, found in self.pool.run(run, jobs, max(job.limit for job in jobs.values())):
            again = []
            for task, result in _results(jobs[name], found):
                self._pace[task.key] = result.seconds / task.steps
                if _fails(result) and not isinstance(found, Failure) and name not in tried:
                    again.append(task)
                else:
                    yield _last(result)
            take(again, again=True)
            take_new()
        return seen

    def _twice(self, tasks: Sequence[Task], keep_below: int, most: int) -> Iterator[Evaluation]:
        """most: children that one GPU may have at a time; 0: as many as it holds."""
        again = []
        for task, result, lost in self._once(tasks, keep_below, most):
            if _fails(result) and not lost:
                again.append(task)
            else:
                yield result
        for _, result, _ in self._once(again, keep_below, most):
            yield _last(result)

    def _once(
        self, tasks: Sequence[Task], keep_below: int, most: int
    ) -> Iterator[tuple[Task, Evaluation, bool]]:
        """Task, result, and whether the pool gave it up, which has then tried twice already."""
        if not tasks:
            return
        limit = self.calibrate()
        jobs = {name: self._job(group, keep_below, limit) for name, group in jobs_of(tasks).items()}
        if self.device == "cpu":
            results = self.pool.run(run, jobs, max(job.limit for job in jobs.values()))
        else:
            results = run_grouped(self.pool, jobs, self.devices, most, limit)
        for name, found in results:
            for task, result in _results(jobs[name], found):
                yield task, result, isinstance(found, Failure)

    def _job(self, group: tuple[Task, ...], keep_below: int, limit: float) -> Job:
        """limit: seconds of one training."""
        keep, together = group[0].steps < keep_below, max(1, len(group[0].stack))
        longest = limit * together
        return Job(
            self.config,
            group,
            self.children,
            keep,
            self.device,
            longest,
            self.context,
            self.data_digest,
            self.code_digest,
        )

    def forget(self, tasks: Iterable[Task] | None = None) -> None:
        if tasks is None:
            paths = set(self.children.glob("*.safetensors"))
        else:
            paths = {child_path(self.children, task) for task in tasks}
        for path in paths:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self.pool.close()


def unmanned(config: Config) -> TrainingEvaluator:
    """An evaluator without workers, for what a config says before anything is trained.

    Raises: UserError when the data, network or device of the config cannot be had.
    """
    return TrainingEvaluator(config, Path("children"), InlinePool())


def _results(job: Job, found: Sequence[Evaluation] | Failure) -> Iterator[tuple[Task, Evaluation]]:
    """The tasks of a job with their results."""
    for place, task in enumerate(job.tasks):
        if isinstance(found, Failure):
            yield task, Evaluation(task.hash, Status.ERROR, message=found.message)
        else:
            yield task, found[place]


def _fails(result: Evaluation) -> bool:
    """Whether it is the machine's fault."""
    return result.status in (Status.TIMEOUT, Status.ERROR)


def _last(result: Evaluation) -> Evaluation:
    """What a result is when it is not tried again."""
    return replace(result, status=Status.ERROR) if _fails(result) else result


def _idle(config: Config, data: SearchData) -> list[str]:
    """Settings that differ from their defaults and do nothing to what is the user's."""
    network, plain = config.network.model_dump(), NetworkConfig().model_dump()
    own, names = built_in(config.network.name) is None, ("init", "width")
    idle = [f"network.{name}" for name in names if own and network[name] != plain[name]]
    pictures = config.data.inputs == "normalised" and len(data.in_shape) == 3
    return [*idle, "data.augment"] if config.data.augment != "none" and not pictures else idle


def _code(names: Sequence[str]) -> Code:
    """The user's modules that workers elsewhere need: what this process has imported, and what it
    may yet import, from below the folder it works in.
    """
    if not names:
        return Code()
    code = gather_code(Path.cwd())
    files = {file.resolve() for name in names for file in modules_of(name).values()}
    below = sorted(file for file in files if file.is_relative_to(code.root))
    more = {file.relative_to(code.root).as_posix(): file.read_bytes() for file in below}
    return replace(code, files={**more, **code.files})


def _hex(parts: dict[str, Json]) -> str:
    """32 hex digits that stand for JSON values."""
    text = json.dumps(parts, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()
