"""Batches of an encoded split: bucketed by length, sized in tokens, whatever the number of workers.

An epoch's batches are formed once for the whole job from the seed and the epoch; each worker then takes its rows of
every batch. So the order of examples does not depend on how many workers there are, and all make the same number of steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.batch import Batch
from models.config import IGNORED, MAIN, NUM_RESERVED, UNKNOWN_ID
from pipeline.config import CAPITALISATION
from pipeline.examples import Examples, FormTable, Rows


def plan_batches(lengths: Rows, batch_tokens: int, batch_sequences: int | None = None) -> list[Rows]:
    """Cut sequences into batches of nearly equal length, shortest first, ties in the order given.

    Args:
        lengths: (n,) steps per sequence.
        batch_tokens: steps of a batch at most, padding included; a longer sequence is a batch by itself.
        batch_sequences: sequences of a batch at most.

    Returns:
        The rows of each batch; every sequence in exactly one.
    """
    order = np.argsort(lengths, kind="stable")
    ascending = lengths[order]
    batches, start = [], 0
    while start < len(order):
        low, high = start + 1, min(len(order), start + (batch_sequences or len(order)))
        while low < high:  # the most rows whose longest, times their number, still fits
            middle = (low + high + 1) // 2
            fits = ascending[middle - 1] * (middle - start) <= batch_tokens
            low, high = (middle, high) if fits else (low, middle - 1)
        batches.append(order[start:low])
        start = low
    return batches


def plan_epoch(lengths: Rows, batch_tokens: int, seed: int, epoch: int, batch_sequences: int | None = None) -> list[Rows]:
    """Form an epoch's batches in training order; it follows from the seed and the epoch alone."""
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(lengths))
    batches = [shuffled[rows] for rows in plan_batches(lengths[shuffled], batch_tokens, batch_sequences)]
    return [batches[i] for i in rng.permutation(len(batches))]


def make_batch(
    examples: Examples,
    rows: Rows,
    keep: NDArray[np.bool_] | None = None,
    seed: int | None = None,
    word_ids: Rows | None = None,
) -> Batch:
    """Gather sequences into one padded batch.

    Args:
        examples: where they are.
        rows: which, in order; at least one.
        keep: (B, T) where the word is read; elsewhere it counts as unknown, its characters stay. All, if not given.
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
        words = words if keep is None else np.where(keep, words, UNKNOWN_ID)
        parts["words"] = _long(words if word_ids is None else np.searchsorted(word_ids, words))
        parts["features"][CAPITALISATION] = _long(examples.forms.capitalisation[tokens])
        parts |= _distinct(tokens, examples.forms)
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


def _distinct(tokens: NDArray[np.int32], forms: FormTable) -> dict[str, torch.Tensor]:
    """Give each word's row among the batch's distinct forms, those forms' characters and lengths, short forms first."""
    distinct, places = np.unique(tokens, return_inverse=True)
    starts = forms.char_offsets[distinct]
    lengths = forms.char_offsets[distinct + 1] - starts
    order = np.argsort(lengths, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    lengths, starts = lengths[order], starts[order]
    steps = np.arange(lengths[-1])
    is_real = steps < lengths[:, None]
    chars = np.where(is_real, forms.char_ids[np.where(is_real, starts[:, None] + steps, 0)], 0)
    return {
        "forms": _long(rank[places.reshape(tokens.shape)]),
        "chars": _long(chars),
        "char_lengths": _long(lengths),
        "form_keys": _long(distinct[order]),
    }


def _long(array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))


@dataclass(frozen=True)
class Share:
    """One worker's part of one step.

    Attributes:
        batch: the worker's rows; None where there are more workers than rows.
        num_targets: target -> its labels in the whole step, over all workers.
        word_ids: (R,) ascending rows of the word table that the whole step reads, which the batch's words are numbers of;
            None where there are no words.
    """

    batch: Batch | None
    num_targets: dict[str, int]
    word_ids: torch.Tensor | None


def training_shares(
    examples: Examples,
    plan: list[Rows],
    *,
    first: int,
    rank: int,
    world_size: int,
    word_dropout: float,
    seed: tuple[int, ...],
) -> Iterator[Share]:
    """Yield a worker's share of each step of a plan, from step `first` on.

    Args:
        word_dropout: share of words read as unknown, drawn for the whole step, then split.
        seed: with the step's number, what all drawing follows from, dropout's masks too.
    """
    for step in range(first, len(plan)):
        rows = plan[step]
        longest = examples.lengths[rows].max()
        keep = np.random.default_rng([*seed, step]).random((len(rows), longest)) >= word_dropout if word_dropout else None
        mine, drawn = slice(rank, None, world_size), np.random.SeedSequence([*seed, step]).generate_state(1, np.uint64)
        word_ids, batch = _word_ids(examples, rows), None
        if len(rows[mine]):
            own_keep = None if keep is None else keep[mine, : examples.lengths[rows[mine]].max()]
            batch = make_batch(examples, rows[mine], own_keep, int(drawn[0]), word_ids)
        yield Share(batch, _count_targets(examples, rows), None if word_ids is None else _long(word_ids))


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
