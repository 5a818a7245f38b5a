import pytest
import torch

from models.cells import CELLS
from models.rnn import Bidirectional, Recurrent, build_stack, last_outputs, reverse_real_part

LENGTHS = torch.tensor([4, 1, 6, 3])


def _inputs(lengths=LENGTHS, size=3, seed=0):
    torch.manual_seed(seed)
    return torch.randn(len(lengths), int(lengths.max()), size, dtype=torch.float64)


def _stack(cell="lstm", hidden=(5,), bidirectional=True):
    torch.manual_seed(1)
    return build_stack(cell, 3, hidden, bidirectional=bidirectional, dropout=0.0).double()


def test_reversing_turns_only_the_real_part_around():
    x = torch.arange(8).view(2, 4)
    assert reverse_real_part(x, torch.tensor([3, 4])).tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]


def test_reversing_twice_gives_the_inputs_back():
    x = _inputs()
    assert torch.equal(reverse_real_part(reverse_real_part(x, LENGTHS), LENGTHS), x)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("hidden", [(5,), (5, 4, 3)])
def test_what_stands_in_the_padding_changes_no_output(cell, bidirectional, hidden):
    stack, x = _stack(cell, hidden, bidirectional), _inputs()
    noisy = x.clone()
    for row, length in enumerate(LENGTHS.tolist()):
        noisy[row, length:] = 100.0
    for clean, changed in zip(stack(x, LENGTHS), stack(noisy, LENGTHS), strict=True):
        assert torch.equal(clean, changed)


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_alone_gives_what_it_gives_in_a_batch(cell):
    stack, x = _stack(cell, (5, 4)), _inputs()
    outputs, last = stack(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, alone_last = stack(x[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(outputs[row, :length], alone[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(last[row], alone_last[0], atol=1e-12, rtol=0)


def test_outputs_are_zero_at_padding():
    outputs, _ = _stack()(_inputs(), LENGTHS)
    assert all(outputs[row, length:].eq(0).all() for row, length in enumerate(LENGTHS.tolist()))


def test_padding_gets_no_gradient():
    x = _inputs().requires_grad_()
    outputs, last = _stack(hidden=(5, 4))(x, LENGTHS)
    (outputs.sum() + last.sum()).backward()
    assert all(x.grad[row, length:].eq(0).all() for row, length in enumerate(LENGTHS.tolist()))


@pytest.mark.parametrize(("cell", "theirs"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU), ("simple_rnn", torch.nn.RNN)])
def test_a_stack_equals_torchs_own_packed_network(cell, theirs):
    stack, x = _stack(cell, (5, 5)), _inputs()
    packed = theirs(3, 5, num_layers=2, bidirectional=True, batch_first=True).double()
    for number, layer in enumerate(stack.layers):
        for suffix, direction in (("", layer.forward_layer), ("_reverse", layer.backward_layer)):
            for name, value in direction.cell.named_parameters():
                getattr(packed, f"{name}_l{number}{suffix}").data.copy_(value)
    sequence = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed(sequence)[0], batch_first=True)
    torch.testing.assert_close(stack(x, LENGTHS)[0], expected, atol=1e-12, rtol=0)


def test_the_forward_half_does_not_see_what_comes_later():
    stack, x = _stack(), _inputs()
    later = x.clone()
    later[2, 3:] += 1
    assert torch.equal(stack(x, LENGTHS)[0][2, :3, :5], stack(later, LENGTHS)[0][2, :3, :5])


def test_the_backward_half_does_not_see_what_came_before():
    stack, x = _stack(), _inputs()
    earlier = x.clone()
    earlier[2, :3] += 1
    assert torch.equal(stack(x, LENGTHS)[0][2, 3:, 5:], stack(earlier, LENGTHS)[0][2, 3:, 5:])


def test_the_final_states_are_forward_at_the_end_and_backward_at_the_start():
    outputs, last = _stack()(_inputs(), LENGTHS)
    expected = torch.cat([last_outputs(outputs, LENGTHS)[:, :5], outputs[:, 0, 5:]], dim=1)
    assert torch.equal(last, expected)


def test_the_last_column_would_be_wrong_final_states():
    outputs, last = _stack()(_inputs(), LENGTHS)
    assert not torch.allclose(outputs[:, -1], last)


def test_dropout_stands_before_each_layer_and_only_in_training():
    stack = _stack(hidden=(5, 4), bidirectional=False)
    stack.dropout.p = 1.0  # nothing comes through
    read = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda _module, inputs, _result: read.append(bool(inputs[0].any())))
    stack.train()(_inputs(), LENGTHS)
    stack.eval()(_inputs(), LENGTHS)
    assert read == [False, False, True, True]


def test_a_cut_layer_leaves_the_layers_below_as_they_were():
    stack, x = _stack(hidden=(5, 4, 3), bidirectional=False), _inputs()
    seen = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda _module, _inputs, result: seen.append(result[0].detach()))
    stack(x, LENGTHS)
    torch.nn.init.zeros_(stack.layers[1].cell.weight_hh)
    stack(x, LENGTHS)
    assert [torch.equal(seen[i], seen[i + 3]) for i in range(3)] == [True, False, False]


def test_go_backwards_is_the_forward_pass_over_the_reversed_sequence():
    x = _inputs()
    ahead = Recurrent(CELLS["gru"](3, 5).double())
    back = Recurrent(ahead.cell, go_backwards=True)
    expected = ahead(reverse_real_part(x, LENGTHS), LENGTHS)
    for ours, theirs in zip(back(x, LENGTHS), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_two_layers_of_the_same_direction_are_refused():
    layer = Recurrent(CELLS["gru"](3, 5))
    with pytest.raises(ValueError, match="go_backwards"):
        Bidirectional(layer, layer)
