"""Whether a model's probabilities mean what they say, and what silence where it is unsure would gain. Plain numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 10
THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)

Shares = NDArray[np.float64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Bin:
    """The answers whose probability lies from `low` up to `high`; their mean probability and the share that is right."""

    low: float
    high: float
    count: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Threshold:
    """What is left of the answers where the model keeps silent below a probability.

    Attributes:
        least: that probability.
        count: answers at least as likely.
        answered: their share of all.
        accuracy: the share of them that is right; None where there are none.
        wrong: how many of them are not.
    """

    least: float
    count: int
    answered: float
    accuracy: float | None
    wrong: int


def reliability(probabilities: Shares, is_right: Marks, num_bins: int = NUM_BINS) -> list[Bin]:
    """Sort answers by their probability into bins of equal width; those without any are left out.

    Args:
        probabilities: (N,) from 0 to 1.
        is_right: (N,).
        num_bins: how many; a bin holds its lower end, the last one its upper end too.
    """
    numbers = np.clip((probabilities * num_bins).astype(np.int64), 0, num_bins - 1)
    found = []
    for number in np.unique(numbers).tolist():
        inside = numbers == number
        ends = number / num_bins, (number + 1) / num_bins
        found.append(Bin(*ends, int(inside.sum()), float(probabilities[inside].mean()), float(is_right[inside].mean())))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Give the expected calibration error: |accuracy - probability|, averaged over answers (Naeini et al. 2015)."""
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.accuracy - each.probability) for each in bins) / max(total, 1)


def silence_below(probabilities: Shares, is_right: Marks, thresholds: Sequence[float] = THRESHOLDS) -> list[Threshold]:
    """Say what keeping silent below each of these probabilities leaves."""
    found = []
    for least in thresholds:
        kept = is_right[probabilities >= least]
        accuracy = float(kept.mean()) if len(kept) else None
        found.append(Threshold(least, len(kept), len(kept) / max(len(is_right), 1), accuracy, int((~kept).sum())))
    return found


def accuracy_by_coverage(probabilities: Shares, is_right: Marks, num_points: int = 200) -> tuple[Shares, Shares]:
    """Answer more and more, the likeliest first.

    Args:
        probabilities: (N,).
        is_right: (N,).
        num_points: at most, spread evenly.

    Returns:
        Shares answered, ascending to 1, and the accuracy of what is answered. Equal probabilities are answered together.
    """
    order = np.argsort(-probabilities, kind="stable")
    likely, right = probabilities[order], is_right[order].cumsum()
    ends = np.flatnonzero(np.append(likely[1:] != likely[:-1], True))
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, num_points).round().astype(np.int64))]
    return (ends + 1) / len(order), right[ends] / (ends + 1)
