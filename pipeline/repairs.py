"""What readers repair in a file without a word, counted: what a person may want to know though nothing is wrong with it."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import CorpusConfig

_PIECE = 1 << 24


def count_repairs(path: Path, corpus: CorpusConfig) -> dict[str, int]:
    """Count what is repaired in a file, by a few words for it; nothing is said of what does not occur."""
    found = {"byte order mark": 0, "line that ends in CRLF": 0}
    if corpus.format == "conllu":
        found |= {"blank line after another": 0, "missing blank line at the end": 0}
    begin = last = b""
    for piece in _pieces(path):
        begin = begin or piece[: len(codecs.BOM_UTF8)]
        found["line that ends in CRLF"] += piece.count(b"\r\n")
        if corpus.format == "conllu":
            found["blank line after another"] += _count_doubled(last + piece.replace(b"\r\n", b"\n"))
        last = piece[-4:].replace(b"\r\n", b"\n")[-2:]
    found["byte order mark"] = int(begin == codecs.BOM_UTF8)
    if corpus.format == "conllu":
        found["missing blank line at the end"] = int(last != b"\n\n")
    return {what: count for what, count in found.items() if count}


def _count_doubled(text: bytes) -> int:
    """Count the blank lines that follow another; polars' count of overlapping places, by bytes."""
    return sum(1 for place in _places(text, b"\n\n\n"))


def _places(text: bytes, pattern: bytes) -> Iterator[int]:
    place = text.find(pattern)
    while place >= 0:
        yield place
        place = text.find(pattern, place + 1)


def _pieces(path: Path) -> Iterator[bytes]:
    """Give a file in pieces that never end between CR and LF."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece + file.readline() if piece.endswith(b"\r") else piece
