"""A model's answers beside what is right, one after the other: what tables and pictures of them count. Plain data alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Judged:
    """Labels of a split: one per word, or one per sequence.

    Attributes:
        gold: (N,) what is right.
        predicted: (N,) what the model says.
        probabilities: (N,) how likely it holds that to be.
        examples: (N,) the number of the sequence that each belongs to, ascending.
        places: (N,) the word's place in it; 0 where a sequence has one label.
    """

    gold: list[str]
    predicted: list[str]
    probabilities: NDArray[np.float64]
    examples: NDArray[np.int64]
    places: NDArray[np.int64]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(N,) where the model says what is right."""
        return np.array([gold == predicted for gold, predicted in zip(self.gold, self.predicted, strict=True)], np.bool_)


def judge(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], probabilities: Sequence[Sequence[float]]) -> Judged:
    """Put labels that are given per sequence one after the other; all three are of one shape."""
    lengths = np.array([len(labels) for labels in gold], np.int64)
    assert lengths.tolist() == [len(labels) for labels in predicted] == [len(likely) for likely in probabilities]
    starts = lengths.cumsum() - lengths
    return Judged(
        gold=[label for labels in gold for label in labels],
        predicted=[label for labels in predicted for label in labels],
        probabilities=np.array([value for likely in probabilities for value in likely], np.float64),
        examples=np.arange(len(gold)).repeat(lengths),
        places=np.arange(lengths.sum()) - starts.repeat(lengths),
    )
