"""An encoded corpus as numpy arrays, mapped into memory: what encode writes and batches are made of."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Numbers of sequences in a split, or where each begins."""


@dataclass(frozen=True)
class FormTable:
    """Distinct word forms: their word ids (F,), characters (N,) and where those begin (F + 1,)."""

    word_ids: NDArray[np.int32]
    char_ids: NDArray[np.int32]
    char_offsets: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> "FormTable":
        """Map the arrays of a folder into memory."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("word_ids", "char_ids", "char_offsets")))


@dataclass(frozen=True)
class Examples:
    """The sequences of a split.

    Attributes:
        offsets: (n + 1,) where each sequence begins.
        labels: (all steps,) for tagging, (n,) for classification; None where there are none.
        tokens: (all steps,) indices of word forms; None where the input is numeric.
        values: (all steps, I) numbers; None where the input is text.
        forms: the word forms that tokens mean.
    """

    offsets: Rows
    labels: NDArray[np.int32] | None = None
    tokens: NDArray[np.int32] | None = None
    values: NDArray[np.float32] | None = None
    forms: FormTable | None = None

    @classmethod
    def open(cls, encoded_dir: Path, split: str) -> "Examples":
        """Map one split of an encoded corpus into memory."""
        folder = encoded_dir / split
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") if (folder / f"{name}.npy").exists() else None
            for name in ("labels", "tokens", "values")
        }
        forms = FormTable.open(encoded_dir / "forms") if arrays["tokens"] is not None else None
        return cls(offsets=np.load(folder / "offsets.npy"), forms=forms, **arrays)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Rows:
        """Steps of each sequence, (n,)."""
        return np.diff(self.offsets)

    @property
    def is_tagging(self) -> bool:
        """Whether there is a label per step, not per sequence."""
        return self.labels is not None and len(self.labels) == self.offsets[-1]
