"""Vectors per step: word embeddings, a character network over distinct word forms, further columns, numeric vectors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.batch import Batch
from models.cells import scan_together
from models.config import PAD_ID, ModelConfig, Sizes
from models.dropout import Dropout, Noise
from models.lengths import Packing, reverse_real_part, step_mask
from models.rnn import GRU, LSTM, Recurrent


def _embedding(num_rows: int, size: int) -> nn.Embedding:
    table = nn.Embedding(num_rows, size, padding_idx=PAD_ID)
    nn.init.uniform_(table.weight[1:], -((3 / size) ** 0.5), (3 / size) ** 0.5)
    return table


class CharacterTable(nn.Module):
    """Character embeddings with dropout; the vector of padding is zero and stays so."""

    def __init__(self, num_chars: int, size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = _embedding(num_chars, size)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, noise: Noise | None) -> Tensor:
        """Give (U, C, size)."""
        return self.dropout(self.embedding(ids), noise)

    def packed(self, ids: Tensor, packing: Packing, noise: Noise | None) -> Tensor:
        """Give (N, size) of (N,) packed characters; what drops out is as in `forward`."""
        vectors = self.embedding(ids)
        if not self.training or not self.dropout.rate:
            return vectors
        if noise is None:
            noise = Noise.fresh(len(packing.last), ids.device)
        mask = Noise(noise.seed, noise.keys[packing.rows]).mask_at(self.dropout.rate, packing.steps, vectors.shape[1])
        return vectors * mask.to(vectors.dtype)


class RecurrentCharacters(nn.Module):
    """A bidirectional layer over the characters of a word (Ling et al. 2015): both final states, side by side.

    Args:
        table: embeddings of the characters.
        ahead: reads from the first character on.
        back: reads from the last one back.
    """

    def __init__(self, table: CharacterTable, ahead: Recurrent, back: Recurrent) -> None:
        super().__init__()
        self.output_size = ahead.output_size + back.output_size
        self.table, self.ahead, self.back = table, ahead, back

    def forward(self, chars: Tensor, lengths: Tensor, noise: Noise | None = None) -> Tensor:
        """Encode U word forms.

        Args:
            chars: (U, C) character ids, rows ascending by length.
            lengths: (U,) on the CPU, each at least 1.
            noise: where dropout masks come from.

        Returns:
            (U, output_size).
        """
        return self._padded(chars, lengths, noise) if chars.is_cuda else self._packed(chars, lengths, noise)

    def _packed(self, chars: Tensor, lengths: Tensor, noise: Noise | None) -> Tensor:
        """Run both directions at once, without padding."""
        packing = Packing.of(lengths)
        vectors = self.table.packed(chars[packing.rows, packing.steps], packing, noise)
        both = torch.stack([vectors, vectors.index_select(0, packing.mirrored)])
        outputs, *_ = scan_together([self.ahead.cell, self.back.cell], both, None, packing.counts)
        return outputs.index_select(1, packing.last).transpose(0, 1).flatten(1)

    def _padded(self, chars: Tensor, lengths: Tensor, noise: Noise | None) -> Tensor:
        """Run each direction by its kernel: a step of its own costs a GPU more than padding does."""
        vectors = self.table(chars, noise)
        _, (ahead, *_) = self.ahead(vectors, lengths)
        _, (back, *_) = self.back(reverse_real_part(vectors, lengths), lengths)
        return torch.cat([ahead, back], dim=1)


class ConvolutionalCharacters(nn.Module):
    """Filters over neighbouring characters, the largest answer of each in a word (Ma and Hovy 2016).

    Args:
        table: embeddings of the characters.
        char_size: numbers per character.
        filters: outputs.
        width: characters that a filter reads at once.
    """

    def __init__(self, table: CharacterTable, char_size: int, filters: int, width: int) -> None:
        super().__init__()
        self.output_size = filters
        self.table = table
        self.filters = nn.Conv1d(char_size, filters, width, padding=width // 2)

    def forward(self, chars: Tensor, lengths: Tensor, noise: Noise | None = None) -> Tensor:
        """Encode U word forms; see `RecurrentCharacters.forward`. Beyond its ends a word is zero, with and without padding."""
        vectors = self.table(chars, noise)
        is_real = step_mask(lengths, chars.shape[1], chars.device)
        vectors = vectors.masked_fill(~is_real.unsqueeze(2), 0)
        answers = self.filters(vectors.transpose(1, 2))[:, :, : chars.shape[1]]
        return answers.masked_fill(~is_real.unsqueeze(1), -torch.inf).amax(dim=2)


CharacterEncoder = RecurrentCharacters | ConvolutionalCharacters


def _lstm_characters(table: CharacterTable, config: ModelConfig, size: int, hidden: int) -> CharacterEncoder:
    return RecurrentCharacters(table, LSTM(size, hidden), LSTM(size, hidden))


def _gru_characters(table: CharacterTable, config: ModelConfig, size: int, hidden: int) -> CharacterEncoder:
    return RecurrentCharacters(table, GRU(size, hidden), GRU(size, hidden))


def _cnn_characters(table: CharacterTable, config: ModelConfig, size: int, hidden: int) -> CharacterEncoder:
    return ConvolutionalCharacters(table, size, hidden, config.char_width or 3)


CHARACTERS: dict[str, Callable[[CharacterTable, ModelConfig, int, int], CharacterEncoder]] = {
    "lstm": _lstm_characters,
    "gru": _gru_characters,
    "cnn": _cnn_characters,
}


def build_characters(config: ModelConfig, num_chars: int) -> CharacterEncoder | None:
    """Build the character network of a text network; None where it has none."""
    hidden = 25 if config.char_hidden is None else config.char_hidden
    if not hidden:
        return None
    size = config.char_size or 25
    table = CharacterTable(num_chars, size, config.input_dropout)
    return CHARACTERS[config.char_encoder or "lstm"](table, config, size, hidden)


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
    """A batch's vectors per step, (B, T, output_size): word, characters and further columns side by side, or numbers.

    Numbers per step go through a linear layer, which stands where the embedding stands for words.

    Args:
        vectors: (num_words, word_size) values to start the word table from; drawn at random where not given.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.words: WordTable | None = None
        self.chars: CharacterEncoder | None = None
        self.values: nn.Linear | None = None
        self.features = nn.ModuleList()
        self.feature_names = tuple(config.features)
        if sizes.vector_size:
            self.values = nn.Linear(sizes.vector_size, config.word_size)
            self.output_size = config.word_size
            return
        if config.word_size:
            self.words = WordTable(sizes.num_words, config.word_size, sizes.num_fixed_words)
            if vectors is not None:
                self.words.start_from(vectors)
                self.words.weight.requires_grad_(config.tune_vectors is not False)
        self.chars = build_characters(config, sizes.num_chars)
        for name, size in config.features.items():
            self.features.append(_embedding(sizes.features[name], size))
        char_size = self.chars.output_size if self.chars is not None else 0
        self.output_size = config.word_size + char_size + sum(config.features.values())

    def forward(self, batch: Batch, form_noise: Noise | None = None) -> Tensor:
        """Give the vectors of every step of a batch, (B, T, output_size).

        Args:
            batch: what to read.
            form_noise: where the dropout masks of its word forms come from.
        """
        if self.values is not None:
            return self.values(batch.values)
        parts = []
        if self.words is not None:
            given = batch.word_vectors
            parts.append(self.words(batch.words) if given is None else F.embedding(batch.words, given))
        if self.chars is not None:
            encoded = self.chars(batch.chars, batch.char_lengths, form_noise)
            parts.append(encoded.index_select(0, batch.forms.flatten()).unflatten(0, batch.forms.shape))
        parts += [table(batch.features[name]) for name, table in zip(self.feature_names, self.features, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
