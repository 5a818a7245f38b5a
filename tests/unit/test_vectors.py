"""Pre-trained vectors: three formats say the same, and a file that is not of its format stops at the place."""

import logging
import pickle
import struct

import numpy as np
import polars as pl
import pytest

from pipeline.errors import DataError, IntegrityError, ParamsError
from pipeline.vectors import VECTOR_READERS

WORDS = ("the", "naïve", "日本", "42", "-")
NUMBERS = np.array([[0.5, -1.25, 3e-05], [0.1, 0.2, 0.3], [1, 2, 3], [-0.0, 7.5, 1e10], [9, 8, 7]], np.float32)


def open_npy(folder, words=WORDS, numbers=NUMBERS):
    np.save(folder / "v.npy", numbers)
    pl.DataFrame({"any": list(words), "other": range(len(words))}).write_parquet(folder / "v.parquet")
    return VECTOR_READERS["npy"](folder, "v.npy", "v.parquet")


def open_text(folder, text):
    (folder / "v.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return VECTOR_READERS["text"](folder, "v.txt", None)


def open_binary(folder, data):
    (folder / "v.bin").write_bytes(data)
    return VECTOR_READERS["word2vec"](folder, "v.bin", None)


def as_text(words=WORDS, numbers=NUMBERS):
    return "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, numbers.tolist(), strict=True))


def as_binary(words=WORDS, numbers=NUMBERS, end=b"\n"):
    body = [word.encode() + b" " + struct.pack(f"<{len(row)}f", *row) + end for word, row in zip(words, numbers, strict=True)]
    return f"{len(words)} {numbers.shape[1]}\n".encode() + b"".join(body)


def every_row(table):
    return table.rows(np.arange(len(table.words)))


def test_the_three_formats_give_the_same_table(tmp_path):
    tables = [open_npy(tmp_path), open_text(tmp_path, as_text()), open_binary(tmp_path, as_binary())]
    for table in tables:
        assert table.words.name == "word" and table.words.to_list() == list(WORDS)
        assert table.width == 3 and every_row(table).dtype == np.float32
        np.testing.assert_array_equal(every_row(table), NUMBERS)


def test_rows_come_in_the_order_asked_for_and_as_often(tmp_path):
    order = np.array([4, 0, 0, 2, 4])
    for table in (open_npy(tmp_path), open_text(tmp_path, as_text()), open_binary(tmp_path, as_binary())):
        np.testing.assert_array_equal(table.rows(order), NUMBERS[order])
        assert table.rows(order[:0]).shape == (0, 3)


def test_the_first_of_equal_words_counts(tmp_path):
    words = ("a", "b", "a", "c", "b")
    for table in (open_npy(tmp_path, words), open_text(tmp_path, as_text(words)), open_binary(tmp_path, as_binary(words))):
        assert table.words.to_list() == ["a", "b", "c"]
        np.testing.assert_array_equal(every_row(table), NUMBERS[[0, 1, 3]])


@pytest.mark.parametrize("before", ["", "5 3\n", "\ufeff", "\ufeff5 3\r\n"])
def test_a_header_or_a_byte_order_mark_changes_nothing(tmp_path, before):
    table = open_text(tmp_path, before + as_text())
    assert table.words.to_list() == list(WORDS)
    np.testing.assert_array_equal(every_row(table), NUMBERS)


@pytest.mark.parametrize("before", ["", "5 3\n"])
@pytest.mark.parametrize("end", [" \n", "\r\n", "\n\n"])
def test_the_end_of_a_line_is_no_part_of_its_vector(tmp_path, before, end):
    table = open_text(tmp_path, before + as_text().replace("\n", end))
    assert table.words.to_list() == list(WORDS)
    np.testing.assert_array_equal(every_row(table), NUMBERS)


def test_the_last_line_may_lack_its_end(tmp_path):
    np.testing.assert_array_equal(every_row(open_text(tmp_path, as_text().removesuffix("\n"))), NUMBERS)


def test_a_word_may_hold_spaces_and_numbers(tmp_path):
    words = ("at name@domain.com", ". . .", "route 66", "66", "New\u00a0York\u0085")
    table = open_text(tmp_path, as_text(words))
    assert table.words.to_list() == list(words)
    np.testing.assert_array_equal(every_row(table), NUMBERS)


def test_a_first_word_that_is_a_number_is_no_part_of_its_vector(tmp_path):
    table = open_text(tmp_path, "66 1 2\na 3 4\n")
    assert table.width == 2 and table.words.to_list() == ["66", "a"]


def test_fields_may_stand_apart_by_more_than_one_space(tmp_path):
    table = open_text(tmp_path, "a  0.5 -1\nb c\t1  2\n")
    assert table.words.to_list() == ["a", "b c"]
    np.testing.assert_array_equal(every_row(table), np.array([[0.5, -1], [1, 2]], np.float32))


def test_a_word_that_is_not_utf8_is_left_out_and_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table = open_text(tmp_path, b"a 1 2\n\xff\xfe 3 4\nb 5 6\n")
    assert table.words.to_list() == ["a", "b"]
    np.testing.assert_array_equal(every_row(table), np.array([[1, 2], [5, 6]], np.float32))
    assert "v.txt: 1 words left out; they are not UTF-8" in caplog.text


@pytest.mark.parametrize("line", ["c 1", "c", "1 2"])
@pytest.mark.parametrize(("before", "number"), [("", 3), ("3 2\n", 4)])
def test_a_line_with_fewer_numbers_is_named(tmp_path, line, before, number):
    with pytest.raises(DataError, match=rf"v\.txt:{number}:1: .* has fewer than 2 numbers"):
        open_text(tmp_path, f"{before}a 1 2\nb 3 4\n{line}\n")


@pytest.mark.parametrize("line", ["b 1 x", "b nan 2", "b 1 -inf", "b 1e39 2", "b c 1", "b  1"])
def test_a_line_whose_numbers_are_none_is_named_when_asked_for(tmp_path, line):
    table = open_text(tmp_path, f"3 2\nä 1 2\n\n{line}\nd 3 4\n")
    np.testing.assert_array_equal(table.rows(np.array([0, 2])), [[1, 2], [3, 4]])
    with pytest.raises(DataError, match=r"v\.txt:4:1: the vector of 'b' is not 2 finite numbers"):
        every_row(table)


def test_a_text_of_fewer_words_than_its_header_says_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"v\.txt:1:1: says 6 words; 5 follow"):
        open_text(tmp_path, "6 3\n" + as_text())


@pytest.mark.parametrize("text", ["", "\n", "word\n", "5 3\n", "0 3\n", "\x00\x01\x02"])
def test_a_text_without_vectors_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"v\.txt"):
        open_text(tmp_path, text)


def test_the_binary_form_may_lack_newlines(tmp_path):
    table = open_binary(tmp_path, as_binary(end=b""))
    assert table.words.to_list() == list(WORDS)
    np.testing.assert_array_equal(every_row(table), NUMBERS)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_every_cut_through_a_binary_file_is_named(tmp_path, end):
    data = as_binary(end=end)
    for length in range(4, len(data.removesuffix(b"\n"))):
        whole = sum(len(as_binary(WORDS[:n], NUMBERS[:n], end).removesuffix(b"\n")) <= length for n in range(1, 6))
        with pytest.raises(DataError, match=rf"v\.bin: ends within word {whole + 1}; its first line says 5 words of 3"):
            open_binary(tmp_path, data[:length])


@pytest.mark.parametrize("header", [b"999999999999999999 999999999", b"3 999999999", b"999999999999999999 1"])
def test_an_absurd_header_is_refused_before_anything_is_kept(tmp_path, header, monkeypatch):
    monkeypatch.setattr("pipeline.vectors._gather", lambda *_: pytest.fail("it was read"))
    with pytest.raises(DataError, match=r"v\.bin: ends within word \d; its first line says"):
        open_binary(tmp_path, header + b"\n" + as_binary().partition(b"\n")[2])


@pytest.mark.parametrize("data", [b"", b"the 0.1 0.2\n", b"5 0\nthe ", b"-5 3\nthe ", b"0 3\n", b"\x80\x02" * 40])
def test_what_is_no_binary_form_is_refused(tmp_path, data):
    with pytest.raises(DataError, match=r"v\.bin"):
        open_binary(tmp_path, data)


def test_numbers_that_are_not_finite_are_named_in_every_format(tmp_path):
    numbers = NUMBERS.copy()
    numbers[3, 1] = np.nan
    for table in (open_npy(tmp_path, WORDS, numbers), open_binary(tmp_path, as_binary(WORDS, numbers))):
        np.testing.assert_array_equal(table.rows(np.array([2, 4])), NUMBERS[[2, 4]])
        with pytest.raises(DataError, match=r"(row 3|byte \d+): the vector of '42' is not 3 finite numbers"):
            every_row(table)


def test_an_npy_without_an_index_is_a_wrong_setting(tmp_path):
    np.save(tmp_path / "v.npy", NUMBERS)
    with pytest.raises(ParamsError, match="`index`"):
        VECTOR_READERS["npy"](tmp_path, "v.npy", None)


def test_an_npy_stays_on_disk_and_its_rows_are_copies(tmp_path):
    table = open_npy(tmp_path, WORDS, NUMBERS.astype(">f8"))
    rows = every_row(table)
    rows[:] = 0
    np.testing.assert_array_equal(every_row(table), NUMBERS)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), NUMBERS)


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_no_pickle_is_opened(tmp_path):
    open_npy(tmp_path)
    np.save(tmp_path / "v.npy", np.array([[_Bomb()]] * 5, object), allow_pickle=True)
    with pytest.raises(IntegrityError, match=r"v\.npy: is no \.npy of numbers"):
        VECTOR_READERS["npy"](tmp_path, "v.npy", "v.parquet")
    (tmp_path / "v.npy").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(IntegrityError, match=r"v\.npy: is no \.npy of numbers"):
        VECTOR_READERS["npy"](tmp_path, "v.npy", "v.parquet")


@pytest.mark.parametrize("numbers", [NUMBERS[0], NUMBERS.astype(str), NUMBERS[:4]])
def test_a_matrix_that_does_not_fit_its_index_is_refused(tmp_path, numbers):
    with pytest.raises(DataError, match=r"v\.(npy|parquet)"):
        open_npy(tmp_path, WORDS, numbers)


def test_an_index_that_is_no_parquet_is_refused(tmp_path):
    open_npy(tmp_path)
    (tmp_path / "v.parquet").write_text("the\na\n")
    with pytest.raises(DataError, match=r"v\.parquet: is no \.parquet"):
        VECTOR_READERS["npy"](tmp_path, "v.npy", "v.parquet")


def test_a_broken_head_of_an_npy_is_refused(tmp_path):
    open_npy(tmp_path)
    whole = (tmp_path / "v.npy").read_bytes()
    (tmp_path / "v.npy").write_bytes(whole.replace(b"}", b"(", 1))
    with pytest.raises(IntegrityError, match=r"v\.npy: is no \.npy of numbers"):
        VECTOR_READERS["npy"](tmp_path, "v.npy", "v.parquet")


@pytest.mark.parametrize("name", VECTOR_READERS)
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(DataError, match="gone: is no file"):
        VECTOR_READERS[name](tmp_path, "gone", "gone.parquet")
