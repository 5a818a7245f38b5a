"""Texts of a column -> numbers in order of appearance, in one reading of them; what they stand for is settled afterwards."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

_PIECE = 1 << 20


class Numbering:
    """Numbers the texts of a column over all splits, and counts them by split."""

    def __init__(self) -> None:
        self._kind = pl.Categorical(pl.Categories.random())
        # polars forgets categories that no series has.
        self._kept = pl.Series(dtype=self._kind)
        self._counts: dict[str, NDArray[np.int64]] = {}

    def column(self, name: str, *, is_list: bool) -> pl.Expr:
        """Make the expression whose values `add` takes."""
        return pl.col(name).cast(pl.List(self._kind) if is_list else self._kind)

    def add(self, values: pl.Series, split: str) -> NDArray[np.int32]:
        """Count values, one after the other where they stand in lists; gives their numbers, from 1, 0 for null."""
        flat = values.explode() if values.dtype == pl.List else values
        numbers = (flat.to_physical().cast(pl.Int32) + 1).fill_null(0).to_numpy()
        self._counts[split] = _sum(self._counts.get(split), np.bincount(numbers)[1:])
        return numbers

    def entries(self) -> pl.Series:
        """Give the distinct texts in order of their numbers."""
        size = max((len(counts) for counts in self._counts.values()), default=0)
        return pl.Series("entry", np.arange(size, dtype=np.uint32)).cat.to(self._kind).cast(pl.String)

    def counts(self, split: str) -> pl.DataFrame:
        """Give the distinct texts of a split, `entry`, and how often each comes, `len`."""
        counts = self._counts[split]
        return pl.DataFrame([self.entries().head(len(counts)), pl.Series("len", counts)]).filter(pl.col("len") > 0)


def _sum(old: NDArray[np.int64] | None, new: NDArray[np.int64]) -> NDArray[np.int64]:
    if old is None:
        return new
    total = np.zeros(max(len(old), len(new)), np.int64)
    total[: len(old)] += old
    total[: len(new)] += new
    return total


def renumber(path: Path, ids: NDArray[np.int32], missing: int) -> None:
    """Put ids in place of the numbers in a .npy file.

    Args:
        path: of the file, one-dimensional.
        ids: of the numbers from 1.
        missing: of 0.
    """
    table = np.concatenate([np.array([missing], np.int32), ids])
    numbers = open_memmap(path, mode="r+")
    for first in range(0, len(numbers), _PIECE):
        piece = numbers[first : first + _PIECE]
        np.take(table, piece, out=piece, mode="clip")
