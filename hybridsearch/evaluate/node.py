"""What a worker of a cluster is asked and given so that it computes the driver's numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hybridsearch.config import Config
from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.data import load_search_data, load_test_data, stock
from hybridsearch.evaluate.group import Group
from hybridsearch.evaluate.judge import all_code_of
from hybridsearch.evaluate.worker import Job, child_path
from hybridsearch.kernels.build import processor_identity, processor_name
from hybridsearch.kernels.choose import compiler_identity
from hybridsearch.kernels.compiled import identity as triton
from hybridsearch.pools.passport import Passport
from hybridsearch.pools.wire import Good, Home


@dataclass(frozen=True)
class Trainings:
    """The `Trade` of a run that trains children. config: of `training_config`. kernel: the one that
    the user asks for, or auto.
    """

    config: Config
    device: str
    kernel: str

    def look(self) -> Passport:
        """This process, with its processor's features and its compiler on a CPU, and with its GPU
        where there is one.
        """
        if self.device == "cpu":
            features, compiler = processor_identity(), compiler_identity()
            return Passport.of_this_process(processor_name(), features, compiler, "")
        there = torch.cuda.is_available()
        parts = accelerator_for(torch.device(self.device)).identity() if there else {}
        gpu = ", ".join(f"{name} {value}" for name, value in parts.items() if name != "type")
        return Passport.of_this_process(processor_name(), "", triton("cuda"), gpu)

    def needs(self) -> Passport:
        """What must agree elsewhere: all of this process; but where the user asks for kernels that
        no compiler makes neither the compiler nor the processor, so that old and new ones can work
        together. Their last bits may then differ (torch's loops are chosen by the processor).
        """
        here = self.look()
        return replace(here, features="", compiler="") if self.kernel in ("eager", "tape") else here

    def code(self) -> dict[str, str]:
        """Digests of the user's network, loss and metric, by setting."""
        return all_code_of(self.config)

    def own(self, good: Good) -> str:
        """The digest of the data of that name as this machine loads them."""
        if good.name == stock.SEARCH:
            return load_search_data(self.config.data).digest
        return load_test_data(self.config.data).digest

    def settle(self, home: Home) -> None:
        """Work where the user's code lies, and with the data that were sent."""
        for path in reversed(home.paths):
            if path not in sys.path:
                sys.path.insert(0, path)
        if home.folder and home.folder != _working_folder():
            os.chdir(home.folder)
            sys.path.insert(0, home.folder)
        stock.use(home.goods)

    def children(self, job: Any) -> tuple[str, ...]:
        """The names of the files of a job's children."""
        jobs = job.jobs if isinstance(job, Group) else (job,)
        return tuple(
            child_path(one.children, one.task).name
            for one in jobs
            if isinstance(one, Job) and one.children
        )

    def placed(self, job: Any, folder: Path) -> Any:
        """The job with its children in another folder."""
        if isinstance(job, Group):
            return replace(job, jobs=tuple(replace(one, children=folder) for one in job.jobs))
        return replace(job, children=folder)

    def packer(self, good: Good) -> Callable[[], bytes]:
        """On the driver: what makes the file of a good."""
        config = self.config.data
        if good.name == stock.SEARCH:
            return lambda: stock.pack_search(
                load_search_data(config), config.inputs == "normalised" or ":" not in config.name
            )
        return lambda: stock.pack_test(load_test_data(config))


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""
