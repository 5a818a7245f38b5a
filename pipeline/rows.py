"""Parquet files to be labelled: a text or a list of tokens per row. All columns are kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import polars as pl

from pipeline.errors import DataError
from pipeline.inputs import PIECE_BYTES, Asked, Piece, Place

_ROWS_AT_ONCE = 1024
_ASKED: dict[str, pl.DataType] = {"tokens": pl.List(pl.String), "text": pl.String()}
"""Columns that can be labelled; the first that is there is."""


def count_rows(path: Path) -> int:
    """Count the rows of a parquet file, from its footer alone."""
    with _as_data_error(path, 1):
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def cut_rows(path: Path, start: Place) -> Iterator[Piece]:
    """Cut a parquet file into as many rows as their texts or tokens let stand together.

    Raises:
        DataError: it is no parquet file, or has no column to label.
    """
    frames: list[pl.DataFrame] = []
    size = 0
    with _as_data_error(path, start.number):
        column = _asked_column(path, pl.read_parquet_schema(path))
        for frame in pl.scan_parquet(path, glob=False).slice(start.offset).collect_batches(chunk_size=_ROWS_AT_ONCE):
            frames.append(frame)
            size += _num_bytes(frame[column])
            if size >= PIECE_BYTES:
                yield (piece := _piece_of(path, start, frames))
                frames, size, start = [], 0, piece.end
        yield _piece_of(path, start, frames or [pl.read_parquet(path, n_rows=0)])


@contextmanager
def _as_data_error(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}:{number}:1: can not be read as parquet; {error}; fix: write it anew") from error


def _piece_of(path: Path, start: Place, frames: list[pl.DataFrame]) -> Piece:
    frame, buffer = pl.concat(frames), BytesIO()
    frame.write_ipc(buffer)
    return Piece(path, start, Place(start.offset + len(frame), start.number + len(frame)), buffer.getvalue())


def _num_bytes(column: pl.Series) -> int:
    flat = column if column.dtype == pl.String else column.explode()
    return int(flat.str.len_bytes().sum())


def _asked_column(path: Path, schema: Mapping[str, pl.DataType]) -> str:
    name = next((name for name in _ASKED if name in schema), None)
    if name is None or schema[name] != _ASKED[name]:
        wrong = "has neither" if name is None else f"has {name} as {schema[name]}, not"
        wanted = "tokens (lists of strings) nor text (strings)" if name is None else f"{_ASKED[name]}"
        raise DataError(f"{path}:1:1: {wrong} {wanted}; that is what is labelled; fix: name or cast the column")
    return name


def parse_rows(piece: Piece, columns: Sequence[str]) -> Asked:
    """Take the text or the tokens of each row, and the columns that the model wants besides tokens."""
    frame = pl.read_ipc(piece.data)
    numbers = range(piece.start.number, piece.start.number + len(frame))
    if _asked_column(piece.path, frame.schema) == "text":
        texts = [text.strip() for text in frame["text"].fill_null("")]
        return Asked(piece.path, numbers, frame, texts).check()
    tokens: list[list[str]] = frame["tokens"].fill_null([]).to_list()
    lacking = [name for name in columns if frame.schema.get(name) != pl.List(pl.String)]
    if lacking:
        raise DataError(f"{piece.path}:1:1: has no lists of strings {lacking}; the model reads them; fix: add the columns")
    for name in ("tokens", *columns):
        is_broken = frame[name].list.eval(pl.element().is_null()).list.any() | (
            frame[name].list.len() != frame["tokens"].list.len()
        )
        if is_broken.any():
            number = numbers[int(is_broken.arg_max() or 0)]
            raise DataError(f"{piece.path}:{number}:1: has not a string in {name} for each token; fix: mend the row")
    values = frame.select(columns).rows(named=True) if columns else ()
    return Asked(piece.path, numbers, frame, tokens=tokens, columns=values).check()
