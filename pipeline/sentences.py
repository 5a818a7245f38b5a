"""CoNLL-U to be labelled: the words of each sentence, whose tags need not be there yet. All lines are kept as they stand.

What stands where a label will, and in columns that nothing reads, is not looked at.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from pipeline.conllu import CONLLU_COLUMNS
from pipeline.errors import DataError, ParamsError
from pipeline.inputs import Asked, Piece, Place, cut, decode
from pipeline.reading import BLANK, LINE, NUL, Rule, find_broken

_IS_WORD = pl.col("is_word")
_INDEX = pl.col("id").cast(pl.UInt32, strict=False)
_RULES = [
    NUL,
    Rule(LINE.str.count_matches("\t", literal=True) != 9, "does not have 10 columns split by TABs; fix: mend the line"),
    Rule(~pl.col("id").str.contains(r"^\d+([-.]\d+)?$"), "has no id such as 3, 3-4 or 3.1; fix: number the line"),
    Rule(
        _IS_WORD & (_IS_WORD.cum_sum().over("sentence") != _INDEX).fill_null(True),
        "has an id out of order; words count 1, 2, 3 in each sentence; fix: number it anew",
    ),
    Rule(pl.col("form").str.strip_chars() == "", "has no form; a word has one; fix: fill it in"),
]


def cut_sentences(path: Path, start: Place) -> Iterator[Piece]:
    """Cut a file at blank lines."""
    return cut(path, start, lambda data: max(_end(data, b"\n\n"), _end(data, b"\n\r\n")))


def _end(data: bytes, mark: bytes) -> int:
    place = data.rfind(mark)
    return place + len(mark) if place >= 0 else 0


def parse_sentences(piece: Piece, columns: Sequence[str]) -> Asked:
    """Take the forms of each sentence, and the columns of CoNLL-U that the model wants besides.

    Raises:
        DataError: a line is none of CoNLL-U; naming it.
        ParamsError: the model wants what CoNLL-U has no column for.
    """
    unknown = [name for name in columns if name not in CONLLU_COLUMNS]
    if unknown:
        raise ParamsError(f"{piece.path}: CoNLL-U has no columns {unknown}, which the model reads; fix: give parquet that has")
    rows = _rows(piece)
    broken = find_broken(rows.lazy().filter(~pl.col("is_other")), _RULES).sort("number").head(1).collect()
    if len(broken):
        number, line, problem = broken.select("number", "line", "problem").row(0)
        raise DataError(f"{piece.path}:{number}:1: {line[:60]!r} {problem}")
    words = rows.filter(_IS_WORD).group_by("sentence", maintain_order=True)
    wanted = {name: pl.col(name) for name in ("form", *columns)}
    sentences = words.agg(pl.col("number").first(), **wanted)
    named = rows.filter(LINE.str.starts_with("# sent_id")).select(
        "sentence", sent_id=LINE.str.splitn("=", 2).struct[1].str.strip_chars()
    )
    table = sentences.join(named.unique("sentence", keep="last"), on="sentence", how="left", maintain_order="left")
    values = sentences.select(columns).rows(named=True) if columns else ()
    tokens = sentences["form"].to_list()
    lines = rows.select("line", "is_word")
    return Asked(
        piece.path, sentences["number"].to_list(), table.select("sent_id"), tokens=tokens, columns=values, lines=lines
    ).check()


def _rows(piece: Piece) -> pl.DataFrame:
    """Split lines: `number`, `line`, `sentence`, CoNLL-U's columns, `is_word`, and `is_other` of comments and blank lines."""
    lines = pl.Series("line", decode(piece).split("\n"), dtype=pl.String)
    field = LINE.str.splitn("\t", len(CONLLU_COLUMNS)).struct
    is_other = BLANK | LINE.str.starts_with("#")
    rows = lines.to_frame().with_columns(
        number=pl.int_range(pl.len(), dtype=pl.Int64) + piece.start.number,
        sentence=BLANK.cum_sum(),
        is_other=is_other,
        **{name: field[place] for place, name in enumerate(CONLLU_COLUMNS)},
    )
    return rows.with_columns(is_word=~pl.col("is_other") & ~pl.col("id").str.contains(r"[-.]"))
