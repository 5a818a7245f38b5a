"""Corpus formats -> one schema, `EXAMPLE_SCHEMA`, by polars expressions over physical lines.

A reader checks its file in one streaming pass and names the line of what is wrong; the examples stay lazy until
written. Repaired without a word: a byte order mark, CRLF, a missing or doubled blank line, an empty column of CoNLL-U
that is not read. Everything else that is not as its format says stops the reading, or leaves out the example where
`skip_malformed` says so. Nothing is normalised: a word comes out as it stands in the file.
"""

import codecs
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.config import CorpusConfig
from pipeline.errors import DataError, ParamsError

EXAMPLE_SCHEMA = pl.Schema(
    [
        ("id", pl.String()),
        ("text", pl.String()),
        ("tokens", pl.List(pl.String)),
        ("values", pl.List(pl.List(pl.Float32))),
        ("labels", pl.List(pl.String)),
        ("written", pl.List(pl.String)),
    ]
)
"""`tokens` or `values`, and `labels`, say what an example is. `written` stands beside `tokens` where a corpus splits words
that are written as one (Portuguese `da` into `de`, `a`): the whole at its first token, nothing ("") at the rest, null elsewhere.
"""
CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_OPEN_TAGS = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
_CLOSED_TAGS = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
UPOS = frozenset((*_OPEN_TAGS, *_CLOSED_TAGS, "PUNCT", "SYM", "X"))
# A longer range of words written as one is a slip of the pen; it must not reach into other sentences.
MAX_RANGE = 100

_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_NEEDED = frozenset({"upos", "xpos", "deprel"})
_TOKEN = "|".join(
    (
        r"\p{N}+(?:[.,:/]\p{N}+)+",  # 1.500,25  9:30  24/11
        r"\p{Lu}{1,3}\p{Sc}",  # R$
        r"[\p{L}\p{M}\p{N}_]+(?:['’\-‐][\p{L}\p{M}\p{N}_]+)*",
        r"\.{2,}",
        r"\S",
    )
)
_CSV_FIELD = r'(?:"(?:[^"]|"")*"|[^",]*)'
_LINE = pl.col("line")
# Stripping is several times faster than a pattern; these two run over every line.
_BLANK = _LINE.str.strip_chars() == ""
_SENT_ID = pl.when(_LINE.str.starts_with("# sent_id")).then(_LINE.str.splitn("=", 2).struct[1].str.strip_chars())
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    Attributes:
        frame: the examples, in `EXAMPLE_SCHEMA`, in the order of the file.
        skipped: examples left out as malformed.
    """

    frame: pl.LazyFrame
    skipped: int


@dataclass(frozen=True)
class _Rule:
    """When a row is broken, and the text for it: what; why; fix."""

    broken: pl.Expr
    text: str


_NUL = _Rule(_LINE.str.contains("\0", literal=True), "holds a NUL; it is no text; fix: take the byte out")
_TWICE = _Rule(pl.lit(True), "names a sentence twice; a sent_id is unique in its file; fix: give it another")
_WORDED = [
    _Rule(
        ~pl.col("text").fill_null("").str.contains(r"\S"),
        "has no text; an example needs a token; fix: fill it in or take the row out",
    )
]
_LABELLED = [
    _NUL,
    _Rule(~pl.col("label").fill_null("").str.contains(r"\S"), "has no label; fix: fill it in or take the row out"),
]
_TAGGED = [
    _Rule(
        pl.col("tokens").list.len().fill_null(0) == 0,
        "has no tokens; an example needs one; fix: fill it in or take it out",
    ),
    _Rule(
        (pl.col("tokens").list.len() != pl.col("labels").list.len()).fill_null(True),
        "has not as many labels as tokens; each has one; fix: mend the line",
    ),
    _Rule(
        pl.any_horizontal(
            pl.col(name).list.eval(~pl.element().fill_null("").str.contains(r"\S")).list.any() for name in ("tokens", "labels")
        ),
        "has an empty token or label; each says something; fix: fill it in",
    ),
]
_NUMERIC = [
    _Rule(pl.col("values").list.len().fill_null(0) == 0, "has no steps; an example needs one; fix: take it out"),
    _Rule(
        pl.col("values").list.eval(pl.element().list.len()).list.n_unique() > 1,
        "has rows of unequal length; steps and dimensions make a rectangle; fix: mend the line",
    ),
    _Rule(
        pl.col("values").list.eval(pl.element().list.eval(~pl.element().is_finite().fill_null(False)).list.any()).list.any(),
        "holds what is no finite number; gaps and time stamps are not read; fix: fill the gap or take the line out",
    ),
]


def tokenize(text: pl.Expr) -> pl.Expr:
    """Cut raw text into words and numbers, which may hold signs such as an apostrophe or a comma, and single signs.

    Returns:
        List(String), empty where the text is.
    """
    return text.str.extract_all(_TOKEN)


def read_conllu(path: Path, corpus: CorpusConfig) -> Reading:
    """Read CoNLL-U: a token per word line; ranges (`1-2`) and empty nodes (`1.1`) are checked and left out."""
    form = _conllu_column("text", "form" if corpus.columns.text == "text" else corpus.columns.text)
    label = _conllu_column("label", "upos" if corpus.columns.label == "label" else corpus.columns.label)
    lines = _sentences(_lines(path, corpus))
    problems = [_broken(_word_lines(lines, max(form, label)), _conllu_rules(form, label), "sentence"), _broken_comments(lines)]
    ids = lines.select("number", "line", "sentence", id=_SENT_ID).drop_nulls("id")
    skip = _sift(problems, path, corpus, ids=ids)
    # A blank line takes the id away, lest the next sentence inherit it.
    sent_id = pl.when(_BLANK).then(pl.lit("")).otherwise(_SENT_ID).forward_fill()
    field = pl.col("field").struct
    words = (
        lines.with_columns(sent_id=sent_id, field=_LINE.str.splitn("\t", max(form, label) + 2))
        .with_columns(index=field[0].cast(pl.UInt32, strict=False), range=_range_so_far())
        .filter(pl.col("index").is_not_null())
        .select("number", "sentence", "sent_id", token=field[form], label=field[label], written=_written())
    )
    return Reading(_gather(words, path, skip), len(skip))


def read_columns(path: Path, corpus: CorpusConfig) -> Reading:
    """Read a word per line with its label, in columns split by TABs or else white space; a blank line ends a sentence."""
    # A line with a TAB is split there alone, so that a word may hold a space.
    spaces = _LINE.str.strip_chars().str.replace_all(r"\s+", "\t")
    cells = pl.when(_LINE.str.contains("\t", literal=True)).then(_LINE).otherwise(spaces).str.split("\t")
    rows = _sentences(_lines(path, corpus)).filter(~_BLANK & ~_LINE.str.starts_with("-DOCSTART-"))
    rows = rows.with_columns(cells=cells)
    width = _first(rows, path)["cells"].list.len().item()
    token = pl.col("cells").list.get(_column_number("text", corpus.columns.text, width), null_on_oob=True)
    label = pl.col("cells").list.get(_column_number("label", corpus.columns.label, width), null_on_oob=True)
    nothing = pl.lit(None, pl.String)
    rows = rows.with_columns(token=token, label=label, sent_id=nothing, written=nothing)
    rules = [
        _Rule(pl.col("cells").list.len() != width, f"does not have {width} columns, as the first; fix: mend the line"),
        _Rule(~pl.col("token").str.contains(r"\S"), "has no word; a token can not be empty; fix: fill it in"),
        *_LABELLED,
    ]
    skip = _sift([_broken(rows, rules, "sentence")], path, corpus)
    return Reading(_gather(rows, path, skip), len(skip))


def read_csv(path: Path, corpus: CorpusConfig) -> Reading:
    """Read a CSV as RFC 4180 says, with a header; a quoted field may go over several lines."""
    quotes = _LINE.str.count_matches('"', literal=True)
    # A line begins a record when the quotes before it are balanced.
    begins = (quotes.cum_sum() - quotes) % 2 == 0
    lines = _lines(path, corpus).with_columns(record=begins.cum_sum()).set_sorted("record")
    records = lines.group_by("record", maintain_order=True).agg(pl.col("number").first(), _LINE.str.join("\n"))
    field = (pl.element().str.slice(1)).str
    is_quoted = field.starts_with('"')
    bare = pl.when(is_quoted).then(field.replace_all(r'\A"|"\z', "").str.replace_all('""', '"', literal=True))
    cells = (pl.lit(",") + _LINE).str.extract_all(f",{_CSV_FIELD}").list.eval(bare.otherwise(pl.element().str.slice(1)))
    quoting = _Rule(
        ~_LINE.str.contains(rf"\A{_CSV_FIELD}(?:,{_CSV_FIELD})*\z"),
        "has a quote that is not closed or stands inside a field; records can not be told apart; "
        'fix: put the field in quotes and double those inside ("")',
    )
    return _read_table(records, cells, path, corpus, rules=[quoting])


def read_tsv(path: Path, corpus: CorpusConfig) -> Reading:
    """Read TAB-separated values with a header; a quote is a character like any other."""
    return _read_table(_lines(path, corpus), _LINE.str.split("\t"), path, corpus)


def read_orange_tab(path: Path, corpus: CorpusConfig) -> Reading:
    """Read Orange's TAB-separated values, whose header has three lines: names, types, roles."""
    lines = _lines(path, corpus).filter(~pl.col("number").is_in([2, 3]))
    return _read_table(lines, _LINE.str.split("\t"), path, corpus)


def read_jsonl(path: Path, corpus: CorpusConfig) -> Reading:
    """Read a JSON object per line: text and label, lists of both (tagging), or steps of numbers (language `none`)."""
    form = _JSON_FORMS["numeric" if corpus.language == "none" else corpus.task]
    keys = {corpus.columns.text: form.text, corpus.columns.label: form.label}
    lines = _lines(path, corpus).filter(~_BLANK)
    record = _LINE.str.json_decode(pl.Struct(keys))
    is_bad = pl.col("number").is_in(_undecodable(lines, record, path))
    mended = ", ".join(f"{name!r} as {kind}" for name, kind in keys.items())
    wrong = lines.filter(is_bad).with_columns(problem=pl.lit(f"is no JSON object of {mended}; fix: mend the line"))
    get = pl.col("record").struct.field
    rows = lines.filter(~is_bad).with_columns(record=record)
    names = {form.text_name: get(corpus.columns.text), form.label_name: get(corpus.columns.label)}
    rows = rows.select("number", "line", **names)
    skip = _sift([wrong.with_columns(unit="number"), _broken(rows, form.rules)], path, corpus)
    return Reading(form.examples(_kept(rows, path, skip)), len(skip))


def read_labelled_lines(path: Path, corpus: CorpusConfig) -> Reading:
    """Read `LABEL text` lines; of a label `COARSE:fine` the column `coarse` takes the first part, any other it whole."""
    parts = _LINE.str.strip_chars().str.splitn(" ", 2).struct
    label = parts[0].str.splitn(":", 2).struct[0] if corpus.columns.label == "coarse" else parts[0]
    rows = _lines(path, corpus).filter(~_BLANK).with_columns(label=label, text=parts[1].str.strip_chars())
    skip = _sift([_broken(rows, [*_WORDED, *_LABELLED])], path, corpus)
    return Reading(_text_examples(_kept(rows, path, skip)), len(skip))


def read_sktime_ts(path: Path, corpus: CorpusConfig) -> Reading:
    """Read numeric series: after `@data`, dimensions split by `:`, their steps by `,`, the class last."""
    lines = _lines(path, corpus).filter(~_BLANK & ~_LINE.str.starts_with("#"))
    start = _first(lines.filter(_LINE.str.strip_chars().str.to_lowercase() == "@data"), path)["number"].item()
    rows = lines.filter(pl.col("number") > start).with_columns(cells=_LINE.str.strip_chars().str.split(":"))
    width = _first(rows, path)["cells"].list.len().item()
    rows = rows.with_columns(
        series=pl.col("cells").list.head(width - 1).list.eval(pl.element().str.split(",")),
        label=pl.col("cells").list.last(),
    )
    number = pl.element().str.strip_chars().cast(pl.Float32, strict=False)
    rows = rows.with_columns(values=pl.col("series").list.eval(pl.element().list.eval(number)))
    rules = [
        _Rule(pl.col("cells").list.len() != width, f"has not {width - 1} dimensions and a class; fix: mend the line"),
        *_NUMERIC,
        *_LABELLED,
    ]
    skip = _sift([_broken(rows, rules)], path, corpus)
    # Long form, for polars does not transpose lists: a row per number, gathered again by step.
    long = _kept(rows, path, skip).with_columns(dimension=pl.int_ranges(pl.col("values").list.len()))
    long = long.explode("values", "dimension").with_columns(step=pl.int_ranges(pl.col("values").list.len()))
    long = long.explode("values", "step").sort("number", "step", "dimension")
    steps = long.group_by("number", "id", "label", "step", maintain_order=True).agg("values")
    examples = steps.group_by("number", "id", "label", maintain_order=True).agg("values")
    return Reading(_numeric_examples(examples), len(skip))


Reader = Callable[[Path, CorpusConfig], Reading]
READERS: dict[str, Reader] = {
    "conllu": read_conllu,
    "columns": read_columns,
    "csv": read_csv,
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "labelled-lines": read_labelled_lines,
    "orange-tab": read_orange_tab,
    "sktime-ts": read_sktime_ts,
}


def _lines(path: Path, corpus: CorpusConfig) -> pl.LazyFrame:
    """Scan the physical lines, without CR and byte order mark: `number` from 1, `line`."""
    if not path.is_file():
        raise DataError(f"{path}:1:1: is no file; the corpus names it in `splits`; fix: fetch again or mend the name")
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise DataError(f"{path}:1:1: is empty; a split needs examples; fix: fetch again or fill it")
    wide = next((name for bom, name in _WIDE.items() if head.startswith(bom)), None)
    if wide is not None:
        raise DataError(f"{path}:1:1: is {wide}; files are read as {corpus.encoding}; fix: save it as UTF-8")
    # polars reads UTF-8 alone; a latin-1 file, rare and small, is turned in memory.
    source = path if corpus.encoding == "utf8" else path.read_bytes().decode("latin-1").encode()
    lines = pl.scan_lines(source, glob=False, row_index_name="number", row_index_offset=1)
    if head.startswith(codecs.BOM_UTF8):
        stripped = pl.when(pl.col("number") == 1).then(_LINE.str.strip_prefix("\ufeff"))
        lines = lines.with_columns(line=stripped.otherwise(_LINE))
    return lines


def _sentences(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Number the blocks between blank lines, in `sentence`."""
    return lines.with_columns(sentence=_BLANK.cum_sum())


def _word_lines(lines: pl.LazyFrame, last_column: int) -> pl.LazyFrame:
    """Place the lines of words, ranges and empty nodes: one file-wide scale finds every gap without grouping.

    Returns:
        `field` (id, form, ...), `index` (of the word on the line, else null), `start` and `last` (of a range), `at`
        (the word, from 1, at which the line stands), `before` (words before it in the file), `is_first`, `is_last` (of
        its sentence), `reach` (words of the file up to the end of the furthest range so far).
    """
    rows = lines.filter(~_BLANK & ~_LINE.str.starts_with("#")).with_columns(field=_LINE.str.splitn("\t", last_column + 2))
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
    # A word's id has no "-", a range's has; other lines are not split.
    bounds = pl.when(_LINE.str.contains(r"^\d+-")).then(field[0]).str.splitn("-", 2).struct
    last = bounds[1].cast(pl.UInt32, strict=False)
    found = pl.struct("sentence", first=bounds[0].cast(pl.UInt32, strict=False), last=last, form=field[1])
    return pl.when(last.is_not_null()).then(found).forward_fill()


def _written() -> pl.Expr:
    """Give what a word begins where it is written as one with those after it, "" where it is one of those, else null."""
    index, span = pl.col("index"), pl.col("range").struct
    inside = (span["sentence"] == pl.col("sentence")) & index.is_between(span["first"], span["last"])
    return pl.when(inside & (index == span["first"])).then(span["form"]).when(inside).then(pl.lit(""))


def _conllu_rules(form: int, label: int) -> list[_Rule]:
    """List what a line of CoNLL-U must not be; `form` and `label` are the columns that are read."""
    tabs = _LINE.str.count_matches("\t", literal=True)
    field = pl.col("field").struct.__getitem__
    tag = field(label)
    is_word, is_range = pl.col("index").is_not_null(), pl.col("last").is_not_null()
    base = pl.col("at") - pl.col("before")
    expected = pl.when("is_first").then(1 - pl.col("before")).otherwise(base.shift(1))
    inside = pl.col("before") + is_word
    rules = [
        _NUL,
        _Rule(tabs != 9, "does not have 10 columns split by TABs; fix: mend the line"),
        _Rule(pl.col("at").is_null(), "has no id such as 3, 3-4 or 3.1; fix: number the line"),
        *(
            _Rule(field(column).str.strip_chars() == "", f"has no {CONLLU_COLUMNS[column]}; a word has one; fix: fill it in")
            for column in (form, label)
        ),
        _Rule(base != expected, "has an id out of order; words count 1, 2, 3 in each sentence; fix: number it anew"),
        _Rule(
            is_range & ~(pl.col("last") - pl.col("start")).is_between(1, MAX_RANGE),
            f"has a range that spans no words or over {MAX_RANGE}; fix: mend its id",
        ),
        _Rule(
            is_range & (pl.col("reach").shift(1) > pl.col("before")),
            "has a range that overlaps the one before; a word stands in one at most; fix: mend its id",
        ),
        _Rule(pl.col("is_last") & (pl.col("reach") > inside), "ends a sentence inside a range; fix: mend its id"),
    ]
    name = CONLLU_COLUMNS[label]
    if name in _NEEDED:
        rules.append(_Rule(is_word & (tag == "_"), f"has no {name}; it is the label; fix: fill it in"))
    if name == "upos":
        rules.append(_Rule(is_word & ~tag.is_in(UPOS), "has an upos that is none of the 17; fix: correct it"))
    return rules


def _broken_comments(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Find comments at a wrong place, and blank lines that are not empty."""
    is_comment = _LINE.str.starts_with("#")
    rows = lines.select(
        "number",
        "line",
        "sentence",
        is_late=is_comment & (~_BLANK & ~is_comment).shift(1),
        is_alone=is_comment & _BLANK.shift(-1).fill_null(True),
    )
    rules = [
        _Rule(_BLANK & (_LINE != ""), "is blank but not empty; it may be a lost word; fix: take out its white space"),
        _Rule(pl.col("is_late"), "is a comment inside a sentence; fix: put it before the first word"),
        _Rule(pl.col("is_alone"), "is a comment without a sentence; an example needs a token; fix: take it out"),
    ]
    return _broken(rows, rules, "sentence")


def _conllu_column(key: str, name: str) -> int:
    if name not in CONLLU_COLUMNS:
        known = ", ".join(CONLLU_COLUMNS)
        raise ParamsError(f"columns.{key} is {name!r}; CoNLL-U has no such column; fix: use one of {known}")
    return CONLLU_COLUMNS.index(name)


def _column_number(key: str, name: str, width: int) -> int:
    if not name.isdecimal() or int(name) >= width:
        raise ParamsError(f"columns.{key} is {name!r}; they have no names; fix: use a number from 0 to {width - 1}")
    return int(name)


def _read_table(records: pl.LazyFrame, cells: pl.Expr, path: Path, corpus: CorpusConfig, rules: Sequence[_Rule] = ()) -> Reading:
    """Read records with a header; `cells` cuts the column `line` into a list."""
    rows = records.filter(~_BLANK).with_columns(cells=cells)
    first = _first(rows, path)
    header: list[str] = first["cells"].item().to_list()
    wanted = {"text": corpus.columns.text, "label": corpus.columns.label}
    at = f"{path}:{first['number'].item()}:1"
    for key, name in wanted.items():
        if header.count(name) != 1:
            raise DataError(f"{at}: has {header.count(name)} columns {name!r}; it has {header}; fix: set columns.{key}")
    columns = {key: pl.col("cells").list.get(header.index(name), null_on_oob=True) for key, name in wanted.items()}
    rows = rows.filter(pl.col("number") > first["number"].item()).with_columns(**columns)
    ragged = _Rule(pl.col("cells").list.len() != len(header), f"has not {len(header)} columns; fix: mend the line")
    skip = _sift([_broken(rows, [*rules, ragged, *_WORDED, *_LABELLED])], path, corpus)
    return Reading(_text_examples(_kept(rows, path, skip)), len(skip))


def _broken(rows: pl.LazyFrame, rules: Sequence[_Rule], unit: str = "number") -> pl.LazyFrame:
    """Find the rows that break a rule: `number`, `line`, `problem`, and in `unit` what goes with a broken row."""
    problem = pl.coalesce(*[pl.when(rule.broken).then(pl.lit(rule.text)) for rule in rules])
    rows = rows.with_columns(problem=problem, unit=pl.col(unit))
    return rows.filter(pl.col("problem").is_not_null()).select("number", "line", "unit", "problem")


def _sift(problems: Sequence[pl.LazyFrame], path: Path, corpus: CorpusConfig, ids: pl.LazyFrame | None = None) -> list[int]:
    """Stop at the first problem or, where the corpus says so, give the units to leave out.

    Args:
        ids: `id` and its `sentence`; none may come twice.

    Raises:
        DataError: naming the line.
    """
    found = _collect([*problems, *([ids] if ids is not None else [])], path)
    if ids is not None:
        twice = found.pop().filter(~pl.col("id").is_first_distinct())
        found.append(_broken(twice.lazy(), [_TWICE], "sentence").collect())
    wrong = pl.concat(found, how="diagonal_relaxed").sort("number")
    if wrong.is_empty():
        return []
    number, line, problem = wrong.select("number", "line", "problem").row(0)
    more = f" (and {len(wrong) - 1:,} more lines)" if len(wrong) > 1 else ""
    text = f"{path}:{number}:1: {line[:60]!r} {problem}{more}"
    if not corpus.skip_malformed:
        raise DataError(text)
    units: list[int] = wrong["unit"].unique().to_list()
    _log.warning("%d malformed examples left out; the first: %s", len(units), text)
    return units


def _collect(frames: Sequence[pl.LazyFrame], path: Path) -> list[pl.DataFrame]:
    """Run queries over a file together, naming the line where its bytes are no text."""
    try:
        return pl.collect_all(frames, engine="streaming")
    except pl.exceptions.ComputeError:
        _check_encoding(path)
        raise


def _check_encoding(path: Path) -> None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"0x{line[error.start]:02x}"
                what = f"{path}:{number}:{error.start + 1}: holds the byte {byte}; it is not UTF-8"
                raise DataError(f"{what}; fix: save it as UTF-8 or set `encoding: latin1`") from None


def _first(rows: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Read the first row alone."""
    (first,) = _collect([rows.head(1)], path)
    if first.is_empty():
        raise DataError(f"{path}:1:1: holds no example of its format; fix: check `format` and the file")
    return first


def _undecodable(lines: pl.LazyFrame, record: pl.Expr, path: Path) -> list[int]:
    """Give the numbers of the lines that the decoder refuses; found by halves, for it does not name them."""
    _first(lines, path)
    try:
        lines.select(record.is_null().sum()).collect(engine="streaming")
    except pl.exceptions.ComputeError:
        (frame,) = _collect([lines], path)
    else:
        return []
    numbers, halves = [], [frame]
    while halves:
        half = halves.pop()
        try:
            half.select(record)
        except pl.exceptions.ComputeError:
            middle = len(half) // 2
            if middle == 0:
                numbers.append(half["number"].item())
            else:
                halves += [half[:middle], half[middle:]]
    return sorted(numbers)


def _kept(rows: pl.LazyFrame, path: Path, skip: list[int]) -> pl.LazyFrame:
    """Leave out the rows numbered in `skip` and name each other one after its place in the file."""
    return rows.filter(~pl.col("number").is_in(skip)).with_columns(id=_place(path))


def _place(path: Path) -> pl.Expr:
    return pl.format("{}:{}", pl.lit(path.name), pl.col("number"))


def _gather(rows: pl.LazyFrame, path: Path, skip: list[int]) -> pl.LazyFrame:
    """Gather the words of each sentence; without a `sent_id` it is named after the place of its first word."""
    kept = rows.filter(~pl.col("sentence").is_in(skip)) if skip else rows
    # The numbers of sentences rise; told so, polars groups them in a stream.
    sentences = kept.set_sorted("sentence").group_by("sentence", maintain_order=True)
    grouped = sentences.agg(
        pl.col("number").first(),
        pl.col("sent_id").first(),
        tokens="token",
        labels="label",
        written="written",
    )
    is_named = pl.col("sent_id").fill_null("") != ""
    return _examples(grouped.with_columns(id=pl.when(is_named).then("sent_id").otherwise(_place(path))))


def _text_examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    return _examples(rows.with_columns(tokens=tokenize(pl.col("text")), labels=pl.concat_list("label")))


def _numeric_examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    return _examples(rows.with_columns(labels=pl.concat_list("label")))


def _examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Bring rows to `EXAMPLE_SCHEMA`; a column that they lack is null."""
    names = rows.collect_schema().names()
    return rows.select(
        (pl.col(name) if name in names else pl.lit(None)).cast(kind).alias(name) for name, kind in EXAMPLE_SCHEMA.items()
    )


@dataclass(frozen=True)
class _JsonForm:
    """What a JSON example's two keys hold and become, what they must not be, and how the rows become examples."""

    text_name: str
    text: pl.DataType
    label_name: str
    label: pl.DataType
    rules: Sequence[_Rule]
    examples: Callable[[pl.LazyFrame], pl.LazyFrame]


_STRING, _STRINGS, _STEPS = pl.String(), pl.List(pl.String), pl.List(pl.List(pl.Float32))
_JSON_FORMS = {
    "classification": _JsonForm("text", _STRING, "label", _STRING, [*_WORDED, *_LABELLED], _text_examples),
    "tagging": _JsonForm("tokens", _STRINGS, "labels", _STRINGS, _TAGGED, _examples),
    "numeric": _JsonForm("values", _STEPS, "label", _STRING, [*_NUMERIC, *_LABELLED], _numeric_examples),
}
