"""What makes two trainings one, so that the second goes on from the checkpoints of the first; and what begins none."""

import dataclasses
import json
import re
from contextlib import nullcontext

import numpy as np
import pytest
from project import Project

from models.config import ModelConfig, Sizes
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.errors import ParamsError
from pipeline.job import make_job
from pipeline.layout import Layout
from pipeline.manifest import write_manifest
from pipeline.vocab import RESERVED, Vocab

SIZES = Sizes("tagging", num_words=9, num_chars=9, num_labels=3)


@pytest.fixture
def layout(tmp_path):
    layout = Layout("tiny", tmp_path / "data", tmp_path / "work")
    for split in ("train", "val", "test"):
        (layout.encoded_dir / split).mkdir(parents=True)
        (layout.encoded_dir / split / "labels.npy").write_bytes(b"labels")
    (layout.encoded_dir / "summary.json").write_text(json.dumps({"sizes": dataclasses.asdict(SIZES)}), encoding="utf-8")
    write_manifest(layout.encoded_dir)
    return layout


def key(layout, num_workers=None, **train):
    return make_job(ModelConfig(), TrainConfig(**train), ScalingConfig(num_workers), layout).checkpoints


def test_the_same_params_and_data_go_on_whatever_the_number_of_workers(layout):
    assert key(layout) == key(layout, num_workers=7)


def test_two_trainings_keep_their_checkpoints_apart_in_one_storage_and_share_its_data(layout):
    jobs = [make_job(ModelConfig(), TrainConfig(lr=lr), ScalingConfig(storage="s3://bucket/here"), layout) for lr in (0.1, 0.2)]
    assert all(job.checkpoints == f"s3://bucket/here/checkpoints/tiny/{job.key}" for job in jobs)
    assert (
        jobs[0].key != jobs[1].key
        and jobs[0].encoded == jobs[1].encoded
        and jobs[0].encoded.startswith("s3://bucket/here/encoded/")
    )


def test_other_params_begin_anew(layout):
    assert key(layout) != key(layout, lr=0.5)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_other_data_of_one_split_begin_anew(layout, split):
    before = key(layout)
    (layout.encoded_dir / split / "labels.npy").write_bytes(b"other labels")
    write_manifest(layout.encoded_dir)
    assert key(layout) != before


def corpus_of(layout, labels, ids, lengths):
    """Give the corpus these labels, and train these sequences of them."""
    vocab = Vocab(words=RESERVED, chars=RESERVED, labels=labels, lowercase=True, max_word_length=9)
    vocab.save(layout.encoded_dir / "vocab.json")
    np.save(layout.encoded_dir / "train" / "labels.npy", np.array(ids, np.int32))
    np.save(layout.encoded_dir / "train" / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    write_manifest(layout.encoded_dir)


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


@pytest.mark.parametrize("command", ["train", "summary"])
def test_an_altered_file_of_the_encoded_corpus_ends_a_command_in_4_and_one_line(altered, command):
    process = altered.start(command, "-p", "toy")
    _, err = process.communicate()
    assert process.returncode == 4 and len(err.splitlines()) == 1
    where = "data/toy/encoded/train/offsets.npy:1:1"
    assert re.fullmatch(rf"{where}: is not what was written; sha256 \w{{64}}, expected \w{{64}}; fix: .*encode -p toy.*\n", err)


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    """A project of whose encoded corpus the last byte of a file is another."""
    project = Project(tmp_path_factory.mktemp("altered"), num_workers=1)
    project.stages("fetch", "prepare", "encode")
    path = project.folder / "data" / "toy" / "encoded" / "train" / "offsets.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return project
