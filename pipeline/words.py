"""Raw text -> the words that a corpus would have: where to cut, and what is written as one word but read as several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

_TOKEN = "|".join(
    (
        r"\p{N}+(?:[.,:/]\p{N}+)+",  # 1.500,25  9:30  24/11
        r"\p{Lu}{1,3}\p{Sc}",  # R$
        r"[\p{L}\p{M}\p{N}_]+(?:['’\-‐][\p{L}\p{M}\p{N}_]+)*",
        r"\.{2,}",
        r"\S",
    )
)


def tokenize(text: pl.Expr) -> pl.Expr:
    """Cut raw text into words and numbers, which may hold signs such as an apostrophe or a comma, and single signs.

    Returns:
        List(String), empty where the text is.
    """
    return text.str.extract_all(_TOKEN)


def count_units(words: pl.DataFrame) -> pl.DataFrame:
    """Count what is written as one word and read as several, in lower case: `written`, `parts`, `len`.

    Args:
        words: a row per word of whole sentences, in order: `token`, and `written` as in `EXAMPLE_SCHEMA`.
    """
    parts = words.filter(pl.col("written").is_not_null()).select(
        unit=(pl.col("written") != "").cum_sum(),
        written=pl.col("written").str.to_lowercase(),
        token=pl.col("token").str.to_lowercase(),
    )
    units = parts.group_by("unit", maintain_order=True).agg(pl.col("written").first(), parts="token")
    return units.group_by("written", "parts").len()


def find_contractions(units: pl.DataFrame, forms: pl.DataFrame) -> dict[str, list[str]]:
    """Learn what is mostly a contraction, and of which words, from sentences that name theirs.

    Args:
        units: of the train split, as `count_units` gives them; the same may come again.
        forms: every word of the train split, those of units too: `form`, `len`.
    """
    units = units.group_by("written", "parts").agg(pl.col("len").sum().cast(pl.Int64))
    inside = units.select(written="parts", len=-pl.col("len")).explode("written")
    whole = forms.select(written=pl.col("form").str.to_lowercase(), len=pl.col("len").cast(pl.Int64))
    # What is left of a word's count stands for itself.
    plain = (
        pl.concat(
            [
                inside,
                whole.join(units, on="written", how="semi"),
            ]
        )
        .group_by("written")
        .agg(pl.col("len").sum())
    )
    plain = plain.filter(pl.col("len") > 0).select("written", pl.concat_list("written").alias("parts"), "len")
    counts = pl.concat([units, plain]).sort("written", "len", "parts", descending=[False, True, False])
    likeliest = counts.group_by("written", maintain_order=True).first().filter(pl.col("parts").list.len() > 1)
    return dict(likeliest.select("written", "parts").iter_rows())


@dataclass(frozen=True)
class Words:
    """Words as the network reads them.

    Attributes:
        forms: the distinct ones, in order of text.
        tokens: of each word, the place of its form.
        starts: where each written word begins, and the number of words.
    """

    forms: list[str]
    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]


def read_words(written: Sequence[str], contractions: Mapping[str, list[str]]) -> Words:
    """Take written words apart: each is itself, or what it contracts. Only distinct ones are looked at one by one."""
    parts = {word: _parts(word, contractions) for word in set(written)}
    forms = sorted({part for row in parts.values() for part in row})
    place = {form: i for i, form in enumerate(forms)}
    read = {word: [place[part] for part in row] for word, row in parts.items()}
    rows = [read[word] for word in written]
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Words(forms, np.fromiter(chain.from_iterable(rows), np.int64, starts[-1]), starts)


def _parts(word: str, contractions: Mapping[str, list[str]]) -> list[str]:
    parts = contractions.get(word.lower())
    if parts is None:
        return [word]
    return [parts[0].capitalize(), *parts[1:]] if word[0].isupper() else parts
