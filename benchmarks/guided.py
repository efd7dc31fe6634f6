"""Bad input that coverage guides: what the parsers have not seen yet is what is tried next.

    python benchmarks/guided.py [--targets "NAME; ..."] [--runs N] [--out FOLDER] [--json FILE]
                                [--quick]

Needs atheris (extra `fuzz`), which is libFuzzer for Python: it mutates inputs, and keeps those that
reach new branches of this package. Anything but a value or one line ends a target and is kept as a
file in --out, with the inputs that taught it something, from which the same command goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reporting import add_arguments, print_table, run_folder, write_json

from hybridsearch.errors import UserError

# Name in fuzz.targets -> bytes that an input has at most.
TARGETS = {
    "expressions": 120,
    "config files": 300,
    "logs": 4000,
    "checkpoints": 4000,
    "IDX files": 200,
    "IDX, packed": 200,
}
BEGIN = 50  # inputs of `fuzz` that a target begins with


def child(name: str, seed_run: Path, arguments: list[str]) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["hybridsearch"]):
        from soaking import fuzz

    target = next(t for t in fuzz.targets(seed_run) if t.name == name)
    folder = Path(tempfile.mkdtemp(prefix="hybridsearch-guided-"))

    corpus, draw = Path(arguments[-1]), random.Random(0)
    for number in range(BEGIN):
        (corpus / f"begin-{number}").write_bytes(target.inputs(draw)[: TARGETS[name]])
    mendable = (UserError, UnicodeDecodeError) if name == "expressions" else (UserError,)

    def once(data: bytes) -> None:
        with contextlib.suppress(*mendable):
            target.read(folder, data)

    atheris.Setup(["guided", *arguments], once)
    atheris.Fuzz()


def fuzzed(name: str, runs: int, folder: Path, seed_run: Path) -> tuple[int, str]:
    """Inputs tried of a target, and what it came to: "" or the last line of a traceback."""
    corpus = folder / name.replace(" ", "-").replace(",", "")
    corpus.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--child", name, str(seed_run), f"-runs={runs}"]
    command += [
        f"-max_len={TARGETS[name]}",
        f"-artifact_prefix={corpus}-",
        "-timeout=20",
        str(corpus),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tried = [int(n) for n in re.findall(r"^#(\d+)", done.stderr, re.MULTILINE)]
    wrong = ""
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if line]
        errors = [line for line in lines if re.match(r"[A-Za-z.]*(Error|Exception|ERROR)", line)]
        wrong = (errors or lines or ["it ended"])[-1]
    return max(tried, default=0), wrong


def seed_run(folder: Path) -> Path:
    """A finished run, whose files the inputs begin as."""
    from soaking.drivers import Scene

    from hybridsearch import session

    scene = Scene("rl", folder / "first")
    if not (scene.run / "summary.json").exists():
        shutil.rmtree(scene.folder, ignore_errors=True)
        session.search(scene.config, scene.run)
    return scene.folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument(
        "--targets", default="; ".join(TARGETS), help="with semicolons between them"
    )
    parser.add_argument("--runs", type=int, default=200_000, help="inputs of each")
    parser.add_argument("--out", type=Path, help="folder of the inputs that are kept")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs = 2_000
    rows, found = [], {}
    with run_folder(parser, options.out) as folder:
        if importlib.util.find_spec("atheris") is None:
            raise UserError("this needs atheris: pip install -e '.[fuzz]'")
        first = seed_run(folder)
        for name in filter(None, map(str.strip, options.targets.split(";"))):
            if name not in TARGETS:
                raise UserError(f"--targets: expected some of {'; '.join(TARGETS)}; got {name!r}")
            tried, wrong = fuzzed(name, options.runs, folder, first)
            found[name] = {"inputs": tried, "wrong": wrong}
            rows.append([name, f"{tried:,}", wrong or "a value or one line, always"])
    print_table("Bad input, guided by coverage", ["what", "inputs", "came to"], rows)
    write_json(options.json, found)
    return 1 if any(one["wrong"] for one in found.values()) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    raise SystemExit(main())
