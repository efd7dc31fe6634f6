"""Which devices a run uses, and which of them a worker process has for its own."""

from __future__ import annotations

import fcntl
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from hybridsearch.errors import UserError

PATIENCE = 10.0  # seconds that a new worker waits for the GPU of a dead one to be let go


def pick_devices(name: str) -> tuple[str, ...]:
    """The torch devices of `config.device`: one CPU, or one GPU or more.

    auto and cuda take every visible GPU that is of the first one's model: on another model the
    same training gives other numbers. Raises: UserError where there is no such device.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto" and not there:
        return ("cpu",)
    try:
        device = torch.device("cuda" if name == "auto" else name)
    except RuntimeError as error:
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cpu":
        return ("cpu",)
    if (device.index or 0) >= there:
        raise UserError(f"device: {name!r} is not there ({there} CUDA devices)")
    if ":" in str(device):
        return (str(device),)
    models = [torch.cuda.get_device_name(n) for n in range(there)]
    chosen = tuple(f"cuda:{n}" for n, model in enumerate(models) if model == models[0])
    if len(chosen) < there:
        warnings.warn(
            f"of {there} GPUs {len(chosen)} are used, those of the model {models[0]}", stacklevel=2
        )
    return chosen


class Claim:
    """The GPU that this process has for its own, one process per GPU.

    A claim is a lock on a file, which the system takes back when the process ends, however that
    happens.
    """

    def __init__(self) -> None:
        self._held: dict[Path, tuple[str, int]] = {}  # the device and the lock's descriptor

    def device(self, devices: Sequence[str], folder: Path) -> str:
        """The first of `devices` that no other process of this run (its `folder`) has claimed;
        the same one at every call.
        """
        if len(devices) == 1:
            return devices[0]
        end = time.monotonic() + PATIENCE
        while folder not in self._held:
            for device in devices:
                path = folder / f"{device.replace(':', '-')}.lock"
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(file)
                    continue
                self._held[folder] = device, file
                return device
            if time.monotonic() > end:
                raise RuntimeError(f"all of {', '.join(devices)} are taken by other workers")
            time.sleep(0.05)
        return self._held[folder][0]

    def close(self) -> None:
        """Let go of everything."""
        while self._held:
            os.close(self._held.popitem()[1][1])
