"""Bad input: whatever a file, a flag or an expression holds, it ends in a value or in one line."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from hybridsearch.analysis.runs import load_run
from hybridsearch.config import load_config, make_config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data.cifar import read_records
from hybridsearch.evaluate.data.idx import read_idx
from hybridsearch.genome.function import resolve
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.store.checkpoint import load_checkpoint
from hybridsearch.store.log import RunLog, read_log
from hybridsearch.tables.table import load_table, packaged_tables

SIGNS = "x beta eps max min relu softplus 1 2 0.5 1e9 ( ) | , ; = + - * / ^ ** ² σ u1 u2 ε x1 x2"
WORDS = [*UNARY, *BINARY, *SIGNS.split(), "Swish", "ReLU", " ", "\n", "\0", "é", "((", "1/0", "nan"]
GOOD = [
    "x*sigmoid(beta*x)",
    "max(x, sin(x))",
    "cos(x) - x",
    "u1 = tanh(x)*x; u1*u1 + x",
    "min(x, softplus(x))",
    "gate(id(x),id(x))",
    "|x| - 0.5*x^3",
    "LReLU 0.01",
]


@dataclass(frozen=True)
class Target:
    """Something that reads. share: of the inputs that it gets."""

    name: str
    share: float
    inputs: Callable[[random.Random], bytes]
    read: Callable[[Path, bytes], object]


@dataclass
class Finding:
    """What one target came to. failures: other ends than a value or one line. slowest: seconds."""

    inputs: int
    refused: int
    failures: list[str]
    slowest: float


def targets(folder: Path) -> list[Target]:
    """Everything that reads what others may have written. folder: of a finished run, as a seed."""
    run, log = folder / "run", (folder / "run" / "trials.jsonl").read_bytes()
    config = (run / "config.yaml").read_bytes()
    settings = yaml.safe_dump({"budget": 5, "data": {"name": "digits"}, "space": {"max_units": 2}})
    table = next(iter(sorted(packaged_tables().glob("*.safetensors")))).read_bytes()
    idx = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2, 3, 3) + bytes(range(18))
    cifar = bytes(3 * (3 * 1024 + 1))
    summary = (run / "summary.json").read_bytes()
    checkpoint = (run / "checkpoint.safetensors").read_bytes()
    few = b"".join(log.splitlines(keepends=True)[:8])
    return [
        Target("expressions", 0.80, _expression, _resolve),
        Target("flags", 0.08, _setting, _set),
        Target("config files", 0.02, _mutated(settings.encode()), _file("c.yaml", load_config)),
        Target("logs", 0.03, _mutated(few), _file("l.jsonl", lambda p: list(read_log(p)))),
        Target("logs to go on with", 0.01, _mutated(few), _go_on),
        Target("checkpoints", 0.01, _mutated(checkpoint), _file("c", load_checkpoint)),
        Target("run folders", 0.005, _mutated(summary), _run_with(run, "summary.json")),
        Target("their configs", 0.005, _mutated(config), _run_with(run, "config.yaml")),
        Target("tables", 0.0002, _mutated(table), _file("t.safetensors", load_table)),
        Target("IDX files", 0.02, _mutated(idx), _file("i", lambda p: read_idx(p, 3))),
        Target("IDX, packed", 0.01, _mutated(gzip.compress(idx)), _packed),
        Target("CIFAR files", 0.01, _mutated(cifar), _file("b", lambda p: read_records(p, 1, 10))),
    ]


def fuzz(target: Target, count: int, folder: Path, seed: int) -> Finding:
    """Give a target `count` inputs."""
    draw = random.Random(f"{target.name} {seed}")
    found = Finding(0, 0, [], 0.0)
    for _ in range(count):
        data = target.inputs(draw)
        began = time.perf_counter()
        try:
            target.read(folder, data)
        except UserError as error:
            found.refused += 1
            if "\n" in str(error):
                found.failures.append(f"several lines for {data[:200]!r}: {error}")
        except Exception:
            last = traceback.format_exc().strip().splitlines()[-1]
            found.failures.append(f"{last} for {data[:200]!r}")
        found.inputs += 1
        found.slowest = max(found.slowest, time.perf_counter() - began)
    return found


def bombs(folder: Path) -> Iterator[tuple[str, float, str]]:
    """Inputs that are meant to exhaust: name, seconds, and what was wrong or ""."""
    packed = folder / "bomb.gz"
    with gzip.open(packed, "wb", compresslevel=9) as file:
        for _ in range(2000):
            file.write(bytes(1 << 20))  # 2 GB of zeros in 2 MB
    cases: dict[str, Callable[[], object]] = {
        "10 MB expression": lambda: resolve("x+" * 5_000_000 + "x"),
        "10,000 parentheses": lambda: resolve("(" * 10_000 + "x" + ")" * 10_000),
        "10,000 calls": lambda: resolve("tanh(" * 10_000 + "x" + ")" * 10_000),
        "10,000 nested settings": lambda: _nested(folder, "[" * 10_000),
        "a billion laughs": lambda: _nested(folder, _laughs()),
        "gzip bomb": lambda: read_idx(folder / "bomb", 3),
        "IDX of 4 billion images": lambda: _huge(folder),
    }
    for name, do in cases.items():
        began, wrong = time.perf_counter(), ""
        try:
            do()
            wrong = "it was read"
        except UserError as error:
            wrong = "several lines" if "\n" in str(error) else ""
        except Exception as error:
            wrong = repr(error)[:200]
        yield name, time.perf_counter() - began, wrong
    packed.unlink()


def _expression(draw: random.Random) -> bytes:
    if draw.random() < 0.5:
        return "".join(draw.choice(WORDS) for _ in range(draw.randrange(1, 14))).encode()
    text = list(draw.choice(GOOD))
    for _ in range(draw.randrange(1, 4)):
        place = draw.randrange(len(text) + 1)
        text[place : place + draw.randrange(2)] = draw.choice([draw.choice(WORDS), ""])
    return "".join(text).encode()


def _resolve(folder: Path, data: bytes) -> object:
    return resolve(data.decode())


def _setting(draw: random.Random) -> bytes:
    names = ["budget", "seed", "batch", "strategy", "data", "network", "space", "fidelity", "nope"]
    values = [0, -1, 1e300, "x", None, True, [], {}, [[1]], {"name": "digits"}, "a" * 99, {"": 1}]
    made = {draw.choice(names): draw.choice(values) for _ in range(draw.randrange(1, 4))}
    return json.dumps(made).encode()


def _set(folder: Path, data: bytes) -> object:
    return make_config(json.loads(data))


def _mutated(seed: bytes) -> Callable[[random.Random], bytes]:
    def make(draw: random.Random) -> bytes:
        data = bytearray(seed)
        for _ in range(draw.choice([1, 1, 2, 8])):
            place = draw.randrange(len(data) + 1)
            match draw.randrange(4):
                case 0:
                    data[place : place + 1] = bytes([draw.randrange(256)])
                case 1:
                    del data[place : place + draw.choice([1, 4, len(data)])]
                case 2:
                    data[place:place] = draw.choice([b"\0", b"\xff", b"-1", b"9" * 30, b"\n", b"{"])
                case _:
                    other = draw.randrange(len(data) + 1)
                    data[place:place] = data[other : other + draw.randrange(40)]
        return bytes(data)

    return make


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def do(folder: Path, data: bytes) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return do


def _go_on(folder: Path, data: bytes) -> None:
    path = folder / "g.jsonl"
    path.with_suffix(".head").unlink(missing_ok=True)
    path.write_bytes(data)
    RunLog(path).close()


def _packed(folder: Path, data: bytes) -> object:
    (folder / "p.gz").write_bytes(data)
    return read_idx(folder / "p", 3)


def _run_with(run: Path, name: str) -> Callable[[Path, bytes], object]:
    """Reads a run of which one file is other than it was."""

    def do(folder: Path, data: bytes) -> object:
        copy = folder / f"of {name}"
        if not copy.exists():
            shutil.copytree(run, copy)
        (copy / name).write_bytes(data)
        return load_run(copy).summary

    return do


def _nested(folder: Path, text: str) -> object:
    path = folder / "n.yaml"
    path.write_text(f"data: {text}" if text.startswith("[") else text)
    return load_config(path)


def _laughs() -> str:
    lines = ['a0: &a0 ["lol"]']
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 11)]
    return "\n".join(lines)


def _huge(folder: Path) -> object:
    path = folder / "h"
    path.write_bytes(bytes((0, 0, 8, 3)) + np.array([2**32 - 1] * 3, ">u4").tobytes() + bytes(99))
    return read_idx(path, 3)
