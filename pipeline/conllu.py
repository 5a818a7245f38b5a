"""CoNLL-U (universaldependencies.org/format): a word per line in ten columns, read and checked in pieces of whole sentences.

A piece that is beyond doubt well-formed text in ten columns is cut into fields by the byte, any other line by line; the rules
that follow are the same. Repaired without a word, besides what every reader repairs: a missing or doubled blank line, an empty
column that is not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.chunks import Chunk, Seen, chunks, count_bytes, each_ahead
from pipeline.config import CorpusConfig
from pipeline.errors import ParamsError
from pipeline.reading import (
    BLANK,
    LINE,
    NUL,
    SEQUENCE_COLUMN,
    TOKEN_COLUMN,
    Malformed,
    Reading,
    Rule,
    check_text,
    collect,
    filled,
    find_broken,
    place,
    stream,
    to_schema,
)

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_OPEN_TAGS = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
_CLOSED_TAGS = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
UPOS = frozenset((*_OPEN_TAGS, *_CLOSED_TAGS, "PUNCT", "SYM", "X"))
# A longer range of words written as one is a slip of the pen; it must not reach into other sentences.
MAX_RANGE = 100
_NEEDED = frozenset({"upos", "xpos", "deprel"})
_HEAD = pl.col("head")
_IS_COMMENT, _IS_BLANK = pl.col("is_comment"), pl.col("is_blank")
_IS_WORD = pl.col("index").is_not_null()
_COMMENT_RULES = [
    Rule(_IS_BLANK & (_HEAD != ""), "is blank but not empty; it may be a lost word; fix: take out its white space"),
    Rule(
        _IS_COMMENT & ~(_IS_COMMENT | _IS_BLANK).shift(1),
        "is a comment inside a sentence; fix: put it before the first word",
    ),
    Rule(
        _IS_COMMENT & _IS_BLANK.shift(-1).fill_null(True),
        "is a comment without a sentence; an example needs a token; fix: take it out",
    ),
]
_TWICE = Rule(pl.col("is_again"), "names a sentence twice; a sent_id is unique in its file; fix: give it another")


def read_conllu(path: Path, corpus: CorpusConfig) -> Reading:
    """Read CoNLL-U: a token per word line; ranges (`1-2`) and empty nodes (`1.1`) are checked and left out."""
    columns = {
        "token": _conllu_column("text", "form" if corpus.columns.text == "text" else corpus.columns.text),
        "label": _conllu_column("label", "upos" if corpus.columns.label == "label" else corpus.columns.label),
        **{f"{TOKEN_COLUMN}{name}": _conllu_column(f"per_token.{name}", c) for name, c in corpus.columns.per_token.items()},
    }
    check_text(path, corpus)
    malformed = Malformed(path, corpus)
    return Reading(stream(lambda: _read(columns, malformed), corpus), malformed)


def _conllu_column(key: str, name: str) -> str:
    if name not in CONLLU_COLUMNS:
        known = ", ".join(CONLLU_COLUMNS)
        raise ParamsError(f"columns.{key} is {name!r}; CoNLL-U has no such column; fix: use one of {known}")
    return name


def _read(columns: dict[str, str], malformed: Malformed) -> Iterator[pl.DataFrame]:
    """Read a file chunk by chunk; `columns` are those of CoNLL-U under the names that they get."""
    path, corpus = malformed.path, malformed.corpus
    seen = Seen()
    for part in each_ahead(lambda chunk: _Part.read(chunk, columns, path), chunks(path, corpus)):
        again = part.ids.with_columns(is_again=pl.Series(seen.add(part.ids["value"].hash().to_numpy())))
        skip = malformed.sift(part.with_lines(pl.concat([part.wrong, _broken(again, [_TWICE])])))
        rows = part.rows.filter(~pl.col("sentence").is_in(skip)) if skip else part.rows
        sentences = _named(_sentences(rows, columns), {"sent_id": part.ids} | _comments(part.comments, corpus))
        if corpus.columns.per_sequence:
            nameless = _broken(sentences, [filled(f"{SEQUENCE_COLUMN}{name}") for name in corpus.columns.per_sequence])
            skip = malformed.sift(part.with_lines(nameless))
            sentences = sentences.filter(~pl.col("sentence").is_in(skip))
        is_named = pl.col("sent_id").fill_null("") != ""
        named = sentences.lazy().with_columns(id=pl.when(is_named).then("sent_id").otherwise(place(path)))
        yield to_schema(named, corpus).collect()
    malformed.report()


@dataclass(frozen=True)
class _Part:
    """What is known of a chunk by itself.

    Attributes:
        rows: the lines of words, ranges and empty nodes, placed.
        comments: the other lines that say something.
        ids: the names of sentences, as `_values` gives them.
        wrong: what breaks a rule.
    """

    chunk: Chunk
    rows: pl.DataFrame
    comments: pl.DataFrame
    ids: pl.DataFrame
    wrong: pl.DataFrame

    @classmethod
    def read(cls, chunk: Chunk, columns: dict[str, str], path: Path) -> "_Part":
        """Split a chunk and hold it against the rules."""
        plain = _split_plain(chunk, columns)
        lines = (plain if plain is not None else _split(chunk, columns, path)).with_columns(sentence=_IS_BLANK.cum_sum())
        rows, comments = _place(lines.filter(~_IS_BLANK & ~_IS_COMMENT)), lines.filter(_IS_COMMENT)
        wrong = pl.concat([_broken(rows, _rules(columns)), _broken(lines, _COMMENT_RULES)])
        return cls(chunk, rows, comments, _values(comments, _HEAD.str.starts_with("# sent_id")), wrong)

    def with_lines(self, wrong: pl.DataFrame) -> pl.DataFrame:
        """Add what stands on the lines that are wrong, which is seldom asked."""
        if wrong.is_empty():
            return wrong
        return wrong.lazy().join(self.chunk.lines(), on="number", how="left", maintain_order="left").collect()


def _split_plain(chunk: Chunk, columns: dict[str, str]) -> pl.DataFrame | None:
    """Split lines by polars' CSV reader, which looks at no line as such; None where that may not be exact.

    It is where every line that is neither blank nor a comment has something in column 10, and so 9 TABs or more, and the
    TABs are 9 for each of those lines: they have just 9, the other lines none.

    Returns:
        As `_split`.
    """
    if not chunk.is_text:
        return None
    names = {"head": "id", "last": "misc", **columns}
    try:
        lines = (
            pl.scan_csv(
                chunk.data,
                has_header=False,
                separator="\t",
                quote_char=None,
                schema=dict.fromkeys(CONLLU_COLUMNS, pl.String()),
                missing_columns="insert",
                empty_string_is_null=False,
                row_index_name="number",
                row_index_offset=chunk.number,
            )
            .select("number", damage=pl.lit(None, pl.String), **{name: pl.col(column) for name, column in names.items()})
            .with_columns(is_blank=_HEAD == "", is_comment=_HEAD.str.starts_with("#"))
            .collect(engine="streaming")
        )
    except pl.exceptions.PolarsError:
        return None
    is_row = ~_IS_BLANK & ~_IS_COMMENT
    num_rows, is_whole = lines.select(is_row.sum(), ((pl.col("last") != "") == is_row).all().alias("whole")).row(0)
    return lines.drop("last") if is_whole and count_bytes(chunk.data, b"\t") == 9 * num_rows else None


def _split(chunk: Chunk, columns: dict[str, str], path: Path) -> pl.DataFrame:
    """Split lines one by one.

    Returns:
        `number`, `head` (the id of a word; all of another line), `is_blank`, `is_comment`, a column for each of `columns`, and
        `damage`: why the line is none of ten columns.
    """
    damage = [
        NUL,
        Rule(LINE.str.count_matches("\t", literal=True) != 9, "does not have 10 columns split by TABs; fix: mend the line"),
    ]
    field = LINE.str.splitn("\t", 11).struct
    fields = {name: field[CONLLU_COLUMNS.index(column)] for name, column in columns.items()}
    is_comment = LINE.str.starts_with("#")
    lines = chunk.lines().select(
        "number",
        head=pl.when(BLANK | is_comment).then(LINE).otherwise(field[0]),
        is_blank=BLANK,
        is_comment=is_comment & ~BLANK,
        damage=pl.coalesce(pl.when(rule.broken).then(pl.lit(rule.text)) for rule in damage),
        **fields,
    )
    return collect([lines], path)[0]


def _broken(rows: pl.DataFrame, rules: list[Rule]) -> pl.DataFrame:
    return find_broken(rows.lazy().with_columns(line=pl.lit("")), rules, "sentence").drop("line").collect()


def _place(rows: pl.DataFrame) -> pl.DataFrame:
    """Place the lines of words, ranges and empty nodes: one scale over the chunk finds every gap without grouping.

    Returns:
        `index` (of the word on the line, else null), `start` and `end` (of a range), `at` (the word, from 1, at which the line
        stands), `before` (words before it in the chunk), `is_first`, `is_last` (of its sentence), `reach` (words of the chunk
        up to the end of the furthest range so far).
    """
    sentence, whole = pl.col("sentence"), pl.UInt32
    rows = rows.with_columns(index=_HEAD.cast(whole, strict=False))
    # Most lines are words; the others are few and split apart.
    others = rows.filter(~_IS_WORD).select("number", "head")
    bounds, parts = _HEAD.str.splitn("-", 2).struct, _HEAD.str.splitn(".", 2).struct
    others = others.select(
        "number",
        start=bounds[0].cast(whole, strict=False).cast(pl.Int64),
        end=bounds[1].cast(whole, strict=False).cast(pl.Int64),
        node=pl.when(parts[1].cast(whole, strict=False).is_not_null()).then(
            parts[0].cast(whole, strict=False).cast(pl.Int64) + 1
        ),
    )
    rows = rows.join(others, on="number", how="left", maintain_order="left").with_columns(
        at=pl.coalesce(pl.col("index").cast(pl.Int64), pl.when(pl.col("end").is_not_null()).then("start"), "node"),
        before=_IS_WORD.cum_sum().cast(pl.Int64) - _IS_WORD,
        is_first=(sentence != sentence.shift(1)).fill_null(True),
        is_last=(sentence != sentence.shift(-1)).fill_null(True),
    )
    span = pl.col("end") - pl.col("start")
    reach = pl.when(span.is_between(1, MAX_RANGE)).then(pl.col("before") + span + 1)
    return rows.with_columns(reach=reach.fill_null(0).cum_max())


def _rules(columns: dict[str, str]) -> list[Rule]:
    """List what a line of a word, range or empty node must not be."""
    label, column = pl.col("label"), columns["label"]
    is_range = pl.col("end").is_not_null()
    base = pl.col("at") - pl.col("before")
    expected = pl.when("is_first").then(1 - pl.col("before")).otherwise(base.shift(1))
    rules = [
        Rule(pl.col("damage").is_not_null(), pl.col("damage")),
        Rule(pl.col("at").is_null(), "has no id such as 3, 3-4 or 3.1; fix: number the line"),
        *(
            Rule(pl.col(name).str.strip_chars() == "", f"has no {read}; a word has one; fix: fill it in")
            for name, read in columns.items()
        ),
        Rule(base != expected, "has an id out of order; words count 1, 2, 3 in each sentence; fix: number it anew"),
        Rule(
            is_range & ~(pl.col("end") - pl.col("start")).is_between(1, MAX_RANGE),
            f"has a range that spans no words or over {MAX_RANGE}; fix: mend its id",
        ),
        Rule(
            is_range & (pl.col("reach").shift(1) > pl.col("before")),
            "has a range that overlaps the one before; a word stands in one at most; fix: mend its id",
        ),
        Rule(
            pl.col("is_last") & (pl.col("reach") > pl.col("before") + _IS_WORD),
            "ends a sentence inside a range; fix: mend its id",
        ),
    ]
    if column in _NEEDED:
        rules.append(Rule(_IS_WORD & (label == "_"), f"has no {column}; it is the label; fix: fill it in"))
    if column == "upos":
        rules.append(Rule(_IS_WORD & ~label.is_in(UPOS), "has an upos that is none of the 17; fix: correct it"))
    return rules


def _values(comments: pl.DataFrame, is_meant: pl.Expr) -> pl.DataFrame:
    """Give what comments `# key = value` say, with `number` and `sentence`."""
    parts = _HEAD.str.splitn("=", 2).struct
    return comments.filter(is_meant).select("number", "sentence", value=parts[1].str.strip_chars()).drop_nulls("value")


def _comments(comments: pl.DataFrame, corpus: CorpusConfig) -> dict[str, pl.DataFrame]:
    key = _HEAD.str.splitn("=", 2).struct[0].str.strip_chars("# ")
    return {f"{SEQUENCE_COLUMN}{name}": _values(comments, key == k) for name, k in corpus.columns.per_sequence.items()}


def _named(sentences: pl.DataFrame, values: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Add to each sentence what its comments say, each the last word on it."""
    for name, found in values.items():
        last = found.unique("sentence", keep="last").select("sentence", pl.col("value").alias(name))
        sentences = sentences.join(last, on="sentence", how="left", maintain_order="left")
    return sentences


def _sentences(rows: pl.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    """Gather the words of each sentence, with the `number` of its first."""
    words = rows.filter(_IS_WORD).with_columns(_written(rows)).set_sorted("sentence")
    lists = {"tokens": "token", "labels": "label", "written": "written"}
    lists |= {name: name for name in columns if name.startswith(TOKEN_COLUMN)}
    return words.group_by("sentence", maintain_order=True).agg(pl.col("number").first(), **lists)


def _written(rows: pl.DataFrame) -> pl.Series:
    """Give what a word begins where it is written as one with those after it, "" where it is one of those, else null."""
    ranges = rows.select("index", "start", "end", "token", before=_IS_WORD.cum_sum().cast(pl.Int64)).filter(
        pl.col("end").is_not_null()
    )
    num_words = len(rows) - rows["index"].null_count()
    spans = ranges.select(
        form=pl.col("token"), word=pl.int_ranges("before", pl.col("before") + pl.col("end") - pl.col("start") + 1)
    )
    parts = spans.with_columns(form=pl.concat_list("form", pl.lit("").repeat_by(pl.col("word").list.len() - 1)))
    parts = parts.explode("form", "word")
    place_in_parts = np.zeros(num_words, np.int64)
    place_in_parts[parts["word"].to_numpy()] = np.arange(1, len(parts) + 1)
    return pl.concat([pl.Series("written", [None], pl.String), parts["form"].alias("written")]).gather(place_in_parts)
