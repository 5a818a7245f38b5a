"""Who else trains, and adding up what each has: through shared memory where all workers are on one machine.

Between processes of one machine torch's gloo sends each gradient through sockets, which costs several times the copy, and
wakes who waits a third of a millisecond late. Here each worker lays its numbers into a place of its own, sees by a number
beside it when the others have, and adds all places up, in the same order.
"""

import math
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

import torch
from torch import Tensor, distributed

_SHARED_DIR = Path("/dev/shm")


@dataclass(frozen=True)
class World:
    """This worker's number and how many there are. Alone where torch.distributed was not started."""

    rank: int = 0
    size: int = 1

    @property
    def num_neighbours(self) -> int:
        """Workers on this machine, this one among them; Ray Train says so, and without it all are here."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

    @classmethod
    def current(cls) -> "World":
        """Ask torch.distributed."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over all workers, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def share(self, text: str | None, device: torch.device) -> str:
        """Give all workers what some of them have to say, one after another."""
        letters = torch.zeros(self.size, _LONGEST_TEXT, dtype=torch.int64, device=device)
        said = (text or "").encode()[:_LONGEST_TEXT]
        letters[self.rank, : len(said)] = torch.tensor(list(said), dtype=torch.int64)
        texts = (bytes(row[row > 0].tolist()).decode(errors="replace") for row in self.sum(letters).cpu())
        return "; ".join(filter(None, texts))


def sum_in_pairs(parts: Iterable[Tensor]) -> Tensor:
    """Add tensors up two by two, neighbours first, then pairs of pairs, and so on; there is at least one.

    Rounding depends on the order of adding. In this one a sum of many is to the bit the sum of the sums of equal runs of
    them, where a run is of 1, 2, 4, 8, ... tensors: it does not matter who added those up.
    """
    sums: list[tuple[int, Tensor]] = []  # how many tensors are in each sum, fewer and fewer
    for part in parts:
        size, total = 1, part
        while sums and sums[-1][0] == size:
            total, size = sums.pop()[1] + total, 2 * size
        sums.append((size, total))
    total = sums.pop()[1]
    while sums:
        total = sums.pop()[1] + total
    return total


class Adder:
    """Adds up tensors over all workers again and again, in pairs; every worker calls it with as many numbers.

    Args:
        world: who takes part.
        hang_seconds: longest wait for the others.
    """

    def __init__(self, world: World, hang_seconds: float = math.inf) -> None:
        self._world, self._hang_seconds = world, hang_seconds
        self._room: _Room | None = None
        self._is_shared = world.size > 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a flat tensor up over all workers, in place."""
        if tensor.is_cuda or not self._is_shared:
            return self._world.sum(tensor)
        if self._room is None or tensor.numel() > self._room.size:
            self._room = _open_room(self._world, 2 * tensor.numel(), tensor.dtype)
            self._is_shared = self._room is not None
            return self.sum(tensor)
        places = self._room.lay(tensor, self._hang_seconds)
        half = 1 << (self._world.size - 1).bit_length() - 1  # so many that the two halves are the last pair
        return torch.add(sum_in_pairs(places[:half]), sum_in_pairs(places[half:]), out=tensor)


class _Room:
    """Memory that all workers have before them: a place for the numbers of each, twice, used in turns, and how far each is.

    Args:
        world: who shares it.
        path: a file of `num_bytes`, all zero.
        size: numbers of a place.
    """

    def __init__(self, world: World, path: Path, size: int, dtype: torch.dtype) -> None:
        self._world, self.size = world, size
        memory = torch.from_file(str(path), shared=True, size=self.num_bytes(world, size, dtype), dtype=torch.uint8)
        turns, places = memory.split([_LINE * world.size, len(memory) - _LINE * world.size])
        self._turns = turns.view(torch.int64).numpy()[:: _LINE // 8]
        self._places = places.view(dtype).view(2, world.size, size)
        self._turn = 0

    @staticmethod
    def num_bytes(world: World, size: int, dtype: torch.dtype) -> int:
        return world.size * (_LINE + 2 * size * dtype.itemsize)

    def lay(self, tensor: Tensor, hang_seconds: float) -> Tensor:
        """Lay a flat tensor into this worker's place and give those of all, (workers, numbers), as soon as all lie there.

        They stay for this turn and the next one: who lays two turns later has seen that all others had read them.

        Raises:
            TimeoutError: a worker did not come for so long.
        """
        self._turn += 1
        places = self._places[self._turn % 2, :, : len(tensor)]
        places[self._world.rank] = tensor
        if not _KEEPS_ORDER:
            self._world.sum(torch.zeros(1))
            return places
        self._turns[self._world.rank] = self._turn
        num_looks, begun = 0, 0.0
        while self._turns.min() < self._turn:
            num_looks += 1
            if num_looks > _EAGER_LOOKS:
                begun = begun or time.monotonic()
                if time.monotonic() - begun > hang_seconds:
                    missing = ", ".join(str(rank) for rank in (self._turns < self._turn).nonzero()[0])
                    raise TimeoutError(f"worker {missing} did not answer worker {self._world.rank} for {hang_seconds:g} s")
                time.sleep(_NAP)
        return places


_LONGEST_TEXT = 2000
_LINE = 64
"""Bytes between the numbers that different workers write, lest they wait for each other's cache line."""
_KEEPS_ORDER = platform.machine().lower() in ("x86_64", "amd64")
"""Whether other cores see this one's writes in the order in which they were made, so that a number can say that all is there."""
_EAGER_LOOKS, _NAP = 500, 5e-5
"""A worker looks about a millisecond without a pause, then between naps, of 100 microseconds in practice."""


def _open_room(world: World, size: int, dtype: torch.dtype) -> _Room | None:
    """Make room that all workers share; None in all of them where one can not, as on another machine.

    The file loses its name as soon as all have opened it, so nothing is left whatever happens.
    """
    name = torch.randint(2**62, (1,), generator=_fresh_generator())
    distributed.broadcast(name, src=0)
    path = (_SHARED_DIR if _SHARED_DIR.is_dir() else Path(gettempdir())) / f"unroll-{int(name):x}"
    num_bytes = _Room.num_bytes(world, size, dtype)
    if world.rank == 0:
        _reserve(path, num_bytes)
    world.sum(torch.zeros(1))
    has_it = path.is_file() and path.stat().st_size == num_bytes
    room = _Room(world, path, size, dtype) if has_it else None
    num_with_it = int(world.sum(torch.tensor([float(has_it)])))
    if world.rank == 0:
        path.unlink(missing_ok=True)
    return room if num_with_it == world.size else None


def _fresh_generator() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


def _reserve(path: Path, num_bytes: int) -> None:
    """Make a file whose bytes are really there: writing to memory that is not ends a process without a word."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, num_bytes)
    except OSError:
        path.unlink()
    finally:
        os.close(descriptor)
