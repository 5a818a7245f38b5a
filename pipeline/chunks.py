"""A long file in pieces that fit in memory, cut at blank lines, and what must be remembered from piece to piece."""

import codecs
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.config import CorpusConfig

CHUNK_BYTES = 16 << 20
"""Of a piece, at least: large enough that polars' threads have work, small enough that allocated memory is used again."""
_NUM_THREADS = 3
_PIECE = 1 << 18
T = TypeVar("T")


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a file.

    Attributes:
        number: of the first line, from 1.
        data: UTF-8, unless the file lies about it; ends after a blank line or with the file.
    """

    number: int
    data: bytes

    @property
    def is_text(self) -> bool:
        """Whether it is UTF-8 without a NUL."""
        try:
            return b"\0" not in self.data and (self.data.isascii() or pl.Series([self.data]).cast(pl.String).len() == 1)
        except pl.exceptions.PolarsError:
            return False

    def lines(self) -> pl.LazyFrame:
        """Scan the physical lines: `number` in the file, `line`."""
        return pl.scan_lines(self.data, row_index_name="number", row_index_offset=self.number)


def chunks(path: Path, corpus: CorpusConfig) -> Iterator[Chunk]:
    """Cut a file at blank lines, without its byte order mark."""
    number, size = 1, path.stat().st_size
    with path.open("rb") as file:
        start = len(codecs.BOM_UTF8) if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
        while start < size:
            end = min(_end_of_block(file, start + CHUNK_BYTES), size)
            file.seek(start)
            data = file.read(end - start)
            yield Chunk(number, data if corpus.encoding == "utf8" else data.decode("latin-1").encode())
            number, start = number + count_bytes(data, b"\n"), end


def _end_of_block(file: BinaryIO, place: int) -> int:
    """Find the end of the first blank line that begins after a place, or of the file."""
    file.seek(place)
    file.readline()
    for line in file:
        if line in (b"\n", b"\r\n"):
            break
    return file.tell()


def count_bytes(data: bytes, byte: bytes) -> int:
    """Count a byte, several times faster than `bytes.count` where it is frequent."""
    pieces = (np.frombuffer(data, np.uint8, min(_PIECE, len(data) - first), first) for first in range(0, len(data), _PIECE))
    return sum(int(np.count_nonzero(piece == ord(byte))) for piece in pieces)


def each_ahead(function: Callable[[Chunk], T], pieces: Iterable[Chunk]) -> Iterator[T]:
    """Apply a function in threads, to as many chunks at once, and give what it gives in order."""
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        begun: deque[Future[T]] = deque()
        for piece in pieces:
            begun.append(pool.submit(function, piece))
            if len(begun) > _NUM_THREADS:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


class Seen:
    """Texts that came before, by their hashes of 8 bytes, in sorted runs that are merged as they grow."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add hashes and tell which of them came before, here or in an earlier call."""
        is_again = np.ones(len(hashes), np.bool_)
        distinct, first, place = np.unique(hashes, return_index=True, return_inverse=True)
        is_again[first] = False
        is_known = np.zeros(len(distinct), np.bool_)
        for run in self._runs:
            is_known |= run[np.minimum(run.searchsorted(distinct), len(run) - 1)] == distinct
        self._keep(distinct[~is_known])
        return is_again | is_known[place]

    def _keep(self, run: NDArray[np.uint64]) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)
