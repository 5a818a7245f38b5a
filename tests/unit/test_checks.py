"""Options that go nowhere: each is an error at its line, whatever its value."""

from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.params import load_config

BLOCK = """
    language: en
    licence: ours
    source: {kind: path, path: own}
"""
CORPORA = f"""\
corpora:
  tags:
    task: tagging
    format: conllu
    columns: {{text: form, label: upos, per_token: {{xpos: xpos}}, per_sequence: {{intent: intent}}}}{BLOCK}    splits: {{all: c}}
  texts:
    task: classification
    format: csv
    columns: {{per_sequence: {{fine: fine}}}}{BLOCK}    splits: {{train: c, val: c, test: c}}
  series:
    task: classification
    format: sktime-ts{BLOCK}    splits: {{train: c, test: c}}
vectors:
  small:{BLOCK}    file: v.txt
    format: text
"""


def problems(tmp_path, corpus, *, vectors="null", sweep="", corpora=CORPORA, **sections):
    lines = ["pipelines:", "  mine:", f"    corpus: {corpus}", f"    vectors: {vectors}"]
    lines += [f"    {name}: {sections.get(name, '{}')}" for name in ("split", "encode", "model", "train", "register")]
    (tmp_path / "params.yaml").write_text("\n".join([*lines, sweep]), encoding="utf-8")
    (tmp_path / "corpora.yaml").write_text(corpora, encoding="utf-8")
    try:
        load_config(tmp_path / "params.yaml", tmp_path / "corpora.yaml")
    except ParamsError as error:
        return str(error).replace(f"{tmp_path}/", "").splitlines()
    return []


@pytest.mark.parametrize("corpus", ["tags", "texts", "series"])
def test_what_is_left_out_is_no_problem(tmp_path, corpus):
    assert problems(tmp_path, corpus) == []


@pytest.mark.parametrize(
    ("corpus", "section", "key", "value", "purpose"),
    [
        ("tags", "model", "pooling", "final", "classification"),
        ("tags", "model", "dense", "8", "classification"),
        ("tags", "model", "activation", "relu", "cell: simple_rnn"),
        ("tags", "model", "bio", "true", "crf: true"),
        ("tags", "model", "tune_vectors", "true", "pre-trained vectors"),
        ("tags", "encode", "max_length", "9", "classification"),
        ("tags", "encode", "vector_words", "9", "pre-trained vectors"),
        ("texts", "encode", "truncating", "pre", "sequences that are cut: set max_length"),
        ("texts", "model", "crf", "true", "tagging"),
        ("texts", "train", "monitor", "entity_f1", "tagging"),
        ("texts", "register", "metric", "entity_f1", "tagging"),
        ("texts", "split", "val", "0.2", "a corpus without a val part"),
        ("series", "split", "test", "0.2", "a corpus without a test part"),
        ("series", "model", "char_hidden", "25", "words"),
        ("series", "encode", "lowercase", "true", "word embeddings"),
        ("series", "train", "word_dropout", "0.1", "word embeddings"),
    ],
)
def test_an_option_that_would_do_nothing_is_an_error(tmp_path, corpus, section, key, value, purpose):
    (problem,) = problems(tmp_path, corpus, **{section: f"{{{key}: {value}}}"})
    assert problem.startswith("params.yaml:") and f"mine.{section}.{key} would do nothing here; it is for {purpose}" in problem


@pytest.mark.parametrize(
    ("model", "section", "key", "value", "purpose"),
    [
        ("{word_size: 0}", "encode", "min_count", "2", "word embeddings"),
        ("{word_size: 0}", "encode", "max_words", "9", "word embeddings"),
        ("{word_size: 0}", "train", "word_dropout", "0.1", "word embeddings"),
        ("{char_hidden: 0}", "encode", "max_word_length", "9", "characters"),
    ],
)
def test_an_option_of_what_the_network_does_not_read_is_an_error(tmp_path, model, section, key, value, purpose):
    (problem,) = problems(tmp_path, "tags", model=model, **{section: f"{{{key}: {value}}}"})
    assert f"mine.{section}.{key} would do nothing here; it is for {purpose}" in problem


def test_vectors_of_words_that_are_not_read_are_an_error(tmp_path):
    (problem,) = problems(tmp_path, "tags", vectors="small", model="{word_size: 0}")
    assert "mine.vectors would do nothing here; it is for word embeddings" in problem


def test_numbers_have_no_vectors(tmp_path):
    assert any("vectors would do nothing here" in problem for problem in problems(tmp_path, "series", vectors="small"))


def test_a_crf_takes_no_label_smoothing(tmp_path):
    (problem,) = problems(tmp_path, "tags", model="{crf: true}", train="{label_smoothing: 0.1}")
    assert "train.label_smoothing would do nothing here; it is for softmax" in problem


@pytest.mark.parametrize(
    ("corpus", "model", "says"),
    [
        ("tags", "{features: {lemma: 5}}", "names no further column; the corpus has capitalisation, xpos"),
        ("tags", "{heads: {lemma: 0.5}}", "names no further column; the corpus has xpos, intent"),
        ("tags", "{heads: {xpos: 0.5}, features: {xpos: 5}}", "the network would read what it is to find"),
        ("tags", "{heads: {xpos: 0}}", "greater than 0"),
        ("texts", "{features: {fine: 5}}", "names no further column; the corpus has capitalisation"),
        ("tags", "{hidden: [5, 6], residual: true}", "equal width"),
        ("texts", "{hidden: [5, 5], residual: true, merge: ave}", "no final state"),
    ],
)
def test_options_that_do_not_fit_the_corpus_or_each_other_are_named(tmp_path, corpus, model, says):
    (problem,) = problems(tmp_path, corpus, model=model)
    assert problem.startswith("params.yaml:7:") and says in problem


@pytest.mark.parametrize(
    ("corpus", "model"),
    [
        ("tags", "{features: {capitalisation: 5, xpos: 9}, heads: {intent: 0.5}, pooling: attention, dense: 4}"),
        ("texts", "{heads: {fine: 1.0}, pooling: max}"),
        ("tags", "{hidden: [5, 5], residual: true, merge: sum, crf: true, bio: true}"),
        ("series", "{word_size: 5, cell: gru, reset_after: false}"),
    ],
)
def test_options_that_fit_are_taken(tmp_path, corpus, model):
    assert problems(tmp_path, corpus, model=model) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("format: csv", "format: labelled-lines", None),
        ("format: conllu", "format: columns", "per_sequence is for the formats"),
        ("columns: {per_sequence: {fine: fine}}", "columns: {per_token: {fine: fine}}", "per_token is for tagging"),
        ("{fine: fine}", "{label: fine}", "is no name for a further column"),
        ("{fine: fine}", "{a/b: fine}", "is no name for a further column"),
        ("{intent: intent}", "{xpos: intent}", "is no name for a further column"),
        ("format: text", "format: npy", "has no index"),
        ("format: text", "format: word2vec\n    index: i.parquet", "index would do nothing here"),
    ],
)
def test_the_catalogue_is_checked_likewise(tmp_path, old, new, says):
    found = problems(tmp_path, "series", corpora=CORPORA.replace(old, new))
    assert any(says in problem for problem in found) if says else not found


def test_no_two_messages_are_the_same_line(tmp_path):
    found = problems(
        tmp_path, "tags", model="{pooling: max, activation: relu, reset_after: true, merge: sum, bidirectional: false}"
    )
    assert len(found) == 4 and len(set(found)) == 4 and all(Path(p.split(":")[0]).name == "params.yaml" for p in found)
