"""The page of a run: it needs no network and no script, tells every section, and no name or word in it is read as HTML."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from models.through_time import Direction, Gate
from pipeline.judged import judge
from pipeline.mistakes import Pair
from pipeline.run_report import Findings, Score, cut_all, lay_out, list_scores, write_report
from pipeline.scores import label_table
from pipeline.scoring import Split

EVIL = '<script>alert("x")</script>'
TOKENS = [["the", "run", "ended"], ["run"], [EVIL, "the"]]
GOLD = [["D", "N", "V"], ["N"], ["N", EVIL]]
SAID = [["D", "V", "V"], ["V"], ["N", "N"]]
LIKELY = [[0.9, 0.6, 0.8], [0.7], [0.5, 0.4]]
GATE = Gate(np.array([0.0, 0.5]), np.array([1.0, 0.1]))
STEPS = np.tile(0.5 ** np.arange(4), (3, 1))
GATED = [Direction(1, way, STEPS, {"forget gate": GATE}, np.array([0.5, 1.0])) for way in (False, True)]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
OPTIONAL = {"html", "body", "head", "p", "tr", "td", "th", "tbody", "thead", "li", "option"}


def findings(task="tagging", tokens=TOKENS, gold=GOLD, said=SAID, likely=LIKELY, values=None, **others):
    test = Split(tokens, gold, values)
    flat = [[label for labels in rows for label in labels] for rows in (gold, said)]
    options = {
        "pipeline": "pos",
        "about": "A network.",
        "floor": "the cheap way",
        "facts": {"run": "abc"},
        "metrics": {"test/accuracy": 0.5, "test/macro_f1": 0.4, "test/floor_accuracy": 0.25, "test/accuracy_int8": 0.45},
        "sizes": {"train": {"examples": 9, "steps": 99}, "test": {"examples": 3, "steps": 6}},
        "flaws": [{"split": "val", "text": f"has {EVIL}", "places": [EVIL, "a.csv:7"]}],
        "history": [{"epoch": 1, "train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 0.5}],
        "best_epoch": 1,
        "diagram": "<svg></svg>",
        "train": test,
        "labels": label_table(*flat),
        "further": {},
        "directions": GATED,
    }
    return Findings(task=task, judged=judge(gold, said, likely), test=test, **{**options, **others})


def texts(**others):
    return findings(
        "classification", gold=[["x"], ["y"], ["y"]], said=[["x"], ["x"], ["y"]], likely=[[0.9], [0.8], [0.7]], **others
    )


def numbers(**others):
    return texts(tokens=[[], [], []], values=[[[0.5]], [[0.5], [0.5]], [[0.5]]], **others)


def page(found: Findings, folder: Path) -> str:
    write_report(found, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """The page of a tagger, whose corpus has an evil word and label."""
    return page(findings(), tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """The page of a simple RNN over numbers, with a further target and truncated back-propagation."""
    further = {"mood": label_table(["glad", "sad"], ["glad", "glad"])}
    found = numbers(further=further, directions=[Direction(1, False, STEPS)], bptt_steps=2)
    return page(found, tmp_path_factory.mktemp("odd"))


class Checker(HTMLParser):
    """Collects what does not close, and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.attributes = [], [], []

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += attributes

    def handle_endtag(self, tag):
        if tag not in OPTIONAL and (not self.open or self.open.pop() != tag):
            self.wrong.append((tag, self.getpos()))


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    return checker


def test_it_asks_for_nothing_from_a_network_and_runs_no_script(tagger: str) -> None:
    addresses = [value for name, value in checked(tagger).attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert addresses and all(value.startswith("#") for value in addresses)
    assert "<script" not in tagger and "@import" not in tagger and not re.search(r"url\((?!#)", tagger)


def test_every_element_is_closed(tagger: str) -> None:
    checker = checked(tagger)
    assert not checker.wrong and not checker.open


def test_words_and_labels_are_never_read_as_html(tagger: str) -> None:
    assert "&lt;script&gt;" in tagger and "<script" not in tagger
    assert not [name for name, _ in checked(tagger).attributes if name.startswith("on") or "<" in name]


def test_every_section_is_told(tagger: str) -> None:
    sections = ["scores", "data", "training", "confusion", "labels", "slices", "calibration", "worst", "time"]
    assert re.findall(r'<h2 id="(\w+)"', tagger) == sections == re.findall(r'<a href="#(\w+)"', tagger)


def test_a_field_of_the_confusions_opens_the_places_behind_it(tagger: str) -> None:
    (key,) = re.findall(r'id="pair-([\d-]+)"[^>]* aria-label="N labelled V"', tagger)
    assert f'<label for="pair-{key}">2</label>' in tagger
    assert f"#pair-{key}:checked ~ .places > .at-{key} {{ display: block }}" in tagger
    behind = tagger.partition(f'<div class="at-{key}">')[2].partition("</div>")[0]
    assert behind.count("<mark>run</mark>") == 2 and "the" in behind and "ended" in behind


def test_the_most_frequent_confusion_is_open_from_the_start(tagger: str) -> None:
    assert re.findall(r'checked aria-label="([^"]*)"', tagger) == ["N labelled V"]


def test_what_is_suspicious_in_the_data_is_on_the_page(tagger: str, tmp_path: Path) -> None:
    assert "a.csv:7" in tagger
    write_report(findings(flaws=[]), tmp_path / "report.html")
    assert "Nothing suspicious" in (tmp_path / "report.html").read_text()


def test_scores_stand_beside_the_floors_and_those_in_whole_numbers() -> None:
    found = list_scores({"test/accuracy": 0.9, "test/accuracy_int8": 0.8, "test/floor_accuracy": 0.7, "test/macro_f1": 0.6})
    assert found == [Score("accuracy", 0.9, 0.7, 0.8), Score("macro_f1", 0.6, None, None)]


def test_words_are_cut_by_what_the_corpus_tells_of_them() -> None:
    assert [cut.title for cut in cut_all(findings())] == ["Length", "Known words", "Ambiguity", "Rare labels"]
    assert [cut.title for cut in cut_all(texts())] == ["Length", "Unknown words", "Rare labels"]
    assert [cut.title for cut in cut_all(numbers())] == ["Length", "Rare labels"]


def test_pairs_lie_in_the_row_of_what_is_right() -> None:
    pair = Pair("a", "b", 1, [])
    ((first, second), below) = lay_out([pair], ["a", "b"], {"a": 4})
    assert first is None and below == [None, None]
    assert second is not None and (second.pair, second.share) == (pair, 0.25)


def test_texts_have_a_page(tmp_path: Path) -> None:
    text = page(texts(), tmp_path)
    assert (
        "texts\nthat the network never saw" in text
        and "The worst texts" in text
        and "said <b>x</b>, 80 %; right is <b>y</b>" in text
    )


def test_steps_of_numbers_have_a_page_that_shows_no_words(odd: str) -> None:
    assert "sequences\nthat the network never saw" in odd and "steps of numbers" in odd and "<mark>" not in odd


def test_one_label_that_is_always_right_has_a_page(tmp_path: Path) -> None:
    text = page(findings(gold=[["D"]], said=[["D"]], likely=[[1.0]], tokens=[["a"]]), tmp_path)
    assert "every label is right" in text and "0.00 %" in text


def test_a_network_without_gates_has_its_gradient_alone(odd: str) -> None:
    assert "A simple RNN has no gates" in odd and "How far a gradient reaches" in odd and "Half-life" not in odd


def test_where_training_cuts_the_gradient_is_told(odd: str) -> None:
    assert "cut every 2 steps" in re.sub(r"\s+", " ", odd)


def test_further_targets_have_their_labels_on_the_page(odd: str) -> None:
    assert "mood, a further target, 2 labels" in odd and ">sad<" in odd


def test_the_most_frequent_of_many_labels_leave_a_page_of_bounded_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gold, said = ([[str(label) for label in rng.integers(0, 80, 30)] for _ in range(400)] for _ in range(2))
    tokens = [[f"word{i}" * 3 for i in range(30)]] * 400
    text = page(findings(gold=gold, said=said, likely=[[0.5] * 30] * 400, tokens=tokens), tmp_path)
    assert "Shown are the 25 of 80 labels" in re.sub(r"\s+", " ", text) and len(text) < 2_000_000


def test_the_same_run_gives_the_same_bytes(tagger: str, tmp_path: Path) -> None:
    assert page(findings(), tmp_path) == tagger
