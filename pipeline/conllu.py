"""CoNLL-U (universaldependencies.org/format): a word per line in ten columns, read and checked in pieces of whole sentences.

A piece that is beyond doubt well-formed text in ten columns is cut into fields by the byte, any other line by line; the rules
that follow are the same. Repaired without a word, besides what every reader repairs: a missing or doubled blank line, an empty
column that is not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
T = TypeVar("T", np.int64, np.bool_)
_NOWHERE = -(1 << 40)
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
_DAMAGE = Rule(pl.col("damage").is_not_null(), pl.col("damage"), len(CONLLU_COLUMNS))
_ASTRAY = Rule(pl.col("is_astray"), "has an id out of order; words count 1, 2, 3 in each sentence; fix: number it anew", 0)
_CUT = Rule(pl.col("is_cut"), "ends a sentence inside a range; fix: mend its id", 0)
_TWICE = Rule(pl.col("is_again"), "names a sentence twice; a sent_id is unique in its file; fix: give it another")


def read_conllu(path: Path, corpus: CorpusConfig) -> Reading:
    """Read CoNLL-U: a token per word line; ranges (`1-2`) and empty nodes (`1.1`) are checked and left out."""
    columns = {
        "token": _conllu_column("text", "form" if corpus.columns.text == "text" else corpus.columns.text),
        "label": _conllu_column("label", "upos" if corpus.columns.label == "label" else corpus.columns.label),
        **{f"{TOKEN_COLUMN}{name}": _conllu_column(f"per_token.{name}", c) for name, c in corpus.columns.per_token.items()},
    }
    check_text(path, corpus)
    malformed = Malformed(path, corpus.skip_malformed)
    return Reading(stream(lambda: _read(columns, malformed, corpus), corpus), malformed)


def _conllu_column(key: str, name: str) -> str:
    if name not in CONLLU_COLUMNS:
        known = ", ".join(CONLLU_COLUMNS)
        raise ParamsError(f"columns.{key} is {name!r}; CoNLL-U has no such column; fix: use one of {known}")
    return name


def _read(columns: dict[str, str], malformed: Malformed, corpus: CorpusConfig) -> Iterator[pl.DataFrame]:
    """Read a file chunk by chunk; `columns` are those of CoNLL-U under the names that they get."""
    path, seen = malformed.path, Seen()
    for part in each_ahead(lambda chunk: _Part.read(chunk, columns, path), chunks(path, corpus)):
        again = part.ids.with_columns(is_again=pl.Series(seen.add(part.ids["value"].hash().to_numpy())))
        skip = malformed.sift(part.with_lines(pl.concat([part.wrong, _broken(again, [_TWICE])])))
        sentences = part.sentences.filter(~pl.col("sentence").is_in(skip)) if skip else part.sentences
        sentences = _named(sentences, {"sent_id": part.ids} | _comments(part.comments, corpus))
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
        sentences: as `_sentences` gives them, broken ones too.
        comments: the lines that are comments.
        ids: the names of sentences, as `_values` gives them.
        wrong: what breaks a rule.
    """

    chunk: Chunk
    sentences: pl.DataFrame
    comments: pl.DataFrame
    ids: pl.DataFrame
    wrong: pl.DataFrame

    @classmethod
    def read(cls, chunk: Chunk, columns: dict[str, str], path: Path) -> "_Part":
        """Split a chunk and hold it against the rules."""
        plain = _split_plain(chunk, columns)
        lines = plain if plain is not None else _split(chunk, columns, path)
        lines = lines.with_columns(sentence=lines["is_blank"].to_numpy().cumsum(dtype=np.uint32))
        # Most lines are words; the others are few, and looked at apart.
        is_other = ~_IS_WORD & ~_IS_BLANK & ~_IS_COMMENT
        words = lines.drop("head", "is_blank", "is_comment").filter(_IS_WORD)
        words, others = _place(words, _spans(lines.filter(is_other)))
        found = [(words, _word_rules(columns)), (others, _other_rules(columns)), (lines, _COMMENT_RULES)]
        wrong = pl.concat(_broken(rows, rules) for rows, rules in found)
        ranges = others.filter(pl.col("end").is_not_null() & ~pl.col("sentence").is_in(wrong["unit"].unique().to_list()))
        comments = lines.filter(_IS_COMMENT).select("number", "sentence", "head")
        names = _values(comments, _HEAD.str.starts_with("# sent_id"))
        return cls(chunk, _sentences(words, ranges, columns), comments, names, wrong)

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
            .select("number", **{name: pl.col(column) for name, column in names.items()})
            .collect(engine="streaming")
        )
    except pl.exceptions.PolarsError:
        return None
    index = _index(lines["head"])
    # What a line is that counts no word is seen in its text; there are few.
    others = np.flatnonzero(index.is_null().to_numpy())
    heads = lines["head"].gather(others)
    is_blank, is_comment = np.zeros((2, len(lines)), np.bool_)
    is_blank[others], is_comment[others] = (heads == "").to_numpy(), heads.str.starts_with("#").to_numpy()
    is_row = ~is_blank & ~is_comment
    is_whole = ((lines["last"] != "").to_numpy() == is_row).all() and count_bytes(chunk.data, b"\t") == 9 * is_row.sum()
    if not is_whole:
        return None
    nothing = pl.lit(None, pl.String)
    return lines.drop("last").with_columns(index=index, is_blank=is_blank, is_comment=is_comment, damage=nothing)


def _split(chunk: Chunk, columns: dict[str, str], path: Path) -> pl.DataFrame:
    """Split lines one by one.

    Returns:
        `number`, `head` (the id of a word; all of another line), `index` (of a word), `is_blank`, `is_comment`, a column for
        each of `columns`, and `damage`: why the line is none of ten columns.
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
    whole = collect([lines], path)[0]
    return whole.with_columns(index=_index(whole["head"]))


def _index(heads: pl.Series) -> pl.Series:
    return heads.cast(pl.UInt32, strict=False).cast(pl.Int64)


def _broken(rows: pl.DataFrame, rules: list[Rule]) -> pl.DataFrame:
    return find_broken(rows.lazy().with_columns(line=pl.lit("")), rules, "sentence").drop("line").collect()


def _spans(others: pl.DataFrame) -> pl.DataFrame:
    """Add to the lines of ranges and empty nodes `start`, `end`, `size` (words of a range but one) and `at` (where it stands)."""
    bounds, parts = (others["head"].str.splitn(sign, 2).struct for sign in "-.")
    node = pl.when(_index(parts[1]).is_not_null()).then(_index(parts[0]) + 1)
    at = pl.when(pl.col("end").is_not_null()).then("start").otherwise(node)
    others = others.with_columns(start=_index(bounds[0]), end=_index(bounds[1]))
    return others.with_columns(at=at, size=pl.col("end") - pl.col("start"))


def _place(words: pl.DataFrame, others: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Place the lines of words, ranges and empty nodes: one scale over the chunk finds every gap without grouping.

    Returns:
        Both frames, with which lines are out of order (`is_astray`), which end a sentence inside a range (`is_cut`), and which
        are ranges that overlap the one before (`overlaps`).
    """
    length = len(words) + len(others)
    place = words["number"].search_sorted(others["number"]).to_numpy() + np.arange(len(others))
    is_word = np.ones(length, np.bool_)
    is_word[place] = False
    at, sentence = np.empty((2, length), np.int64)
    sentence[is_word], sentence[place] = words["sentence"], others["sentence"]
    at[is_word], at[place] = words["index"], others["at"].fill_null(_NOWHERE)
    before = is_word.cumsum() - is_word  # words of the chunk before the line
    is_first: NDArray[np.bool_] = np.diff(sentence, prepend=-1) != 0
    is_lost, base = at == _NOWHERE, at - before
    expected = np.where(is_first, 1 - before, _shifted(base, 0))
    is_sound = others["size"].is_between(1, MAX_RANGE).fill_null(False).to_numpy()
    reach = np.zeros(length, np.int64)  # words of the chunk up to the end of the furthest range so far
    reach[place[is_sound]] = before[place[is_sound]] + others["size"].to_numpy()[is_sound] + 1
    reach = np.maximum.accumulate(reach)
    faults: dict[str, NDArray[np.bool_]] = {
        "is_astray": (base != expected) & ~is_lost & (is_first | ~_shifted(is_lost, 0)),
        "is_cut": _shifted(is_first[::-1], 1)[::-1] & (reach > before + is_word),
        "overlaps": _shifted(reach, 0) > before,
    }
    words, others = (
        rows.with_columns(**{name: fault[where] for name, fault in faults.items()})
        for rows, where in ((words, is_word), (others, place))
    )
    return words, others


def _shifted(values: NDArray[T], first: int) -> NDArray[T]:
    return np.concatenate([np.array([first], values.dtype), values[:-1]])


def _word_rules(columns: dict[str, str]) -> list[Rule]:
    """List what the line of a word must not be."""
    label, column = pl.col("label"), columns["label"]
    place = CONLLU_COLUMNS.index(column)
    missing = f"has no {column}; it is the label; fix: fill it in"
    if column == "upos":
        strange = pl.lit("has an upos that is none of the 17; fix: correct it")
        is_missing = (label == "_") | (label.str.strip_chars() == "")
        labelled = [Rule(~label.is_in(UPOS), pl.when(is_missing).then(pl.lit(missing)).otherwise(strange), place)]
    else:
        labelled = [_filled("label", column), *([Rule(label == "_", missing, place)] if column in _NEEDED else [])]
    rest = (_filled(name, read) for name, read in columns.items() if name != "label")
    return [_DAMAGE, *rest, *labelled, _ASTRAY, _CUT]


def _other_rules(columns: dict[str, str]) -> list[Rule]:
    """List what the line of a range or empty node must not be."""
    is_range = pl.col("end").is_not_null()
    return [
        _DAMAGE,
        Rule(pl.col("at").is_null(), "has no id such as 3, 3-4 or 3.1; fix: number the line", 0),
        *(_filled(name, read) for name, read in columns.items()),
        _ASTRAY,
        Rule(
            is_range & ~pl.col("size").is_between(1, MAX_RANGE),
            f"has a range that spans no words or over {MAX_RANGE}; fix: mend its id",
            0,
        ),
        Rule(
            is_range & pl.col("overlaps"),
            "has a range that overlaps the one before; a word stands in one at most; fix: mend its id",
            0,
        ),
        _CUT,
    ]


def _filled(name: str, read: str) -> Rule:
    """Make the rule that a column is not blank. Most text is seen not to be by where it sorts, far faster than by stripping."""
    text = pl.col(name)
    is_blank = text.str.strip_chars() == ""
    said = pl.when(is_blank).then(pl.lit(f"has no {read}; a word has one; fix: fill it in"))
    return Rule((text < "!") | (text > "~"), said, CONLLU_COLUMNS.index(read))


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


def _sentences(words: pl.DataFrame, ranges: pl.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    """Gather the words of each sentence, with the `number` of its first."""
    lists = {"tokens": "token", "labels": "label"} | {name: name for name in columns if name.startswith(TOKEN_COLUMN)}
    grouped = words.set_sorted("sentence").group_by("sentence", maintain_order=True)
    sentences = grouped.agg(pl.col("number").first(), **lists)
    return sentences.join(_written(ranges, sentences), on="sentence", how="left", maintain_order="left")


def _written(ranges: pl.DataFrame, sentences: pl.DataFrame) -> pl.DataFrame:
    """Give `written`, by `sentence`, of those that have ranges."""
    length = pl.col("tokens").list.len().cast(pl.Int64)
    marked = sentences.join(ranges, on="sentence", how="semi", maintain_order="left")
    marked = marked.select("sentence", length=length, first=length.cum_sum() - length)
    place = pl.col("first") + pl.col("start") - 1
    parts = ranges.join(marked, on="sentence", maintain_order="left").select(
        place=pl.int_ranges(place, place + pl.col("size") + 1),
        written=pl.concat_list("token", pl.lit("").repeat_by("size")),
    )
    parts = parts.explode("place", "written")
    part = np.zeros(int(marked["length"].sum()), np.int64)
    part[parts["place"].to_numpy()] = np.arange(1, len(parts) + 1)
    written = pl.concat([pl.Series("written", [None], pl.String), parts["written"]]).gather(part)
    sentence = np.repeat(marked["sentence"].to_numpy(), marked["length"].to_numpy())
    return pl.DataFrame({"sentence": sentence, "written": written}).group_by("sentence", maintain_order=True).agg("written")
