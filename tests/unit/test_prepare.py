"""Preparing: the cut depends on what examples say, never on where they stand."""

import json
import random

import polars as pl
import pytest

from pipeline.config import Columns, CorpusConfig, PathSource, SplitConfig
from pipeline.errors import DataError
from pipeline.layout import Layout
from pipeline.prepare import run
from pipeline.reading import EXAMPLE_SCHEMA

SPLITS = ("train", "val", "test")
ROWS = [f"{'up' if number % 2 else 'down'} word{number} here" for number in range(200)]


def corpus(**other: object) -> CorpusConfig:
    fields = {"format": "labelled-lines", "task": "classification", "splits": {"all": "c"}, **other}
    return CorpusConfig(language="en", licence="own", source=PathSource("path", "."), columns=Columns(), **fields)


@pytest.fixture
def prepare(tmp_path):
    def prepared(files: dict[str, list[str]], config: CorpusConfig, split: SplitConfig | None = None) -> dict[str, pl.DataFrame]:
        layout = Layout("tiny", tmp_path / "data", tmp_path / "work")
        layout.raw_dir.mkdir(parents=True, exist_ok=True)
        for name, lines in files.items():
            (layout.raw_dir / name).write_text("\n".join(lines) + "\n")
        run(config, split or SplitConfig(val=0.2, test=0.2), layout)
        return {name: pl.read_parquet(layout.prepared_dir / f"{name}.parquet") for name in SPLITS}

    return prepared


def texts(frames: dict[str, pl.DataFrame]) -> dict[str, list[str]]:
    return {name: sorted(frame["text"]) for name, frame in frames.items()}


def test_each_example_comes_into_one_split(prepare):
    found = texts(prepare({"c": ROWS}, corpus()))
    assert sorted(text for split in found.values() for text in split) == sorted(row.split(" ", 1)[1] for row in ROWS)


def test_what_was_written_is_counted_over_all_pieces_of_a_file(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.chunks.CHUNK_BYTES", 1)
    tags = ["NOUN", "VERB", "ADJ"]
    lines = [f"1\tword{number}\t_\t{tags[number % 3]}\t_\t_\t_\t_\t_\t_\n" for number in range(60)]
    config = corpus(format="conllu", task="tagging", splits={"train": "c", "test": "d"})
    found = prepare({"c": lines, "d": lines[:2]}, config)
    summary = json.loads((tmp_path / "data" / "tiny" / "prepared" / "summary.json").read_text())
    for name in SPLITS:
        labels = {label for row in found[name]["labels"] for label in row}
        steps = sum(len(tokens) for tokens in found[name]["tokens"])
        assert summary[name] == {"examples": len(found[name]), "steps": steps, "labels": len(labels)}


def test_shares_are_near_what_was_asked(prepare):
    found = prepare({"c": ROWS}, corpus())
    assert all(20 < len(found[name]) < 60 for name in ("val", "test"))


def test_the_order_of_rows_changes_nothing(prepare):
    shuffled = random.Random(3).sample(ROWS, len(ROWS))
    assert texts(prepare({"c": ROWS}, corpus())) == texts(prepare({"c": shuffled}, corpus()))


def test_the_cut_is_the_same_for_ever(prepare):
    found = texts(prepare({"c": ROWS}, corpus()))
    assert {"word51 here", "word168 here"} < set(found["val"])
    assert [len(found[name]) for name in SPLITS] == [124, 42, 34]


def test_another_seed_cuts_elsewhere(prepare):
    one, two = (texts(prepare({"c": ROWS}, corpus(), SplitConfig(0.2, 0.2, seed))) for seed in (1, 2))
    assert set(one["test"]) != set(two["test"])


def test_duplicates_fall_into_one_split(prepare):
    found = texts(prepare({"c": ROWS + ROWS}, corpus()))
    assert not any(set(found[one]) & set(found[two]) for one, two in [("train", "val"), ("train", "test"), ("val", "test")])


def test_a_document_is_never_cut_in_two(prepare):
    sentences = [
        line
        for number in range(120)
        for line in (f"# sent_id = doc{number % 40}_{number}", f"1\tw{number}\t_\t{'X' if number % 2 else 'NUM'}" + "\t_" * 6, "")
    ]
    config = corpus(format="conllu", task="tagging", group=r"^(doc\d+)_")
    found = prepare({"c": sentences}, config)
    documents = [set(frame["id"].str.extract(r"^(doc\d+)_")) for frame in found.values()]
    assert sum(len(each) for each in documents) == len(set.union(*documents)) == 40


def test_a_missing_val_is_cut_from_train_alone(prepare):
    config = corpus(splits={"train": "c", "test": "t"})
    found = texts(prepare({"c": ROWS, "t": ["up one more", "down one less"]}, config))
    assert (found["test"], len(found["val"]) + len(found["train"])) == (["one less", "one more"], 200)


def test_official_splits_stay_whole(prepare):
    config = corpus(splits={"train": "c", "val": "v", "test": "t"})
    found = texts(prepare({"c": ROWS, "v": ROWS[:5], "t": ROWS[:3]}, config))
    assert [len(found[name]) for name in SPLITS] == [200, 5, 3]


def test_every_split_has_the_one_schema(prepare):
    assert all(frame.schema == EXAMPLE_SCHEMA for frame in prepare({"c": ROWS}, corpus()).values())


def test_the_summary_counts_examples_and_what_was_skipped(prepare, tmp_path):
    found = prepare({"c": [*ROWS, "alone"]}, corpus(skip_malformed=True))
    summary = json.loads((tmp_path / "data" / "tiny" / "prepared" / "summary.json").read_text())
    assert summary["skipped"] == {"all": 1}
    assert [summary[name]["examples"] for name in SPLITS] == [len(found[name]) for name in SPLITS]


def test_an_empty_split_is_an_error(prepare):
    with pytest.raises(DataError, match="no examples"):
        prepare({"c": ROWS}, corpus(), SplitConfig(val=0.2, test=0.0))


def test_no_partial_file_stays(prepare, tmp_path):
    prepare({"c": ROWS}, corpus())
    names = {path.name for path in (tmp_path / "data" / "tiny" / "prepared").iterdir()}
    assert names == {"train.parquet", "val.parquet", "test.parquet", "summary.json", "flaws.json"}
