import pytest
import torch
from torch.autograd import gradcheck

from models.cells import GRUCell, LSTMCell, ResetBeforeGRUCell, SimpleRNNCell, scan_together
from models.lengths import Packing

CELLS = {
    "tanh": lambda: SimpleRNNCell(2, 3),
    "relu": lambda: SimpleRNNCell(2, 3, "relu"),
    "lstm": lambda: LSTMCell(2, 3),
    "gru": lambda: GRUCell(2, 3),
    "reset before": lambda: ResetBeforeGRUCell(2, 3),
}
LENGTHS = torch.tensor([1, 2, 2, 5])


def _cells(kind):
    torch.manual_seed(3)
    cells = [CELLS[kind]().double(), CELLS[kind]().double()]
    for parameter in (p for cell in cells for p in cell.parameters()):
        torch.nn.init.normal_(parameter, std=0.6)
    return cells


def _states(cell, num_rows):
    return tuple(torch.randn(2, num_rows, cell.units, dtype=torch.float64) for _ in range(cell.num_states))


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("lengths", [LENGTHS, torch.tensor([3, 3])])
def test_a_scan_of_two_cells_equals_each_ones_steps_one_by_one(kind, lengths):
    cells, packing = _cells(kind), Packing.of(lengths)
    inputs = torch.randn(2, len(packing.rows), 2, dtype=torch.float64)
    states = _states(cells[0], len(lengths))
    scanned = scan_together(cells, inputs, states, packing.counts)
    for direction, cell in enumerate(cells):
        for row, length in enumerate(lengths.tolist()):
            state = tuple(part[direction, row : row + 1] for part in states)
            for step in range(length):
                place = int(((packing.rows == row) & (packing.steps == step)).nonzero())
                state = cell.step(inputs[direction, place : place + 1], state)
                for ours, expected in zip(scanned, state, strict=True):
                    torch.testing.assert_close(ours[direction, place], expected[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("lengths", [LENGTHS, torch.tensor([3, 3])])
def test_a_scans_gradients_are_those_of_finite_differences(kind, lengths):
    cells, packing = _cells(kind), Packing.of(lengths)
    inputs = torch.randn(2, len(packing.rows), 2, dtype=torch.float64, requires_grad=True)
    states = [part.requires_grad_() for part in _states(cells[0], len(lengths))]
    weights = [p for cell in cells for p in cell.parameters()]

    def run(inputs, *further):
        return scan_together(cells, inputs, tuple(further[: len(states)]), packing.counts)

    assert gradcheck(run, (inputs, *states, *weights))
