"""Raw text -> the words that a corpus would have: where to cut, and what is written as one word but read as several."""

from collections.abc import Mapping
from dataclasses import dataclass

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

    forms: pl.Series
    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]


def read_words(written: pl.Series, contractions: Mapping[str, list[str]]) -> Words:
    """Take written words apart: each is itself, or what it contracts. Only distinct ones are looked at one by one."""
    distinct = written.unique().sort()
    places = _places(written, distinct)
    lower = distinct.str.to_lowercase()
    is_contraction = lower.is_in(list(contractions)).to_numpy()
    if not is_contraction.any():
        return Words(distinct, places, np.arange(len(places) + 1))
    contracted = zip(distinct.filter(is_contraction), lower.filter(is_contraction), strict=True)
    parts = [_capitalised(contractions[key], like=word) for word, key in contracted]
    flat = pl.concat([distinct.filter(~is_contraction), pl.Series([part for row in parts for part in row], dtype=pl.String)])
    widths = np.ones(len(distinct), np.int64)
    widths[is_contraction] = [len(row) for row in parts]
    num_plain = int((~is_contraction).sum())
    begins = np.empty_like(widths)  # in `flat`, of each distinct word's parts
    begins[~is_contraction] = np.arange(num_plain)
    begins[is_contraction] = num_plain + widths[is_contraction].cumsum() - widths[is_contraction]
    starts = np.concatenate([[0], widths[places].cumsum()])
    at = np.arange(starts[-1]) + np.repeat(begins[places] - starts[:-1], widths[places])
    forms = flat.unique().sort()
    return Words(forms, _places(flat, forms)[at], starts)


def _places(words: pl.Series, distinct: pl.Series) -> NDArray[np.int64]:
    return words.cast(pl.Enum(distinct)).to_physical().to_numpy().astype(np.int64)


def _capitalised(parts: list[str], like: str) -> list[str]:
    return [parts[0].capitalize(), *parts[1:]] if like[0].isupper() else parts
