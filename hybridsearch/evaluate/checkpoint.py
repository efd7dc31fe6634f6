"""A network in training, with its optimiser, in a file: safetensors and JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridsearch.digests import checksum_of_arrays
from hybridsearch.types import Json


def trained_parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """The parameters that an optimiser trains, in its order."""
    return [p for group in optimizer.param_groups for p in group["params"]]


@dataclass(frozen=True)
class Checkpoint:
    """note: JSON values. tensors: by "network.NAME", "optimizer.NUMBER.NAME" and the names that
    the writer chose.
    """

    note: Json
    tensors: Mapping[str, Tensor]

    def restore(self, network: nn.Module, optimizer: Optimizer) -> None:
        """Put weights, BatchNorm statistics and the optimiser's state into fresh ones."""
        state = {n[8:]: t for n, t in self.tensors.items() if n.startswith("network.")}
        network.load_state_dict({**network.state_dict(), **state})
        parameters = trained_parameters(optimizer)
        for name, tensor in self.tensors.items():
            if not name.startswith("optimizer."):
                continue
            number, about = name.removeprefix("optimizer.").split(".", 1)
            parameter = parameters[int(number)]
            # In the memory order of the parameter; a count of steps has a shape of its own.
            like = parameter if tensor.shape == parameter.shape else tensor.to(parameter.device)
            optimizer.state[parameter][about] = torch.empty_like(like).copy_(tensor).detach()


def write_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: Optimizer,
    note: Json,
    more: Mapping[str, Tensor],
) -> None:
    """Write weights, BatchNorm statistics, the optimiser's state, a note and more tensors, at once.

    A disk that does not take it, or a state that is no tensor, costs the time of training the child
    again, so that is no error.
    """
    state = network.state_dict()
    if not all(isinstance(value, Tensor) for value in state.values()):
        return
    tensors = {f"network.{name}": t for name, t in state.items() if t.numel()}
    for number, parameter in enumerate(trained_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{name}"] = value
    tensors |= more
    partial = path.with_suffix(".partial")
    text = json.dumps(note)
    try:
        tensors = _apart(tensors)
        save_file(tensors, partial, metadata={"child": text, "check": _check(tensors, text)})
        partial.replace(path)
    except Exception:
        partial.unlink(missing_ok=True)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU that share no memory, as the format asks: tied weights under the first of
    their names. `restore` fills what is left out: it is the same memory, or has several elements in
    one place, so that no training can have written to it.
    """
    found, whole, taken = {}, set(), set()
    for name, tensor in tensors.items():
        about = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if about in whole or any(s == 0 and n > 1 for n, s in zip(*about[2:], strict=True)):
            continue
        whole.add(about)
        made = tensor.detach().cpu().contiguous()
        memory = made.untyped_storage().data_ptr()
        found[name] = made.clone() if memory in taken else made  # of views that overlap
        taken.add(memory)
    return found


def read_checkpoint(path: Path) -> Checkpoint | None:
    """What `write_checkpoint` wrote; None where the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _check(tensors, found["child"]) != found["check"]:
            return None
        return Checkpoint(json.loads(found["child"]), tensors)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _check(tensors: Mapping[str, Tensor], note: str) -> str:
    """A damaged child would go on training, to a wrong score."""
    # As bytes, since numpy has no bf16.
    arrays = {name: t.reshape(-1).view(torch.uint8).numpy() for name, t in tensors.items()}
    return checksum_of_arrays(arrays, note)
