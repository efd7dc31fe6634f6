"""Many drivers on one cache, some of which are killed and start again."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from soaking.drivers import Scene, end, kill_after, logged, start, trained

DRIVERS = 8


@dataclass
class Crowd:
    """What came of one crowd. trainings: finished ones of all drivers; duplicates: those of them
    that had been finished before. expired: claims taken over from dead drivers. wrong: in words.
    """

    drivers: int
    trainings: int
    duplicates: int
    expired: int
    kills: int
    seconds: float
    wrong: str


def crowd(folder: Path, seed: int, kills: int) -> Crowd:
    """Eight drivers that search the same little space from the same seed, so that they want the
    same trainings; `kills` of them are killed on their way, and all are resumed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cache = folder / "cache.sqlite"
    scenes = []
    for number in range(DRIVERS):
        (folder / str(number)).mkdir()
        scenes.append(Scene("exhaustive", folder / str(number), 0.0, seed, cache))
    draw = random.Random(seed)
    began = time.monotonic()
    running = {start(scene): scene for scene in scenes}
    killed, wrong = 0, []
    for process in draw.sample(list(running), kills):
        status = kill_after(process, draw.uniform(0.1, 1.5))
        killed += status == -9
        scene = running.pop(process)
        if status == -9:
            running[start(scene)] = scene
    for process, scene in running.items():
        if status := end(process):
            wrong.append(f"driver {scene.folder.name}: {_last(scene.error)} (status {status})")
    logs = [logged(scene) for scene in scenes]
    if any(log != logs[0] for log in logs):
        wrong.append("the records differ")
    counts = Counter(task for scene in scenes for task in trained(scene))
    expired = sum(
        int(line)
        for scene in scenes
        if scene.claims.exists()
        for line in scene.claims.read_text().split()
    )
    total = sum(counts.values())
    seconds = time.monotonic() - began
    return Crowd(DRIVERS, total, total - len(counts), expired, killed, seconds, "; ".join(wrong))


def _last(text: str) -> str:
    return text.strip().splitlines()[-1] if text else "no word"
