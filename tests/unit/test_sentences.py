"""CoNLL-U into CoNLL-U: only the tags change; what is malformed is named at its line."""

import dataclasses

import polars as pl
import pytest
from making import SMALL
from test_files import make_model, run

from pipeline import inputs
from pipeline.errors import DataError, ParamsError
from pipeline.labeler import Labeler

BLOCK = (
    "# sent_id = {n}\n# text = um num\n# upos = nothing\n"
    "1\tum\tum\t_\tX\tA=b\t2\tdet\t_\tSpaceAfter=No\n"
    "2-3\tnum\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "2\tem\tem\tVERB\t_\t_\t0\troot\t_\t_\n"
    "3\tum\tum\t_\t_\t_\t2\tdet\t2:det\t_\n"
    "3.1\telided\t_\tNOUN\t_\t_\t_\t_\t2:dep\t_\n\n"
)
TOKENS = ["um", "em", "um"]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(inputs, "PIECE_BYTES", 700)


def write(folder, text, name="in.conllu"):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def blocks(number=9):
    return "".join(BLOCK.format(n=n) for n in range(number))


def cells(text):
    return [line.split("\t") for line in text.split("\n")]


def test_only_the_tags_of_words_change(tmp_path, tagger):
    run(write(tmp_path, blocks()), tmp_path / "out.conllu", tagger)
    labels = Labeler.load(tagger).label_tokens([TOKENS])[0].labels * 9
    expected = cells(blocks())
    for row in expected:
        if row[0] in ("1", "2", "3"):
            row[3] = labels.pop(0)
    assert not labels
    assert cells((tmp_path / "out.conllu").read_bytes().decode()) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text[:-2],
        lambda text: "\n\n" + text.replace("\n\n", "\n\n\n"),
        lambda text: text.replace("# text", "# a\tcomment\twith\ttabs"),
        lambda text: text.replace("um\tum\t_", "um dois\tum\tDET"),
    ],
    ids=["CRLF", "no blank line at the end", "doubled blank lines", "tabs in comments", "spaces in words"],
)
def test_lines_keep_their_ends_and_signs(tmp_path, tagger, change):
    text = change(blocks())
    run(write(tmp_path, text), tmp_path / "out.conllu", tagger)
    ours, theirs = (cells(each) for each in ((tmp_path / "out.conllu").read_bytes().decode(), text))
    assert len(ours) == len(theirs)
    for row, given in zip(ours, theirs, strict=True):
        is_word = given[0].isdecimal()
        assert row[:3] + row[4:] == given[:3] + given[4:] and (row[3:4] == given[3:4] or is_word)


def test_sentences_become_rows_with_their_names(tmp_path, tagger):
    run(write(tmp_path, blocks()), tmp_path / "out.parquet", tagger)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["sent_id"].to_list() == [str(n) for n in range(9)]
    assert table["words"].to_list() == [TOKENS] * 9


def test_a_column_of_conllu_that_the_model_reads_is_given_with_the_words(tmp_path):
    model = make_model(tmp_path / "model", model=dataclasses.replace(SMALL, features={"tag": 3}))
    with pytest.raises(ParamsError, match=r"CoNLL-U has no columns \['tag'\]"):
        run(write(tmp_path, blocks()), tmp_path / "out.conllu", model)


def test_a_label_per_text_has_no_place_in_conllu(tmp_path):
    model = make_model(tmp_path / "model", "classification")
    with pytest.raises(ParamsError, match="CoNLL-U has no place for a label per text"):
        run(write(tmp_path, blocks()), tmp_path / "out.conllu", model)


@pytest.mark.parametrize(
    ("line", "number", "says"),
    [
        ("1\tum\tum\t_\t_", 3, "does not have 10 columns"),
        ("1 um um _ _ _ _ _ _ _", 3, "does not have 10 columns"),
        ("1\tum\tum\t_\t_\t_\t_\t_\t_\t_\t_", 3, "does not have 10 columns"),
        ("one\tum\tum\t_\t_\t_\t_\t_\t_\t_", 3, "has no id such as 3, 3-4 or 3.1"),
        ("3\tum\tum\t_\t_\t_\t_\t_\t_\t_", 3, "has an id out of order"),
        ("1\t \tum\t_\t_\t_\t_\t_\t_\t_", 3, "has no form"),
        ("1\tu\0m\tum\t_\t_\t_\t_\t_\t_\t_", 3, "holds a NUL"),
    ],
)
def test_a_line_that_is_malformed_is_named(tmp_path, tagger, line, number, says):
    before = blocks()
    text = f"{before}# sent_id = x\n# y\n{line}\n2\tum\tum\t_\t_\t_\t_\t_\t_\t_\n\n"
    with pytest.raises(DataError, match=rf"in\.conllu:{before.count(chr(10)) + number}:1: .*{says}.*fix:"):
        run(write(tmp_path, text), tmp_path / "out.conllu", tagger)


def test_a_byte_that_is_not_utf8_is_named(tmp_path, tagger):
    path = write(tmp_path, blocks())
    path.write_bytes(path.read_bytes() + "1\tnão".encode("latin-1"))
    with pytest.raises(DataError, match=r"in\.conllu:82:4: holds the byte 0xe3; it is not UTF-8"):
        run(path, tmp_path / "out.conllu", tagger)


def test_a_sentence_longer_than_a_piece_is_named(tmp_path, tagger):
    rows = "".join(f"{n}\tum\tum\t_\t_\t_\t_\t_\t_\t_\n" for n in range(1, 100))
    with pytest.raises(DataError, match=r"in\.conllu:10:1: begins what does not end within 700 bytes"):
        run(write(tmp_path, blocks(1) + rows), tmp_path / "out.conllu", tagger)
