"""What kernels of every kind have in common."""

from __future__ import annotations

from typing import Any, Self

from hybridsearch.genome.function import Function


class FunctionKernel:
    """A kernel of one function. Networks that are copied share it: what it holds are a library and
    memory for its intermediates, nothing that belongs to one network. Where a network is pickled it
    is made again from the function.
    """

    def __init__(self, function: Function) -> None:
        self.function = function

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function,)
