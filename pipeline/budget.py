"""What makes networks comparable: the width at which each has as many parameters, the epochs in which each trains as long."""

import time
from dataclasses import replace

import torch

from models.config import ModelConfig, Sizes
from models.network import build_network
from pipeline.job import Job
from pipeline.loop import fit
from pipeline.messages import EpochResult
from pipeline.worker import open_training

TOLERANCE = 0.01
"""How far from the budget a network may be, as a share of it."""
_MEASURING_SECONDS = 3.0


def num_parameters(model: ModelConfig, sizes: Sizes) -> int:
    """Count the numbers that training may change, as torch holds them, without the word table, which is the vocabulary's."""
    with torch.device("meta"):
        network = build_network(model, sizes)
    words = network.inputs.words
    held = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return held - (0 if words is None else sum(part.numel() for part in words.parameters() if part.requires_grad))


def fit_width(model: ModelConfig, sizes: Sizes, budget: int) -> ModelConfig:
    """Give a network's layers the one width that comes nearest to a number of parameters."""

    def count(units: int) -> int:
        return num_parameters(_wide(model, units), sizes)

    low, high = 1, 2
    while count(high) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= budget else (middle, high)
    return _wide(model, min((low, high), key=lambda units: abs(count(units) - budget)))


def _wide(model: ModelConfig, units: int) -> ModelConfig:
    return replace(model, hidden=(units,) * len(model.hidden))


def fit_epochs(job: Job, seconds: float, device: torch.device) -> int:
    """Give the epochs of a training that come nearest to its time, by the pace of its first steps; at least one.

    Args:
        job: the training, which must not have begun.
        seconds: of training, evaluation aside.
        device: where it is measured, and is to run.
    """
    torch.set_num_threads(job.num_threads)
    training, train, val, bio = open_training(job, device)
    num_tokens = int(train.lengths.sum())
    begun = time.perf_counter()
    for result in fit(training, train, val, bio, device):
        if isinstance(result, EpochResult):
            return max(1, round(seconds / result.metrics["train/seconds"]))
        if time.perf_counter() - begun > _MEASURING_SECONDS:
            return max(1, round(seconds * result.tokens_per_second / num_tokens))
    raise AssertionError("a training has steps")
