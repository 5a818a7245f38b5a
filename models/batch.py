"""One batch as tensors: what a network reads and what its loss is measured against."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Sequences of one batch, padded on the right to the longest. Padding may hold anything.

    Attributes:
        lengths: (B,) real steps per row, each at least 1; always on the CPU.
        labels: (B, T) for tagging or (B,) for classification; empty where there are none.
        words: (B, T) rows of the word table; empty where the input is numeric.
        forms: (B, T) for each word, its row in `chars`.
        chars: (U, C) rows of the character table, for each distinct word form of the batch, sorted by length.
        char_lengths: (U,) characters per form, each at least 1; always on the CPU.
        values: (B, T, I) numbers per step; empty where the input is text.
    """

    lengths: Tensor
    labels: Tensor
    words: Tensor
    forms: Tensor
    chars: Tensor
    char_lengths: Tensor
    values: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, asynchronously where memory is pinned; lengths stay on the CPU."""
        if device.type == "cpu":
            return self
        moved = {
            name: getattr(self, name).to(device, non_blocking=True) for name in ("labels", "words", "forms", "chars", "values")
        }
        return replace(self, **moved)
