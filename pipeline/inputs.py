"""Texts to be labelled, in pieces that fit in memory: lines of text, sentences of CoNLL-U, or rows of a parquet file.

Pieces are cut without a look at what they say; whoever labels one parses it, maybe in another process. Where they are cut
depends on the file alone, so that a run that goes on cuts where the one before it did. Nothing here knows a model.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from pipeline.errors import DataError

FormatName = Literal["text", "conllu", "parquet"]
ENDINGS: dict[str, FormatName] = {".conllu": "conllu", ".parquet": "parquet"}
"""Of files that are not plain text."""
PIECE_BYTES = 4 << 20
"""Of a piece, at most; of a parquet file's, what its texts or tokens take."""
MOST_CHARACTERS = 200_000
"""Of one text, or of a sentence's words: about 40,000 words, for which a network of ordinary size takes half a gigabyte."""


@dataclass(frozen=True)
class Place:
    """How far an input has been read: `offset` in bytes, of parquet in rows; `number` of the next line or row, from 1."""

    offset: int = 0
    number: int = 1


@dataclass(frozen=True)
class Piece:
    """Whole units of an input.

    Attributes:
        path: of the input.
        start, end: where they begin, and where what follows them does.
        data: as they stand in the file; of parquet, a frame as Arrow IPC.
    """

    path: Path
    start: Place
    end: Place
    data: bytes


@dataclass(frozen=True)
class Asked:
    """What a piece asks: raw texts, or else words. One of `texts` and `tokens` is empty.

    Attributes:
        path: of the input.
        numbers: the line or row of each.
        columns: of each sequence of words, a value per word of each column that the model wants besides.
        table: what the input says of each, which a table of answers keeps.
        lines: of CoNLL-U, all `line`s, and which of them a word has (`is_word`).
    """

    path: Path
    numbers: Sequence[int]
    table: pl.DataFrame
    texts: list[str] = field(default_factory=list)
    tokens: list[list[str]] = field(default_factory=list)
    columns: Sequence[Mapping[str, Sequence[str]]] = ()
    lines: pl.DataFrame | None = None

    @property
    def sizes(self) -> list[int]:
        """Characters of each, a space after each word; 0 where there is nothing to label."""
        return [len(text) for text in self.texts] or [sum(map(len, words)) + len(words) for words in self.tokens]

    def check(self) -> "Asked":
        """Refuse what is too long for a network to read at once.

        Raises:
            DataError: naming its line.
        """
        sizes = self.sizes
        if sizes and max(sizes) > MOST_CHARACTERS:
            place = next(i for i, size in enumerate(sizes) if size > MOST_CHARACTERS)
            raise DataError(
                f"{self.path}:{self.numbers[place]}:1: holds {sizes[place]:,} characters; a network reads a text as a whole, and "
                f"{MOST_CHARACTERS:,} at most; fix: cut it into several"
            )
        return self


def format_of(path: Path) -> FormatName:
    """Tell a format by a file's ending."""
    return ENDINGS.get(path.suffix, "text")


def cut(path: Path, start: Place, last_end: Callable[[bytes], int]) -> Iterator[Piece]:
    """Cut a file where the last whole unit ends; there is one piece at least, maybe an empty one.

    Args:
        path: of the file.
        start: where to begin.
        last_end: gives the end of the last whole unit in a block of bytes; 0 where there is none.

    Raises:
        DataError: a unit is longer than a piece may be.
    """
    with path.open("rb") as file:
        while True:
            file.seek(start.offset)
            data = file.read(PIECE_BYTES)
            is_last = len(data) < PIECE_BYTES
            size = len(data) if is_last else last_end(data)
            if not size and not is_last:
                raise DataError(
                    f"{path}:{start.number}:1: begins what does not end within {PIECE_BYTES:,} bytes; texts and sentences are "
                    "read as wholes; fix: cut it into several"
                )
            data = data[:size]
            end = Place(start.offset + size, start.number + data.count(b"\n"))
            yield Piece(path, start, end, data)
            if is_last:
                return
            start = end


def cut_lines(path: Path, start: Place) -> Iterator[Piece]:
    """Cut a file at ends of lines."""
    return cut(path, start, lambda data: data.rfind(b"\n") + 1)


def decode(piece: Piece) -> str:
    """Read a piece as UTF-8, without a byte order mark.

    Raises:
        DataError: naming the line and column of what is none.
    """
    data = piece.data if piece.start.offset else piece.data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        number = piece.start.number + data.count(b"\n", 0, error.start)
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise DataError(
            f"{piece.path}:{number}:{column}: holds the byte 0x{data[error.start]:02x}; it is not UTF-8; fix: save it as UTF-8"
        ) from None


def parse_lines(piece: Piece, columns: Sequence[str]) -> Asked:
    """Take a text per line; lines without text are passed over."""
    lines = [line.strip() for line in decode(piece).split("\n")]
    texts = [line for line in lines if line]
    numbers = [number for number, line in enumerate(lines, piece.start.number) if line]
    return Asked(piece.path, numbers, pl.DataFrame({"text": texts}, schema={"text": pl.String}), texts).check()
