"""What memory a training is estimated to need, and what a process took."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import ModelConfig, Sizes
from pipeline.config import TrainConfig
from pipeline.examples import Examples
from pipeline.footprint import estimate_bytes, forget_peak, peak_bytes
from pipeline.job import Job

NUM_STEPS, LENGTH = 40_000, 20
SIZES = Sizes("classification", 0, 0, 3, vector_size=5)
MODEL = ModelConfig(word_size=8, hidden=(64,), pooling="final")
TRAIN = Examples(
    np.arange(0, NUM_STEPS + 1, LENGTH),
    labels=np.zeros(NUM_STEPS // LENGTH, np.int32),
    values=np.zeros((NUM_STEPS, 5), np.float32),
)


def estimate(model: ModelConfig = MODEL, batch_tokens: int = 5_000) -> int:
    train = replace(TrainConfig(), batch_tokens=batch_tokens)
    return estimate_bytes(Job(model, train, "key", Path(), "", "", Path()), SIZES, TRAIN)


def test_a_batch_of_twice_the_words_needs_twice_what_is_kept_of_it() -> None:
    first, second, third = (estimate(batch_tokens=words) for words in (5_000, 10_000, 20_000))
    assert third - second == pytest.approx(2 * (second - first), rel=0.05)
    at_least = 1.5 * 5_000 * (4 * 64 + 64) * 4
    assert second - first > at_least, "gates and states of both directions, in float32"


def test_what_is_kept_of_a_word_grows_as_the_states_do_not_as_the_weights() -> None:
    wide = replace(MODEL, hidden=(512,))
    kept, wide_kept = (estimate(model, 10_000) - estimate(model, 5_000) for model in (MODEL, wide))
    assert wide_kept < 9 * kept, "eight times as many units"


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    if not peak_bytes():
        pytest.skip("this system does not tell")
    forget_peak()
    before = peak_bytes()
    held = torch.ones(100 * 2**20 // 4)
    assert peak_bytes() - before >= 90 * 2**20
    del held
    forget_peak()
    assert peak_bytes() < before + 50 * 2**20
