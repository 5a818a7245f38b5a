"""One step and the fused kernels: right to the equation."""

import numpy as np
import pytest
import recurrences
import torch
from torch.nn import functional as F

from models.cells import GRUCell, LSTMCell, ResetBeforeGRUCell, SimpleRNNCell

KINDS = {
    "tanh": (SimpleRNNCell, recurrences.elman_tanh),
    "relu": (lambda i, h: SimpleRNNCell(i, h, "relu"), recurrences.elman_relu),
    "lstm": (LSTMCell, recurrences.lstm),
    "gru": (GRUCell, recurrences.gru_reset_after),
    "gru_before": (ResetBeforeGRUCell, recurrences.gru_reset_before),
}


def make_cell(kind, units=5, std=0.4):
    torch.manual_seed(0)
    cell = KINDS[kind][0](3, units).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return cell


def _zeroed(cell):
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    return cell.double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_steps", [1, 2, 7, 500])
def test_the_fused_kernel_equals_numpy(kind, num_steps):
    cell = make_cell(kind, std=0.25)
    x = torch.randn(4, num_steps, 3, dtype=torch.float64)
    ours = cell.fused(x, cell.zero_state(x))[0].detach().numpy()
    np.testing.assert_allclose(ours, KINDS[kind][1](cell, x.numpy()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_equals_the_fused_kernel(kind):
    cell, x = make_cell(kind), torch.randn(4, 9, 3, dtype=torch.float64)
    state, outputs = cell.zero_state(x), []
    for t in range(9):
        state = cell.step(x[:, t], state)
        outputs.append(state[0])
    fused, further = cell.fused(x, cell.zero_state(x))
    torch.testing.assert_close(torch.stack(outputs, 1), fused, atol=1e-12, rtol=0)
    for ours, theirs in zip(further, state[1:], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_fused_kernel_equal_those_of_the_steps(kind):
    cell, x = make_cell(kind), torch.randn(4, 9, 3, dtype=torch.float64, requires_grad=True)
    start = tuple(torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(cell.num_states))
    wanted = (x, *start, *cell.parameters())
    upstream = torch.randn(4, 9, 5, dtype=torch.float64)
    fused = torch.autograd.grad((cell.fused(x, start)[0] * upstream).sum(), wanted)
    state, total = start, 0.0
    for t in range(9):
        state = cell.step(x[:, t], state)
        total = total + (state[0] * upstream[:, t]).sum()
    for ours, theirs in zip(fused, torch.autograd.grad(total, wanted), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_the_gradient_equals_hand_written_back_propagation_through_time():
    cell, num_steps = make_cell("tanh"), 6
    x, upstream = torch.randn(2, num_steps, 3, dtype=torch.float64), torch.randn(2, num_steps, 5, dtype=torch.float64)
    h = cell.fused(x, cell.zero_state(x))[0]
    (h * upstream).sum().backward()
    outputs, u = h.detach().numpy(), cell.weight_hh.detach().numpy()
    before = np.concatenate([np.zeros((2, 1, 5)), outputs[:, :-1]], axis=1)
    d_h, per_step = np.zeros((2, 5)), []
    for t in reversed(range(num_steps)):
        d_sum = (d_h + upstream[:, t].numpy()) * (1 - outputs[:, t] ** 2)
        per_step.append(d_sum.T @ before[:, t])  # this step's part of dL/dU
        d_h = d_sum @ u
    np.testing.assert_allclose(cell.weight_hh.grad.numpy(), np.sum(per_step, axis=0), atol=1e-12)
    assert np.abs(per_step).max(axis=(1, 2))[:-1].min() > 1e-6  # all but the first step's have a part in the sum


def test_a_simple_rnn_without_recurrent_weights_is_a_dense_layer_per_step():
    for kind, activation in (("tanh", torch.tanh), ("relu", torch.relu)):
        cell, x = make_cell(kind), torch.randn(2, 6, 3, dtype=torch.float64)
        torch.nn.init.zeros_(cell.weight_hh)
        dense = activation(F.linear(x, cell.weight_ih, cell.bias_ih + cell.bias_hh))
        torch.testing.assert_close(cell.fused(x, cell.zero_state(x))[0], dense, atol=1e-12, rtol=0)


def test_an_lstm_with_open_input_and_output_and_no_memory_is_tanh_of_its_candidate_to_the_bit():
    cell = make_cell("lstm")
    with torch.no_grad():
        cell.weight_ih[:10], cell.weight_ih[15:] = 0, 0
        cell.weight_hh[:10], cell.weight_hh[15:] = 0, 0
        cell.bias_ih[:5], cell.bias_ih[5:10], cell.bias_ih[15:] = 1e4, -1e4, 1e4  # i = 1, f = 0, o = 1
    x, h, c = (torch.randn(2, size, dtype=torch.float64) for size in (3, 5, 5))
    g = torch.tanh((F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh))[:, 10:15])
    assert torch.equal(cell.step(x, (h, c))[0], torch.tanh(g))


def test_an_lstm_that_neither_forgets_nor_reads_holds_its_memory_for_ten_thousand_steps():
    cell = _zeroed(LSTMCell(1, 2))
    with torch.no_grad():
        cell.bias_ih[:2], cell.bias_ih[2:4] = -1e4, 1e4  # i = 0, f = 1
    memory = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    _, (c,) = cell.fused(torch.zeros(1, 10_000, 1, dtype=torch.float64), (torch.zeros_like(memory), memory))
    assert torch.equal(c, memory)


def test_the_memory_of_an_lstm_stays_as_it_was_over_padding():
    cell, x = make_cell("lstm"), torch.randn(2, 9, 3, dtype=torch.float64)
    padding = torch.zeros(2, 9, 1, dtype=torch.bool)
    padding[0, 4:] = True
    _, (c,) = cell.fused(x, cell.zero_state(x), padding)
    _, (alone,) = cell.fused(x[:1, :4], cell.zero_state(x[:1]))
    torch.testing.assert_close(c[:1], alone, atol=1e-12, rtol=0)


def test_the_two_grus_differ():
    after, before = make_cell("gru"), make_cell("gru_before")
    with torch.no_grad():
        for name, value in before.named_parameters():
            value.copy_(getattr(after, name))
        after.bias_hh.zero_()
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    negate_update_gate(before)
    difference = after.fused(x, after.zero_state(x))[0] - before.fused(x, before.zero_state(x))[0]
    assert difference.abs().max() > 0.02


def negate_update_gate(cell):
    with torch.no_grad():
        for value in (cell.weight_ih, cell.weight_hh, cell.bias_ih):
            value[cell.units : 2 * cell.units].neg_()


def test_the_lectures_gru_is_torchs_with_z_negated_once_the_reset_order_agrees():
    """With recurrent candidate weights of a diagonal form, r * (U h) and U (r * h) are one."""
    after, before = make_cell("gru"), make_cell("gru_before")
    with torch.no_grad():
        after.bias_hh.zero_()
        after.weight_hh[10:] = torch.diag(torch.randn(5, dtype=torch.float64))
        for name, value in before.named_parameters():
            value.copy_(getattr(after, name))
    negate_update_gate(before)
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    torch.testing.assert_close(
        after.fused(x, after.zero_state(x))[0], before.fused(x, before.zero_state(x))[0], atol=1e-12, rtol=0
    )


def test_a_gru_whose_reset_gate_is_1_and_whose_candidate_is_always_taken_is_a_simple_rnn():
    gru, rnn = make_cell("gru_before"), make_cell("tanh")
    with torch.no_grad():
        gru.weight_ih[:10], gru.weight_hh[:10], gru.bias_ih[:10] = 0, 0, 1e4  # r = 1, and z = 1 takes the candidate
        rnn.weight_ih.copy_(gru.weight_ih[10:])
        rnn.weight_hh.copy_(gru.weight_hh[10:])
        rnn.bias_ih.copy_(gru.bias_ih[10:])
        rnn.bias_hh.zero_()
    x = torch.randn(4, 20, 3, dtype=torch.float64)
    torch.testing.assert_close(gru.fused(x, gru.zero_state(x))[0], rnn.fused(x, rnn.zero_state(x))[0], atol=1e-12, rtol=0)


def test_the_lectures_update_gate_of_0_keeps_the_state():
    gru = make_cell("gru_before")
    with torch.no_grad():
        gru.weight_ih[5:10], gru.weight_hh[5:10], gru.bias_ih[5:10] = 0, 0, -1e4  # z = 0
    x, h = torch.randn(4, 20, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    assert torch.equal(gru.fused(x, (h,))[0][:, -1], h)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_weights_start_orthogonal(kind):
    cell = KINDS[kind][0](3, 8)
    for gate in cell.weight_hh.chunk(cell.num_gates):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8))


@pytest.mark.parametrize("forget_bias", [1.0, 0.0, 2.5])
def test_the_forget_gate_of_an_lstm_starts_as_asked(forget_bias):
    bias = LSTMCell(3, 8, forget_bias).bias_ih
    assert bias[8:16].eq(forget_bias).all() and bias[:8].eq(0).all() and bias[16:].eq(0).all()


def test_input_weights_keep_the_spread_of_glorot():
    bound = (6 / (300 + 200)) ** 0.5
    largest = [gate.abs().max().item() for gate in LSTMCell(300, 200).weight_ih.chunk(4)]
    assert all(0.98 * bound < value <= bound for value in largest)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"activation is 'sigmoid'.*relu.*tanh"):
        SimpleRNNCell(3, 4, "sigmoid")


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor does not multiply in bfloat16")
@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_changes_an_lstm_by_what_its_rounding_makes_and_nothing_else(kind):
    torch.manual_seed(1)
    cell, inputs = KINDS[kind][0](30, 40), torch.randn(6, 9, 30)
    exact, _ = cell.fused(inputs, cell.zero_state(inputs))
    of_exact = torch.autograd.grad(exact.square().sum(), [*cell.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = cell.fused(inputs, cell.zero_state(inputs))
    of_rounded = torch.autograd.grad(rounded.float().square().sum(), [*cell.parameters()])
    assert (rounded.dtype == torch.bfloat16) is (kind == "lstm")
    for ours, theirs in zip((rounded, *of_rounded), (exact, *of_exact), strict=True):
        assert (ours.float() - theirs).norm() <= (0.02 if kind == "lstm" else 0) * theirs.norm()
    assert {gradient.dtype for gradient in of_rounded} == {torch.float32}
