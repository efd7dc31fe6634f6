"""Drivers that are killed anywhere, and what the run is after the last resume."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from soaking.drivers import (
    CAMPAIGNS,
    WRITE,
    Killer,
    Scene,
    end,
    fingerprint,
    kill_after,
    logged,
    start,
    trained,
)

BOUNDARY = ("rl", "evolution", "hybrid")  # the campaigns that are killed at every touch of the disk
CHAIN = 10  # kills of one run, the resumes among them


@dataclass
class Story:
    """One run that was killed. lost: records that were whole and are not in the final log.
    repeated: trainings made again though the log had them. why: "" where all is as it should be.
    """

    name: str
    kills: int = 0
    identical: bool = False
    lost: int = 0
    repeated: int = 0
    why: str = ""


@dataclass(frozen=True)
class Whole:
    """An undisturbed run. touches: of the disk, in order. seconds: that it took."""

    print_: dict[str, Any]
    touches: list[str]
    seconds: float


def undisturbed(campaign: str, folder: Path, checkpoints: float) -> Whole:
    scene = _scene(campaign, folder / "whole", checkpoints)
    began = time.monotonic()
    status = end(start(scene))
    if status:
        raise RuntimeError(f"{campaign}: {scene.error}")
    seconds = time.monotonic() - began
    return Whole(fingerprint(scene), scene.touches.read_text().split(), seconds)


def at_boundaries(
    folder: Path, share: float, seed: int, lane: int, lanes: int, skip: Collection[str]
) -> Iterator[Story]:
    """Every campaign of BOUNDARY once per touch of the disk and moment, or a share of them; of
    these every `lanes`-th. skip: names of stories that are told already.
    """
    draw = random.Random(seed)
    for campaign in BOUNDARY:
        whole = undisturbed(campaign, folder, 0.0)
        wanted = [
            Killer(number, moment)
            for number, what in enumerate(whole.touches, 1)
            for moment in ("before", "half", "after")
            if (moment != "half" or what == WRITE) and draw.random() < share
        ]
        for killer in wanted[lane::lanes]:
            name = f"{campaign} {killer.number} {killer.moment}"
            if name not in skip:
                scene = _scene(campaign, folder / "killed", 0.0)
                yield _told(scene, whole, [killer], name)


def at_random(folder: Path, count: int, seed: int) -> Iterator[Story]:
    """`count` kills in all, over all campaigns, in chains of 1, 2 and CHAIN of one run."""
    draw = random.Random(seed)
    whole = cache(lambda campaign, every: undisturbed(campaign, folder, every))
    made = 0
    while made < count:
        campaign, every = draw.choice(list(CAMPAIGNS)), draw.choice((0.0, 1e9))
        length = draw.choice([1, 1, 2, CHAIN])
        scene = _scene(campaign, folder / "killed", every)
        longest = whole(campaign, every).seconds
        delays = [draw.uniform(0, longest / (1 + 0.5 * (length > 2))) for _ in range(length)]
        story = _told(scene, whole(campaign, every), delays, f"{campaign} {every:g} chain {length}")
        made += story.kills
        yield story


def _scene(campaign: str, folder: Path, checkpoints: float) -> Scene:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Scene(campaign, folder, checkpoints)


def _told(scene: Scene, whole: Whole, kills: list[Killer] | list[float], name: str) -> Story:
    """Kill a run so often, let it end, and compare it with the undisturbed one."""
    story = Story(name)
    before: dict[str, list[str]] = {}
    for kill in [*kills, None]:
        known, made = set(_tasks(before)), len(trained(scene))
        killer = kill if isinstance(kill, Killer) else None
        process = start(scene, killer)
        status = kill_after(process, kill) if isinstance(kill, float) else end(process)
        story.kills += status == -9
        now = logged(scene)
        story.lost += sum(now[name][: len(old)] != old for name, old in before.items())
        story.repeated += sum(task in known for task in trained(scene)[made:])
        before = now
        if status not in (0, -9):
            story.why = f"status {status}: {scene.error}"
            return story
    found = fingerprint(scene)
    different = [key for key in whole.print_ if found.get(key) != whole.print_[key]]
    story.identical = not different and found.keys() == whole.print_.keys()
    if not story.identical:
        story.why = f"different: {', '.join(different)}"
    return story


def _tasks(logs: Mapping[str, list[str]]) -> Iterator[str]:
    """The tasks whose evaluations the logs have."""
    for text in chain.from_iterable(logs.values()):
        payload = json.loads(text)
        if payload["kind"] == "evaluation" and payload["status"] in ("ok", "diverged"):
            yield payload["task"]
