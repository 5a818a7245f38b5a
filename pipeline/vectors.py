"""Pre-trained word vectors on disk: opening one lists its words, and a row is read only when asked for.

No format holds code and nothing here unpickles. Words come out as they stand in the file: nothing is normalised.
"""

import codecs
import logging
import mmap
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import DataError, ParamsError
from pipeline.stored import open_array

_HEADER = re.compile(rb"(\d{1,18}) ([1-9]\d{0,8})[ \t\r]*\n")
_MENDING = "fix: check `format` or fetch it again"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VectorTable:
    """Vectors that stay on disk, whatever their format.

    Attributes:
        words: each word once, in the order of the file, named `word`; of a word that comes twice the first counts.
        width: numbers of a vector.
        read: gives (N, width) for (N,) indices into `words`; a vector that can not be read is NaN.
        locate: names the file and the place of an index, as an error begins.
    """

    words: pl.Series
    width: int
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    locate: Callable[[int], str]

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors of some words.

        Args:
            indices: (N,), into `words`, in any order, repeated or not.

        Returns:
            (N, width), a copy.

        Raises:
            DataError: naming the place of a vector whose numbers are too few, too many, no numbers or not finite.
        """
        with np.errstate(over="ignore"):  # what float32 can not hold is infinite, and found below
            vectors = self.read(indices)
        is_broken = ~np.isfinite(vectors).all(axis=1)
        if is_broken.any():
            first = int(indices[is_broken.argmax()])
            what = f"{self.locate(first)}: the vector of {self.words[first]!r} is not {self.width} finite numbers"
            raise DataError(f"{what}; a network could not learn from it; fix: mend it, or check `format`")
        return vectors


@dataclass(frozen=True)
class _Header:
    """What a file says of itself: `count` words (None: it says nothing) of `width` numbers, the first at byte `start`."""

    count: int | None
    width: int
    start: int


def _read_npy(folder: Path, file: str, index: str | None) -> VectorTable:
    """Open a matrix (words, numbers) beside a .parquet whose first column gives the words in the order of the rows."""
    if index is None:
        raise ParamsError(f"corpora.yaml: {file} has no `index`; an npy holds no words; fix: name the .parquet that lists them")
    path, index_path = _existing(folder / file), _existing(folder / index)
    matrix = open_array(path)
    if matrix.ndim != 2 or matrix.dtype.kind not in "iuf":
        raise DataError(f"{path}: is {matrix.dtype} of shape {matrix.shape}; rows of numbers are read; {_MENDING}")
    try:
        words = pl.read_parquet(index_path, columns=[0], glob=False).to_series().alias("word")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{index_path}: is no .parquet of words; {str(error).splitlines()[0]}; fix: fetch it again") from error
    if words.dtype != pl.String or len(words) != len(matrix):
        what = f"{index_path}: lists {len(words):,} {words.dtype}; {path.name} has {len(matrix):,} rows and each needs a word"
        raise DataError(f"{what}; fix: mend `index`")
    words, kept = _distinct(words, path)
    return VectorTable(
        words, matrix.shape[1], lambda indices: matrix[kept[indices]].astype(np.float32), lambda i: f"{path}: row {kept[i]}"
    )


def _read_text(folder: Path, file: str, index: str | None) -> VectorTable:
    """Open lines of a word and its numbers between spaces; a first line of two whole numbers is a header."""
    path = _existing(folder / file)
    header = _text_header(path)
    words, offsets = _gather(_text_entries(path, header), path)
    mapped = _map(path)
    read = _each(offsets, header.width, lambda start: _parse(mapped, start, header.width))
    return VectorTable(words, header.width, read, lambda i: f"{path}:{_line_number(mapped, int(offsets[i]))}:1")


def _text_header(path: Path) -> _Header:
    with path.open("rb") as file:
        start = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(start)
        line = file.readline()
    found = _HEADER.match(line)
    if found is not None:
        return _Header(int(found[1]), int(found[2]), start + len(line))
    # Counted from the end, as the word may hold spaces; it may be a number too, so the first field is left to it.
    width = sum(1 for _ in takewhile(_is_number, reversed(line.split()[1:])))
    if width == 0:
        raise DataError(f"{path}:1:1: {line[:60]!r} ends in no numbers; a word and its vector stand there; {_MENDING}")
    return _Header(None, width, start)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _text_entries(path: Path, header: _Header) -> Iterator[tuple[bytes, int]]:
    """Yield each line's word and the byte where its numbers begin."""
    count, place = 0, header.start
    with path.open("rb") as file:
        file.seek(place)
        for number, line in enumerate(file, 1 if header.count is None else 2):
            stripped = line.rstrip()
            word = _word_of(stripped, header.width)
            if word is not None:
                yield word, place + len(word)
                count += 1
            elif stripped:
                what = f"{path}:{number}:1: {line[:60]!r} has fewer than {header.width} numbers after its word"
                raise DataError(f"{what}; all vectors are as long; {_MENDING}")
            place += len(line)
    if header.count not in (None, count):
        raise DataError(f"{path}:1:1: says {header.count:,} words; {count:,} follow; fix: fetch it again or mend its first line")


def _word_of(line: bytes, width: int) -> bytes | None:
    """Cut off the last `width` fields; None where there are fewer."""
    if line.count(b" ") == width:  # nearly every line, several times faster than cutting it up
        return line[: line.index(b" ")]
    fields = line.rsplit(None, width)
    return fields[0] if len(fields) == width + 1 else None


def _parse(mapped: mmap.mmap, start: int, width: int) -> list[float] | float:
    end = mapped.find(b"\n", start)
    fields = mapped[start : end if end >= 0 else len(mapped)].split()
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return np.nan
    return numbers if len(numbers) == width else np.nan


def _line_number(mapped: mmap.mmap, place: int) -> int:
    step = 1 << 20
    return 1 + sum(mapped[at : min(at + step, place)].count(b"\n") for at in range(0, place, step))


def _read_word2vec(folder: Path, file: str, index: str | None) -> VectorTable:
    """Open word2vec's binary form: a line `count width`, then each word, a space and its float32, little endian."""
    path = _existing(folder / file)
    mapped = _map(path)
    found = _HEADER.match(mapped)
    if found is None:
        raise DataError(f"{path}: starts with {mapped[:30]!r}; word2vec's binary form starts `count width`; {_MENDING}")
    header = _Header(int(found[1]), int(found[2]), found.end())
    if int(found[1]) * header.width * 4 > len(mapped):
        deque(_binary_entries(mapped, path, header), maxlen=0)  # keeps nothing: it raises at the word where the file ends
    words, offsets = _gather(_binary_entries(mapped, path, header), path)
    read = _each(offsets, header.width, lambda start: np.frombuffer(mapped, "<f4", header.width, start))
    return VectorTable(words, header.width, read, lambda i: f"{path}: byte {offsets[i]}")


def _binary_entries(mapped: mmap.mmap, path: Path, header: _Header) -> Iterator[tuple[bytes, int]]:
    """Yield each word and the byte where its numbers begin."""
    assert header.count is not None
    place = header.start
    for number in range(1, header.count + 1):
        space = mapped.find(b" ", place)
        end = space + 1 + 4 * header.width
        if space < 0 or end > len(mapped):
            what = f"{path}: ends within word {number:,}; its first line says {header.count:,} words of {header.width:,} numbers"
            raise DataError(f"{what}; {_MENDING}")
        yield mapped[place:space].lstrip(b"\n"), space + 1  # some writers end each vector with a newline
        place = end


def _gather(entries: Iterable[tuple[bytes, int]], path: Path) -> tuple[pl.Series, NDArray[np.int64]]:
    """Give the words that are text, each once, and (N,), where the numbers of each begin."""
    words, offsets, skipped = [], array("q"), 0
    for word, offset in entries:
        try:
            words.append(word.decode())
        except UnicodeDecodeError:
            skipped += 1
        else:
            offsets.append(offset)
    if skipped:
        _log.warning("%s: %d words left out; they are not UTF-8", path, skipped)
    distinct, kept = _distinct(pl.Series("word", words, pl.String), path)
    return distinct, np.frombuffer(offsets, np.int64)[kept]


def _distinct(words: pl.Series, path: Path) -> tuple[pl.Series, NDArray[np.int64]]:
    """Give each word once, and its row in `words`."""
    is_kept = words.is_not_null() & words.is_first_distinct()
    if not is_kept.any():
        raise DataError(f"{path}: holds no words; a table of vectors needs some; {_MENDING}")
    return words.filter(is_kept), np.flatnonzero(is_kept.to_numpy())


def _each(
    offsets: NDArray[np.int64], width: int, parse: Callable[[int], ArrayLike]
) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    """Make `VectorTable.read` of what parses the one vector that begins at a byte."""

    def read(indices: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = np.empty((len(indices), width), np.float32)
        for row, start in enumerate(offsets[indices].tolist()):
            vectors[row] = parse(start)
        return vectors

    return read


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: is no file; corpora.yaml names it; fix: fetch again or mend the name")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty; vectors are read from it; fix: fetch again")
    return path


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


VECTOR_READERS: dict[str, Callable[[Path, str, str | None], VectorTable]] = {
    "npy": _read_npy,
    "text": _read_text,
    "word2vec": _read_word2vec,
}
"""Format -> reader, which takes the folder, the file in it and, for npy, the index beside it.

A reader raises DataError where a file is not of its format, and ParamsError where npy has no index.
"""
