"""What readers repair in a file without a word, counted: what a person may want to know though nothing is wrong with it."""

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import CorpusConfig

_PIECE = 1 << 24
_DOUBLED = re.compile(rb"(?<=\n)\n(?=\n)")
_HOLLOW = re.compile(rb"^\d[^\n]*?\t(?:\t|$)", re.MULTILINE)


def count_repairs(path: Path, corpus: CorpusConfig) -> dict[str, int]:
    """Count what is repaired in a file, by a few words for it; nothing is said of what does not occur."""
    found: Counter[str] = Counter()
    begin = last = b""
    for piece in _pieces(path):
        begin = begin or piece[: len(codecs.BOM_UTF8)]
        found["line that ends in CRLF"] += piece.count(b"\r\n")
        if corpus.format == "conllu":
            plain = piece.replace(b"\r\n", b"\n")
            found["blank line too many"] += len(_DOUBLED.findall(last + plain))
            found["empty column that is not read"] += len(_HOLLOW.findall(plain))
            last = (last + plain)[-2:]
    found["byte order mark"] = int(begin == codecs.BOM_UTF8)
    found["missing blank line at the end"] = int(corpus.format == "conllu" and last != b"\n\n")
    return {what: count for what, count in found.items() if count}


def _pieces(path: Path) -> Iterator[bytes]:
    """Give a file in pieces that never end between CR and LF."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece + file.readline() if piece.endswith(b"\r") else piece
