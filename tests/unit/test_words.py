"""Raw text: where words are cut, and which of them are several."""

from itertools import pairwise

import polars as pl
import pytest

from pipeline.words import count_units, find_contractions, read_words, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It rains.", ["It", "rains", "."]),
        ("don't re-enter", ["don't", "re-enter"]),
        ("'quoted' - so", ["'", "quoted", "'", "-", "so"]),
        ("e\u0301te\u0301 \u0928\u092e\u0938\u094d\u0924\u0947", ["e\u0301te\u0301", "\u0928\u092e\u0938\u094d\u0924\u0947"]),
        ("?!", ["?", "!"]),
        ("R$ 1.500,25, 9:30.", ["R$", "1.500,25", ",", "9:30", "."]),
        ("US$3 2018-2019...", ["US$", "3", "2018-2019", "..."]),
        (" \t\n", []),
    ],
)
def test_tokens_are_words_and_single_signs(text, tokens):
    assert pl.select(tokenize(pl.lit(text))).item().to_list() == tokens


def contractions(*units: str) -> dict[str, list[str]]:
    """Learn from units such as `plain` and `da=de+a`."""
    rows = []
    for unit in units:
        written, _, parts = unit.partition("=")
        rows += [(part, ("" if i else written) if parts else None) for i, part in enumerate((parts or written).split("+"))]
    words = pl.DataFrame(rows, schema={"token": pl.String, "written": pl.String}, orient="row")
    return find_contractions(count_units(words), words.group_by(form="token").len())


def test_a_contraction_is_what_a_corpus_splits():
    assert contractions("sol", "da=de+a", "Da=De+a", "mar") == {"da": ["de", "a"]}


def test_contractions_side_by_side_are_two():
    assert contractions("da=de+a", "no=em+o") == {"da": ["de", "a"], "no": ["em", "o"]}


def test_the_most_frequent_reading_of_a_contraction_is_taken():
    assert contractions("x=a+b", "x=a+c", "x=a+c") == {"x": ["a", "c"]}


def test_a_word_that_is_more_often_one_is_no_contraction():
    assert contractions("consigo=com+si", "consigo", "consigo", "da=de+a") == {"da": ["de", "a"]}


def test_a_part_of_a_contraction_does_not_count_as_a_word_by_itself():
    assert contractions("a=a+b", "a=a+b", "a") == {"a": ["a", "b"]}


def read(written, table):
    words = read_words(written, table)
    tokens = [words.forms[i] for i in words.tokens]
    return [tokens[begin:end] for begin, end in pairwise(words.starts.tolist())]


def test_a_contraction_keeps_its_capital():
    assert read(["Da", "da", "DA", "Sol"], {"da": ["de", "a"]}) == [["De", "a"], ["de", "a"], ["De", "a"], ["Sol"]]


@pytest.mark.parametrize("table", [{}, {"x": ["a", "b"]}, {"da": ["de", "a"], "nela": ["em", "e", "la"]}], ids=str)
def test_words_are_read_in_their_order(table):
    written = ["nela", "sol", "da", "da", "a", "mar", "nela", "sol"]
    assert read(written, table) == [table.get(word, [word]) for word in written]


def test_nothing_is_read_of_nothing():
    assert read([], {"da": ["de", "a"]}) == []
