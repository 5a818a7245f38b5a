"""How much better one model is than another on the same examples, and how sure that is: knows labels, no files and no tensors.

Other examples would have been drawn: a bootstrap draws examples anew, the same ones for both models, so that what is hard for
both counts for neither (Koehn 2004). `pipeline.noise` compares networks by several
trainings of each; here are two models as they are.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scores import count_entities

Sequences = list[list[str]]
_AT_ONCE = 250
"""Draws in memory at a time."""


@dataclass(frozen=True)
class Counted:
    """What a model made of each example. Its score is the mean over parts of the share found, parts that do not occur left out.

    Attributes:
        got: (N, P) of N examples and P parts: labels found; for an F1, twice those found.
        possible: (N, P) labels; for an F1, those there are and those that were said.
    """

    got: NDArray[np.float64]
    possible: NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """By how much a model scores more than another, with the ends of an interval over other examples."""

    points: float
    low: float
    high: float


def count(metric: str, gold: Sequences, answers: Sequences) -> Counted:
    """Count, for each example, what adds up to a score.

    Args:
        metric: `accuracy`, `macro_f1` (a part per label) or `entity_f1`.
        gold: per example, its labels.
        answers: in the shape of `gold`.
    """
    return _COUNTS[metric](gold, answers)


def score(counted: Counted) -> float:
    """Give the score of all examples together."""
    return float(_scores(np.ones((1, len(counted.got))), counted)[0])


def compare(ours: Counted, theirs: Counted, share: float = 0.95, seed: int = 1, num_draws: int = 2000) -> Gain:
    """Compare two models that were asked the same examples.

    Args:
        ours: what the one made of them.
        theirs: what the other did.
        share: of draws that lie within the interval.
        seed: of what is drawn.
        num_draws: how often.
    """
    random, num_examples = np.random.default_rng(seed), len(ours.got)
    even, drawn = np.full(num_examples, 1 / num_examples), []
    for begin in range(0, num_draws, _AT_ONCE):
        weights = random.multinomial(num_examples, even, size=min(_AT_ONCE, num_draws - begin)).astype(np.float64)
        drawn.append(_scores(weights, ours) - _scores(weights, theirs))
    low, high = np.quantile(np.concatenate(drawn), [(1 - share) / 2, (1 + share) / 2])
    return Gain(score(ours) - score(theirs), float(low), float(high))


def _scores(weights: NDArray[np.float64], counted: Counted) -> NDArray[np.float64]:
    """Give (draws,) scores of (draws, N) weights of examples."""
    got, possible = weights @ counted.got, weights @ counted.possible
    occurs = possible > 0
    return (got / np.maximum(possible, 1)).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def _count_right(gold: Sequences, answers: Sequences) -> Counted:
    rows = [(sum(map(str.__eq__, *pair)), len(pair[0])) for pair in zip(gold, answers, strict=True)]
    table = np.array(rows, np.float64)
    return Counted(table[:, :1], table[:, 1:])


def _count_labels(gold: Sequences, answers: Sequences) -> Counted:
    labels = sorted({label for rows in (gold, answers) for row in rows for label in row})
    place = {label: i for i, label in enumerate(labels)}
    got, possible = np.zeros((2, len(gold), len(labels)))
    for i, (sought, said) in enumerate(zip(gold, answers, strict=True)):
        for label, times in Counter([*sought, *said]).items():
            possible[i, place[label]] = times
        for label, times in Counter(a for a, b in zip(sought, said, strict=True) if a == b).items():
            got[i, place[label]] = 2 * times
    return Counted(got, possible)


def _count_entities(gold: Sequences, answers: Sequences) -> Counted:
    counts = [count_entities(sought, said) for sought, said in zip(gold, answers, strict=True)]
    table = np.array([(2 * right, found + sought) for right, found, sought in counts], np.float64)
    return Counted(table[:, :1], table[:, 1:])


_COUNTS = {"accuracy": _count_right, "macro_f1": _count_labels, "entity_f1": _count_entities}
