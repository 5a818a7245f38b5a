"""Long files in pieces: none of a sentence is lost or cut, and what came before is known."""

import numpy as np
import pytest

import pipeline.chunks
from pipeline.chunks import Chunk, Seen, chunks, count_bytes, each_ahead
from pipeline.config import CorpusConfig, PathSource

CORPUS = CorpusConfig("tagging", "conllu", "en", "own", PathSource("path", "."), {"all": "c"})


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pieces_end_after_blank_lines_and_make_the_file(tmp_path, monkeypatch, size, end):
    monkeypatch.setattr(pipeline.chunks, "CHUNK_BYTES", size)
    content = end.join(["a", "b", "", "", "c", "", "d"]).encode()
    (tmp_path / "c").write_bytes(b"\xef\xbb\xbf" + content)
    found = list(chunks(tmp_path / "c", CORPUS))
    assert b"".join(chunk.data for chunk in found) == content
    assert all(chunk.data.endswith(f"{end}{end}".encode()) or chunk.data == end.encode() for chunk in found[:-1])
    assert [chunk.number for chunk in found] == [1 + content[: content.index(c.data)].count(b"\n") for c in found] or size == 1


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_bytes_are_counted_in_pieces(monkeypatch, piece):
    monkeypatch.setattr(pipeline.chunks, "_PIECE", piece)
    assert [count_bytes(data, b"\n") for data in (b"", b"a\nb\n\n", b"\n" * 7)] == [0, 3, 7]


def test_what_threads_give_comes_in_order():
    pieces = [Chunk(number, b"") for number in range(20)]
    assert list(each_ahead(lambda piece: piece.number, pieces)) == list(range(20))


def test_hashes_are_known_from_earlier_calls_and_the_same_one():
    rng, seen, before = np.random.default_rng(2), Seen(), set()
    for _ in range(50):
        hashes = rng.integers(0, 2000, 30).astype(np.uint64)
        expected = [h in before or h in hashes[:place] for place, h in enumerate(hashes)]
        assert seen.add(hashes).tolist() == expected
        before |= set(hashes)
