"""One batch as tensors: what a network reads and what its loss is measured against."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from models.dropout import Noise


def _empty() -> Tensor:
    return torch.empty(0, dtype=torch.long)


@dataclass(frozen=True)
class Batch:
    """Sequences of one batch, padded on the right to the longest. Padding may hold anything.

    Attributes:
        lengths: (B,) real steps per row, each at least 1; always on the CPU.
        targets: name -> labels, (B, T) per step or (B,) per sequence; without those that are not known.
        words: (B, T) rows of the word table, or of `word_vectors` where those are given; empty where the input is numeric.
        word_vectors: (R, size) the vectors of distinct words, in place of the word table's own.
        forms: (B, T) for each word, its row in `chars`.
        chars: (U, C) rows of the character table, for each distinct word form of the batch, sorted by length.
        char_lengths: (U,) characters per form, each at least 1; always on the CPU.
        features: further column -> (B, T) rows of its table.
        values: (B, T, I) numbers per step; empty where the input is text.
        keys: (B,) what names each sequence, for its dropout masks.
        form_keys: (U,) what names each word form.
        seed: of the dropout masks; where there is none, torch's generator gives it.
    """

    lengths: Tensor
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    words: Tensor = field(default_factory=_empty)
    word_vectors: Tensor | None = None
    forms: Tensor = field(default_factory=_empty)
    chars: Tensor = field(default_factory=_empty)
    char_lengths: Tensor = field(default_factory=_empty)
    features: Mapping[str, Tensor] = field(default_factory=dict)
    values: Tensor = field(default_factory=_empty)
    keys: Tensor = field(default_factory=_empty)
    form_keys: Tensor = field(default_factory=_empty)
    seed: int | None = None

    def noise(self, keys: Tensor) -> Noise | None:
        """Give the source of masks for rows of these keys; None where torch's generator is to be it."""
        return None if self.seed is None else Noise(self.seed, keys)

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, asynchronously where memory is pinned; lengths stay on the CPU."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {
            item.name: _moved(getattr(self, item.name), device)
            for item in fields(self)
            if item.name not in ("lengths", "char_lengths", "seed", "word_vectors")
        }
        return replace(self, **moved)


def _moved(value: Tensor | Mapping[str, Tensor], device: torch.device) -> Tensor | dict[str, Tensor]:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in value.items()}
