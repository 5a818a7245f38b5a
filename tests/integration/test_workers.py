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


def _train(task):
    rng = np.random.default_rng(5)
    train, val = (make_examples(rng.integers(1, 12, number).tolist(), task, seed=number) for number in (23, 9))
    training = Training(make_network(DROPPING, task), CONFIG)
    results = list(fit(training, train, val, None, torch.device("cpu")))
    return training, [result.metrics for result in results if isinstance(result, EpochResult)]


def _worker(rank, world_size, task, address, queue):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size)
    training, rows = _train(task)
    if rank == 0:
        queue.put((rows, {name: value.numpy() for name, value in training.network.state_dict().items()}))
    distributed.destroy_process_group()


@pytest.mark.parametrize(("world_size", "task"), [(2, "tagging"), (3, "classification")])
def test_many_workers_give_the_curve_and_the_weights_of_one(world_size, task, tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    alone, expected = _train(task)
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    arguments = (world_size, task, f"file://{tmp_path / 'meet'}", queue)
    spawned = multiprocessing.start_processes(_worker, arguments, nprocs=world_size, join=False, start_method="spawn")
    while not spawned.join():  # raises where a worker failed
        pass
    rows, weights = queue.get()
    for ours, theirs in zip(rows, expected, strict=True):
        for key in ("train/loss", "val/loss", "val/accuracy"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-10)
    for name, value in alone.network.state_dict().items():
        np.testing.assert_allclose(weights[name], value.numpy(), atol=1e-10)
