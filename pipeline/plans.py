"""Which sequences make a batch: bucketed by length, sized in tokens, whatever the number of workers.

An epoch's batches are formed once for the whole job, from the seed and the epoch.
"""

import numpy as np

from pipeline.examples import Rows


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
