"""What makes two trainings one, so that the second goes on from the checkpoints of the first; and what begins none."""

import dataclasses
import json
from contextlib import nullcontext

import numpy as np
import pytest

from models.config import ModelConfig, Sizes
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.errors import ParamsError
from pipeline.job import make_job
from pipeline.layout import Layout
from pipeline.vocab import RESERVED, Vocab

SIZES = Sizes("tagging", num_words=9, num_chars=9, num_labels=3)


@pytest.fixture
def layout(tmp_path):
    layout = Layout("tiny", tmp_path / "data", tmp_path / "work")
    for split in ("train", "val", "test"):
        (layout.encoded_dir / split).mkdir(parents=True)
        (layout.encoded_dir / split / "labels.npy").write_bytes(b"labels")
    (layout.encoded_dir / "summary.json").write_text(json.dumps({"sizes": dataclasses.asdict(SIZES)}), encoding="utf-8")
    return layout


def key(layout, num_workers=None, **train):
    return make_job(ModelConfig(), TrainConfig(**train), ScalingConfig(num_workers), layout).checkpoint_dir


def test_the_same_params_and_data_go_on_whatever_the_number_of_workers(layout):
    assert key(layout) == key(layout, num_workers=7)


def test_other_params_begin_anew(layout):
    assert key(layout) != key(layout, lr=0.5)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_other_data_of_one_split_begin_anew(layout, split):
    before = key(layout)
    (layout.encoded_dir / split / "labels.npy").write_bytes(b"other labels")
    assert key(layout) != before


def corpus_of(layout, labels, ids, lengths):
    """Give the corpus these labels, and train these sequences of them."""
    vocab = Vocab(words=RESERVED, chars=RESERVED, labels=labels, lowercase=True, max_word_length=9)
    vocab.save(layout.encoded_dir / "vocab.json")
    np.save(layout.encoded_dir / "train" / "labels.npy", np.array(ids, np.int32))
    np.save(layout.encoded_dir / "train" / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))


@pytest.mark.parametrize(
    ("model", "monitor", "says"), [({"crf": True, "bio": True}, "accuracy", "model.bio"), ({}, "entity_f1", "train.monitor")]
)
def test_what_is_for_bio_labels_is_refused_for_others_before_anything_starts(layout, model, monitor, says):
    corpus_of(layout, ("NOUN", "VERB"), [0, 1], [2])
    with pytest.raises(ParamsError, match=rf"tiny\.{says}.* is for labels O, B-x, I-x; the corpus has NOUN, VERB; fix:"):
        make_job(ModelConfig(**model), TrainConfig(monitor=monitor), ScalingConfig(), layout)


@pytest.mark.parametrize(
    ("ids", "lengths", "is_refused"),
    [
        ([1, 2, 0, 1], [3, 1], False),
        ([0, 2], [2], True),  # I after O
        ([1, 2], [1, 1], True),  # I at the start of the second sequence
        ([3, 2], [2], True),  # I-x after B-y
    ],
)
def test_bio_is_refused_where_train_breaks_it(layout, ids, lengths, is_refused):
    corpus_of(layout, ("O", "B-x", "I-x", "B-y"), ids, lengths)
    with pytest.raises(ParamsError, match="train has such labels") if is_refused else nullcontext():
        make_job(ModelConfig(crf=True, bio=True), TrainConfig(), ScalingConfig(), layout)
