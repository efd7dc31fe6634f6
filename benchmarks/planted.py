"""Are the tests awake? Bugs planted one at a time in a copy of the tree; the tests must notice.

    python benchmarks/planted.py [--only NAME,...] [--out FOLDER] [--json FILE] [--quick]

Every bug is one replaced piece of source. Run are the tests of the rooms that it touches, with -x,
which is a part of the suite: what they notice the suite notices. The test that notices a bug is run
without it too, and has to pass then. With --out results are kept, and the same command goes on
where it stopped. --quick plants the first three.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reporting import add_arguments, listed, print_table, run_folder, write_json
from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 900  # seconds of tests; a bug that hangs them is noticed


@dataclass(frozen=True)
class Bug:
    """old, new: what stands in `file` once, and what stands there instead. tests: where to look."""

    name: str
    file: str
    old: str
    new: str
    tests: str


BUGS = (
    Bug(
        "a sync that is left out",
        "store/log.py",
        "        disk.sync(self._file.fileno())\n        self._anchor.write",
        "        self._anchor.write",
        "store",
    ),
    Bug(
        "a chain of checksums that does not chain",
        "store/log.py",
        "check = checksum(before, told_)",
        "check = checksum(told_)",
        "store",
    ),
    Bug(
        "a torn tail that stays",
        "store/log.py",
        "        disk.cut_torn_tail(path)\n",
        "",
        "store",
    ),
    Bug(
        "an anchor that is not looked at",
        "store/log.py",
        "            self._check_head(entries)\n",
        "",
        "store",
    ),
    Bug(
        "a cache row that nobody checks",
        "store/cache.py",
        "if checksum(name, payload, volatile) != check:",
        "if not check:",
        "store",
    ),
    Bug(
        "a commit that releases everything",
        "store/cache.py",
        "self.claims.release(self._new)",
        "self.claims.release()",
        "test_recorder.py store benchmarks/test_soak.py",
    ),
    Bug(
        "claims of the living that are taken",
        "store/claims.py",
        "< LASTS and _alive(holder)",
        "< LASTS and not _alive(holder)",
        "store test_recorder.py",
    ),
    Bug(
        "a generator that a checkpoint forgets",
        "propose/ppo.py",
        '        self._rng.bit_generator.state = values["rng"]\n',
        "",
        "propose/test_conformance.py",
    ),
    Bug(
        "an entropy weight that a checkpoint forgets",
        "propose/ppo.py",
        '        self._entropy = values["entropy"]\n',
        "",
        "propose/test_conformance.py",
    ),
    Bug(
        "what rounding owes, forgotten",
        "propose/bandit.py",
        '        self._owed = values["owed"]\n',
        "",
        "propose/test_conformance.py",
    ),
    Bug(
        "wrong sign in the policy's loss",
        "propose/ppo.py",
        "torch.autograd.grad(-objective,",
        "torch.autograd.grad(objective,",
        "propose/test_ppo.py",
    ),
    Bug(
        "a clip that does not clip",
        "propose/ppo.py",
        "torch.minimum(ratio * advantage, clipped * advantage)",
        "(ratio * advantage)",
        "propose/test_ppo.py",
    ),
    Bug(
        "a baseline that knows the batch",
        "propose/ppo.py",
        "before = 0.0 if self._baseline is None else self._baseline",
        "before = math.fsum(rewards) / len(rewards)",
        "propose/test_ppo.py",
    ),
    Bug(
        "an exchange that is dropped",
        "propose/hybrid.py",
        "self._population.adopt(drawn)",
        "pass",
        "propose/test_hybrid.py propose/test_screen.py",
    ),
    Bug(
        "examples that are not taught",
        "propose/hybrid.py",
        "        self._controller.imitate(bred[: self._examples])",
        "        pass",
        "propose/test_hybrid.py propose/test_screen.py",
    ),
    Bug(
        "a promotion that is lost",
        "fidelity.py",
        "return max(1, round(keep * children))",
        "return max(1, round(keep * children) - 1)",
        "test_fidelity.py test_engine.py",
    ),
    Bug(
        "the first of a run that are stopped",
        "ladder.py",
        "going = {*list(scores)[:first], *self._best",
        "going = {*self._best",
        "test_engine.py",
    ),
    Bug(
        "a forecast without what a child lacks",
        "forecast.py",
        "lacks = np.minimum((low - centre) / spread + LAGS, 0.0)",
        "lacks = np.zeros_like(low)",
        "test_forecast.py",
    ),
    Bug(
        "a screen that chooses the worst",
        "propose/screen.py",
        "best = np.argsort(-promise[left]",
        "best = np.argsort(promise[left]",
        "propose/test_screen.py",
    ),
    Bug(
        "machine's faults that are known",
        "engine.py",
        "if entry.status is not Status.ERROR:\n                self.known.keep(key, entry)",
        "self.known.keep(key, entry)",
        "test_engine.py test_engine_failures.py",
    ),
    Bug(
        "time that decides again",
        "engine.py",
        'return decided and following.get("asked", self.asked) == self.asked',
        "pass",
        "test_session.py",
    ),
    Bug(
        "a winner that is named on test",
        "retest.py",
        "winner = max(chosen, key=lambda f: means[f.key])",
        "winner = chosen[0]",
        "test_session.py evidence",
    ),
    Bug(
        "a race that keeps the worst",
        "race.py",
        "key=lambda f: -float(np.mean(scores[f.key]))",
        "key=lambda f: float(np.mean(scores[f.key]))",
        "test_race.py",
    ),
    Bug(
        "weight decay on betas",
        "genome/activation.py",
        "if p.dim() <= 1 or id(p) in betas",
        "if p.dim() <= 1",
        "evaluate/test_training.py",
    ),
    Bug(
        "a child whose momentum is forgotten",
        "evaluate/checkpoint.py",
        "optimizer.state[parameter][about] = torch.empty_like(like).copy_(tensor).detach()",
        "pass",
        "evaluate/test_training.py evaluate/test_evaluator.py",
    ),
    Bug(
        "a damaged child that trains on",
        "evaluate/checkpoint.py",
        'if _check(tensors, found["child"]) != found["check"]:',
        'if "check" not in found:',
        "evaluate/test_training.py",
    ),
    Bug(
        "workers that outlive their driver",
        "pools/loky.py",
        "    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()\n",
        "",
        "pools/test_loky.py",
    ),
    Bug(
        "innocents that are blamed",
        "pools/loky.py",
        "yield from self._alone(function, name, waiting.pop(name), limit)",
        'waiting.pop(name); yield name, Failure("killed its worker twice", False)',
        "pools/test_loky.py",
    ),
    Bug(
        "equal functions with two keys",
        "genome/units.py",
        "if BINARY[unit.binary].commutes:",
        "if False:",
        "genome",
    ),
)


def noticed(bug: Bug, folder: Path) -> str:
    """Which test noticed a bug; "" for none.

    Raises: SystemExit when the bug cannot be planted, or the test fails without it too.
    """
    copy = folder / "tree"
    shutil.rmtree(copy, ignore_errors=True)
    left_out = shutil.ignore_patterns(".git", ".venv", "*.pyc", "__pycache__", "runs", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=left_out)
    path = copy / "hybridsearch" / bug.file
    source = path.read_text(encoding="utf-8")
    if source.count(bug.old) != 1:
        raise SystemExit(f"{bug.name}: {bug.file} has its text {source.count(bug.old)} times")
    path.write_text(source.replace(bug.old, bug.new), encoding="utf-8")
    found = _failing(copy, [f"tests/{name}" for name in bug.tests.split()])
    path.write_text(source, encoding="utf-8")
    if found.startswith("tests/") and (again := _failing(copy, [found.split("[")[0]])):
        raise SystemExit(f"{bug.name}: {again} fails without it too")
    return found


def _failing(tree: Path, tests: Sequence[str]) -> str:
    """The first of the tests that fails, or how else they end; "" where all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the tests do not end"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode and not failed:
        return (done.stdout + done.stderr).strip().splitlines()[-1]
    return failed[0].split(" - ")[0].partition(" ")[2] if failed else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--only", default="", help="names of bugs, with commas between them")
    parser.add_argument("--out", type=Path, help="folder in which results are kept")
    options = parser.parse_args(arguments)
    wanted = listed(options.only)
    bugs = [bug for bug in BUGS if not wanted or bug.name in wanted][: 3 if options.quick else None]
    with run_folder(parser, options.out) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "planted.json"
        found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        for bug in track(bugs, "Planting bugs", console=Console(stderr=True)):
            if not found.get(bug.name):
                found[bug.name] = noticed(bug, folder)
                path.write_text(json.dumps(found, indent=2))
    rows = [[bug.name, bug.file, found[bug.name] or "NOT NOTICED"] for bug in bugs]
    seen = sum(bool(found[bug.name]) for bug in bugs)
    print_table(f"{seen} of {len(bugs)} planted bugs noticed", ["bug", "file", "by"], rows)
    write_json(
        options.json,
        {
            "planted_bugs": len(bugs),
            "planted_bugs_noticed": seen,
            "by": {bug.name: found[bug.name] for bug in bugs},
        },
    )
    return 0 if seen == len(bugs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
