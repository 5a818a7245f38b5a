"""What every reader shares: the one schema, physical lines, rules they must keep, and the line that breaks one.

Repaired without a word: a byte order mark, CRLF. Everything else that is not as its format says stops the reading, or leaves
out the example where `skip_malformed` says so. Nothing is normalised: a word comes out as it stands in the file.
"""

import codecs
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
LINE = pl.col("line")
# Stripping is several times faster than a pattern; these two run over every line.
BLANK = LINE.str.strip_chars() == ""
_log = logging.getLogger(__name__)


@dataclass
class Malformed:
    """What of a file is malformed: the first stops the reading or, where the corpus says so, all is left out and counted."""

    path: Path
    corpus: CorpusConfig
    count: int = 0
    first: str = ""

    def sift(self, wrong: pl.DataFrame) -> list[int]:
        """Give the units to leave out.

        Args:
            wrong: rows as `find_broken` gives them, in any order.

        Raises:
            DataError: naming the first line that is wrong.
        """
        if wrong.is_empty():
            return []
        wrong = wrong.sort("number", maintain_order=True).unique("number", keep="first", maintain_order=True)
        number, line, problem = wrong.select("number", "line", "problem").row(0)
        more = f" (and {len(wrong) - 1:,} more lines)" if len(wrong) > 1 else ""
        text = f"{self.path}:{number}:1: {line[:60]!r} {problem}{more}"
        if not self.corpus.skip_malformed:
            raise DataError(text)
        units: list[int] = wrong["unit"].unique().to_list()
        self.count += len(units)
        self.first = self.first or text
        return units

    def report(self) -> None:
        """Warn of what was left out."""
        if self.count:
            _log.warning("%d malformed examples left out; the first: %s", self.count, self.first)


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    Attributes:
        frame: the examples, in `EXAMPLE_SCHEMA`, in the order of the file.
        malformed: what is left out; some readers know it when the frame has been read.
    """

    frame: pl.LazyFrame
    malformed: Malformed

    @property
    def skipped(self) -> int:
        """Examples left out as malformed."""
        return self.malformed.count


@dataclass(frozen=True)
class Rule:
    """When a row is broken, and the text for it: what; why; fix. A null text takes it back: a slow test can follow a fast one."""

    broken: pl.Expr
    text: str | pl.Expr


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
    """Find the rows that break a rule: `number`, `line`, `problem`, and in `unit` what goes with a broken row."""
    flags = {f"broken {place}": rule.broken for place, rule in enumerate(rules)}
    problem = pl.coalesce(
        pl.when(flag).then(rule.text if isinstance(rule.text, pl.Expr) else pl.lit(rule.text))
        for flag, rule in zip(flags, rules, strict=True)
    )
    broken = rows.with_columns(**flags).filter(pl.any_horizontal(*flags))
    return broken.select("number", "line", unit=pl.col(unit), problem=problem).drop_nulls("problem")


def sift(problems: Sequence[pl.LazyFrame], malformed: Malformed) -> list[int]:
    """Stop at the first problem or, where the corpus says so, give the units to leave out, and warn.

    Raises:
        DataError: naming the line.
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
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"0x{line[error.start]:02x}"
                what = f"{path}:{number}:{error.start + 1}: holds the byte {byte}; it is not UTF-8"
                raise DataError(f"{what}; fix: save it as UTF-8 or set `encoding: latin1`") from None


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


def filled(name: str) -> Rule:
    """Make the rule that a further column holds something."""
    _, _, short = name.partition(":")
    return Rule(
        ~pl.col(name).fill_null("").str.contains(r"\S"), f"has no {short}; the corpus names it in `columns`; fix: fill it in"
    )


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
