"""Batches of an encoded split as tensors, and each worker's share of them; `pipeline.plans` says which sequences make a batch.

Each worker takes its rows of every batch of a plan. So the order of examples does not depend on how many workers there are, and
all make the same number of steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.batch import Batch
from models.config import IGNORED, MAIN, NUM_RESERVED, UNKNOWN_ID
from pipeline.config import CAPITALISATION
from pipeline.examples import Examples, Rows
from pipeline.plans import plan_batches


def make_batch(
    examples: Examples,
    rows: Rows,
    dropout: "WordDropout | None" = None,
    seed: int | None = None,
    word_ids: Rows | None = None,
) -> Batch:
    """Gather sequences into one padded batch.

    Args:
        examples: where they are.
        rows: which, in order; at least one.
        dropout: which words are read as unknown ones, their characters as they are; none, if not given.
        seed: of the dropout masks, in training.
        word_ids: (R,) ascending rows of the word table; if given, the batch's words are numbers of these.
    """
    lengths = examples.lengths[rows]
    steps = np.arange(lengths.max())
    is_real = steps < lengths[:, None]
    at = np.where(is_real, examples.offsets[rows][:, None] + steps, 0)
    parts: dict[str, Any] = {"features": {name: _long(ids[at]) for name, ids in examples.per_token.items()}}
    if examples.tokens is not None and examples.forms is not None:
        tokens = np.where(is_real, examples.tokens[at], examples.tokens[at[0, 0]])
        words = examples.forms.word_ids[tokens]
        words = words if dropout is None else dropout.apply(words)
        parts["words"] = _long(words if word_ids is None else np.searchsorted(word_ids, words))
        if examples.forms.capitalisation is not None:
            parts["features"][CAPITALISATION] = _long(examples.forms.capitalisation[tokens])
        if examples.forms.char_ids is not None:
            parts |= _distinct(tokens, examples.forms.char_ids, examples.forms.char_offsets)
    if examples.values is not None:
        values = np.where(is_real[:, :, None], examples.values[at], 0)
        parts["values"] = torch.from_numpy(values.astype(np.float32))
    return Batch(_long(lengths), _targets(examples, rows, at), keys=_long(rows), seed=seed, **parts)


def _targets(examples: Examples, rows: Rows, at: Rows) -> dict[str, torch.Tensor]:
    """Give the labels of every target; those of a further column count from after its reserved ids."""
    targets = {}
    if examples.labels is not None:
        targets[MAIN] = _long(examples.labels[at] if examples.is_tagging else examples.labels[rows])
    further = {name: ids[at] for name, ids in examples.per_token.items()}
    further |= {name: ids[rows] for name, ids in examples.per_sequence.items()}
    for name, ids in further.items():
        targets[name] = _long(np.where(ids < NUM_RESERVED, IGNORED, ids - NUM_RESERVED))
    return targets


def _distinct(tokens: NDArray[np.int32], char_ids: NDArray[np.int32], char_offsets: Rows) -> dict[str, torch.Tensor]:
    """Give each word's row among the batch's distinct forms, those forms' characters and lengths, short forms first."""
    distinct, places = np.unique(tokens, return_inverse=True)
    starts = char_offsets[distinct]
    lengths = char_offsets[distinct + 1] - starts
    order = np.argsort(lengths, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    lengths, starts = lengths[order], starts[order]
    steps = np.arange(lengths[-1])
    is_real = steps < lengths[:, None]
    chars = np.where(is_real, char_ids[np.where(is_real, starts[:, None] + steps, 0)], 0)
    return {
        "forms": _long(rank[places.reshape(tokens.shape)]),
        "chars": _long(chars),
        "char_lengths": _long(lengths),
        "form_keys": _long(distinct[order]),
    }


def _long(array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))


@dataclass(frozen=True)
class WordDropout:
    """Reads a word as unknown, the rarer the likelier (Kiperwasser and Goldberg 2016).

    Attributes:
        rates: (V,) how likely each word is to be read as unknown.
        drawn: (B, T) numbers from 0 to 1, one for each step of a batch.
    """

    rates: NDArray[np.float64]
    drawn: NDArray[np.float64]

    @staticmethod
    def rates_of(examples: Examples, strength: float) -> NDArray[np.float64]:
        """Give strength / (strength + n) for each word, n the times that it occurs in the examples."""
        return strength / (strength + np.maximum(examples.word_counts, 1))

    def of(self, rows: NDArray[np.int64]) -> "WordDropout":
        """Give that of some of the sequences, by their places in the batch."""
        return WordDropout(self.rates, self.drawn[rows])

    def apply(self, words: NDArray[np.int32]) -> NDArray[np.int32]:
        """Put the unknown word in place of those that drop out; T of the words may be less than what was drawn for."""
        return np.where(self.drawn[:, : words.shape[1]] < self.rates[words], UNKNOWN_ID, words)


@dataclass(frozen=True)
class Share:
    """One worker's part of one step.

    Attributes:
        examples, rows: the sequences that this worker reads; none where there are more workers than sequences.
        num_parts: batches that they are read in, one after another, if memory holds those.
        num_targets: target -> its labels in the whole step, over all workers.
        word_ids: (R,) ascending rows of the word table that the whole step reads, which a batch's words are numbers of;
            None where there are no words.
        dropout: which of this worker's words are read as unknown ones.
        seed: of the step's dropout masks.
    """

    examples: Examples
    rows: Rows
    num_parts: int
    num_targets: dict[str, int]
    word_ids: Rows | None
    dropout: WordDropout | None
    seed: int

    @property
    def num_words(self) -> int:
        """Steps of this worker's sequences, padding included."""
        return len(self.rows) * int(self.examples.lengths[self.rows].max()) if len(self.rows) else 0

    def batches(self, num_parts: int) -> Iterator[Batch]:
        """Make the worker's sequences a batch, or several that are read one after another; together they give the same."""
        for part in np.array_split(np.arange(len(self.rows)), min(num_parts, len(self.rows)) or 1):
            if len(part):
                dropout = self.dropout and self.dropout.of(part)
                yield make_batch(self.examples, self.rows[part], dropout, self.seed, self.word_ids)


def share_places(num_sequences: int, rank: int, world_size: int, num_parts: int) -> NDArray[np.int64]:
    """Say which sequences of a step a worker reads, by their places in it.

    The step is cut into `num_parts` parts, or a few more so that each worker has as many of them; it has the ones next to
    each other, and gives their sequences one part after another.
    """
    each = ceil(num_parts / world_size)
    own = range(rank * each, (rank + 1) * each)
    return np.concatenate([np.arange(part, num_sequences, world_size * each) for part in own])


def training_shares(
    examples: Examples,
    plan: list[Rows],
    *,
    first: int,
    rank: int,
    world_size: int,
    num_parts: int = 1,
    word_dropout: float,
    seed: tuple[int, ...],
) -> Iterator[Share]:
    """Yield a worker's share of each step of a plan, from step `first` on.

    Args:
        num_parts: of a step, over all workers; see `share_places`.
        word_dropout: how strong `WordDropout` is; drawn for the whole step, then split.
        seed: with the step's number, what all drawing follows from, dropout's masks too.
    """
    rates = WordDropout.rates_of(examples, word_dropout) if word_dropout and examples.forms is not None else None
    for step in range(first, len(plan)):
        rows = plan[step]
        mine = share_places(len(rows), rank, world_size, num_parts)
        dropout = None
        if rates is not None and len(mine):
            shape = len(rows), examples.lengths[rows].max()
            dropout = WordDropout(rates, np.random.default_rng([*seed, step]).random(shape)).of(mine)
        drawn = np.random.SeedSequence([*seed, step]).generate_state(1, np.uint64)
        yield Share(
            examples,
            rows[mine],
            ceil(num_parts / world_size),
            _count_targets(examples, rows),
            _word_ids(examples, rows),
            dropout,
            int(drawn[0]),
        )


def _count_targets(examples: Examples, rows: Rows) -> dict[str, int]:
    num_steps = int(examples.lengths[rows].sum())
    counts = {MAIN: num_steps if examples.is_tagging else len(rows)}
    return counts | dict.fromkeys(examples.per_token, num_steps) | dict.fromkeys(examples.per_sequence, len(rows))


def _word_ids(examples: Examples, rows: Rows) -> Rows | None:
    if examples.tokens is None or examples.forms is None:
        return None
    tokens = np.concatenate([examples.tokens[examples.offsets[row] : examples.offsets[row + 1]] for row in rows])
    return np.union1d(examples.forms.word_ids[tokens], [UNKNOWN_ID]).astype(np.int64)


def evaluation_batches(examples: Examples, batch_tokens: int, rank: int = 0, world_size: int = 1) -> Iterator[tuple[Rows, Batch]]:
    """Yield each sequence once over all workers, in batches of nearly equal length, with the rows they came from."""
    for rows in plan_batches(examples.lengths, batch_tokens)[rank::world_size]:
        yield rows, make_batch(examples, rows)
