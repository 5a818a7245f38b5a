"""How much memory a step takes, and whether it is there: asked before the system would end a process without a word."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

STEP_MARGIN = 1.5
"""What a step takes at its highest, over what it keeps for its backward pass: gradients and what kernels use for themselves."""
_CGROUP = Path("/sys/fs/cgroup")


class MemoryModel:
    """Measures what the first step keeps for its backward pass; others need as much for each padded word.

    Args:
        num_neighbours: workers on this machine, who all read as much at the same time.
    """

    def __init__(self, num_neighbours: int = 1) -> None:
        self.bytes_per_word = 0.0
        self._num_neighbours = num_neighbours
        self._most_words = 0

    @contextmanager
    def measuring(self, num_words: int) -> Iterator[None]:
        """Watch the forward pass of a batch of so many padded words, if none was watched yet."""
        if self.bytes_per_word:
            yield
            return
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage: Any = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            yield
        self.bytes_per_word = sum(kept.values()) / num_words

    def num_parts(self, num_words: int, num_parts: int) -> int:
        """Say in how many parts to read a batch of so many padded words: as asked, or more where memory would not do.

        Memory is asked for when a batch is larger than all before.
        """
        if not self.bytes_per_word or num_words / num_parts <= self._most_words:
            return num_parts
        free = free_bytes() / self._num_neighbours
        while num_words / num_parts * self.bytes_per_word * STEP_MARGIN > free and num_parts < num_words:
            num_parts *= 2
        self._most_words = max(self._most_words, num_words // num_parts)
        return num_parts


def free_bytes() -> int:
    """Give the memory that this process could still take, of the machine's or of its control group's."""
    free = int(psutil.virtual_memory().available)
    try:
        most, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
    except OSError:
        return free
    return free if most == "max" else min(free, int(most) - int(used))


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out: torch raises one kind of error for it on a GPU and another on a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)
