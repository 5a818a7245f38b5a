"""Further columns of a corpus, from the file to the batch: inputs and targets beside the label."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from models import ModelConfig, Sizes, build_network
from pipeline import encode, prepare
from pipeline.batches import make_batch
from pipeline.config import Columns, CorpusConfig, EncodeConfig, PathSource, SplitConfig
from pipeline.corpora import READERS
from pipeline.errors import DataError
from pipeline.examples import Examples
from pipeline.layout import Layout
from pipeline.vocab import CAPITALISATIONS, Vocab

CONLLU = """\
# sent_id = s1
# intent = ask
1\tIt\tit\tPRON\tP1\t_\t2\tnsubj\t_\t_
2\trains\train\tVERB\tV1\t_\t0\troot\t_\t_

# sent_id = s2
# intent = tell
1\tGo\tgo\tVERB\tV2\t_\t0\troot\t_\t_

"""
JSONL = [
    {"text": ["It", "rains"], "label": ["PRON", "VERB"], "xpos": ["P1", "V1"], "intent": "ask"},
    {"text": ["Go"], "label": ["VERB"], "xpos": ["V2"], "intent": "tell"},
]
OWN = PathSource("path", ".")


def corpus(form, columns, task="tagging", **splits):
    return CorpusConfig(task, form, "en", "own", OWN, splits or {"all": "c"}, columns)  # type: ignore[arg-type]


TAGGED = {
    "conllu": (CONLLU, Columns("form", "upos", {"xpos": "xpos"}, {"intent": "intent"})),
    "jsonl": ("\n".join(map(json.dumps, JSONL)), Columns("text", "label", {"xpos": "xpos"}, {"intent": "intent"})),
    "columns": ("It PRON P1\nrains VERB V1\n\nGo VERB V2\n", Columns("0", "1", {"xpos": "2"})),
}
CLASSIFIED = {
    "csv": ("text,label,mood\nIt rains,a,sad\nGo,b,glad\n", Columns(per_sequence={"fine": "mood"})),
    "tsv": ("text\tlabel\tmood\nIt rains\ta\tsad\nGo\tb\tglad\n", Columns(per_sequence={"fine": "mood"})),
    "labelled-lines": ("a:sad It rains\nb:glad Go\n", Columns(label="coarse", per_sequence={"fine": "fine"})),
}


def read(tmp_path, content, config):
    (tmp_path / "c").write_text(content, encoding="utf-8")
    return READERS[config.format](tmp_path / "c", config).frame.collect(engine="streaming")


@pytest.mark.parametrize("form", TAGGED)
def test_a_tagging_format_gives_a_value_per_token(tmp_path, form):
    content, columns = TAGGED[form]
    frame = read(tmp_path, content, corpus(form, columns))
    assert frame["token:xpos"].to_list() == [["P1", "V1"], ["V2"]]
    assert frame["labels"].to_list() == [["PRON", "VERB"], ["VERB"]]
    if columns.per_sequence:
        assert frame["sequence:intent"].to_list() == ["ask", "tell"]


@pytest.mark.parametrize("form", CLASSIFIED)
def test_a_classification_format_gives_a_value_per_sequence(tmp_path, form):
    content, columns = CLASSIFIED[form]
    frame = read(tmp_path, content, corpus(form, columns, "classification"))
    assert [value.removeprefix("a:").removeprefix("b:") for value in frame["sequence:fine"]] == ["sad", "glad"]
    assert frame["labels"].to_list() == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("form", "old", "new", "line", "says"),
    [
        ("conllu", "# intent = tell\n", "", 7, "has no intent"),
        ("conllu", "\tP1\t", "\t\t", 3, "has no xpos"),
        ("jsonl", '["P1", "V1"]', '["P1"]', 1, "not a value of xpos for each token"),
        ("jsonl", '["P1", "V1"]', '["P1", ""]', 1, "not a value of xpos for each token"),
        ("jsonl", '"tell"', '""', 2, "has no intent"),
    ],
)
def test_a_missing_value_is_named_at_its_line(tmp_path, form, old, new, line, says):
    content, columns = TAGGED[form]
    with pytest.raises(DataError, match=rf"c:{line}:\d+: .*{says}"):
        read(tmp_path, content.replace(old, new), corpus(form, columns))


def test_a_table_without_the_column_lists_what_it_has(tmp_path):
    content, _ = CLASSIFIED["csv"]
    with pytest.raises(DataError, match=r"no column 'tone'.*'mood'.*fix: set columns\.per_sequence\.fine"):
        read(tmp_path, content, corpus("csv", Columns(per_sequence={"fine": "tone"}), "classification"))


@pytest.fixture
def encoded(tmp_path):
    """Take the sentences through prepare and encode, with another one to be unknown."""
    layout = Layout("tiny", tmp_path / "data", tmp_path / "work")
    layout.raw_dir.mkdir(parents=True)
    other = CONLLU.replace("V1", "V9").replace("ask", "shout").replace("s1", "s3").replace("s2", "s4")
    for name, content in (("train", CONLLU), ("val", other), ("test", other)):
        (layout.raw_dir / name).write_text(content, encoding="utf-8")
    config = corpus("conllu", TAGGED["conllu"][1], train="train", val="val", test="test")
    prepare.run(config, SplitConfig(), layout)
    encode.run(config, EncodeConfig(), None, layout)
    return layout


def test_encoding_numbers_the_values_of_train_and_knows_no_others(encoded):
    vocab = Vocab.load(encoded.encoded_dir / "vocab.json")
    assert vocab.column_labels("intent") == ("ask", "tell") and set(vocab.column_labels("xpos")) == {"P1", "V1", "V2"}
    train, val = (Examples.open(encoded.encoded_dir, split) for split in ("train", "val"))
    first = int(np.argmax(train.lengths))
    values = [vocab.columns["xpos"][i] for i in train.per_token["xpos"][train.offsets[first] : train.offsets[first + 1]]]
    assert values == ["P1", "V1"] and vocab.columns["intent"][train.per_sequence["intent"][first]] == "ask"
    assert vocab.columns["xpos"][val.per_token["xpos"].min()] == "<unk>"


def test_the_sizes_say_what_can_be_read_and_what_predicted(encoded):
    sizes = Sizes.load(json.loads((encoded.encoded_dir / "summary.json").read_text())["sizes"])
    assert sizes.features == {"capitalisation": len(CAPITALISATIONS), "xpos": 5}
    assert {name: (target.task, target.num_labels) for name, target in sizes.targets.items()} == {
        "xpos": ("tagging", 3),
        "intent": ("classification", 2),
    }
    assert set(sizes.labels) == {"PRON", "VERB"}


def test_a_batch_holds_columns_as_inputs_and_as_targets_with_unknown_values_ignored(encoded):
    val = Examples.open(encoded.encoded_dir, "val")
    longest = int(np.argmax(val.lengths))
    batch = make_batch(val, np.array([longest]))
    assert batch.features["xpos"][0, 1] == 1 and batch.targets["xpos"][0, 1] == -100
    assert batch.targets["xpos"][0, 0] == batch.features["xpos"][0, 0] - 2 and batch.targets["intent"].tolist() == [-100]


def test_a_network_learns_from_such_a_corpus(encoded):
    sizes = Sizes.load(json.loads((encoded.encoded_dir / "summary.json").read_text())["sizes"])
    config = ModelConfig(
        8, features={"xpos": 3, "capitalisation": 2}, hidden=(6,), heads={"intent": 1.0}, input_dropout=0, dropout=0
    )
    network = build_network(config, sizes)
    batch = make_batch(Examples.open(encoded.encoded_dir, "train"), np.arange(2))
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        sums = network.loss_sums(network(batch), batch)
        sum(sums.values()).backward()
        optimizer.step()
    predicted = network.predict(network(batch), batch.lengths)
    assert torch.equal(predicted["intent"].labels, batch.targets["intent"])


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("word", "lower"), ("Word", "title"), ("WORD", "upper"), ("wOrd", "mixed"),
        ("1984", "none"), ("É", "title"), ("ß", "lower"), ("3D", "upper"),
    ],
)  # fmt: skip
def test_capitalisation_tells_how_a_word_is_written(word, kind):
    vocab = Vocab(("<pad>", "<unk>"), ("<pad>", "<unk>"), (), True, 30)
    assert CAPITALISATIONS[vocab.encode_forms(pl.Series([word])).capitalisation[0]] == kind


def test_a_truncated_text_takes_its_columns_with_it(tmp_path):
    layout = Layout("tiny", tmp_path / "data", tmp_path / "work")
    layout.prepared_dir.mkdir(parents=True)
    rows = {"tokens": [["a", "b", "c"]], "values": [None], "labels": [["x"]], "written": [None], "token:tag": [["s", "t", "u"]]}
    schema = {"tokens": pl.List(pl.String), "values": pl.List(pl.List(pl.Float32)), "labels": pl.List(pl.String)}
    schema |= {"written": pl.List(pl.String), "token:tag": pl.List(pl.String)}
    for name in ("train", "val", "test"):
        pl.DataFrame(rows, schema=schema).write_parquet(layout.prepared_dir / f"{name}.parquet")
    config = replace(corpus("jsonl", Columns(per_token={"tag": "tag"})), task="classification")
    encode.run(config, EncodeConfig(max_length=2), None, layout)
    assert len(Examples.open(layout.encoded_dir, "train").per_token["tag"]) == 2
