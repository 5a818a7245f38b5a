"""An encoded corpus as numpy arrays, mapped into memory: what encode writes and batches are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.stored import open_array

Rows = NDArray[np.int64]
"""Numbers of sequences in a split, or where each begins."""


class ArrayFile:
    """A .npy file written piece by piece, along its first axis."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._length = 0
        self._kind: tuple[np.dtype[Any], tuple[int, ...]] | None = None

    def append(self, part: NDArray[Any]) -> None:
        """Write a piece; all have the dtype and the further axes of the first."""
        if self._kind is None:
            self._kind = part.dtype, part.shape[1:]
            self._write_header()
        assert self._kind == (part.dtype, part.shape[1:])
        part.tofile(self._file)
        self._length += len(part)

    def close(self) -> None:
        """Say in the header how long the array has become; numpy leaves room for that."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        assert self._kind is not None
        dtype, shape = self._kind
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (self._length, *shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.flush()


@dataclass(frozen=True)
class FormTable:
    """Distinct word forms.

    Attributes:
        word_ids: (F,) rows of the word table.
        char_ids: (N,) rows of the character table, form after form; None where nothing reads them.
        char_offsets: (F + 1,) where each form's characters begin.
        capitalisation: (F,) how each is written; None where nothing reads it.
    """

    word_ids: NDArray[np.int32]
    char_ids: NDArray[np.int32] | None
    char_offsets: NDArray[np.int64]
    capitalisation: NDArray[np.int32] | None

    @classmethod
    def open(cls, folder: Path) -> "FormTable":
        """Map the arrays of a folder into memory."""
        return cls(*(open_array(folder / f"{item.name}.npy") for item in fields(cls)))


@dataclass(frozen=True)
class Examples:
    """The sequences of a split.

    Attributes:
        offsets: (n + 1,) where each sequence begins.
        labels: (all steps,) for tagging, (n,) for classification; None where there are none.
        tokens: (all steps,) indices of word forms; None where the input is numeric.
        values: (all steps, I) numbers; None where the input is text.
        forms: the word forms that tokens mean.
        per_token: further column -> (all steps,) ids of its values.
        per_sequence: further column -> (n,) ids of its values.
    """

    offsets: Rows
    labels: NDArray[np.int32] | None = None
    tokens: NDArray[np.int32] | None = None
    values: NDArray[np.float32] | None = None
    forms: FormTable | None = None
    per_token: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    per_sequence: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    @classmethod
    def open(cls, encoded_dir: Path, split: str) -> "Examples":
        """Map one split of an encoded corpus into memory."""
        folder = encoded_dir / split
        arrays: dict[str, Any] = {
            name: open_array(folder / f"{name}.npy") if (folder / f"{name}.npy").exists() else None
            for name in ("labels", "tokens", "values")
        }
        forms = FormTable.open(encoded_dir / "forms") if arrays["tokens"] is not None else None
        further: dict[str, Any] = {
            kind: {path.stem: open_array(path) for path in sorted((folder / kind).glob("*.npy"))}
            for kind in ("per_token", "per_sequence")
        }
        return cls(offsets=np.array(open_array(folder / "offsets.npy")), forms=forms, **arrays, **further)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Rows:
        """Steps of each sequence, (n,)."""
        return np.diff(self.offsets)

    @cached_property
    def word_counts(self) -> Rows:
        """How often each word of the vocabulary occurs, (V,); words beyond the last known form's may be absent."""
        assert self.tokens is not None and self.forms is not None
        num_words = int(self.forms.word_ids.max()) + 1
        return np.bincount(self.forms.word_ids[self.tokens], minlength=num_words)

    def only(self, *, chars: bool, capitalisation: bool) -> "Examples":
        """Leave out what is not read of word forms; making a batch then costs less."""
        if self.forms is None:
            return self
        forms = replace(
            self.forms,
            char_ids=self.forms.char_ids if chars else None,
            capitalisation=self.forms.capitalisation if capitalisation else None,
        )
        return replace(self, forms=forms)

    def take(self, rows: Rows) -> "Examples":
        """Give some of the sequences, in this order."""
        lengths = self.lengths[rows]
        steps = np.concatenate([np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows])
        parts: dict[str, Any] = {"labels": self.labels[steps if self.is_tagging else rows] if self.labels is not None else None}
        parts |= {name: array[steps] for name in ("tokens", "values") if (array := getattr(self, name)) is not None}
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            per_token={name: ids[steps] for name, ids in self.per_token.items()},
            per_sequence={name: ids[rows] for name, ids in self.per_sequence.items()},
            **parts,
        )

    @property
    def is_tagging(self) -> bool:
        """Whether there is a label per step, not per sequence."""
        return self.labels is not None and len(self.labels) == self.offsets[-1]
