"""A model against a prepared split: the same questions, the same scores, whichever model answers."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from models.config import MAIN
from pipeline.labeler import Answer, Labeler
from pipeline.scores import classification_scores, tagging_scores

Sequences = list[list[str]]


@dataclass(frozen=True)
class Split:
    """The examples of one prepared split, in order.

    Attributes:
        tokens: words per example; empty lists where the input is numeric.
        labels: per example a label per word, or one.
        values: numbers per step and example; None where the input is text.
        columns: further column -> per example its values, one per token or one in all.
    """

    tokens: Sequences
    labels: Sequences
    values: list[list[list[float]]] | None
    columns: dict[str, Sequences] = field(default_factory=dict)

    @classmethod
    def read(cls, prepared_dir: Path, name: str) -> "Split":
        """Read `train`, `val` or `test`."""
        frame = pl.read_parquet(prepared_dir / f"{name}.parquet")
        is_numeric = frame["tokens"].is_null().any()
        tokens = [[] for _ in range(len(frame))] if is_numeric else frame["tokens"].to_list()
        columns = {column: frame[column].to_list() for column in frame.columns if ":" in column}
        further = {column.partition(":")[2]: values for column, values in columns.items()}
        further = {name: [v if isinstance(v, list) else [v] for v in values] for name, values in further.items()}
        return cls(tokens, frame["labels"].to_list(), frame["values"].to_list() if is_numeric else None, further)

    def as_target(self, name: str) -> "Split":
        """Give the same split with a further column's values as its labels."""
        return self if name == MAIN else replace(self, labels=self.columns[name])

    @property
    def lengths(self) -> list[int]:
        """How many steps each example has."""
        return [len(row) for row in self.tokens] if self.values is None else [len(row) for row in self.values]

    @property
    def flat_labels(self) -> list[str]:
        """All labels, one after the other."""
        return [label for labels in self.labels for label in labels]


def ask_split(labeler: Labeler, split: Split) -> list[Answer]:
    """Have a model label a split; returns an answer per example, in order."""
    if split.values is not None:
        return labeler.label_values(split.values)
    columns = [{name: split.columns[name][i] for name in labeler.columns} for i in range(len(split.tokens))]
    return labeler.label_tokens(split.tokens, columns)


def answer_split(labeler: Labeler, split: Split) -> dict[str, Sequences]:
    """Have a model label a split; returns every target's labels, in the shape of the split's own."""
    return by_target(ask_split(labeler, split))


def by_target(answers: list[Answer]) -> dict[str, Sequences]:
    """Give every target's labels, in the shape of the split's own; what was not asked has no further ones."""
    names = next((list(answer.further) for answer in answers if answer.further), [])
    further = {name: [answer.further.get(name, []) for answer in answers] for name in names}
    return {MAIN: [answer.labels for answer in answers], **further}


def score_labels(split: Split, predicted: Sequences, known_words: set[str], is_tagging: bool) -> dict[str, float]:
    """Score labels for a split; see `pipeline.scores` for the names.

    Args:
        split: what was asked, and what is right.
        predicted: in the shape of the split's labels.
        known_words: the word forms of train.
        is_tagging: a label per word.
    """
    if not is_tagging:
        return classification_scores(split.flat_labels, [labels[0] for labels in predicted])
    known = [[word in known_words for word in words] for words in split.tokens]
    return tagging_scores(split.labels, predicted, known, split.tokens)


def known_words(train: Split) -> set[str]:
    """Give the distinct word forms of a split, case kept."""
    return {word for words in train.tokens for word in words}
