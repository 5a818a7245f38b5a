"""Encoding: the arrays say what the sentences said, and nothing outside train gives a word a number."""

import json
import logging
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.config import IGNORED
from pipeline.config import CorpusConfig, EncodeConfig, PathSource, VectorsConfig
from pipeline.encode import run
from pipeline.examples import ArrayFile, Examples
from pipeline.layout import Layout
from pipeline.reading import EXAMPLE_SCHEMA
from pipeline.vocab import Vocab

TAGGED = {"train": [("a b a", "X Y X"), ("c", "Y")], "val": [("d a", "X X")], "test": [("A b", "X Y")]}
OWN = PathSource("path", ".")


def corpus(task: str) -> CorpusConfig:
    return CorpusConfig(task, "jsonl", "en", "own", OWN, {"train": "t"})  # type: ignore[arg-type]


@pytest.fixture
def layout(tmp_path):
    layout = Layout("tiny", tmp_path / "data", tmp_path / "work")
    layout.prepared_dir.mkdir(parents=True)
    return layout


def write(layout: Layout, splits: dict[str, list[tuple[str, str]]]) -> None:
    for name, rows in splits.items():
        frame = {"tokens": [words.split() for words, _ in rows], "labels": [labels.split() for _, labels in rows]}
        columns = [
            pl.Series(key, frame.get(key, [None] * len(rows)), dtype=kind, strict=False) for key, kind in EXAMPLE_SCHEMA.items()
        ]
        pl.DataFrame(columns).write_parquet(layout.prepared_dir / f"{name}.parquet")


def decoded(layout: Layout, split: str) -> list[list[str]]:
    """Read the words back from the arrays; unknown ones come out as such."""
    vocab, examples = Vocab.load(layout.encoded_dir / "vocab.json"), Examples.open(layout.encoded_dir, split)
    words = [vocab.words[examples.forms.word_ids[token]] for token in examples.tokens]
    return [words[first:end] for first, end in zip(examples.offsets[:-1], examples.offsets[1:], strict=True)]


def test_the_arrays_hold_the_words_of_train(layout):
    write(layout, TAGGED)
    run(corpus("tagging"), EncodeConfig(), None, layout)
    assert decoded(layout, "train") == [["a", "b", "a"], ["c"]]


def test_a_word_of_val_alone_is_unknown(layout):
    write(layout, TAGGED)
    run(corpus("tagging"), EncodeConfig(), None, layout)
    assert decoded(layout, "val") == [["<unk>", "a"]]
    summary = json.loads((layout.encoded_dir / "summary.json").read_text())
    assert summary["unknown_words"] == {"train": 0.0, "val": 0.5, "test": 0.0}


def test_labels_stand_beside_their_words(layout):
    write(layout, TAGGED)
    run(corpus("tagging"), EncodeConfig(), None, layout)
    names = Vocab.load(layout.encoded_dir / "vocab.json").labels
    assert [names[label] for label in Examples.open(layout.encoded_dir, "train").labels] == ["X", "Y", "X", "Y"]


def test_a_label_of_val_alone_is_ignored(layout):
    write(layout, {**TAGGED, "val": [("d a", "X Z")]})
    run(corpus("tagging"), EncodeConfig(), None, layout)
    assert Examples.open(layout.encoded_dir, "val").labels.tolist() == [0, IGNORED]


def test_a_label_that_is_null_is_ignored(layout):
    write(layout, TAGGED)
    path = layout.prepared_dir / "val.parquet"
    pl.read_parquet(path).with_columns(labels=pl.Series([[None, "X"]])).write_parquet(path)
    run(corpus("tagging"), EncodeConfig(), None, layout)
    assert Examples.open(layout.encoded_dir, "val").labels.tolist() == [IGNORED, 0]


def test_contractions_are_learnt_from_train(layout):
    write(layout, TAGGED)
    path = layout.prepared_dir / "train.parquet"
    frame = pl.read_parquet(path).with_columns(written=pl.Series([["ab", "", None], [None]]))
    frame.write_parquet(path)
    run(corpus("tagging"), EncodeConfig(), None, layout)
    assert Vocab.load(layout.encoded_dir / "vocab.json").contractions == {"ab": ["a", "b"]}


def test_a_form_stands_once_whatever_splits_it_is_in(layout):
    write(layout, TAGGED)
    run(corpus("tagging"), EncodeConfig(), None, layout)
    assert len(Examples.open(layout.encoded_dir, "test").forms.word_ids) == len({"a", "A", "b", "c", "d"})


def test_a_classified_text_is_cut_to_its_length_and_a_tagged_one_is_not(layout):
    texts = {split: [("a b c d", "X")] for split in ("train", "val", "test")}
    write(layout, texts)
    run(corpus("classification"), EncodeConfig(max_length=3), None, layout)
    assert decoded(layout, "test") == [["a", "b", "c"]]
    write(layout, {split: [("a b c d", "X X X X")] for split in texts})
    run(corpus("tagging"), EncodeConfig(max_length=3), None, layout)
    assert decoded(layout, "test") == [["a", "b", "c", "d"]]


def test_vectors_are_cut_to_the_vocabulary_and_their_coverage_is_counted(layout):
    write(layout, TAGGED)
    folder = layout.raw_dir / "vectors"
    folder.mkdir(parents=True)
    matrix = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.save(folder / "m.npy", matrix)
    pl.DataFrame({"word": ["z", "b", "a", "d"]}).write_parquet(folder / "i.parquet")
    run(corpus("tagging"), EncodeConfig(), VectorsConfig("en", "own", OWN, "m.npy", index="i.parquet"), layout)
    words, rows = Vocab.load(layout.encoded_dir / "vocab.json").words, np.load(layout.encoded_dir / "vectors.npy")
    np.testing.assert_array_equal(rows[words.index("a")], matrix[2])
    np.testing.assert_array_equal(rows[words.index("b")], matrix[1])
    np.testing.assert_array_equal(rows[0], [0, 0])
    coverage = json.loads((layout.encoded_dir / "summary.json").read_text())["vector_coverage"]
    assert coverage == {"train": 0.75, "val": 0.5, "test": 1.0}


def test_words_of_the_vectors_alone_are_known_where_asked(layout):
    write(layout, TAGGED)
    folder = layout.raw_dir / "vectors"
    folder.mkdir(parents=True)
    np.save(folder / "m.npy", np.ones((2, 2), np.float32))
    pl.DataFrame({"word": ["d", "z"]}).write_parquet(folder / "i.parquet")
    vectors = VectorsConfig("en", "own", OWN, "m.npy", index="i.parquet")
    run(corpus("tagging"), EncodeConfig(vector_words=1), vectors, layout)
    assert decoded(layout, "val") == [["d", "a"]]
    assert Vocab.load(layout.encoded_dir / "vocab.json").words[-1] == "d"
    assert json.loads((layout.encoded_dir / "summary.json").read_text())["sizes"]["num_fixed_words"] == 1


def test_numeric_sequences_are_kept_as_numbers(layout):
    for name in ("train", "val", "test"):
        frame = {
            "id": ["1"],
            "text": [None],
            "tokens": [None],
            "values": [[[1.0, 2.0], [3.0, 4.0]]],
            "labels": [["x"]],
            "written": [None],
        }
        pl.DataFrame(frame, schema=EXAMPLE_SCHEMA).write_parquet(layout.prepared_dir / f"{name}.parquet")
    run(replace(corpus("classification"), language="none"), EncodeConfig(), None, layout)
    examples = Examples.open(layout.encoded_dir, "train")
    np.testing.assert_array_equal(examples.values, [[1, 2], [3, 4]])
    assert json.loads((layout.encoded_dir / "summary.json").read_text())["sizes"]["vector_size"] == 2


@pytest.mark.parametrize(("truncating", "kept"), [(None, ["a b", "c", "d e"]), ("pre", ["b d", "c", "d e"])])
def test_what_is_too_long_is_cut_where_asked_and_what_is_lost_is_reported(layout, caplog, truncating, kept):
    caplog.set_level(logging.INFO)
    texts = [("a b d", "X"), ("c", "Y"), ("d e", "X")]
    write(layout, {"train": texts, "val": texts[1:2], "test": texts[2:]})
    run(corpus("classification"), EncodeConfig(max_length=2, truncating=truncating), None, layout)
    examples, vocab = Examples.open(layout.encoded_dir, "train"), Vocab.load(layout.encoded_dir / "vocab.json")
    ids = examples.forms.word_ids[examples.tokens]
    read = [" ".join(vocab.words[i] for i in ids[a:b]) for a, b in zip(examples.offsets, examples.offsets[1:], strict=False)]
    assert read == kept
    assert "steps cut off: train 16.7%, val 0.0%, test 0.0%" in caplog.text
    assert json.loads((layout.encoded_dir / "summary.json").read_text())["lost_steps"]["train"] == 0.1667


def test_an_array_written_in_pieces_is_whole(tmp_path):
    whole = np.arange(24_000, dtype=np.float32).reshape(-1, 2)
    file = ArrayFile(tmp_path / "a.npy")
    for first in range(0, len(whole), 1000):
        file.append(whole[first : first + 1000])
    file.close()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), whole)
