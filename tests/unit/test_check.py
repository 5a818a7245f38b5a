"""`unroll check`: every kind of malformed CoNLL-U at its line, none in valid files, and what well-formed data may hide."""

import codecs
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from udtools import Validator

from pipeline.check import check, of_files, to_json
from pipeline.errors import DataError
from pipeline.reading import MOST_PROBLEMS

GOOD = "# sent_id = s1\n# text = It rains\n1\tIt\tit\tPRON\t_\t_\t2\tnsubj\t_\t_\n2\trains\train\tVERB\t_\t_\t0\troot\t_\t_\n\n"


def word(number: object, form: str = "a", upos: str = "X") -> str:
    return f"{number}\t{form}\t_\t{upos}\t_\t_\t0\troot\t_\t_\n"


def sentence(*lines: str, name: str = "s2") -> str:
    return f"# sent_id = {name}\n# text = a\n" + "".join(lines) + "\n"


KINDS: dict[str, tuple[str | bytes, int]] = {
    "a column too few": (GOOD + sentence("1\ta\t_\tX\t_\t_\t0\troot\t_\n"), 8),
    "spaces for TABs": (GOOD + sentence(word(1).replace("\t", " ")), 8),
    "a trailing TAB": (GOOD + sentence(word(1)[:-1] + "\t\n"), 8),
    "an empty field": (GOOD + sentence(word(1, "")), 8),
    "no UTF-8": ((GOOD + sentence(word(1, "\xe9"))).encode("latin-1"), 8),
    "UTF-16": (GOOD.encode("utf-16"), 1),
    "a NUL": (GOOD + sentence(word(1, "a\0")), 8),
    "a blank line of white space": (GOOD + sentence(word(1), " \n", word(1)), 9),
    "a comment inside a sentence": (GOOD + sentence(word(1), "# late\n", word(2)), 9),
    "a bad id": (GOOD + sentence(word("x")), 8),
    "an id twice": (GOOD + sentence(word(1), word(1)), 9),
    "an id out of order": (GOOD + sentence(word(1), word(3)), 9),
    "a range that goes back": (GOOD + sentence(word("2-1", upos="_"), word(1), word(2)), 8),
    "overlapping ranges": (GOOD + sentence(word("1-2", upos="_"), word(1), word("2-3", upos="_"), word(2), word(3)), 10),
    "a misplaced empty node": (GOOD + sentence(word(1), word("3.1"), word(2)), 9),
    "a sent_id twice": (GOOD + GOOD, 6),
    "a missing tag": (GOOD + sentence(word(1, upos="_")), 8),
    "an unknown tag": (GOOD + sentence(word(1, upos="WORD")), 8),
    "an empty file": (b"", 1),
}
"""What is malformed -> a file, and the line to be named."""
REPAIRED: dict[str, tuple[str | bytes, str]] = {
    "CRLF": (GOOD.replace("\n", "\r\n"), "line that ends in CRLF"),
    "a byte order mark": (codecs.BOM_UTF8 + GOOD.encode(), "byte order mark"),
    "no blank line at the end": (GOOD[:-1], "missing blank line at the end"),
    "a doubled blank line": (GOOD + "\n" + sentence(word(1)), "blank line too many"),
    "an empty column that is not read": (GOOD + sentence("1\ta\t\tX\t_\t_\t0\troot\t_\t_\n"), "empty column that is not read"),
}
VALID = {
    "a plain sentence": GOOD,
    "a range": GOOD + sentence(word("1-2", upos="_"), word(1), word(2)),
    "empty nodes": GOOD + sentence(word("0.1"), word(1), word("1.1"), word("1.2"), word(2)),
    "one word": sentence(word(1)),
    "ten thousand words": sentence(*(word(number) for number in range(1, 10_001))),
    "words with spaces": GOOD + sentence(word(1, "20 000")),
    "emoji, joiners, right to left": GOOD + sentence(word(1, "👩‍🔬"), word(2, "می‌خواهم"), word(3, "שלום")),
}
ELSEWHERE = {
    "a NUL": "UD asks nothing of characters at level 1; NUL is no text, and ends it for other programs",
    "a sent_id twice": "UD asks for different names at level 2",
    "an empty file": "no sentence breaks no rule; a split needs examples",
    "a missing tag": "UD asks for a tag at level 2; without one there is nothing to learn",
    "an unknown tag": "UD names the tags at level 2",
}
"""What udtools takes at level 1, and why we do not."""
STRICTER = {
    "CRLF": "UD wants LF alone; nothing is lost by reading both",
    "a byte order mark": "UD wants none; it is no part of the text",
    "no blank line at the end": "UD wants one; the sentence is whole without",
    "a doubled blank line": "UD wants one; nothing stands between the two",
    "an empty column that is not read": "UD wants _; the column is not read",
}
"""What udtools refuses at level 1 and we repair, and why."""


def write(folder: Path, content: str | bytes, name: str = "a.conllu") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(found) -> list[int]:
    return [problem.number for malformed in found.malformed.values() for problem in malformed.problems]


def is_valid_at_level_1(path: Path) -> bool:
    try:
        return Validator(lang="ud", level=1, max_store=1, output=None).validate_files([str(path)]).passed()
    except UnicodeDecodeError:  # it stops where bytes are no text
        return False


@pytest.mark.parametrize(("content", "line"), KINDS.values(), ids=KINDS)
def test_each_kind_of_malformed_line_is_named_at_its_line(tmp_path, content, line):
    path = write(tmp_path, content)
    try:
        found = lines(check(of_files([path])))
    except DataError as error:
        found = [int(str(error).split(":")[1])]
    assert found[0] == line


def test_text_that_is_not_composed_is_named_where_it_stands(tmp_path):
    found = check(of_files([write(tmp_path, GOOD + sentence(word(1, "cafe\u0301")))]))
    (flaw,) = [flaw for flaw in found.flaws if flaw.kind == "not-nfc"]
    assert flaw.places[:2] == (f"{tmp_path}/a.conllu:8:3", r"'cafe\u0301'")


@pytest.mark.parametrize(("content", "what"), REPAIRED.values(), ids=REPAIRED)
def test_what_is_repaired_is_counted_and_no_error(tmp_path, content, what):
    path = write(tmp_path, content)
    found = check(of_files([path]))
    assert (found.num_malformed, what in found.repairs[str(path)]) == (0, True)


@pytest.mark.parametrize("content", VALID.values(), ids=VALID)
def test_valid_files_raise_no_alarm(tmp_path, content):
    found = check(of_files([write(tmp_path, content)]))
    assert (found.num_malformed, found.repairs, [flaw for flaw in found.flaws if flaw.words]) == (0, {}, [])


@pytest.mark.parametrize("name", [*KINDS, *REPAIRED, *VALID])
def test_the_validator_of_universal_dependencies_agrees_save_where_it_is_said(tmp_path, name):
    content = KINDS[name][0] if name in KINDS else REPAIRED[name][0] if name in REPAIRED else VALID[name]
    is_valid = name not in KINDS
    assert is_valid_at_level_1(write(tmp_path, content)) == (is_valid != (name in ELSEWHERE or name in STRICTER))


def test_all_problems_of_all_files_are_told_at_once_with_their_number_and_exit_code_3(tmp_path):
    many = GOOD + "".join(sentence(word(1, upos="WORD"), name=f"n{number}") for number in range(30))
    paths = [write(tmp_path, many, "a.conllu"), write(tmp_path, sentence(word(2)), "b.conllu")]
    done = subprocess.run([sys.executable, "-m", "pipeline", "check", *paths], capture_output=True, text=True, check=False)
    named = [line for line in done.stdout.splitlines() if re.search(r"\.conllu:\d+:\d+: ", line)]
    assert (done.returncode, len(named)) == (3, MOST_PROBLEMS + 1)
    assert "10 more lines: has an upos" in done.stdout and "malformed lines: 31" in done.stderr


def split(*rows: str) -> str:
    return "text,label\n" + "".join(f"{row}\n" for row in rows)


TRAIN = split(*(f"good {number},up" for number in range(6)), *(f"bad {number},down" for number in range(6)))


def kinds(tmp_path, train: str, test: str) -> dict[str, tuple[str, int]]:
    paths = [write(tmp_path, train, "train.csv"), write(tmp_path, test, "test.csv")]
    return {flaw.kind: (flaw.split, flaw.count) for flaw in check(of_files(paths)).flaws}


@pytest.mark.parametrize(
    ("train", "test", "kind", "split_", "count"),
    [
        (TRAIN, split("new,up", "other,down", "odd,sideways", "odder,sideways"), "unseen-labels", "test.csv", 2),
        (TRAIN + "once,rare\n", split("new,up", "other,down"), "rare-labels", "train.csv", 1),
        (TRAIN, split("new,up", "good 1,up", "other,down", "bad 2,down"), "leakage", "test.csv", 2),
        (TRAIN + "good 1,up\n", split("new,up", "other,down"), "duplicates", "train.csv", 1),
        (TRAIN + "good 1,down\n", split("new,up", "other,down"), "contradictions", "train.csv", 2),
        (TRAIN, split("a\u200bb,up", "other,down"), "invisible", "test.csv", 1),
        (TRAIN, split("lost \ufffd,up", "other,down"), "replaced", "test.csv", 1),
        (TRAIN, split(*(f"new {number},up" for number in range(200))), "drift", "test.csv", 200),
        (split("a,up", "b,up"), split("c,up"), "single-label", "train.csv", 2),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() and "\n" not in value else "",
)
def test_what_is_suspicious_is_counted_where_it_is(tmp_path, train, test, kind, split_, count):
    assert kinds(tmp_path, train, test)[kind] == (split_, count)


def test_sound_data_raises_no_suspicion(tmp_path):
    assert kinds(tmp_path, TRAIN, split("new,up", "other,down")) == {}


def test_a_file_without_an_example_that_can_be_read_is_an_empty_split(tmp_path):
    paths = [write(tmp_path, TRAIN, "train.csv"), write(tmp_path, "text,label\n,up\n", "test.csv")]
    assert [flaw.kind for flaw in check(of_files(paths)).flaws] == ["empty-split"]


def test_a_file_of_which_no_record_can_be_told_apart_is_named_at_its_open_quote(tmp_path):
    found = check(of_files([write(tmp_path, 'text,label\n"sky,up\nsea,down\n', "a.csv")]))
    assert lines(found) == [2] and [flaw.kind for flaw in found.flaws] == ["empty-split"]


@pytest.mark.parametrize(("option", "code"), [([], 0), (["--strict"], 3)])
def test_warnings_are_errors_where_that_is_asked(tmp_path, option, code):
    paths = [write(tmp_path, TRAIN, "train.csv"), write(tmp_path, split("good 1,up", "other,down"), "test.csv")]
    command = [sys.executable, "-m", "pipeline", "check", *paths, "--json", *option]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (found,) = json.loads(done.stdout)
    assert (done.returncode, [flaw["kind"] for flaw in found["flaws"]]) == (code, ["leakage"])


def test_what_was_found_is_written_for_programs(tmp_path):
    path = write(tmp_path, GOOD + sentence(word(1, upos="WORD"), name="s2"))
    (found,) = json.loads(to_json([check(of_files([path]))]))
    (problem,) = found["problems"]
    assert (problem["file"], problem["number"], problem["column"]) == (str(path), 8, 7)
    assert found["splits"]["a.conllu"]["examples"] == 1
