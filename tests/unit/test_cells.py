import numpy as np
import pytest
import torch

from models.cells import CELLS, GRUCell, LSTMCell, SimpleRNNCell


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _arrays(cell):
    return [getattr(cell, name).detach().numpy() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _numpy_simple_rnn(cell, x):
    w, u, b, d = _arrays(cell)
    h, out = np.zeros((len(x), cell.units)), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ w.T + b + h @ u.T + d)
        out.append(h)
    return np.stack(out, 1)


def _numpy_lstm(cell, x):
    w, u, b, d = _arrays(cell)
    h = c = np.zeros((len(x), cell.units))
    out = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ w.T + b + h @ u.T + d, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out, 1)


def _numpy_gru(cell, x):
    w, u, b, d = _arrays(cell)
    h, out = np.zeros((len(x), cell.units)), []
    for t in range(x.shape[1]):
        r_x, z_x, n_x = np.split(x[:, t] @ w.T + b, 3, axis=1)
        r_h, z_h, n_h = np.split(h @ u.T + d, 3, axis=1)
        z = _sigmoid(z_x + z_h)
        h = (1 - z) * np.tanh(n_x + _sigmoid(r_x + r_h) * n_h) + z * h
        out.append(h)
    return np.stack(out, 1)


NUMPY = {"simple_rnn": _numpy_simple_rnn, "lstm": _numpy_lstm, "gru": _numpy_gru}


def _cell(name, units=5):
    torch.manual_seed(0)
    cell = CELLS[name](3, units).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return cell


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("num_steps", [1, 2, 7, 100])
def test_the_fused_kernel_equals_numpy(name, num_steps):
    cell, x = _cell(name), torch.randn(4, num_steps, 3, dtype=torch.float64)
    ours = cell.fused(x, cell.zero_state(x)).detach().numpy()
    np.testing.assert_allclose(ours, NUMPY[name](cell, x.numpy()), atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_step_by_step_equals_the_fused_kernel(name):
    cell, x = _cell(name), torch.randn(4, 9, 3, dtype=torch.float64)
    state, outputs = cell.zero_state(x), []
    for t in range(9):
        state = cell.step(x[:, t], state)
        outputs.append(state[0])
    torch.testing.assert_close(torch.stack(outputs, 1), cell.fused(x, cell.zero_state(x)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_every_weight_are_right(name):
    cell, x = _cell(name, units=2), torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    names = [key for key, _ in cell.named_parameters()]

    def run(inputs, *weights):
        held = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(_Fused(cell), {f"cell.{k}": v for k, v in held.items()}, (inputs,))

    assert torch.autograd.gradcheck(run, (x, *cell.parameters()))


class _Fused(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, inputs):
        return self.cell.fused(inputs, self.cell.zero_state(inputs))


def test_recurrent_weights_start_orthogonal():
    for gate in LSTMCell(3, 8).weight_hh.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8))


def test_the_forget_gate_of_an_lstm_starts_open():
    bias = LSTMCell(3, 8).bias_ih
    assert bias[8:16].eq(1).all() and bias[:8].eq(0).all() and bias[16:].eq(0).all()


def test_an_lstm_holds_its_memory_when_it_neither_forgets_nor_reads():
    cell = LSTMCell(1, 2).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[:2], cell.bias_ih[2:4] = -1e4, 1e4  # input gate 0, forget gate 1
    x = torch.zeros(1, 1, dtype=torch.float64)
    state = (torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[0.3, -0.7]], dtype=torch.float64))
    for _ in range(1000):
        state = cell.step(x, state)
    assert torch.equal(state[1], torch.tensor([[0.3, -0.7]], dtype=torch.float64))


def test_a_simple_rnn_without_recurrent_weights_is_a_dense_layer_per_step():
    cell, x = SimpleRNNCell(3, 4).double(), torch.randn(2, 6, 3, dtype=torch.float64)
    torch.nn.init.zeros_(cell.weight_hh)
    dense = torch.tanh(torch.nn.functional.linear(x, cell.weight_ih, cell.bias_ih + cell.bias_hh))
    torch.testing.assert_close(cell.fused(x, cell.zero_state(x)), dense, atol=1e-12, rtol=0)


def test_a_gru_has_three_gates_and_an_lstm_four():
    assert (GRUCell(3, 8).weight_ih.shape, LSTMCell(3, 8).weight_ih.shape) == ((24, 3), (32, 3))
