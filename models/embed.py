"""Vectors per step: word embeddings, a character BiLSTM over distinct word forms, numeric vectors."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.batch import Batch
from models.cells import CELLS
from models.config import PAD_ID, ModelConfig, Sizes
from models.rnn import Recurrent, last_outputs, reverse_real_part

_WASTE = 0.15
"""Share of padding that a group of word forms may hold before a new group is begun."""


def length_groups(lengths: Tensor, waste: float = _WASTE) -> Iterator[slice]:
    """Cut rows sorted by length into groups of nearly equal length, so that dense kernels do little work on padding.

    Args:
        lengths: (U,), ascending.
        waste: the largest share of padding in a group.
    """
    start, total = 0, 0
    for end, length in enumerate(lengths.tolist()):
        if total + length < (1 - waste) * length * (end + 1 - start):
            yield slice(start, end)
            start, total = end, 0
        total += length
    yield slice(start, len(lengths))


class CharacterEncoder(nn.Module):
    """A BiLSTM over the characters of a word (Ling et al. 2015): both final states, side by side.

    Args:
        num_chars: rows of the character table.
        char_size: numbers per character.
        hidden: units per direction.
    """

    def __init__(self, num_chars: int, char_size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.output_size = 2 * hidden
        self.embedding = nn.Embedding(num_chars, char_size, padding_idx=PAD_ID)
        nn.init.uniform_(self.embedding.weight[1:], -((3 / char_size) ** 0.5), (3 / char_size) ** 0.5)
        self.dropout = nn.Dropout(dropout)
        self.ahead = Recurrent(CELLS["lstm"](char_size, hidden))
        self.back = Recurrent(CELLS["lstm"](char_size, hidden))

    def forward(self, chars: Tensor, lengths: Tensor) -> Tensor:
        """Encode U word forms.

        Args:
            chars: (U, C) character ids, rows ascending by length.
            lengths: (U,) on the CPU, each at least 1.

        Returns:
            (U, 2 * hidden).
        """
        groups = []
        for rows in length_groups(lengths):
            part = lengths[rows]
            ids = chars[rows, : int(part[-1])]
            ends = [
                last_outputs(layer.cell.fused(inputs, layer.cell.zero_state(inputs)), part)
                for layer, inputs in (
                    (self.ahead, self.dropout(self.embedding(ids))),
                    (self.back, self.dropout(self.embedding(reverse_real_part(ids, part)))),
                )
            ]
            groups.append(torch.cat(ends, dim=1))
        return torch.cat(groups)


class WordTable(nn.Module):
    """Word embeddings. The last rows may be fixed: apart from what is trained, they cost no step anything.

    Args:
        num_words: V, all rows; the first is padding, whose vector is zero and stays so.
        size: numbers per word.
        num_fixed: rows that no training changes.
    """

    fixed: Tensor

    def __init__(self, num_words: int, size: int, num_fixed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_words - num_fixed, size))
        self.register_buffer("fixed", torch.empty(num_fixed, size))
        for rows in (self.weight, self.fixed):
            nn.init.uniform_(rows, -((3 / size) ** 0.5), (3 / size) ** 0.5)
        nn.init.zeros_(self.weight[PAD_ID])

    @torch.no_grad()
    def start_from(self, vectors: Tensor) -> None:
        """Take the values of (V, size) pre-trained vectors."""
        self.weight.copy_(vectors[: len(self.weight)])
        self.fixed.copy_(vectors[len(self.weight) :])

    def forward(self, ids: Tensor) -> Tensor:
        """Give the vectors of (...) row numbers, (..., size)."""
        num_trained = len(self.weight)
        if not len(self.fixed):
            return F.embedding(ids, self.weight, padding_idx=PAD_ID)
        trained = F.embedding(ids.clamp(max=num_trained - 1), self.weight, padding_idx=PAD_ID)
        fixed = F.embedding((ids - num_trained).clamp(min=0), self.fixed)
        return torch.where((ids < num_trained).unsqueeze(-1), trained, fixed)


class InputEncoder(nn.Module):
    """A batch's vectors per step, (B, T, output_size): word beside characters, or numbers through a linear layer.

    Args:
        vectors: (num_words, word_size) values to start the word table from; drawn at random where not given.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.words: WordTable | None = None
        self.chars: CharacterEncoder | None = None
        self.values: nn.Linear | None = None
        self.output_size = 0
        if sizes.vector_size:
            self.values = nn.Linear(sizes.vector_size, config.word_size)
            self.output_size = config.word_size
            return
        if config.word_size:
            self.words = WordTable(sizes.num_words, config.word_size, sizes.num_fixed_words)
            self.output_size += config.word_size
            if vectors is not None:
                self.words.start_from(vectors)
                self.words.weight.requires_grad_(config.tune_vectors)
        if config.char_hidden:
            self.chars = CharacterEncoder(sizes.num_chars, config.char_size, config.char_hidden, config.dropout)
            self.output_size += self.chars.output_size

    def forward(self, batch: Batch) -> Tensor:
        """Give the vectors of every step of a batch, (B, T, output_size)."""
        if self.values is not None:
            return self.values(batch.values)
        parts = []
        if self.words is not None:
            parts.append(self.words(batch.words))
        if self.chars is not None:
            encoded = self.chars(batch.chars, batch.char_lengths)
            parts.append(encoded.index_select(0, batch.forms.flatten()).unflatten(0, batch.forms.shape))
        return torch.cat(parts, dim=2)
