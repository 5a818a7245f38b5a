"""The formats of inputs: each is cut into pieces by whoever reads the file, and parsed by whoever labels the piece."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.inputs import Asked, FormatName, Piece, Place, cut_lines, parse_lines
from pipeline.rows import count_rows, cut_rows, parse_rows
from pipeline.sentences import cut_sentences, parse_sentences


@dataclass(frozen=True)
class Format:
    """What is done with files of one format.

    Attributes:
        measure: gives the length of a file, in what offsets count.
        cut: gives the pieces from a place on: one at least, and the last may be empty.
        parse: gives what a piece asks of a model that wants these columns besides the words.
    """

    measure: Callable[[Path], int]
    cut: Callable[[Path, Place], Iterator[Piece]]
    parse: Callable[[Piece, Sequence[str]], Asked]


def _num_bytes(path: Path) -> int:
    return path.stat().st_size


FORMATS: dict[FormatName, Format] = {
    "text": Format(_num_bytes, cut_lines, parse_lines),
    "conllu": Format(_num_bytes, cut_sentences, parse_sentences),
    "parquet": Format(count_rows, cut_rows, parse_rows),
}
