"""Readers: every format gives one schema, and what is wrong is named at its line."""

import gzip
import zlib
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from pipeline.config import Columns, CorpusConfig, PathSource
from pipeline.corpora import READERS
from pipeline.errors import DataError, ParamsError
from pipeline.reading import EXAMPLE_SCHEMA

GOOD = "# sent_id = s1\n1\tIt\tit\tPRON\t_\t_\t_\t_\t_\t_\n2\train\train\tVERB\t_\t_\t_\t_\t_\t_\n\n"


def word(number: object, form: str = "a", upos: str = "X") -> str:
    return f"{number}\t{form}\t_\t{upos}\t_\t_\t_\t_\t_\t_\n"


def corpus(form: str, *, text: str = "text", label: str = "label", **other: object) -> CorpusConfig:
    task = "tagging" if form in ("conllu", "columns") else "classification"
    fields = {"task": task, "language": "en", **other}
    return CorpusConfig(
        format=form, licence="own", source=PathSource("path", "."), splits={"all": "c"}, columns=Columns(text, label), **fields
    )


@pytest.fixture
def read(tmp_path):
    def reading(content: str | bytes, config: CorpusConfig) -> pl.DataFrame:
        path = tmp_path / "c"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        frame = READERS[config.format](path, config).frame.collect(engine="streaming")
        assert frame.schema == EXAMPLE_SCHEMA
        return frame

    return reading


CONLLU = corpus("conllu", label="upos")
CSV, TSV, LINES = corpus("csv"), corpus("tsv"), corpus("labelled-lines")
JSONL, TAGGED = corpus("jsonl"), corpus("jsonl", task="tagging")
COLUMNS = corpus("columns", text="0", label="1")
SERIES = corpus("sktime-ts", language="none")


def test_conllu_takes_words_labels_and_the_name_of_a_sentence(read):
    row = read(GOOD, CONLLU).row(0, named=True)
    assert (row["id"], row["tokens"], row["labels"]) == ("s1", ["It", "rain"], ["PRON", "VERB"])


def test_conllu_labels_may_come_from_any_column(read):
    assert read(GOOD, corpus("conllu", label="lemma"))["labels"].to_list() == [["it", "rain"]]


def test_a_column_that_conllu_lacks_lists_those_it_has(read):
    with pytest.raises(ParamsError, match="deprel"):
        read(GOOD, corpus("conllu", label="tag"))


def test_ranges_and_empty_nodes_are_no_tokens(read):
    lines = word("0.1", "n") + word("1-2", "ab") + word(1, "a") + word("1.1", "n") + word(2, "b")
    assert read(lines, CONLLU)["tokens"].to_list() == [["a", "b"]]


def test_words_written_as_one_are_told_from_others(read):
    first = word("1-2", "ab") + word(1, "a") + word(2, "b") + word(3, "c") + word("4-5", "de") + word(4, "d") + word(5, "e")
    second = "".join(word(index, "a") for index in range(1, 6))
    assert read(first + "\n" + second, CONLLU)["written"].to_list() == [["ab", "", None, "de", ""], None]


def test_a_sentence_without_a_name_does_not_inherit_the_last_one(read):
    assert read(GOOD + word(1), CONLLU)["id"].to_list() == ["s1", "c:5"]


@pytest.mark.parametrize(
    "content",
    [GOOD.rstrip("\n"), "\n" + GOOD + "\n\n", GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD],
    ids=["no blank line at the end", "doubled blank lines", "CRLF", "BOM"],
)
def test_harmless_forms_read_as_the_plain_one(read, content):
    assert read(content, CONLLU).equals(read(GOOD, CONLLU))


def test_words_with_spaces_and_any_script_stay_as_they_are(read):
    forms = ["New York", "e\u0301", "שלום", "👩‍🚀"]
    content = "".join(word(number, form) for number, form in enumerate(forms, 1))
    assert read(content, CONLLU)["tokens"].to_list() == [forms]


def test_a_sentence_of_ten_thousand_words_is_whole(read):
    content = "".join(word(number) for number in range(1, 10_001)) + "\n" + GOOD
    assert read(content, CONLLU)["tokens"].list.len().to_list() == [10_000, 2]


MALFORMED = {
    "too few columns": (GOOD + "1\ta\tX\n", 5),
    "spaces for tabs": (GOOD + "1 a a X _ _ _ _ _ _\n", 5),
    "a trailing tab": (GOOD + word(1).rstrip("\n") + "\t\n", 5),
    "an empty word": (GOOD + word(1, ""), 5),
    "a word of white space": (GOOD + word(1, " "), 5),
    "a word of a wide space": (GOOD + word(1, "\u3000"), 5),
    "an empty tag": (GOOD + word(1, upos=""), 5),
    "a missing tag": (GOOD + word(1, upos="_"), 5),
    "an unknown tag": (GOOD + word(1, upos="WORD"), 5),
    "bytes that are not UTF-8": (GOOD.encode() + word(1, "\xe9").encode("latin-1"), 5),
    "a NUL": (GOOD + word(1, "a\0b"), 5),
    "a blank line of white space": (word(1) + "  \n" + word(1), 2),
    "a comment inside a sentence": (word(1) + "# late\n" + word(2), 2),
    "a comment without a sentence": (GOOD + "# alone\n\n", 5),
    "no id": (GOOD + word("x"), 5),
    "an id twice": (word(1) + word(1), 2),
    "an id left out": (word(1) + word(3), 2),
    "ids from 0": (GOOD + word(0), 5),
    "a range that goes back": (word("2-1") + word(1) + word(2), 1),
    "a range at another word": (word("2-3") + word(1) + word(2) + word(3), 1),
    "overlapping ranges": (word("1-2") + word(1) + word("2-3") + word(2) + word(3), 3),
    "a range beyond the sentence": (GOOD + word("1-3") + word(1) + word(2), 7),
    "an empty node elsewhere": (word(1) + word("4.1") + word(2), 2),
    "a name twice": (GOOD + GOOD, 5),
}


@pytest.mark.parametrize(("content", "line"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_conllu_is_named_at_its_line(read, content, line):
    with pytest.raises(DataError, match=rf"c:{line}:\d+: .*; fix: "):
        read(content, CONLLU)


@pytest.mark.parametrize("tag", ["", "_", " ", "\u00a0"])
def test_a_word_without_a_tag_is_told_from_one_with_a_strange_tag(read, tag):
    with pytest.raises(DataError, match=r"c:1:7: .* has no upos"):
        read(word(1, upos=tag), CONLLU)
    with pytest.raises(DataError, match=r"c:1:7: .* has an upos that is none of the 17"):
        read(word(1, upos="WORD"), CONLLU)


def test_a_line_without_an_id_is_one_mistake(read):
    with pytest.raises(DataError, match=r"c:2:1: .*; fix: number the line$"):
        read(word(1) + word("x") + word(2), CONLLU)


@pytest.mark.parametrize("content", [b"", GOOD.encode("utf-16")], ids=["empty", "UTF-16"])
@pytest.mark.parametrize("config", [CONLLU, CSV, JSONL], ids=["conllu", "csv", "jsonl"])
def test_a_file_that_is_empty_or_wide_is_refused(read, config, content):
    with pytest.raises(DataError, match=r"c:1:1: "):
        read(content, config)


@pytest.mark.parametrize("pack", [gzip.compress, *(partial(zlib.compress, level=level) for level in (1, 6, 9))])
@pytest.mark.parametrize("config", [CSV, JSONL, COLUMNS, SERIES], ids=["csv", "jsonl", "columns", "sktime-ts"])
def test_a_compressed_file_is_not_unpacked(read, config, pack):
    with pytest.raises(DataError, match="c:1:1: is compressed"):
        read(pack(b"text,label\na,x\n"), config)


def test_malformed_sentences_are_left_out_whole_and_counted(tmp_path):
    (tmp_path / "c").write_text(GOOD + word(1) + word(3) + "\n" + word(1, "last"))
    reading = READERS["conllu"](tmp_path / "c", corpus("conllu", label="upos", skip_malformed=True))
    assert reading.frame.collect()["tokens"].to_list() == [["It", "rain"], ["last"]]
    assert (reading.malformed.count, [problem.number for problem in reading.malformed.problems]) == (1, [6])


VARIED = "".join(
    f"# sent_id = {number}\n# text = a b\n"
    + word("1-2", "ab")
    + word(1)
    + word("1.1", "n")
    + word(2, f"b{number}", "NOUN")
    + "\n"
    for number in range(40)
)


@pytest.mark.parametrize("size", [1, 200, 100_000])
def test_a_file_reads_the_same_in_pieces_of_any_size_and_line_by_line(read, monkeypatch, size):
    monkeypatch.setattr("pipeline.chunks.CHUNK_BYTES", size)
    cut_by_the_byte = read(VARIED, CONLLU)
    monkeypatch.setattr("pipeline.conllu._split_plain", lambda chunk, columns: None)
    assert cut_by_the_byte.equals(read(VARIED, CONLLU)) and len(cut_by_the_byte) == 40


def test_a_plain_file_is_cut_by_the_byte(read, monkeypatch):
    monkeypatch.setattr("pipeline.conllu._split", None)
    assert len(read(VARIED, CONLLU)) == 40


@pytest.mark.parametrize(("content", "line"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_named_in_a_later_piece_too(read, monkeypatch, content, line):
    monkeypatch.setattr("pipeline.chunks.CHUNK_BYTES", 1000)
    before = VARIED.encode() + (content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=rf"c:{VARIED.count(chr(10)) + line}:\d+: .*; fix: "):
        read(before, CONLLU)


@pytest.mark.parametrize("line", ["# a\tcomment\twith\ttabs", "# nine" + "\t" * 9 + "_"])
def test_a_comment_may_hold_tabs(read, line):
    assert read(f"{line}\n{GOOD}", CONLLU).equals(read(GOOD, CONLLU))


def test_a_line_that_lacks_the_tabs_that_a_comment_has_is_named(read):
    with pytest.raises(DataError, match=r"c:3:1: .*blank but not empty"):
        read("# nine" + "\t" * 9 + "_\n" + word(1) + "   \n" + word(1), CONLLU)


def test_columns_end_a_sentence_at_a_line_of_white_space(read):
    assert read("a\tO\nb\tB-x\n\t\nc d\tO\n", COLUMNS)["tokens"].to_list() == [["a", "b"], ["c d"]]


def test_columns_may_be_split_by_spaces(read):
    content = "-DOCSTART- -X- O\n\na DT O\nb  NN B-x\n"
    assert read(content, corpus("columns", text="0", label="2"))["labels"].to_list() == [["O", "B-x"]]


def test_a_line_with_other_columns_than_the_first_is_named(read):
    with pytest.raises(DataError, match="c:2:2: "):
        read("a\tO\nb\n", COLUMNS)


def test_columns_are_numbers_below_their_count(read):
    with pytest.raises(ParamsError, match="from 0 to 1"):
        read("a\tO\n", corpus("columns", text="0", label="2"))


def test_csv_fields_in_quotes_hold_commas_quotes_and_lines(read):
    row = read('label,text\nup,"a, ""b""\nc"\n', CSV).row(0, named=True)
    assert (row["text"], row["labels"]) == ('a, "b"\nc', ["up"])


def test_a_csv_row_is_named_by_the_line_where_it_begins(read):
    assert read('text,label\n"a\nb",x\nc,y\n', CSV)["id"].to_list() == ["c:2", "c:4"]


def test_quotes_mean_nothing_in_tsv(read):
    assert read('text\tlabel\nsay "a\tx\nb"\ty\n', TSV)["text"].to_list() == ['say "a', 'b"']


TABLES = {
    "a ragged row": (CSV, "text,label\na,x\nb\n", 3),
    "a row too long": (TSV, "text\tlabel\na\tx\ty\n", 2),
    "an open quote": (CSV, 'text,label\na,x\n"b,y\nc,x\n', 3),
    "a quote inside": (CSV, 'text,label\na"b"c,x\n', 2),
    "a NUL": (CSV, "text,label\na\0,x\n", 2),
    "an empty text": (CSV, "text,label\na,x\n ,y\n", 3),
    "an empty label": (TSV, "text\tlabel\na\t\n", 2),
    "a missing column": (CSV, "text,class\na,x\n", 1),
    "a column twice": (CSV, "text,label,text\na,x,b\n", 1),
    "broken JSON": (JSONL, '{"text": "a", "label": "x"}\n{"text": "b"\n', 2),
    "JSON of another kind": (JSONL, '{"text": ["a"], "label": "x"}\n', 1),
    "JSON without a label": (JSONL, '{"text": "a"}\n', 1),
    "fewer labels than tokens": (TAGGED, '{"text": ["a", "b"], "label": ["x"]}\n', 1),
    "no tokens": (TAGGED, '{"text": [], "label": []}\n', 1),
    "a label alone": (LINES, "UP a\nDOWN\n", 2),
    "dimensions of unequal length": (SERIES, "@data\n1,2:3:x\n", 2),
    "a gap": (SERIES, "@data\n1,?:3,4:x\n", 2),
    "a dimension too few": (SERIES, "@data\n1:2:x\n1:x\n", 3),
}


@pytest.mark.parametrize(("config", "content", "line"), TABLES.values(), ids=TABLES)
def test_malformed_rows_are_named_at_their_line(read, config, content, line):
    with pytest.raises(DataError, match=rf"c:{line}:\d+: .*; fix: "):
        read(content, config)


PLACES = {
    "an empty tag": (CONLLU, GOOD + word(1, upos=""), "5:7"),
    "an empty word": (CONLLU, GOOD + word(1, ""), "5:3"),
    "a column too many": (CONLLU, GOOD + word(1).rstrip("\n") + "\tmore\n", "5:21"),
    "columns too few": (CONLLU, GOOD + "1\ta\n", "5:4"),
    "spaces for tabs": (CONLLU, GOOD + "1 a a X _ _ _ _ _ _\n", "5:20"),
    "a NUL": (CONLLU, GOOD + word(1, "ab\0"), "5:5"),
    "a byte that is no UTF-8": (CONLLU, GOOD.encode() + "1\té".encode() + b"\xff\n", "5:4"),
    "a range": (CONLLU, word("2-1") + word(1), "1:1"),
    "a label in TSV": (TSV, "text\tlabel\nabc\t\n", "2:5"),
    "a text in CSV": (CSV, 'label,text\n"a,b",\n', "2:7"),
    "a column too many in CSV": (CSV, "text,label\na,b,c\n", "2:5"),
    "a word in columns": (COLUMNS, "ab\tO\ncd\t \n", "2:4"),
    "JSON": (JSONL, '{"text": "a", "label": "x"}\n{"text": "b",, "label": "x"}\n', "2:14"),
}


@pytest.mark.parametrize(("config", "content", "place"), PLACES.values(), ids=PLACES)
def test_what_is_wrong_is_named_at_its_column(read, config, content, place):
    with pytest.raises(DataError, match=rf"^[^:]*/c:{place}: "):
        read(content, config)


def test_all_that_is_wrong_is_told_at_once_and_what_is_too_much_is_counted(read, monkeypatch):
    monkeypatch.setattr("pipeline.chunks.CHUNK_BYTES", 100)
    content = "".join(word(1, upos="" if number % 3 else "WORD") + "\n" for number in range(60))
    with pytest.raises(DataError) as raised:
        read(content, CONLLU)
    told = str(raised.value).splitlines()
    assert [line.split(" ")[0].rpartition("/")[2] for line in told[:20]] == [f"c:{2 * n + 1}:7:" for n in range(20)]
    assert [line.partition("/c: ")[2].partition(" has ")[0] for line in told[20:]] == ["27 more lines:", "13 more lines:"]


def test_every_line_that_is_no_utf8_is_told(read):
    with pytest.raises(DataError) as raised:
        read(word(1).encode() + b"\xff\n" + word(2).encode() + b"a\xfe\n", CONLLU)
    assert [line.partition(": ")[0].rpartition("/")[2] for line in str(raised.value).splitlines()] == ["c:2:1", "c:4:2"]


def test_broken_json_lines_are_left_out_where_the_corpus_says_so(read):
    content = '{"text": "a", "label": 1}\nnot this\n\n{"text": "b", "label": 2}\n'
    assert read(content, corpus("jsonl", skip_malformed=True))["labels"].to_list() == [["1"], ["2"]]


@pytest.mark.parametrize(
    "lines",
    [
        ['{"text": "a', '", "label": "x"}', '{"text": "b", "label": "y"}'],
        ['{"text": "a", "label": "x"},{"text": "b", "label": "y"}'],
        ['{"text": "a", "label": "x"}},{"record":{"text": "b", "label": "y"}'],
        ['{"text": "a", "label": {', "}}"],
        ['{"text": "a", "label": "x"},{"text": "b', '", "label": "y"}'],
        ["null"],
    ],
    ids=str,
)
def test_a_line_of_json_is_one_example_whatever_stands_on_the_next(read, lines):
    good = '{"text": "c", "label": "z"}'
    with pytest.raises(DataError, match="c:2:"):
        read("\n".join([good, *lines, good]) + "\n", JSONL)


def test_json_lists_are_tokens_and_their_labels(read):
    row = read('{"text": ["a", "b c"], "label": ["x", "y"]}\n', TAGGED).row(0, named=True)
    assert (row["tokens"], row["labels"]) == (["a", "b c"], ["x", "y"])


def test_json_numbers_are_steps_where_there_are_no_words(read):
    content = '{"text": [[1, 2], [3, 4.5]], "label": "x"}\n'
    assert read(content, corpus("jsonl", language="none"))["values"].to_list() == [[[1.0, 2.0], [3.0, 4.5]]]


def test_a_coarse_label_ends_at_the_colon(read):
    content = "UP:far where to\nDOWN near\n"
    assert read(content, corpus("labelled-lines", label="coarse"))["labels"].to_list() == [["UP"], ["DOWN"]]


def test_a_fine_label_is_whole(read):
    assert read("UP:far where to\n", corpus("labelled-lines", label="fine"))["labels"].to_list() == [["UP:far"]]


def test_latin1_text_keeps_its_letters(read):
    config = corpus("labelled-lines", encoding="latin1")
    assert read("UP caf\xe9\n".encode("latin-1"), config)["text"].to_list() == ["caf\xe9"]


def test_three_lines_of_an_orange_header_are_no_examples(read):
    content = "Class\tBody\nd\tstring\nclass\t\n\t\nup\tsky high\n"
    assert read(content, corpus("orange-tab", text="Body", label="Class"))["tokens"].to_list() == [["sky", "high"]]


def test_series_become_steps_of_dimensions(read):
    content = "# note\n@dimensions 2\n@DATA\n1,2,3:4,5,6:x\n7:8:y\n"
    assert read(content, SERIES)["values"].to_list() == [[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], [[7.0, 8.0]]]


def test_an_unfetched_file_is_named(tmp_path):
    with pytest.raises(DataError, match="is no file"):
        READERS["csv"](Path(tmp_path / "c"), CSV)
