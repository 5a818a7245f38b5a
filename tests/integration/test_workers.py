import hashlib
import os
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from making import SMALL, make_examples, make_network
from torch import distributed, multiprocessing

from pipeline import world
from pipeline.config import TrainConfig
from pipeline.errors import InfrastructureError
from pipeline.loop import Training, evaluate, fit
from pipeline.messages import EpochResult, StepResult
from pipeline.world import Adder, World

CPU = torch.device("cpu")
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
    gradients = training.optimizer.gradient.numpy().copy()
    return training, [result.metrics for result in steps if isinstance(result, EpochResult)], gradients


def _join(rank, world_size, address):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size)


def _start(worker, world_size, *arguments):
    """Run a worker in each of several processes; raises where one failed."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawned = multiprocessing.start_processes(worker, arguments, nprocs=world_size, join=False, start_method="spawn")
    while not spawned.join():
        pass


def _worker(rank, case, address, queue):
    world_size, task, config = CASES[case]
    _join(rank, world_size, address)
    training, rows, gradients = _train(task, config)
    if rank == 0:
        queue.put((rows, gradients, {name: value.numpy() for name, value in training.network.state_dict().items()}))
    distributed.destroy_process_group()


@pytest.mark.parametrize("case", CASES)
def test_many_workers_give_the_gradients_the_curve_and_the_weights_of_one(case, tmp_path):
    world_size, task, config = CASES[case]
    alone, expected, expected_gradients = _train(task, config)
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    _start(_worker, world_size, case, f"file://{tmp_path / 'meet'}", queue)
    rows, gradients, weights = queue.get()
    np.testing.assert_allclose(gradients, expected_gradients, atol=1e-12, rtol=0)
    for ours, theirs in zip(rows, expected, strict=True):
        for key in ("train/loss", "val/loss", "val/accuracy"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-10)
    for name, value in alone.network.state_dict().items():
        np.testing.assert_allclose(weights[name], value.numpy(), atol=1e-10)


def _train_in_parts(rank, world_size, address, queue):
    _join(rank, world_size, address)
    train, val = (make_examples(np.random.default_rng(5).integers(1, 12, 60).tolist(), seed=seed) for seed in (1, 2))
    config = replace(CONFIG, precision="float32", accumulate=4, batch_tokens=80)
    training = Training(make_network(DROPPING).float(), config)
    rows = [result.metrics for result in fit(training, train, val, None, CPU) if isinstance(result, EpochResult)]
    if rank == 0:
        weights = b"".join(value.numpy().tobytes() for value in training.network.state_dict().values())
        queue.put(([row["train/loss"] for row in rows], hashlib.sha256(weights).hexdigest()))
    distributed.destroy_process_group()


def test_one_two_and_four_workers_that_read_the_same_parts_train_the_same_float32_weights_to_the_bit(tmp_path):
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    found = []
    for world_size in (1, 2, 4):
        _start(_train_in_parts, world_size, world_size, f"file://{tmp_path / str(world_size)}", queue)
        found.append(queue.get())
    assert found[0] == found[1] == found[2]


def _evaluate_many(rank, address, queue):
    _join(rank, 3, address)
    network = make_network(SMALL)
    found = [evaluate(network, make_examples([3] * number, seed=number), None, CPU) for number in range(1, 41)]
    if rank == 0:
        queue.put(found)
    distributed.destroy_process_group()


def test_three_workers_count_each_of_1_to_40_examples_once(tmp_path):
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    _start(_evaluate_many, 3, f"file://{tmp_path / 'meet'}", queue)
    network = make_network(SMALL)
    for number, found in enumerate(queue.get(), start=1):
        alone = evaluate(network, make_examples([3] * number, seed=number), None, CPU)
        assert found["accuracy"] == alone["accuracy"] and found["loss"] == pytest.approx(alone["loss"], rel=1e-12)


def _train_few(rank, address, number, queue):
    _join(rank, 3, address)
    training = Training(make_network(DROPPING), replace(CONFIG, epochs=1))
    losses = [
        result.loss
        for result in fit(training, make_examples([4] * number), make_examples([3]), None, CPU)
        if isinstance(result, StepResult)
    ]
    if rank == 0:
        queue.put(losses)
    distributed.destroy_process_group()


@pytest.mark.parametrize("number", [1, 2, 4])
def test_fewer_examples_than_workers_train_and_nobody_hangs(number, tmp_path):
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    _start(_train_few, 3, f"file://{tmp_path / 'meet'}", number, queue)
    training = Training(make_network(DROPPING), replace(CONFIG, epochs=1))
    alone = [
        result.loss
        for result in fit(training, make_examples([4] * number), make_examples([3]), None, CPU)
        if isinstance(result, StepResult)
    ]
    assert queue.get() == pytest.approx(alone, rel=1e-12)


def _starve(rank, address, queue):
    _join(rank, 2, address)
    if rank == 1:
        os.environ["UNROLL_FAILPOINTS"] = "batch read@3=exhaust memory; batch read@4=exhaust memory"
    try:
        _train("tagging", DROPPING)
    except InfrastructureError as error:
        queue.put(str(error))
    distributed.destroy_process_group()


def test_what_one_worker_ends_with_all_end_with(tmp_path):
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    _start(_starve, 2, f"file://{tmp_path / 'meet'}", queue)
    first, second = queue.get(), queue.get()
    assert first == second and "memory does not hold" in first


def _lag(rank, address, queue):
    _join(rank, 2, address)
    adder = Adder(World.current(), hang_seconds=0.5)
    adder.sum(torch.ones(3))
    if rank == 0:
        try:
            adder.sum(torch.ones(3))
        except TimeoutError as error:
            queue.put(str(error))
    distributed.barrier()
    distributed.destroy_process_group()


def test_a_worker_that_does_not_come_is_named(tmp_path):
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    _start(_lag, 2, f"file://{tmp_path / 'meet'}", queue)
    assert queue.get() == "worker 1 did not answer worker 0 for 0.5 s"


def _add_up(rank, address, is_shared):
    _join(rank, 3, address)
    if not is_shared:
        world._reserve = lambda path, num_bytes: None
    adder = Adder(World.current())
    for turn, size in enumerate((10, 7, 5000, 12, 12)):
        mine = torch.arange(size, dtype=torch.float64) * (rank + 1) + turn
        assert torch.equal(adder.sum(mine), torch.arange(size, dtype=torch.float64) * 6 + 3 * turn)
    assert (adder._room is not None) is is_shared
    assert not list(world._SHARED_DIR.glob("unroll-*"))
    distributed.destroy_process_group()


@pytest.mark.parametrize("is_shared", [True, False])
def test_workers_add_up_with_and_without_shared_memory_and_leave_no_file(is_shared, tmp_path):
    _start(_add_up, 3, f"file://{tmp_path / 'meet'}", is_shared)


def _listen(rank, path, queue):
    from pipeline.trainer import _meet

    torch.set_num_threads(1)
    _meet(rank, 2, path, "gloo", 120)
    total = World.current().sum(torch.ones(1))
    addresses = {it.laddr.ip for it in psutil.Process().net_connections("inet") if it.status == psutil.CONN_LISTEN}
    queue.put((int(total), addresses))
    distributed.barrier()
    distributed.destroy_process_group()


def test_workers_of_one_machine_meet_in_a_file_and_listen_on_loopback_alone(tmp_path):
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    _start(_listen, 2, str(tmp_path / "any #name?"), queue)
    for total, addresses in (queue.get(), queue.get()):
        assert total == 2 and addresses == {"127.0.0.1"}
