"""The stage between model and run: every kind of network over every kind of corpus gets its scores and its page."""

import json
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from models.config import ModelConfig, Sizes, Target
from models.lengths import step_mask
from models.network import build_network
from pipeline import evaluate
from pipeline.checkpoint import save_checkpoint
from pipeline.layout import Layout
from pipeline.run_report import write_report
from pipeline.sample import sample_batch
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab

WORDS = ("um", "dois", "três", "Quatro", "<i>")
VOCAB = Vocab(
    words=(*RESERVED, "um", "dois", "três"),
    chars=(*RESERVED, *"umdoistrêQacn"),
    labels=("A", "B", "<b>"),
    lowercase=True,
    max_word_length=30,
    columns={"tag": [*RESERVED, "s", "t"], "mood": [*RESERVED, "glad", "sad"]},
)
WRITTEN = {"metrics.json", "history.csv", "labels.csv", "learning_curves.png", "confusion.png", "label_f1.png", "network.svg"} | {
    "report.html"
}
SMALL = {"word_size": 6, "char_size": 4, "char_hidden": 3, "hidden": (4,)}
NUMERIC = {"word_size": 6, "hidden": (4,)}
CASES = {
    "tagger": ("tagging", SMALL, {}),
    "tagger with CRF, columns and further heads": (
        "tagging",
        {**SMALL, "crf": True, "features": {"capitalisation": 2, "tag": 2}, "heads": {"tag": 1.0, "mood": 1.0}},
        {},
    ),
    "deep simple RNN from the end": (
        "tagging",
        {**SMALL, "cell": "simple_rnn", "hidden": (4, 3), "bidirectional": False, "go_backwards": True},
        {},
    ),
    "classifier of the ends of texts": (
        "classification",
        {
            **SMALL,
            "cell": "gru",
            "reset_after": False,
            "hidden": (4, 4),
            "merge": "sum",
            "pooling": "max",
            "residual": True,
            "layer_norm": True,
        },
        {"max_length": 2, "truncating": "pre"},
    ),
    "classifier of numbers": (
        "classification",
        {**NUMERIC, "cell": "gru", "pooling": "attention", "bptt_steps": 2},
        {"vector_size": 2},
    ),
}


def make_split(rng, task, vector_size, number):
    lengths = [1, *rng.integers(1, 9, number - 1).tolist()]
    tokens = [rng.choice(WORDS, length).tolist() for length in lengths]
    targets = lengths if task == "tagging" else [1] * number
    frame = {
        "tokens": [None] * number if vector_size else tokens,
        "labels": [rng.choice(VOCAB.labels, length).tolist() for length in targets],
        "values": [rng.normal(size=(length, vector_size)).tolist() for length in lengths] if vector_size else [None] * number,
        "per_token:tag": [rng.choice(["s", "t"], length).tolist() for length in lengths],
        "per_sequence:mood": rng.choice(["glad", "sad"], number).tolist(),
    }
    return pl.DataFrame(frame, schema_overrides={"tokens": pl.List(pl.String), "values": pl.List(pl.List(pl.Float64))})


def make_layout(folder, task, model, max_length=None, truncating=None, vector_size=0):
    """Write what the stages before leave: two prepared splits, and a drawn network."""
    layout, rng = Layout("toy", folder), np.random.default_rng(0)
    layout.prepared_dir.mkdir(parents=True)
    for name, number in (("train", 20), ("test", 7)):
        make_split(rng, task, vector_size, number).write_parquet(layout.prepared_dir / f"{name}.parquet")
    summary = {name: {"examples": 1, "steps": 1, "labels": 1} for name in ("train", "val", "test")}
    (layout.prepared_dir / "summary.json").write_text(json.dumps(summary))
    layout.flaws_path.write_text("[]")
    features = {"capitalisation": len(CAPITALISATIONS), "tag": 4}
    targets = {"tag": Target("tagging", 2), "mood": Target("classification", 2)}
    sizes = Sizes(task, len(VOCAB.words), len(VOCAB.chars), len(VOCAB.labels), vector_size, 0, features, targets)
    config = ModelConfig(**model)
    VOCAB.save(folder / "vocab.json")
    history = [{"epoch": 1, "train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 0.5}]
    meta = {"model": asdict(config), "sizes": asdict(sizes), "max_length": max_length, "truncating": truncating}
    meta |= {"history": history, "best_epoch": 1, "num_parameters": 9, "run_id": "none"}
    save_checkpoint(layout.model_dir, build_network(config, sizes, seed=1).state_dict(), meta, folder / "vocab.json")
    return layout


@pytest.mark.parametrize("case", CASES)
def test_every_network_has_its_files_and_its_page(tmp_path, case):
    task, model, others = CASES[case]
    layout = make_layout(tmp_path, task, model, **others)
    asked = evaluate._ask(layout)
    scores, floor = evaluate._score_targets(asked)
    assert set(floor) <= set(scores) and {f"{name}_accuracy" for name in asked.network.config.heads} <= set(floor)
    metrics = {f"test/{name}": value for name, value in scores.items()} | {f"test/floor_{k}": v for k, v in floor.items()}
    directions = evaluate._look_through_time(asked)
    evaluate._write_files(layout.report_dir, asked, metrics)
    found = evaluate._tell(layout, asked, metrics, directions, "run")
    write_report(found, layout.report_dir / "report.html")
    text = (layout.report_dir / "report.html").read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>") and "<i>" not in text and "<b><b>" not in text
    assert {path.name for path in layout.report_dir.iterdir()} == WRITTEN


def test_the_look_is_at_the_end_of_texts_that_are_read_from_there(tmp_path):
    task, model, others = CASES["classifier of the ends of texts"]
    asked = evaluate._ask(make_layout(tmp_path, task, model, **others))
    assert all(direction.gradients.shape == (7, 2) for direction in evaluate._look_through_time(asked))


def test_the_network_that_is_looked_at_is_the_one_that_answers(tmp_path):
    asked = evaluate._ask(make_layout(tmp_path, "tagging", SMALL))
    batch = sample_batch(asked.test, asked.vocab, [])
    said = asked.network.predict(asked.network(batch), batch.lengths)["label"]
    rows = [asked.vocab.labels.index(label) for labels in asked.predicted["label"] for label in labels]
    assert said.labels[step_mask(batch.lengths, said.labels.shape[1], said.labels.device)].tolist() == rows
