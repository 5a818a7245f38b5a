"""What makes two trainings one, so that the second goes on from the checkpoints of the first."""

import dataclasses
import json

import pytest

from models.config import ModelConfig, Sizes
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.layout import Layout
from pipeline.train import make_job

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
