import pytest
import torch
from torch import nn

from pipeline import optimizer
from pipeline.optimizer import RowAdamW, adamw_

SHAPE = (30, 4)


def _learning_rate(step):
    return 1e-2 * (1 - step / 400)


def _average_weight(step):
    return 1 - min(0.98, (1 + step) / (10 + step))


def _train(rows, num_steps, first=0):
    """Update a few rows a step, the last five never; yields what was read and its gradient."""
    for step in range(first, num_steps):
        rng = torch.Generator().manual_seed(step)
        ids = torch.randperm(SHAPE[0] - 5, generator=rng)[:3].sort().values
        gradient = torch.randn(3, SHAPE[1], generator=rng, dtype=torch.float64)
        rows.read(ids)
        rows.update(gradient.flatten(), _learning_rate(step), _average_weight(step))
        yield step, ids, gradient


def _table():
    return nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_an_update_is_that_of_torchs_adamw(weight_decay):
    ours, theirs = torch.randn(SHAPE, dtype=torch.float64), nn.Parameter(torch.empty(SHAPE, dtype=torch.float64))
    theirs.data.copy_(ours)
    m, v, adamw = torch.zeros_like(ours), torch.zeros_like(ours), torch.optim.AdamW([theirs], weight_decay=weight_decay)
    for step in range(20):
        theirs.grad = torch.randn(SHAPE, dtype=torch.float64)
        adamw.param_groups[0]["lr"] = _learning_rate(step)
        adamw.step()
        adamw_(ours, m, v, theirs.grad, count=step + 1, lr=_learning_rate(step), weight_decay=weight_decay)
        torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("longest", [4096, 7])
def test_rows_updated_when_read_end_where_adamw_over_the_whole_table_ends(weight_decay, longest, monkeypatch):
    monkeypatch.setattr(optimizer, "_LONGEST", longest)
    ours, whole = _table(), _table()
    rows = RowAdamW(ours, weight_decay, has_average=True)
    adamw, average = torch.optim.AdamW([whole], lr=1.0, weight_decay=weight_decay), whole.detach().clone()
    for step, ids, gradient in _train(rows, 300):
        whole.grad = torch.zeros_like(whole).index_copy(0, ids, gradient)
        adamw.param_groups[0]["lr"] = _learning_rate(step)
        adamw.step()
        average.lerp_(whole.detach(), _average_weight(step))
        torch.testing.assert_close(rows.read(ids), whole[ids].detach(), rtol=0, atol=1e-6)
        assert rows.state()["factors"].shape[1] <= longest  # what is kept for each age does not grow without end
    rows.settle()
    torch.testing.assert_close(ours.detach(), whole.detach(), rtol=0, atol=1e-6)
    rows.swap_average()
    torch.testing.assert_close(ours.detach(), average, rtol=0, atol=1e-6)


def test_reading_changes_nothing():
    read, unread = (RowAdamW(_table(), 0.1, has_average=True) for _ in range(2))
    for (step, _, _), _ in zip(_train(read, 40), _train(unread, 40), strict=True):
        if step % 3 == 0:
            read.read(torch.arange(SHAPE[0]))
    assert torch.equal(read.table, unread.table)


def test_a_restored_table_goes_on_to_the_bit():
    whole, first = (RowAdamW(_table(), 0.1, has_average=True) for _ in range(2))
    list(_train(whole, 60))
    list(_train(first, 25))
    second = RowAdamW(nn.Parameter(first.table.detach().clone()), 0.1, has_average=True)
    second.restore({name: value.clone() for name, value in first.state().items()})
    list(_train(second, 60, first=25))
    for rows in (whole, second):
        rows.settle()
    assert torch.equal(whole.table, second.table)
    assert all(torch.equal(whole.state()[name], value) for name, value in second.state().items())
