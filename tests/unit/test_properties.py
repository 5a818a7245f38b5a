"""What holds for any text whatever: words come back one by one as they went in, and files of settings are right or refused."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_labeler import make_labeler

from pipeline.config import Columns, CorpusConfig, PathSource
from pipeline.corpora import READERS
from pipeline.errors import ParamsError
from pipeline.params import load_config

settings.register_profile("unroll", deadline=None, derandomize=True, max_examples=60, database=None)
settings.load_profile("unroll")
CHARACTERS = st.characters(exclude_categories=["Cs"])
ODD = [
    "e\u0301",
    "\u00e9",
    "a\u200bb",
    "\u202eabc",
    "שלום",
    "👩‍👩‍👧",
    "\ufeff",
    "20 000",
    "ﬁ",
    "İ",
    "ΟΔΟΣ",
    "\u0000",
    "\U0010ffff",
]
"""Composed and not, without width, right to left, joined, marks of order, with spaces, that change length with their case."""
WORDS = st.one_of(st.text(CHARACTERS, min_size=1, max_size=12), st.sampled_from(ODD)).filter(lambda word: word.strip())


@cache
def labeler():
    with TemporaryDirectory() as folder:
        return make_labeler(Path(folder))


@given(st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=6))
@example([ODD, ["a"], [], ["b"] * 300])
def test_given_words_come_back_one_by_one_with_a_label_each(sentences):
    answers = labeler().label_words(sentences)
    assert [answer["words"] for answer in answers] == sentences
    assert [len(answer["labels"]) for answer in answers] == [len(words) for words in sentences]


@given(st.lists(st.text(CHARACTERS, max_size=60), min_size=1, max_size=6))
@example([" ".join(ODD), "", "\n\t ", "um  num\u00a0dois"])
def test_raw_text_comes_back_as_its_words_and_loses_nothing_but_white_space(texts):
    answers = labeler().label_texts(texts)
    bare = pl.Series(texts, dtype=pl.String).str.replace_all(r"\s", "").to_list()
    assert ["".join(answer["words"]) for answer in answers] == bare
    assert all(len(answer["labels"]) == len(answer["words"]) for answer in answers)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=1, max_size=5))
@example([ODD])
def test_words_are_read_from_json_as_they_were_written(sentences):
    form = {"task": "tagging", "format": "jsonl", "language": "en", "licence": "own", "splits": {"all": "c"}}
    corpus = CorpusConfig(source=PathSource("path", "."), columns=Columns(), **form)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "c"
        lines = [json.dumps({"text": words, "label": ["X"] * len(words)}) for words in sentences]
        path.write_text("\n".join(lines), encoding="utf-8")
        assert READERS["jsonl"](path, corpus).frame.collect()["tokens"].to_list() == sentences


SETTINGS = Path("params.yaml").read_text(encoding="utf-8")
PIECES = st.sampled_from(
    [
        "\t",
        ": ",
        "- ",
        "null",
        "{}",
        "[",
        "}",
        "&a",
        "*a",
        "!!python/name:os.system ",
        "1e999",
        "'",
        '"',
        "#",
        "\n",
        "\x00",
        "é",
        "<<: ",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(SETTINGS)), st.integers(0, 30), PIECES), min_size=1, max_size=4))
def test_a_careless_hand_in_params_leaves_them_right_or_refused_with_a_line_for_each_problem(changes):
    text = SETTINGS
    for place, length, piece in changes:
        text = text[:place] + piece + text[place + length :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            load_config(path)
        except ParamsError as error:
            assert all(line.startswith(f"{path}:") for line in str(error).splitlines())


@pytest.mark.parametrize("word", ODD)
def test_an_odd_word_is_answered_as_it_is_among_others(word):
    (alone,), (beside, _) = labeler().label_words([[word]]), labeler().label_words([[word], ["um"] * 40])
    assert alone["labels"] == beside["labels"]
