"""CoNLL-U (universaldependencies.org/format): a word per line in ten columns, checked in one streaming pass.

Repaired without a word, besides what every reader repairs: a missing or doubled blank line, an empty column that is not read.
"""

from pathlib import Path

import polars as pl

from pipeline.config import CorpusConfig
from pipeline.errors import ParamsError
from pipeline.reading import (
    BLANK,
    LINE,
    NUL,
    SEQUENCE_COLUMN,
    TOKEN_COLUMN,
    Reading,
    Rule,
    filled,
    find_broken,
    gather,
    number_sentences,
    scan_lines,
    sift,
)

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_OPEN_TAGS = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
_CLOSED_TAGS = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
UPOS = frozenset((*_OPEN_TAGS, *_CLOSED_TAGS, "PUNCT", "SYM", "X"))
# A longer range of words written as one is a slip of the pen; it must not reach into other sentences.
MAX_RANGE = 100
_NEEDED = frozenset({"upos", "xpos", "deprel"})
_SENT_ID = pl.when(LINE.str.starts_with("# sent_id")).then(LINE.str.splitn("=", 2).struct[1].str.strip_chars())


def read_conllu(path: Path, corpus: CorpusConfig) -> Reading:
    """Read CoNLL-U: a token per word line; ranges (`1-2`) and empty nodes (`1.1`) are checked and left out."""
    form = _conllu_column("text", "form" if corpus.columns.text == "text" else corpus.columns.text)
    label = _conllu_column("label", "upos" if corpus.columns.label == "label" else corpus.columns.label)
    further = {name: _conllu_column(f"per_token.{name}", column) for name, column in corpus.columns.per_token.items()}
    last = max(form, label, *further.values())
    lines = number_sentences(scan_lines(path, corpus))
    problems = [
        find_broken(_word_lines(lines, last), _conllu_rules(form, label, [*further.values()]), "sentence"),
        _broken_comments(lines),
    ]
    ids = lines.select("number", "line", "sentence", id=_SENT_ID).drop_nulls("id")
    skip = sift(problems, path, corpus, ids=ids)
    sent_id = _carried(_SENT_ID)
    named = {f"{SEQUENCE_COLUMN}{name}": _carried(_comment(key)) for name, key in corpus.columns.per_sequence.items()}
    field = pl.col("field").struct
    words = (
        lines.with_columns(sent_id=sent_id, field=LINE.str.splitn("\t", last + 2), **named)
        .with_columns(index=field[0].cast(pl.UInt32, strict=False))
        .with_columns(range=_range_so_far())
        .filter(pl.col("index").is_not_null())
        .select(
            "number",
            "line",
            "sentence",
            "sent_id",
            *named,
            token=field[form],
            label=field[label],
            written=_written(),
            **{f"{TOKEN_COLUMN}{name}": field[column] for name, column in further.items()},
        )
    )
    if named:
        skip = [*skip, *sift([find_broken(words, [filled(name) for name in named], "sentence")], path, corpus)]
    return Reading(gather(words, path, skip, corpus), len(set(skip)))


def _comment(key: str) -> pl.Expr:
    """Read what a comment `# key = value` says, null on other lines."""
    parts = LINE.str.splitn("=", 2).struct
    return pl.when(parts[0].str.strip_chars("# ") == key).then(parts[1].str.strip_chars())


def _carried(found: pl.Expr) -> pl.Expr:
    """Carry what a comment says down to the end of its sentence; a blank line takes it away, lest the next inherit it."""
    return pl.when(BLANK).then(pl.lit("")).otherwise(found).forward_fill()


def _conllu_column(key: str, name: str) -> int:
    if name not in CONLLU_COLUMNS:
        known = ", ".join(CONLLU_COLUMNS)
        raise ParamsError(f"columns.{key} is {name!r}; CoNLL-U has no such column; fix: use one of {known}")
    return CONLLU_COLUMNS.index(name)


def _word_lines(lines: pl.LazyFrame, last_column: int) -> pl.LazyFrame:
    """Place the lines of words, ranges and empty nodes: one file-wide scale finds every gap without grouping.

    Returns:
        `field` (id, form, ...), `index` (of the word on the line, else null), `start` and `last` (of a range), `at`
        (the word, from 1, at which the line stands), `before` (words before it in the file), `is_first`, `is_last` (of
        its sentence), `reach` (words of the file up to the end of the furthest range so far).
    """
    rows = lines.filter(~BLANK & ~LINE.str.starts_with("#")).with_columns(field=LINE.str.splitn("\t", last_column + 2))
    name, sentence = pl.col("field").struct[0], pl.col("sentence")
    whole = pl.UInt32
    # Most lines are words; what is null is not split.
    other = pl.when(name.cast(whole, strict=False).is_null()).then(name).str
    bounds, parts = other.splitn("-", 2).struct, other.splitn(".", 2).struct
    rows = rows.with_columns(
        index=name.cast(whole, strict=False),
        start=bounds[0].cast(whole, strict=False),
        last=bounds[1].cast(whole, strict=False),
        node=pl.when(parts[1].cast(whole, strict=False).is_not_null()).then(parts[0].cast(whole, strict=False) + 1),
        is_first=(sentence != sentence.shift(1)).fill_null(True),
        is_last=(sentence != sentence.shift(-1)).fill_null(True),
    )
    is_word = pl.col("index").is_not_null()
    rows = rows.with_columns(
        at=pl.coalesce("index", pl.when(pl.col("last").is_not_null()).then("start"), "node").cast(pl.Int64),
        before=is_word.cum_sum().cast(pl.Int64) - is_word,
    )
    end = pl.when((pl.col("last") - pl.col("start")).is_between(1, MAX_RANGE)).then(
        pl.col("before") + pl.col("last").cast(pl.Int64) - pl.col("start") + 1
    )
    return rows.with_columns(reach=end.fill_null(0).cum_max())


def _range_so_far() -> pl.Expr:
    """Carry the last range downwards: its sentence, first and last word, and how it is written."""
    field = pl.col("field").struct
    # Most lines are words; what is null is not split.
    bounds = pl.when(pl.col("index").is_null()).then(field[0]).str.splitn("-", 2).struct
    last = bounds[1].cast(pl.UInt32, strict=False)
    found = pl.struct("sentence", first=bounds[0].cast(pl.UInt32, strict=False), last=last, form=field[1])
    return pl.when(last.is_not_null()).then(found).forward_fill()


def _written() -> pl.Expr:
    """Give what a word begins where it is written as one with those after it, "" where it is one of those, else null."""
    index, span = pl.col("index"), pl.col("range").struct
    inside = (span["sentence"] == pl.col("sentence")) & index.is_between(span["first"], span["last"])
    return pl.when(inside & (index == span["first"])).then(span["form"]).when(inside).then(pl.lit(""))


def _conllu_rules(form: int, label: int, further: list[int]) -> list[Rule]:
    """List what a line of CoNLL-U must not be; `form`, `label` and `further` are the columns that are read."""
    tabs = LINE.str.count_matches("\t", literal=True)
    field = pl.col("field").struct.__getitem__
    tag = field(label)
    is_word, is_range = pl.col("index").is_not_null(), pl.col("last").is_not_null()
    base = pl.col("at") - pl.col("before")
    expected = pl.when("is_first").then(1 - pl.col("before")).otherwise(base.shift(1))
    inside = pl.col("before") + is_word
    rules = [
        NUL,
        Rule(tabs != 9, "does not have 10 columns split by TABs; fix: mend the line"),
        Rule(pl.col("at").is_null(), "has no id such as 3, 3-4 or 3.1; fix: number the line"),
        *(
            Rule(field(column).str.strip_chars() == "", f"has no {CONLLU_COLUMNS[column]}; a word has one; fix: fill it in")
            for column in (form, label, *further)
        ),
        Rule(base != expected, "has an id out of order; words count 1, 2, 3 in each sentence; fix: number it anew"),
        Rule(
            is_range & ~(pl.col("last") - pl.col("start")).is_between(1, MAX_RANGE),
            f"has a range that spans no words or over {MAX_RANGE}; fix: mend its id",
        ),
        Rule(
            is_range & (pl.col("reach").shift(1) > pl.col("before")),
            "has a range that overlaps the one before; a word stands in one at most; fix: mend its id",
        ),
        Rule(pl.col("is_last") & (pl.col("reach") > inside), "ends a sentence inside a range; fix: mend its id"),
    ]
    name = CONLLU_COLUMNS[label]
    if name in _NEEDED:
        rules.append(Rule(is_word & (tag == "_"), f"has no {name}; it is the label; fix: fill it in"))
    if name == "upos":
        rules.append(Rule(is_word & ~tag.is_in(UPOS), "has an upos that is none of the 17; fix: correct it"))
    return rules


def _broken_comments(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Find comments at a wrong place, and blank lines that are not empty."""
    is_comment = LINE.str.starts_with("#")
    rows = lines.select(
        "number",
        "line",
        "sentence",
        is_late=is_comment & (~BLANK & ~is_comment).shift(1),
        is_alone=is_comment & BLANK.shift(-1).fill_null(True),
    )
    rules = [
        Rule(BLANK & (LINE != ""), "is blank but not empty; it may be a lost word; fix: take out its white space"),
        Rule(pl.col("is_late"), "is a comment inside a sentence; fix: put it before the first word"),
        Rule(pl.col("is_alone"), "is a comment without a sentence; an example needs a token; fix: take it out"),
    ]
    return find_broken(rows, rules, "sentence")
