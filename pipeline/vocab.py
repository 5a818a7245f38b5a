"""Words, characters and labels as numbers. Built from the train split alone; unknown ones have a number of their own."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.config import IGNORED, NUM_RESERVED, UNKNOWN_ID
from pipeline.config import EncodeConfig
from pipeline.examples import FormTable
from pipeline.stored import read_object, understanding

RESERVED = ("<pad>", "<unk>")
"""Rows 0 and 1 of the word table and of the character table."""
CAPITALISATIONS = (*RESERVED, "none", "lower", "title", "upper", "mixed")
"""How a word is written, in order of id: without letters that have a case, `word`, `Word`, `WORD`, `wOrd`."""


@dataclass(frozen=True)
class Vocab:
    """The vocabularies of one encoded corpus, in order of id, reserved entries first.

    Attributes:
        lowercase: whether words are looked up in lower case.
        max_word_length: characters of a word that are read.
        contractions: what is written as one word, in lower case -> the words it is read as.
        columns: further column -> its values, reserved entries first; as labels they count from after those.
    """

    words: tuple[str, ...]
    chars: tuple[str, ...]
    labels: tuple[str, ...]
    lowercase: bool
    max_word_length: int
    contractions: dict[str, list[str]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def build(cls, forms: pl.DataFrame, labels: pl.DataFrame, config: EncodeConfig) -> "Vocab":
        """Rank what the train split has: most frequent first, then by text.

        Args:
            forms: its distinct words `form` and how often each comes, `len`.
            labels: the same of `label`.
        """
        word = pl.col("form").str.to_lowercase() if config.lowercase else pl.col("form")
        words = _ranked(forms.select("len", entry=word), config.min_count)
        if config.max_words is not None:
            words = words.head(config.max_words)
        chars = _ranked(forms.select("len", entry=pl.col("form").str.split("")).explode("entry"))
        return cls(
            words=RESERVED + tuple(words),
            chars=RESERVED + tuple(chars),
            labels=tuple(_ranked(labels.select("len", entry="label"))),
            lowercase=config.lowercase,
            max_word_length=config.max_word_length,
        )

    def with_words(self, further: Iterable[str]) -> "Vocab":
        """Give rows to further words, in their order, after those there are."""
        return replace(self, words=tuple(dict.fromkeys((*self.words, *further))))

    @classmethod
    def load(cls, path: Path) -> "Vocab":
        """Read what `save` wrote.

        Raises:
            IntegrityError: it is something else.
        """
        stored = read_object(path)
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
        with understanding(path):
            vocab = cls(**fields)
            for texts in (vocab.words, vocab.chars, vocab.labels, *vocab.contractions.values(), *vocab.columns.values()):
                "".join(texts)  # which takes nothing but texts
            _ = vocab._char_ids
        return vocab

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=0), encoding="utf-8")

    def encode_forms(self, forms: pl.Series) -> FormTable:
        """Turn distinct word forms into ids; every form has at least one character."""
        words = forms.str.to_lowercase() if self.lowercase else forms
        read = [form[: self.max_word_length] for form in forms]
        chars = np.frombuffer("".join(read).encode("utf-32-le"), np.uint32)
        return FormTable(
            word_ids=_lookup(words, self._word_ids, UNKNOWN_ID),
            char_ids=self._char_ids[chars],
            char_offsets=np.cumsum([0, *map(len, read)], dtype=np.int64),
            capitalisation=np.array([CAPITALISATIONS.index(_capitalisation(form)) for form in forms], np.int32),
        )

    def column_labels(self, name: str) -> tuple[str, ...]:
        """Name the labels of a further target, in order of id."""
        return tuple(self.columns[name][NUM_RESERVED:])

    def encode_column(self, name: str, values: pl.Series) -> NDArray[np.int32]:
        """Turn a further column's values into ids, reserved ones counted; one that train does not have is unknown."""
        return _lookup(values, _ids(self.columns[name]), UNKNOWN_ID)

    def encode_labels(self, labels: pl.Series) -> NDArray[np.int32]:
        """Turn labels into ids; one that train does not have becomes `IGNORED`."""
        return _lookup(labels, _ids(self.labels), IGNORED)

    @cached_property
    def _word_ids(self) -> dict[str, int]:
        return _ids(self.words)

    @cached_property
    def _char_ids(self) -> NDArray[np.int32]:
        """Give the id of each code point there is."""
        table = np.full(sys.maxunicode + 1, UNKNOWN_ID, np.int32)
        known = self.chars[NUM_RESERVED:]
        table[[ord(char) for char in known]] = np.arange(NUM_RESERVED, len(self.chars))
        return table


def ranked_values(values: pl.DataFrame) -> list[str]:
    """Give a further column's vocabulary.

    Args:
        values: what the train split has, `entry`, and how often, `len`.
    """
    return [*RESERVED, *_ranked(values)]


def _capitalisation(form: str) -> str:
    """Tell how a word is written, by `CAPITALISATIONS`."""
    lower, upper, rest = form.lower(), form.upper(), form[1:]
    if lower == upper:
        return "none"
    if form == lower:
        return "lower"
    if form[0] != form[0].lower() and rest == rest.lower():
        return "title"
    return "upper" if form == upper else "mixed"


def _ranked(counts: pl.DataFrame, min_count: int = 1) -> pl.Series:
    totals = counts.group_by("entry").agg(pl.col("len").sum())
    kept = totals.filter(pl.col("len") >= min_count, ~pl.col("entry").is_in(RESERVED))
    return kept.sort("len", "entry", descending=[True, False])["entry"]


def _ids(entries: Sequence[str]) -> dict[str, int]:
    return {entry: i for i, entry in enumerate(entries)}


def _lookup(entries: pl.Series, ids: dict[str, int], missing: int) -> NDArray[np.int32]:
    return np.array([ids.get(entry, missing) for entry in entries], np.int32)
