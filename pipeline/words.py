"""Raw text -> the words that a corpus would have: where to cut, and what is written as one word but read as several."""

import polars as pl

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


def find_contractions(words: pl.LazyFrame) -> dict[str, list[str]]:
    """Learn what is mostly a contraction, and of which words, from sentences that name theirs.

    Args:
        words: a row per word of the train split, in order: `token`, and `written` as in `EXAMPLE_SCHEMA`.
    """
    begins = pl.col("written").fill_null("-") != ""
    units = (
        words.with_columns(unit=begins.cum_sum(), written=pl.coalesce("written", "token").str.to_lowercase())
        .group_by("unit", maintain_order=True)
        .agg(pl.col("written").first(), pl.col("token").str.to_lowercase().alias("parts"))
    )
    counts = units.group_by("written", "parts").len().sort("written", "len", "parts", descending=[False, True, False])
    likeliest = counts.group_by("written", maintain_order=True).first().filter(pl.col("parts").list.len() > 1)
    return dict(likeliest.select("written", "parts").collect(engine="streaming").iter_rows())


def expand(words: list[str], contractions: dict[str, list[str]]) -> list[list[str]]:
    """Give, for each word as it is written, the words that the network reads: itself, or what it contracts."""
    return [_parts(word, contractions) for word in words]


def _parts(word: str, contractions: dict[str, list[str]]) -> list[str]:
    parts = contractions.get(word.lower(), [word])
    return [parts[0].capitalize(), *parts[1:]] if len(parts) > 1 and word[0].isupper() else parts
