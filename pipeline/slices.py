"""How well a model does on parts of a split, each with an interval of what luck would do. Plain data alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.judged import Judged

Z_95 = 1.959963984540054
"""How many standard deviations to either side hold 95 % of a normal distribution."""
LABEL_SHARES = (0.0, 0.001, 0.01, 0.05, 0.2)
UNKNOWN_SHARES = (0.0, 0.02, 0.05, 0.1, 0.2)

Words = Sequence[Sequence[str]]
Groups = NDArray[np.int64]


@dataclass(frozen=True)
class Slice:
    """A part of the labels: how many, the share that is right, and the ends of its 95 % interval."""

    name: str
    count: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Cut:
    """All labels, cut into slices by one question; every label is in one of them."""

    title: str
    about: str
    slices: list[Slice]


def wilson(num_right: float, count: float) -> tuple[float, float]:
    """Give the ends of a 95 % interval of a share (Wilson 1927); it stays within 0 to 1 where all or none is right."""
    share, squared = num_right / count, Z_95**2
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    half = Z_95 * np.sqrt(share * (1 - share) / count + squared / (4 * count**2)) / (1 + squared / count)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def interval(is_right: NDArray[np.bool_], examples: Groups) -> tuple[float, float]:
    """Give Wilson's interval for as many labels as say something of their own.

    Words of one sentence are right or wrong together more often than words of several are: N of them say as much as N / deff
    independent ones, where deff is how much more the share varies over sentences than over single words (Kish 1965).

    Args:
        is_right: (N,), at least one.
        examples: (N,) the sequence that each belongs to.
    """
    count, share = len(is_right), float(is_right.mean())
    _, sequence = np.unique(examples, return_inverse=True)
    num_sequences = int(sequence.max()) + 1
    effect = 1.0
    if num_sequences > 1 and 0 < share < 1:
        apart = np.bincount(sequence, weights=is_right - share)
        variance = float((apart**2).sum()) * num_sequences / (num_sequences - 1) / count**2
        effect = max(1.0, variance / (share * (1 - share) / (count - 1)))
    return wilson(share * count / effect, count / effect)


def cut_labels(title: str, about: str, judged: Judged, groups: Groups, names: Sequence[str]) -> Cut:
    """Cut labels into slices; those that hold none are left out.

    Args:
        title: what is asked.
        about: the same in a sentence.
        judged: N labels.
        groups: (N,) the slice of each.
        names: of the slices.
    """
    is_right, slices = judged.is_right, []
    for number in np.unique(groups).tolist():
        inside = groups == number
        ends = interval(is_right[inside], judged.examples[inside])
        slices.append(Slice(names[number], int(inside.sum()), float(is_right[inside].mean()), *ends))
    return Cut(title, about, slices)


def cut_by_length(judged: Judged, lengths: Sequence[int], unit: str) -> Cut:
    """Cut into quarters of the sequences, from short to long; fewer where lengths are too much alike."""
    found = np.array(lengths, np.int64)
    asked = found[np.unique(judged.examples)]
    edges = np.unique(np.quantile(asked, [0.25, 0.5, 0.75], method="lower"))
    edges = edges[edges < asked.max()]
    ends = [*edges.tolist(), int(asked.max())]
    begins = [int(asked.min()), *(end + 1 for end in ends[:-1])]
    names = [
        f"{begin:,} {unit}{'s' if begin > 1 else ''}" if begin == end else f"{begin:,} to {end:,} {unit}s"
        for begin, end in zip(begins, ends, strict=True)
    ]
    groups = np.searchsorted(edges, found[judged.examples])
    return cut_labels("Length", "The sequences in order of length, cut where a quarter of them ends.", judged, groups, names)


def cut_by_label_share(judged: Judged, train_labels: Sequence[str]) -> Cut:
    """Cut by how much of train has the gold label."""
    counts, total = Counter(train_labels), max(len(train_labels), 1)
    shares = np.array([counts[label] / total for label in judged.gold])
    about = "How much of train has the label that is right: a label that is seldom shown is seldom learnt."
    return cut_labels("Rare labels", about, judged, np.searchsorted(LABEL_SHARES, shares), _name_shares(LABEL_SHARES))


def cut_by_novelty(judged: Judged, tokens: Words, known: set[str]) -> Cut:
    """Cut words by whether train has their very form."""
    groups = np.array([int(word not in known) for word in _asked(judged, tokens)], np.int64)
    about = "Whether train has the very form of the word; what it lacks is guessed from letters and neighbours."
    return cut_labels("Known words", about, judged, groups, ["in train", "not in train"])


def cut_by_ambiguity(judged: Judged, tokens: Words, train_tokens: Words, train_labels: Words) -> Cut:
    """Cut words by how many labels their form has in train."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for words, row in zip(train_tokens, train_labels, strict=True):
        for word, label in zip(words, row, strict=True):
            labels[word].add(label)
    numbers = {word: min(len(found), 4) for word, found in labels.items()}
    groups = np.array([numbers.get(word, 0) for word in _asked(judged, tokens)], np.int64)
    names = ["not in train", "1 label", "2 labels", "3 labels", "4 or more"]
    about = "How many labels the form of the word has in train: with two or more, only its neighbours can tell which it is."
    return cut_labels("Ambiguity", about, judged, groups, names)


def cut_by_unknown_share(judged: Judged, tokens: Words, known: set[str]) -> Cut:
    """Cut sequences by how many of their words train does not have."""
    shares = np.array([sum(word not in known for word in words) / max(len(words), 1) for words in tokens])
    names = _name_shares(UNKNOWN_SHARES)
    about = "How many of a text's words train does not have."
    return cut_labels("Unknown words", about, judged, np.searchsorted(UNKNOWN_SHARES, shares[judged.examples]), names)


def _asked(judged: Judged, tokens: Words) -> list[str]:
    return [tokens[example][place] for example, place in zip(judged.examples.tolist(), judged.places.tolist(), strict=True)]


def _name_shares(ends: Sequence[float]) -> list[str]:
    """Name the slices that `ends` separate, each with its upper end, the first of which is 0."""
    shown = [f"{100 * end:g} %" for end in ends]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    return ["none", f"up to {shown[1]}", *between[1:], f"over {shown[-1]}"]
