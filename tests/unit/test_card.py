"""A model's card: what a reader needs stands there, whatever its labels are called, in as many characters as databases hold."""

import csv
import dataclasses
import json
import re

import pytest
from test_labeler import make_labeler

from pipeline.card import MOST_CHARACTERS, Subject, table, write_card
from pipeline.config import CorpusConfig, WheelSource
from pipeline.layout import Layout

CORPUS = CorpusConfig(
    "tagging", "conllu", "pt", "CC BY 4.0", WheelSource("wheel", "corpora==2", "ab", ("a.conllu",)), {"all": "a.conllu"}
)
METRICS = {"test/accuracy": 0.9, "test/accuracy_unknown": 0.7, "test/floor_accuracy": 0.8}
TAGS = {"git_commit": "c0ffee", "sha256_weights": "abba", "md5_prepared": "1.dir", "sweep": "5eed"}


@pytest.fixture
def subject(tmp_path):
    """Gives what a card is about, with these labels on test and these scores."""

    def make(labels=("A",), metrics=METRICS):
        layout = Layout("toy", tmp_path / "data")
        layout.report_dir.mkdir(parents=True)
        layout.prepared_dir.mkdir()
        sizes = {"train": {"examples": 1200, "steps": 34000}, "test": {"examples": 5, "steps": 60}}
        (layout.prepared_dir / "summary.json").write_text(json.dumps(sizes), encoding="utf-8")
        with (layout.report_dir / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["label", "precision", "recall", "f1", "support"])
            writer.writeheader()
            writer.writerows(
                {"label": label, "precision": 1, "recall": 1, "f1": i / 100, "support": 3} for i, label in enumerate(labels)
            )
        labeler = make_labeler(tmp_path)
        labeler = dataclasses.replace(labeler, meta={**labeler.meta, "num_parameters": 12345})
        return Subject(layout, labeler, "news", CORPUS, metrics, TAGS, {"curves": "get-artifact?path=curves.png"})

    return make


def rows_of(card):
    return [line for line in card.splitlines() if line.startswith("|")]


def test_it_says_what_the_model_is_what_it_read_what_it_may_be_used_for_and_where_it_came_from(subject):
    card = write_card(subject())
    for said in ("a label per word", "12,345 parameters", "CC BY 4.0", "corpora==2", "train 1,200 (34,000 words)", "language pt"):
        assert said in card
    for said in ("70.00% of them rightly", "models:/toy@champion", "commit c0ffee", "prepared 1.dir", "sweep 5eed", "![curves]"):
        assert said in card


def test_a_score_stands_beside_its_floor(subject):
    assert re.search(r"\| accuracy \| &emsp;90.00% \| &emsp;80.00% \|", write_card(subject()))


@pytest.mark.parametrize("label", ["a|b", "a\\|b", "`|`", "a\nb", "*", "<b>", "_x_"])
def test_a_label_of_whatever_signs_stays_in_its_cell(subject, label):
    row = next(line for line in rows_of(write_card(subject(labels=(label,)))) if line.endswith("&emsp;3 |"))
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", row)
    assert len(cells) == 7
    assert "".join(re.sub(r"\\(.)", r"\1", cells[1]).split()) == "".join(label.split())


def test_the_labels_that_are_found_worst_are_shown(subject):
    card = write_card(subject(labels=[f"L{i}" for i in range(40)]))
    assert "L9" in card and "L10" not in card and "worst first" in card


def test_a_long_card_leaves_out_what_is_of_least_use(subject):
    card = write_card(subject(labels=["x" * 500] * 40))
    assert len(card) <= MOST_CHARACTERS and "xxx" not in card and "Lineage" in card and "![curves]" in card


def test_no_card_is_longer_than_a_database_holds(subject):
    assert len(write_card(subject(metrics={f"test/score_{i}": 0.5 for i in range(400)}))) == MOST_CHARACTERS


def test_a_table_has_a_rule_under_its_heads():
    assert table(["a", "b"], [["c", "d"]]).splitlines() == ["| a | &emsp;b |", "| --- | ---: |", "| c | &emsp;d |"]
