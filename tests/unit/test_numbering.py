"""Numbers in order of appearance, and what takes their place."""

import numpy as np
import polars as pl
import pytest

from pipeline import numbering
from pipeline.numbering import Numbering, renumber


def number(table: Numbering, rows: list[list[str | None]] | list[str | None], split: str = "train") -> list[int]:
    is_list = isinstance(rows[0], list)
    kind = pl.List(pl.String) if is_list else pl.String()
    frame = pl.DataFrame({"column": pl.Series(rows, dtype=kind)})
    return table.add(frame.select(table.column("column", is_list=is_list)).to_series(), split).tolist()


def test_texts_are_numbered_from_1_as_they_come_and_keep_their_numbers():
    table = Numbering()
    assert number(table, [["b", "a"], ["b"]]) == [1, 2, 1]
    assert number(table, [["c", "a"]], "val") == [3, 2]
    assert table.entries().to_list() == ["b", "a", "c"]


def test_each_split_counts_its_own_and_what_it_lacks_is_not_there():
    table = Numbering()
    number(table, [["b", "a", "b"]])
    number(table, [["b"]])
    number(table, ["c", "a", None], "val")
    assert table.counts("train").rows() == [("b", 3), ("a", 1)]
    assert table.counts("val").rows() == [("a", 1), ("c", 1)]


def test_a_null_is_0_and_no_entry():
    table = Numbering()
    assert number(table, ["a", None, "a"]) == [1, 0, 1]
    assert table.entries().to_list() == ["a"]


def test_two_columns_number_apart():
    first, second = Numbering(), Numbering()
    assert number(first, ["a", "b"]) == number(second, ["b", "a"]) == [1, 2]
    assert first.entries().to_list() == second.entries().to_list()[::-1]


@pytest.mark.parametrize("piece", [2, 100])
def test_ids_take_the_place_of_numbers_in_a_file(piece, tmp_path, monkeypatch):
    monkeypatch.setattr(numbering, "_PIECE", piece)
    path = tmp_path / "a.npy"
    np.save(path, np.array([1, 3, 0, 2, 3], np.int32))
    renumber(path, np.array([70, 80, 90], np.int32), missing=-1)
    assert np.load(path).tolist() == [70, 90, -1, 80, 90]
