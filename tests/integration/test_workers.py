import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from making import SMALL, make_examples, make_network
from torch import distributed, multiprocessing

from pipeline.config import TrainConfig
from pipeline.loop import EpochResult, Training, fit

CONFIG = TrainConfig(epochs=3, batch_tokens=40, patience=0, precision="float64", word_dropout=0.2, average=0.9)
DROPPING = replace(SMALL, input_dropout=0.3, dropout=0.4, recurrent_dropout=0.2, char_hidden=3)
CASES = {
    "two tag": (2, "tagging", DROPPING),
    "three classify": (3, "classification", DROPPING),
    "two tag with a CRF": (2, "tagging", replace(DROPPING, cell="gru", reset_after=False, crf=True, char_encoder="cnn")),
    "two classify with attention": (2, "classification", replace(DROPPING, cell="gru", pooling="attention", hidden=(5, 4))),
}


def _train(task, config):
    """Train on ragged sequences of an odd number; returns the training, its epochs, the first step's gradients."""
    rng = np.random.default_rng(5)
    train, val = (make_examples(rng.integers(1, 12, number).tolist(), task, seed=number) for number in (23, 9))
    training = Training(make_network(config, task), CONFIG)
    steps = fit(training, train, val, None, torch.device("cpu"))
    next(steps)
    gradients = [parameter.grad.numpy().copy() for parameter in training.parameters]
    return training, [result.metrics for result in steps if isinstance(result, EpochResult)], gradients


def _worker(rank, case, address, queue):
    world_size, task, config = CASES[case]
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size)
    training, rows, gradients = _train(task, config)
    if rank == 0:
        queue.put((rows, gradients, {name: value.numpy() for name, value in training.network.state_dict().items()}))
    distributed.destroy_process_group()


@pytest.mark.parametrize("case", CASES)
def test_many_workers_give_the_gradients_the_curve_and_the_weights_of_one(case, tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    world_size, task, config = CASES[case]
    alone, expected, expected_gradients = _train(task, config)
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    arguments = (case, f"file://{tmp_path / 'meet'}", queue)
    spawned = multiprocessing.start_processes(_worker, arguments, nprocs=world_size, join=False, start_method="spawn")
    while not spawned.join():  # raises where a worker failed
        pass
    rows, gradients, weights = queue.get()
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12, rtol=0)
    for ours, theirs in zip(rows, expected, strict=True):
        for key in ("train/loss", "val/loss", "val/accuracy"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-10)
    for name, value in alone.network.state_dict().items():
        np.testing.assert_allclose(weights[name], value.numpy(), atol=1e-10)
