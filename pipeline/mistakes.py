"""What a model got wrong, as it stood in the text: places behind each pair of labels, the worst sequences. Plain data alone."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.judged import Judged

MAX_LABELS = 25
"""Labels of a confusion table."""
MAX_PAIRS = 250
"""Pairs of labels that have examples."""
MAX_WORDS = 60
"""Words of a sequence that are shown."""
MAX_LETTERS = 40
"""Letters of a word that are shown."""
AROUND = 8
"""Words that are shown to either side of the one in question."""

Words = Sequence[Sequence[str]]
Shown = tuple[str, str, str]
"""What stands before a label's word, the word, what stands after it."""


@dataclass(frozen=True)
class Excerpt:
    """Where one label was given.

    Attributes:
        number: of the sequence in its split, from 1.
        shown: the word between others; where the label is the sequence's, its beginning between nothing.
        probability: of the label that was given.
    """

    number: int
    shown: Shown
    probability: float


@dataclass(frozen=True)
class Pair:
    """How often one label was given where a certain one is right, and some of the places.

    Of wrong answers those are shown that the model was surest of, of right ones those that it was least sure of.
    """

    gold: str
    predicted: str
    count: int
    excerpts: list[Excerpt]


@dataclass(frozen=True)
class Mark:
    """A word, or a whole text, with what was said of it."""

    text: str
    gold: str
    predicted: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether the two labels agree."""
        return self.gold == self.predicted


@dataclass(frozen=True)
class Failure:
    """A sequence with wrong labels.

    Attributes:
        number: of the sequence in its split, from 1.
        num_wrong: of its labels.
        num_labels: in all.
        is_begun, is_ended: whether the first and the last of its labels are among those shown.
        marks: its labels, as far as they are shown.
    """

    number: int
    num_wrong: int
    num_labels: int
    is_begun: bool
    is_ended: bool
    marks: list[Mark]


def most_confused(judged: Judged, most: int = MAX_LABELS) -> list[str]:
    """Give the labels with most errors, both of them found where others are right and missed, sorted by name."""
    errors: Counter[str] = Counter(dict.fromkeys(sorted({*judged.gold, *judged.predicted}), 0))
    for gold, predicted in zip(judged.gold, judged.predicted, strict=True):
        if gold != predicted:
            errors.update((gold, predicted))
    return sorted(label for label, _ in errors.most_common(most))


def pair_labels(judged: Judged, labels: Sequence[str], show: Callable[[int], Shown], num_excerpts: int = 5) -> list[Pair]:
    """Count the pairs of a gold and a predicted label, most frequent first, wrong ones before right ones.

    Args:
        judged: all labels.
        labels: the ones to look at.
        show: gives the words around a label, by its place among all.
        num_excerpts: of a pair, at most; those of pairs after the first `MAX_PAIRS` are none.
    """
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    wanted = set(labels)
    for place, (gold, predicted) in enumerate(zip(judged.gold, judged.predicted, strict=True)):
        if gold in wanted and predicted in wanted:
            places[gold, predicted].append(place)
    pairs: list[Pair] = []
    for (gold, predicted), found in sorted(places.items(), key=lambda item: (item[0][0] == item[0][1], -len(item[1]), item[0])):
        sign = 1 if gold == predicted else -1
        chosen = sorted(found, key=lambda place: sign * judged.probabilities[place])[:num_excerpts]
        excerpts = [
            Excerpt(int(judged.examples[place]) + 1, show(place), float(judged.probabilities[place]))
            for place in (chosen if len(pairs) < MAX_PAIRS else [])
        ]
        pairs.append(Pair(gold, predicted, len(found), excerpts))
    return pairs


def show_word(judged: Judged, tokens: Words, place: int) -> Shown:
    """Give a word between its neighbours."""
    words, at = tokens[judged.examples[place]], int(judged.places[place])
    begin, end = max(0, at - AROUND), at + 1 + AROUND
    before, after = _join(words[begin:at]), _join(words[at + 1 : end])
    return ("… " if begin else "") + before, _shorten(words[at]), after + (" …" if end < len(words) else "")


def show_text(judged: Judged, tokens: Words, place: int) -> Shown:
    """Give the beginning of a text; nothing where its steps are numbers."""
    return "", begin_text(tokens[judged.examples[place]], MAX_WORDS // 2), ""


def begin_text(words: Sequence[str], most: int = MAX_WORDS) -> str:
    """Join the first words, so many at most."""
    return _join(words[:most]) + (" …" if len(words) > most else "")


def worst(judged: Judged, show: Callable[[int], str], most: int = 12) -> list[Failure]:
    """Give the sequences whose wrong labels have most probability together: many of them, or ones that the model was sure of.

    Args:
        judged: all labels.
        show: gives the text that a label belongs to, by its place among all.
        most: how many sequences at most.
    """
    is_right = judged.is_right
    cost = np.bincount(judged.examples, weights=np.where(is_right, 0, judged.probabilities))
    num_wrong = np.bincount(judged.examples, weights=~is_right)
    order = [example for example in np.argsort(-cost, kind="stable")[:most].tolist() if num_wrong[example]]
    return [_fail(judged, is_right, show, example) for example in order]


def _fail(judged: Judged, is_right: NDArray[np.bool_], show: Callable[[int], str], example: int) -> Failure:
    first, last = np.searchsorted(judged.examples, [example, example + 1]).tolist()
    wrong = np.flatnonzero(~is_right[first:last]) + first
    begin = max(first, min(int(wrong[0]) - AROUND, last - MAX_WORDS))
    shown = range(begin, min(last, begin + MAX_WORDS))
    marks = [Mark(show(i), judged.gold[i], judged.predicted[i], float(judged.probabilities[i])) for i in shown]
    return Failure(example + 1, len(wrong), last - first, begin == first, shown.stop == last, marks)


def _join(words: Sequence[str]) -> str:
    return " ".join(map(_shorten, words))


def _shorten(word: str) -> str:
    return word if len(word) <= MAX_LETTERS else f"{word[: MAX_LETTERS - 1]}…"
