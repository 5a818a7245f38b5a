"""Corpus formats -> one schema, `EXAMPLE_SCHEMA`, by polars expressions over physical lines.

A reader checks its file in one streaming pass and names the line of what is wrong; the examples stay lazy until written.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.config import CorpusConfig
from pipeline.conllu import read_conllu
from pipeline.errors import DataError, ParamsError
from pipeline.reading import (
    BLANK,
    LINE,
    NUL,
    SEQUENCE_COLUMN,
    TOKEN_COLUMN,
    Locate,
    Malformed,
    Reading,
    Rule,
    collect,
    filled,
    find_broken,
    first_row,
    gather,
    in_cells,
    keep,
    number_sentences,
    scan_lines,
    sift,
    to_schema,
)
from pipeline.words import tokenize

_CSV_FIELD = r'(?:"(?:[^"]|"")*"|[^",]*)'


def worded(field: int | None = None) -> Rule:
    """Make the rule that there is text, in a field of a number if it has one."""
    is_empty = ~pl.col("text").fill_null("").str.contains(r"\S")
    return Rule(is_empty, "has no text; an example needs a token; fix: fill it in or take the row out", field)


def labelled(field: int | None = None) -> list[Rule]:
    """Make the rules that there is a label, in a field of a number if it has one, and no NUL."""
    is_empty = ~pl.col("label").fill_null("").str.contains(r"\S")
    return [NUL, Rule(is_empty, "has no label; fix: fill it in or take the row out", field)]


TAGGED = [
    Rule(
        pl.col("tokens").list.len().fill_null(0) == 0,
        "has no tokens; an example needs one; fix: fill it in or take it out",
    ),
    Rule(
        (pl.col("tokens").list.len() != pl.col("labels").list.len()).fill_null(True),
        "has not as many labels as tokens; each has one; fix: mend the line",
    ),
    Rule(
        pl.any_horizontal(
            pl.col(name).list.eval(~pl.element().fill_null("").str.contains(r"\S")).list.any() for name in ("tokens", "labels")
        ),
        "has an empty token or label; each says something; fix: fill it in",
    ),
]
NUMERIC = [
    Rule(pl.col("values").list.len().fill_null(0) == 0, "has no steps; an example needs one; fix: take it out"),
    Rule(
        pl.col("values").list.eval(pl.element().list.len()).list.n_unique() > 1,
        "has rows of unequal length; steps and dimensions make a rectangle; fix: mend the line",
    ),
    Rule(
        pl.col("values").list.eval(pl.element().list.eval(~pl.element().is_finite().fill_null(False)).list.any()).list.any(),
        "holds what is no finite number; gaps and time stamps are not read; fix: fill the gap or take the line out",
    ),
]


def read_columns(path: Path, corpus: CorpusConfig) -> Reading:
    """Read a word per line with its label, in columns split by TABs or else white space; a blank line ends a sentence."""
    # A line with a TAB is split there alone, so that a word may hold a space.
    spaces = LINE.str.strip_chars().str.replace_all(r"\s+", "\t")
    cells = pl.when(LINE.str.contains("\t", literal=True)).then(LINE).otherwise(spaces).str.split("\t")
    rows = number_sentences(scan_lines(path, corpus)).filter(~BLANK & ~LINE.str.starts_with("-DOCSTART-"))
    rows = rows.with_columns(cells=cells)
    width = first_row(rows, path)["cells"].list.len().item()
    places = [_column_number(key, name, width) for key, name in (("text", corpus.columns.text), ("label", corpus.columns.label))]
    token, label = (pl.col("cells").list.get(place, null_on_oob=True) for place in places)
    further = {
        f"{TOKEN_COLUMN}{name}": pl.col("cells").list.get(_column_number(f"per_token.{name}", column, width), null_on_oob=True)
        for name, column in corpus.columns.per_token.items()
    }
    nothing = pl.lit(None, pl.String)
    rows = rows.with_columns(token=token, label=label, sent_id=nothing, written=nothing, **further)
    rules = [
        Rule(pl.col("cells").list.len() != width, f"does not have {width} columns, as the first; fix: mend the line", width),
        Rule(~pl.col("token").str.contains(r"\S"), "has no word; a token can not be empty; fix: fill it in", places[0]),
        *labelled(places[1]),
        *map(filled, further),
    ]
    malformed = Malformed(path, corpus.skip_malformed)
    skip = sift([find_broken(rows, rules, "sentence")], malformed)
    return Reading(gather(rows, path, skip, corpus), malformed)


def read_csv(path: Path, corpus: CorpusConfig) -> Reading:
    """Read a CSV as RFC 4180 says, with a header; a quoted field may go over several lines."""
    quotes = LINE.str.count_matches('"', literal=True)
    # A line begins a record when the quotes before it are balanced.
    begins = (quotes.cum_sum() - quotes) % 2 == 0
    lines = scan_lines(path, corpus).with_columns(record=begins.cum_sum()).set_sorted("record")
    records = lines.group_by("record", maintain_order=True).agg(pl.col("number").first(), LINE.str.join("\n"))
    field = (pl.element().str.slice(1)).str
    is_quoted = field.starts_with('"')
    bare = pl.when(is_quoted).then(field.replace_all(r'\A"|"\z', "").str.replace_all('""', '"', literal=True))
    cells = (pl.lit(",") + LINE).str.extract_all(f",{_CSV_FIELD}").list.eval(bare.otherwise(pl.element().str.slice(1)))
    quoting = Rule(
        ~LINE.str.contains(rf"\A{_CSV_FIELD}(?:,{_CSV_FIELD})*\z"),
        "has a quote that is not closed or stands inside a field; records can not be told apart; "
        'fix: put the field in quotes and double those inside ("")',
    )
    return _read_table(records, cells, path, corpus, rules=[quoting], locate=_in_csv)


def read_tsv(path: Path, corpus: CorpusConfig) -> Reading:
    """Read TAB-separated values with a header; a quote is a character like any other."""
    return _read_table(scan_lines(path, corpus), LINE.str.split("\t"), path, corpus)


def read_orange_tab(path: Path, corpus: CorpusConfig) -> Reading:
    """Read Orange's TAB-separated values, whose header has three lines: names, types, roles."""
    lines = scan_lines(path, corpus).filter(~pl.col("number").is_in([2, 3]))
    return _read_table(lines, LINE.str.split("\t"), path, corpus)


def read_jsonl(path: Path, corpus: CorpusConfig) -> Reading:
    """Read a JSON object per line: text and label, lists of both (tagging), or steps of numbers (language `none`)."""
    form = _JSON_FORMS["numeric" if corpus.language == "none" else corpus.task]
    per_token = {f"{TOKEN_COLUMN}{name}": key for name, key in corpus.columns.per_token.items()}
    per_sequence = {f"{SEQUENCE_COLUMN}{name}": key for name, key in corpus.columns.per_sequence.items()}
    keys = {corpus.columns.text: form.text, corpus.columns.label: form.label}
    keys |= dict.fromkeys(per_token.values(), _STRINGS) | dict.fromkeys(per_sequence.values(), _STRING)
    lines = scan_lines(path, corpus).filter(~BLANK)
    record = _decode(pl.Struct(keys))
    is_bad = pl.col("number").is_in(_undecodable(lines, record, path))
    mended = ", ".join(f"{name!r} as {kind}" for name, kind in keys.items())
    wrong = lines.filter(is_bad).with_columns(problem=pl.lit(f"is no JSON object of {mended}; fix: mend the line"))
    get = pl.col("record").struct.field
    rows = lines.filter(~is_bad).with_columns(record=record)
    names = {form.text_name: get(corpus.columns.text), form.label_name: get(corpus.columns.label)}
    further = {name: get(key) for name, key in (per_token | per_sequence).items()}
    rows = rows.select("number", "line", **names, **further)
    rules = [*form.rules, *map(filled, per_sequence), *map(_parallel, per_token)]
    malformed = Malformed(path, corpus.skip_malformed, _in_json)
    skip = sift([wrong.with_columns(unit="number", field=0), find_broken(rows, rules)], malformed)
    return Reading(form.examples(keep(rows, path, skip), corpus), malformed)


def read_labelled_lines(path: Path, corpus: CorpusConfig) -> Reading:
    """Read `LABEL text` lines; of a label `COARSE:fine` the column `coarse` takes the first part, any other it whole."""
    parts = LINE.str.strip_chars().str.splitn(" ", 2).struct
    labels = {"label": corpus.columns.label} | {f"{SEQUENCE_COLUMN}{k}": v for k, v in corpus.columns.per_sequence.items()}
    columns = {name: parts[0].str.splitn(":", 2).struct[0] if kind == "coarse" else parts[0] for name, kind in labels.items()}
    rows = scan_lines(path, corpus).filter(~BLANK).with_columns(text=parts[1].str.strip_chars(), **columns)
    malformed = Malformed(path, corpus.skip_malformed)
    skip = sift([find_broken(rows, [worded(1), *labelled(0)])], malformed)
    return Reading(_text_examples(keep(rows, path, skip), corpus), malformed)


def read_sktime_ts(path: Path, corpus: CorpusConfig) -> Reading:
    """Read numeric series: after `@data`, dimensions split by `:`, their steps by `,`, the class last."""
    lines = scan_lines(path, corpus).filter(~BLANK & ~LINE.str.starts_with("#"))
    start = first_row(lines.filter(LINE.str.strip_chars().str.to_lowercase() == "@data"), path)["number"].item()
    rows = lines.filter(pl.col("number") > start).with_columns(cells=LINE.str.strip_chars().str.split(":"))
    width = first_row(rows, path)["cells"].list.len().item()
    rows = rows.with_columns(
        series=pl.col("cells").list.head(width - 1).list.eval(pl.element().str.split(",")),
        label=pl.col("cells").list.last(),
    )
    number = pl.element().str.strip_chars().cast(pl.Float32, strict=False)
    rows = rows.with_columns(values=pl.col("series").list.eval(pl.element().list.eval(number)))
    rules = [
        Rule(pl.col("cells").list.len() != width, f"has not {width - 1} dimensions and a class; fix: mend the line"),
        *NUMERIC,
        *labelled(),
    ]
    malformed = Malformed(path, corpus.skip_malformed)
    skip = sift([find_broken(rows, rules)], malformed)
    # Long form, for polars does not transpose lists: a row per number, gathered again by step.
    long = keep(rows, path, skip).with_columns(dimension=pl.int_ranges(pl.col("values").list.len()))
    long = long.explode("values", "dimension").with_columns(step=pl.int_ranges(pl.col("values").list.len()))
    long = long.explode("values", "step").sort("number", "step", "dimension")
    steps = long.group_by("number", "id", "label", "step", maintain_order=True).agg("values")
    examples = steps.group_by("number", "id", "label", maintain_order=True).agg("values")
    return Reading(_numeric_examples(examples, corpus), malformed)


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


def _column_number(key: str, name: str, width: int) -> int:
    if not name.isdecimal() or int(name) >= width:
        raise ParamsError(f"columns.{key} is {name!r}; they have no names; fix: use a number from 0 to {width - 1}")
    return int(name)


def _read_table(
    records: pl.LazyFrame,
    cells: pl.Expr,
    path: Path,
    corpus: CorpusConfig,
    *,
    rules: Sequence[Rule] = (),
    locate: Locate = in_cells,
) -> Reading:
    """Read records with a header; `cells` cuts the column `line` into a list."""
    rows = records.filter(~BLANK).with_columns(cells=cells)
    first = first_row(rows, path)
    header: list[str] = first["cells"].item().to_list()
    further = {f"{SEQUENCE_COLUMN}{name}": column for name, column in corpus.columns.per_sequence.items()}
    wanted = {"text": corpus.columns.text, "label": corpus.columns.label, **further}
    at = f"{path}:{first['number'].item()}:1"
    for key, name in wanted.items():
        if header.count(name) != 1:
            setting = key.replace(SEQUENCE_COLUMN, "per_sequence.")
            found = "no column" if name not in header else f"{header.count(name)} columns"
            raise DataError(f"{at}: has {found} {name!r}; it has {header}; fix: set columns.{setting}")
    columns = {key: pl.col("cells").list.get(header.index(name), null_on_oob=True) for key, name in wanted.items()}
    rows = rows.filter(pl.col("number") > first["number"].item()).with_columns(**columns)
    width, place = len(header), {key: header.index(name) for key, name in wanted.items()}
    ragged = Rule(pl.col("cells").list.len() != width, f"has not {width} columns; fix: mend the line", width)
    filled_in = [filled(name, place[name]) for name in further]
    malformed = Malformed(path, corpus.skip_malformed, locate)
    skip = sift([find_broken(rows, [*rules, ragged, worded(place["text"]), *labelled(place["label"]), *filled_in])], malformed)
    return Reading(_text_examples(keep(rows, path, skip), corpus), malformed)


def _in_csv(line: str, field: int) -> int:
    """Locate a field; a record of several lines is counted as one."""
    starts = [found.start(1) for found in re.finditer(rf"(?:^|,)({_CSV_FIELD})", line)]
    return starts[field] + 1 if field < len(starts) else len(line) + 1


def _in_json(line: str, _: int) -> int:
    """Locate where a line ceases to be JSON; 1 where it is, but not what is asked."""
    try:
        json.loads(line)
    except ValueError as error:
        return getattr(error, "colno", 1)
    except RecursionError:
        pass
    return 1


def _decode(kind: pl.Struct) -> pl.Expr:
    """Decode each line as JSON.

    polars decodes all lines as one list, in which what one line leaves open the next could close, and one line could be two
    entries. In an object of its own a line leaves nothing open: the next one's key would end it. So there are never fewer
    records than lines, and more alone show a line that is several.
    """
    return (pl.lit('{"record":') + LINE + pl.lit("}")).str.json_decode(pl.Struct({"record": kind})).struct.field("record")


def _undecodable(lines: pl.LazyFrame, record: pl.Expr, path: Path) -> list[int]:
    """Give the numbers of the lines that the decoder refuses; found by halves, for it does not name them."""
    first_row(lines, path)
    if _is_decodable(lines, record):
        return []
    (frame,) = collect([lines], path)
    numbers, halves = [], [frame]
    while halves:
        half = halves.pop()
        if _is_decodable(half.lazy(), record):
            continue
        middle = len(half) // 2
        if middle == 0:
            numbers.append(half["number"].item())
        else:
            halves += [half[:middle], half[middle:]]
    return sorted(numbers)


def _is_decodable(lines: pl.LazyFrame, record: pl.Expr) -> bool:
    counts = {"records": record.is_not_null().sum(), "nothings": record.is_null().sum(), "lines": pl.len()}
    try:
        num_records, num_nothings, num_lines = lines.select(**counts).collect(engine="streaming").row(0)
    except pl.exceptions.ComputeError:
        return False
    return bool(num_records + num_nothings == num_lines)


def _parallel(name: str) -> Rule:
    """Make the rule that a further column has a value for each token."""
    _, _, short = name.partition(":")
    is_short = (pl.col(name).list.len() != pl.col("tokens").list.len()).fill_null(True)
    is_empty = pl.col(name).list.eval(~pl.element().fill_null("").str.contains(r"\S")).list.any()
    return Rule(is_short | is_empty, f"has not a value of {short} for each token; fix: mend the line")


def _text_examples(rows: pl.LazyFrame, corpus: CorpusConfig) -> pl.LazyFrame:
    return to_schema(rows.with_columns(tokens=tokenize(pl.col("text")), labels=pl.concat_list("label")), corpus)


def _numeric_examples(rows: pl.LazyFrame, corpus: CorpusConfig) -> pl.LazyFrame:
    return to_schema(rows.with_columns(labels=pl.concat_list("label")), corpus)


@dataclass(frozen=True)
class _JsonForm:
    """What a JSON example's two keys hold and become, what they must not be, and how the rows become examples."""

    text_name: str
    text: pl.DataType
    label_name: str
    label: pl.DataType
    rules: Sequence[Rule]
    examples: Callable[[pl.LazyFrame, CorpusConfig], pl.LazyFrame]


_STRING, _STRINGS, _STEPS = pl.String(), pl.List(pl.String), pl.List(pl.List(pl.Float32))
_JSON_FORMS = {
    "classification": _JsonForm("text", _STRING, "label", _STRING, [worded(), *labelled()], _text_examples),
    "tagging": _JsonForm("tokens", _STRINGS, "labels", _STRINGS, TAGGED, to_schema),
    "numeric": _JsonForm("values", _STEPS, "label", _STRING, [*NUMERIC, *labelled()], _numeric_examples),
}
