import numpy as np
import pytest

from pipeline.plans import plan_batches, plan_epoch


def _lengths(number, seed=0):
    return np.random.default_rng(seed).integers(1, 40, number)


@pytest.mark.parametrize("number", [1, 2, 7, 100])
def test_a_plan_holds_every_sequence_once(number):
    rows = np.concatenate(plan_epoch(_lengths(number), 90, seed=1, epoch=0))
    assert sorted(rows) == list(range(number))


def test_no_batch_is_larger_than_asked_for():
    lengths = _lengths(200)
    assert all(lengths[rows].max() * len(rows) <= 90 for rows in plan_batches(lengths, 90))


def test_no_batch_has_more_sequences_than_asked_for():
    lengths = _lengths(200)
    sizes = [len(rows) for rows in plan_batches(lengths, 400, 16)]
    assert sum(sizes) == 200 and max(sizes) == 16 and sizes != [len(rows) for rows in plan_batches(lengths, 400)]


def test_a_sequence_longer_than_a_batch_is_a_batch_by_itself():
    assert [len(rows) for rows in plan_batches(np.array([5, 1000, 5]), 50)] == [2, 1]


def test_batches_hold_little_padding():
    lengths = _lengths(2000)
    padded = sum(lengths[rows].max() * len(rows) for rows in plan_batches(lengths, 400))
    assert padded < 1.05 * lengths.sum()


def test_the_order_follows_from_seed_and_epoch():
    plans = {key: np.concatenate(plan_epoch(_lengths(50), 90, *key)).tolist() for key in ((1, 0), (1, 1), (2, 0))}
    again = np.concatenate(plan_epoch(_lengths(50), 90, 1, 0)).tolist()
    assert plans[1, 0] == again and plans[1, 0] != plans[1, 1] and plans[1, 0] != plans[2, 0]
