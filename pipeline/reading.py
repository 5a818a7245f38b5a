"""What every reader shares: the one schema, physical lines, rules they must keep, and the line that breaks one.

Repaired without a word: a byte order mark, CRLF. Everything else that is not as its format says stops the reading, or leaves
out the example where `skip_malformed` says so. Nothing is normalised: a word comes out as it stands in the file.
"""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from pipeline.config import CorpusConfig
from pipeline.errors import DataError

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
"""`tokens` or `values`, and `labels`, say what an example is. `written` stands beside `tokens` where an example has words
that are written as one (Portuguese `da` for `de`, `a`): the whole at its first token, nothing ("") at the rest, null elsewhere.
"""
TOKEN_COLUMN = "token:"
SEQUENCE_COLUMN = "sequence:"
"""What stands before the names of further columns, which follow those of `EXAMPLE_SCHEMA`: one value per token or in all."""
_WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_PACKED = (b"\x1f\x8b", b"x\x01", b"x\x9c", b"x\xda", b"\x28\xb5\x2f\xfd")
LINE = pl.col("line")
# Stripping is several times faster than a pattern; these two run over every line.
BLANK = LINE.str.strip_chars() == ""
MOST_PROBLEMS = 20
"""Of a file that are told one by one."""


@dataclass(frozen=True)
class Problem:
    """A line that is not as its format says: its number and column, from 1, how it begins, and what; why; fix."""

    number: int
    column: int
    line: str
    text: str

    def at(self, path: Path) -> str:
        """Name it with its place."""
        return f"{path}:{self.number}:{self.column}: {self.line!r} {self.text}"


class MalformedError(DataError):
    """A file with malformed lines, all that were found."""

    def __init__(self, malformed: "Malformed") -> None:
        super().__init__(malformed.tell())
        self.malformed = malformed


Locate = Callable[[str, int], int]
"""Gives the column, from 1, where a field of a line begins, whose number from 0 a rule names."""


def in_cells(line: str, field: int) -> int:
    """Locate a field among those split by TABs or, without one, by white space; the line's end where it has no such."""
    starts = [cell.start() for cell in re.finditer(r"(?<![^\t])" if "\t" in line else r"\S+", line)]
    return starts[field] + 1 if field < len(starts) else len(line) + 1


@dataclass
class Malformed:
    """What of a file is malformed: told all at once when it is read or, where the corpus says so, left out and counted.

    Attributes:
        skip: whether to leave it out.
        locate: finds the column of a field.
        count: examples to leave out.
        problems: the first of the lines that are wrong, at most `MOST_PROBLEMS`.
        kinds: what is wrong -> the number of lines.
    """

    path: Path
    skip: bool = False
    locate: Locate = in_cells
    count: int = 0
    problems: list[Problem] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def sift(self, wrong: pl.DataFrame) -> list[int]:
        """Note what is wrong, and give the units to leave out.

        Args:
            wrong: rows as `find_broken` gives them, in any order.
        """
        if wrong.is_empty():
            return []
        wrong = wrong.sort("number", maintain_order=True).unique("number", keep="first", maintain_order=True)
        for number, line, text, cell in wrong.select("number", "line", "problem", "field").head(MOST_PROBLEMS).rows():
            self.note(Problem(number, self._column(line, cell), line, text))
        units: list[int] = wrong["unit"].unique().to_list()
        self.count += len(units)
        self.kinds += Counter(dict(wrong["problem"].value_counts().iter_rows()))
        return units

    def note(self, problem: Problem) -> None:
        """Keep a problem, unless there are many."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(replace(problem, line=problem.line[:60]))

    def _column(self, line: str, cell: int | None) -> int:
        if "\0" in line:
            return line.index("\0") + 1
        return 1 if cell is None else self.locate(line, cell)

    def tell(self) -> str:
        """Give a line for each problem, and how many of which kind there are beyond those."""
        told = Counter(problem.text for problem in self.problems)
        lines = [problem.at(self.path) for problem in self.problems]
        return "\n".join(lines + [f"{self.path}: {num:,} more lines: {text}" for text, num in (self.kinds - told).most_common()])

    def report(self) -> None:
        """Stop at what is malformed, unless it is left out.

        Raises:
            MalformedError: naming each line, up to a number, and counting the rest.
        """
        if self.problems and not self.skip:
            raise MalformedError(self)


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    Attributes:
        frame: the examples, in `EXAMPLE_SCHEMA`, in the order of the file.
        malformed: what is left out; some readers know it when the frame has been read.
    """

    frame: pl.LazyFrame
    malformed: Malformed


@dataclass(frozen=True)
class Rule:
    """When a row is broken, and the text for it: what; why; fix. A null text takes it back: a slow test can follow a fast one."""

    broken: pl.Expr
    text: str | pl.Expr
    field: int | None = None
    """The number from 0 of the field that is wrong, where one is."""


NUL = Rule(LINE.str.contains("\0", literal=True), "holds a NUL; it is no text; fix: take the byte out")


def check_text(path: Path, corpus: CorpusConfig) -> bytes:
    """Refuse what is no file of text; gives its first bytes."""
    if not path.is_file():
        raise DataError(f"{path}:1:1: is no file; the corpus names it in `splits`; fix: fetch again or mend the name")
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise DataError(f"{path}:1:1: is empty; a split needs examples; fix: fetch again or fill it")
    wide = next((name for bom, name in _WIDE.items() if head.startswith(bom)), None)
    if wide is not None:
        raise DataError(f"{path}:1:1: is {wide}; files are read as {corpus.encoding}; fix: save it as UTF-8")
    if head.startswith(_PACKED):  # polars would unpack it, whatever comes of it
        raise DataError(f"{path}:1:1: is compressed (gzip, zlib or zstd); text is read as it is; fix: unpack it")
    return head


def scan_lines(path: Path, corpus: CorpusConfig) -> pl.LazyFrame:
    """Scan the physical lines, without CR and byte order mark: `number` from 1, `line`."""
    head = check_text(path, corpus)
    # polars reads UTF-8 alone; a latin-1 file, rare and small, is turned in memory.
    source = path if corpus.encoding == "utf8" else path.read_bytes().decode("latin-1").encode()
    lines = pl.scan_lines(source, glob=False, row_index_name="number", row_index_offset=1)
    if head.startswith(codecs.BOM_UTF8):
        stripped = pl.when(pl.col("number") == 1).then(LINE.str.strip_prefix("\ufeff"))
        lines = lines.with_columns(line=stripped.otherwise(LINE))
    return lines


def number_sentences(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Number the blocks between blank lines, in `sentence`."""
    return lines.with_columns(sentence=BLANK.cum_sum())


def find_broken(rows: pl.LazyFrame, rules: Sequence[Rule], unit: str = "number") -> pl.LazyFrame:
    """Find the rows that break a rule: `number`, `line`, `problem`, `field`, and in `unit` what goes with a broken row."""
    flags = {f"broken {place}": rule.broken for place, rule in enumerate(rules)}
    texts = [rule.text if isinstance(rule.text, pl.Expr) else pl.lit(rule.text) for rule in rules]
    is_first = [pl.col(flag) & text.is_not_null() for flag, text in zip(flags, texts, strict=True)]
    problem = pl.coalesce(pl.when(flag).then(text) for flag, text in zip(is_first, texts, strict=True))
    place = pl.coalesce(pl.when(flag).then(pl.lit(number)) for number, flag in enumerate(is_first))
    broken = rows.with_columns(**flags).filter(pl.any_horizontal(*flags))
    found = place.replace_strict(dict(enumerate(rule.field for rule in rules)), return_dtype=pl.Int32)
    return broken.select("number", "line", unit=pl.col(unit), problem=problem, field=found).drop_nulls("problem")


def sift(problems: Sequence[pl.LazyFrame], malformed: Malformed) -> list[int]:
    """Stop at what is malformed or, where the corpus says so, give the units to leave out.

    Raises:
        MalformedError: naming the lines.
    """
    skip = malformed.sift(pl.concat(collect(problems, malformed.path), how="diagonal_relaxed"))
    malformed.report()
    return skip


def collect(frames: Sequence[pl.LazyFrame], path: Path) -> list[pl.DataFrame]:
    """Run queries over a file together, naming the line where its bytes are no text."""
    try:
        return pl.collect_all(frames, engine="streaming")
    except pl.exceptions.ComputeError:
        _check_encoding(path)
        raise


def _check_encoding(path: Path) -> None:
    malformed = Malformed(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                text = (
                    f"holds the byte 0x{line[error.start]:02x}; it is not UTF-8; fix: save it as UTF-8 or set `encoding: latin1`"
                )
                column = len(line[: error.start].decode()) + 1
                malformed.note(Problem(number, column, line.decode(errors="replace").rstrip("\r\n"), text))
                malformed.kinds[text] += 1
    malformed.report()


def first_row(rows: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Read the first row alone."""
    (first,) = collect([rows.head(1)], path)
    if first.is_empty():
        raise DataError(f"{path}:1:1: holds no example of its format; fix: check `format` and the file")
    return first


def keep(rows: pl.LazyFrame, path: Path, skip: list[int]) -> pl.LazyFrame:
    """Leave out the rows numbered in `skip` and name each other one after its place in the file."""
    return rows.filter(~pl.col("number").is_in(skip)).with_columns(id=place(path))


def place(path: Path) -> pl.Expr:
    """Name an example after the line where it begins."""
    return pl.format("{}:{}", pl.lit(path.name), pl.col("number"))


def gather(rows: pl.LazyFrame, path: Path, skip: list[int], corpus: CorpusConfig) -> pl.LazyFrame:
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
        **{name: pl.col(name) if kind == pl.List else pl.col(name).first() for name, kind in further_schema(corpus).items()},
    )
    is_named = pl.col("sent_id").fill_null("") != ""
    return to_schema(grouped.with_columns(id=pl.when(is_named).then("sent_id").otherwise(place(path))), corpus)


def further_schema(corpus: CorpusConfig) -> dict[str, pl.DataType]:
    """Name the further columns of a corpus's examples."""
    columns = corpus.columns
    per_token: dict[str, pl.DataType] = {f"{TOKEN_COLUMN}{name}": pl.List(pl.String) for name in columns.per_token}
    return per_token | {f"{SEQUENCE_COLUMN}{name}": pl.String() for name in columns.per_sequence}


def to_schema(rows: pl.LazyFrame, corpus: CorpusConfig) -> pl.LazyFrame:
    """Bring rows to `EXAMPLE_SCHEMA` and the corpus's further columns; a column that they lack is null."""
    names = rows.collect_schema().names()
    kinds = EXAMPLE_SCHEMA | further_schema(corpus)
    return rows.select((pl.col(name) if name in names else pl.lit(None)).cast(kind).alias(name) for name, kind in kinds.items())


def filled(name: str, field: int | None = None) -> Rule:
    """Make the rule that a further column holds something, in a field of a number if it has one."""
    _, _, short = name.partition(":")
    is_empty = ~pl.col(name).fill_null("").str.contains(r"\S")
    return Rule(is_empty, f"has no {short}; the corpus names it in `columns`; fix: fill it in", field)


def stream(batches: Callable[[], Iterator[pl.DataFrame]], corpus: CorpusConfig) -> pl.LazyFrame:
    """Make a lazy frame of examples of what reads them batch by batch."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, num_rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        for batch in batches():
            part = batch if num_rows is None else batch.head(num_rows)
            num_rows = None if num_rows is None else num_rows - len(part)
            part = part if predicate is None else part.filter(predicate)
            yield part if columns is None else part.select(columns)
            if num_rows == 0:
                return

    return register_io_source(source, schema=EXAMPLE_SCHEMA | further_schema(corpus))
