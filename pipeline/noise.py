"""Which of several networks are better than others, and which only had luck: knows numbers, no files and no tensors.

A score is the mean of trainings that differ by their seed alone, asked of the same examples. Luck has two parts. Other examples
would have been drawn: a bootstrap of the examples, the same ones for all networks, so that what is hard for all counts for none
(Koehn 2004). Other seeds would have been taken: with three seeds a network, a bootstrap of them would see too little noise, so
their spread, pooled over all networks, enters as in Tukey's range test. As all pairs are compared, a pair counts only where it is
further apart than the furthest of all pairs would be by luck (Westfall and Young 1993).

What the scores of a network's seeds differ by is in part what they happen to find in single examples, which the bootstrap has
already: the spread of the seeds is counted without that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""How often luck alone may make any network of a comparison seem better than another."""

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """What a network made of each example; its score is the sum of `got` over the sum of `possible`.

    Attributes:
        got: (S, N) of S seeds and N examples: labels found; for F1, twice the entities found.
        possible: (S, N) labels; for F1, entities found or not and entities made up.
    """

    got: Counts
    possible: Counts

    @property
    def scores(self) -> Counts:
        """(S,) of each seed."""
        return self.got.sum(axis=1) / np.maximum(self.possible.sum(axis=1), 1)


@dataclass(frozen=True)
class Comparison:
    """Networks beside each other.

    Attributes:
        scores: (C,) each network's mean over its seeds.
        low: (C,) lower end of a 95 % interval of it, over other examples and seeds.
        high: (C,) upper end.
        p_values: (C, C) how often luck alone would set some pair as far apart, as its own noise goes.
    """

    scores: Counts
    low: Counts
    high: Counts
    p_values: Counts

    @property
    def best(self) -> int:
        """The network with the best score."""
        return int(self.scores.argmax())


def compare(tallies: list[Tally], seed: int, num_draws: int = 4000) -> Comparison:
    """Compare networks that were asked the same examples.

    Args:
        tallies: of each network; one at least must have two seeds.
        seed: of what is drawn.
        num_draws: how often.
    """
    random = np.random.default_rng(seed)
    scores = np.array([tally.scores.mean() for tally in tallies])
    by_seed = _other_examples(tallies, num_draws, random)
    drift = np.stack([found.mean(axis=1) for found in by_seed], axis=1) - scores + _other_seeds(tallies, by_seed, random)
    apart = np.abs(scores[:, None] - scores)
    drawn = np.abs(drift[:, :, None] - drift[:, None, :])  # (draws, C, C)
    scale = np.maximum(_spread(drawn), 1e-12)
    furthest = (drawn / scale).max(axis=(1, 2))
    p_values = (1 + (furthest[:, None, None] >= apart / scale).sum(axis=0)) / (1 + num_draws)
    low, high = np.quantile(drift, [0.025, 0.975], axis=0)
    return Comparison(scores, scores + low, scores + high, p_values)


def _other_examples(tallies: list[Tally], num_draws: int, random: np.random.Generator) -> list[Counts]:
    """Give, of each network, (draws, S) scores on examples drawn anew."""
    num_examples = tallies[0].got.shape[1]
    weights = random.multinomial(num_examples, np.full(num_examples, 1 / num_examples), size=num_draws).astype(np.float64)
    return [weights @ tally.got.T / np.maximum(weights @ tally.possible.T, 1) for tally in tallies]


def _other_seeds(tallies: list[Tally], by_seed: list[Counts], random: np.random.Generator) -> Counts:
    """Give (draws, C) by how much mean scores would be others with other seeds, on the same examples."""
    sizes, num_draws = np.array([len(tally.scores) for tally in tallies]), len(by_seed[0])
    freedom = int((sizes - 1).sum())
    assert freedom, "one seed shows no noise"
    apart = [tally.scores - tally.scores.mean() for tally in tallies]
    spread = sum((found**2).sum() for found in apart)
    known = 0.0
    for drawn, found in zip(by_seed, apart, strict=True):
        known += ((drawn - drawn.mean(axis=1, keepdims=True) - found) ** 2).mean(axis=0).sum() / freedom
    variance = np.maximum(spread / random.chisquare(freedom, size=(num_draws, 1)) - known, 0)
    return random.standard_normal((num_draws, len(sizes))) * np.sqrt(variance / sizes)


def _spread(drawn: Counts) -> Counts:
    return np.sqrt((drawn**2).mean(axis=0))
