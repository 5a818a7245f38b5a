"""A layer in one direction over ragged batches: padding, state, truncation, dropout upon the state."""

import pytest
import torch
from layers import LAYERS, LENGTHS, assert_close, make_inputs, make_layer

from models.dropout import Noise
from models.lengths import last_outputs, reverse_real_part


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("padding", [100.0, -1e9, torch.nan, torch.inf])
def test_what_stands_in_the_padding_changes_nothing(kind, padding):
    found = []
    for value in (0.0, padding):
        layer, x = make_layer(kind), make_inputs()
        for row, length in enumerate(LENGTHS.tolist()):
            x[row, length:] = value
        outputs, state = layer(x, LENGTHS)
        (outputs.square().sum() + sum(part.sum() for part in state)).backward()
        found.append([outputs, *state, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(clean, changed) for clean, changed in zip(*found, strict=True))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("go_backwards", [False, True])
def test_a_sequence_alone_gives_the_outputs_and_the_state_it_gives_in_a_batch(kind, go_backwards):
    layer, x = make_layer(kind, go_backwards=go_backwards), make_inputs()
    outputs, state = layer(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, alone_state = layer(x[row : row + 1, :length], LENGTHS[row : row + 1])
        assert_close(outputs[row, :length], alone[0])
        assert_close(tuple(part[row] for part in state), tuple(part[0] for part in alone_state))
        assert outputs[row, length:].eq(0).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_are_right_for_every_weight_input_and_initial_state(kind):
    layer = make_layer(kind, units=2)
    lengths = torch.tensor([3, 1, 2])
    x = make_inputs(lengths).requires_grad_()
    start = tuple(torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(layer.cell.num_states))
    names = [name for name, _ in layer.named_parameters()]

    def run(inputs, *rest):
        state, weights = rest[: len(start)], rest[len(start) :]
        outputs, end = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (inputs, lengths, state))
        return (outputs, *end)

    assert torch.autograd.gradcheck(run, (x, *start, *layer.parameters()))


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_gets_no_gradient(kind):
    x = make_inputs().requires_grad_()
    outputs, state = make_layer(kind)(x, LENGTHS)
    (outputs.sum() + sum(part.sum() for part in state)).backward()
    assert all(x.grad[row, length:].eq(0).all() for row, length in enumerate(LENGTHS.tolist()))


def test_a_relu_that_grows_without_bound_in_the_padding_leaves_no_trace():
    layer, x = make_layer("relu").float(), make_inputs(torch.tensor([1, 400])).float()
    with torch.no_grad():
        layer.cell.weight_hh.copy_(4 * torch.eye(5))
    outputs, _ = layer(x.abs(), torch.tensor([1, 1]))
    assert outputs.isfinite().all()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_feeding_the_state_back_at_any_split_equals_one_pass(kind, at):
    layer, x = make_layer(kind), make_inputs()
    outputs, end = layer(x, LENGTHS)
    first, state = layer(x[:, :at], LENGTHS.clamp(max=at))
    left = at < LENGTHS
    second, second_end = layer(x[left][:, at:], LENGTHS[left] - at, tuple(part[left] for part in state))
    assert_close(first, outputs[:, :at])
    assert_close(second, outputs[left][:, at:])
    assert_close(second_end, tuple(part[left] for part in end))
    assert_close(tuple(part[~left] for part in state), tuple(part[~left] for part in end))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_stateful_layer_goes_on_where_the_call_before_ended(kind):
    plain, stateful, x = make_layer(kind), make_layer(kind, stateful=True), make_inputs(torch.tensor([6, 6]))
    lengths = torch.tensor([2, 2])
    expected, _ = plain(x, torch.tensor([6, 6]))
    for begin in (0, 2, 4):
        outputs, _ = stateful(x[:, begin : begin + 2], lengths)
        assert_close(outputs, expected[:, begin : begin + 2])
    stateful.reset_state()
    assert_close(stateful(x[:, :2], lengths)[0], expected[:, :2])


def test_no_gradient_reaches_the_call_before_through_a_held_state():
    layer, x = make_layer("lstm", stateful=True), make_inputs(torch.tensor([6, 6])).requires_grad_()
    layer(x[:, :3], torch.tensor([3, 3]))
    layer(x[:, 3:], torch.tensor([3, 3]))[0].sum().backward()
    assert x.grad[:, :3].eq(0).all() and x.grad[:, 3:].ne(0).any()


def test_a_stateful_layer_refuses_another_batch_size():
    layer = make_layer("gru", stateful=True)
    layer(make_inputs(), LENGTHS)
    with pytest.raises(ValueError, match=r"reset_state\(\)"):
        layer(make_inputs()[:2], LENGTHS[:2] * 0 + 3)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_of_another_shape_is_refused(kind):
    with pytest.raises(ValueError, match=r"the state has the shapes .*expected"):
        make_layer(kind)(make_inputs(), LENGTHS, (torch.zeros(4, 4, dtype=torch.float64),))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_learned_initial_state_reaches_the_output_and_its_gradient(kind):
    layer, x = make_layer(kind, learned_state=True), make_inputs()
    given = tuple(part.detach().expand(4, -1) for part in layer.initial_state)
    outputs, _ = layer(x, LENGTHS)
    assert_close(outputs, make_layer(kind)(x, LENGTHS, given)[0])
    assert (outputs - make_layer(kind)(x, LENGTHS)[0]).abs().max() > 0.01
    outputs.sum().backward()
    assert all(part.grad.ne(0).all() for part in layer.initial_state if kind != "relu")
    assert all(part.grad.ne(0).any() for part in layer.initial_state)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("steps", [6, 7, 100])
def test_truncation_at_the_length_or_beyond_is_full_back_propagation(kind, steps):
    whole, cut = make_layer(kind), make_layer(kind, bptt_steps=steps)
    x = make_inputs()
    for layer in (whole, cut):
        layer(x, LENGTHS)[0].square().sum().backward()
    for ours, theirs in zip(cut.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("kind", LAYERS)
def test_truncation_leaves_the_forward_pass_and_cuts_the_gradient(kind):
    whole, cut, x = make_layer(kind), make_layer(kind, bptt_steps=2), make_inputs().requires_grad_()
    (outputs, end), (expected, expected_end) = cut(x, LENGTHS), whole(x, LENGTHS)
    assert_close((outputs, *end), (expected, *expected_end))
    (gradient,) = torch.autograd.grad(outputs[2, 5].sum(), x)
    assert gradient[2, 4:].ne(0).any() and gradient[2, :4].eq(0).all()
    (gradient,) = torch.autograd.grad(expected[2, 5].sum(), x)
    assert gradient[2, :4].ne(0).any()


@pytest.mark.parametrize("kind", LAYERS)
def test_go_backwards_is_the_forward_pass_over_the_reversed_sequence_and_stays_reversed(kind):
    ahead, back, x = make_layer(kind), make_layer(kind, go_backwards=True), make_inputs()
    assert_close(back(x, LENGTHS), ahead(reverse_real_part(x, LENGTHS), LENGTHS), atol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_without_return_sequences_the_output_is_that_of_the_last_real_step(kind):
    outputs, state = make_layer(kind, return_sequences=False)(make_inputs(), LENGTHS)
    expected, _ = make_layer(kind)(make_inputs(), LENGTHS)
    assert torch.equal(outputs, last_outputs(expected, LENGTHS)) and torch.equal(outputs, state[0])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bptt_steps", [None, 2])
def test_the_stepwise_path_under_a_mask_of_ones_equals_the_fused_one(kind, bptt_steps):
    fused, stepwise = (make_layer(kind, recurrent_dropout=rate, bptt_steps=bptt_steps) for rate in (0.0, 1e-12))
    x = make_inputs()
    assert_close(stepwise(x, LENGTHS), fused(x, LENGTHS), atol=1e-11)
    for layer in (fused, stepwise):
        layer(x, LENGTHS)[0].square().sum().backward()
    for ours, theirs in zip(stepwise.parameters(), fused.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, atol=1e-10)


@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_dropout_hides_the_same_units_of_the_state_at_every_step(kind):
    layer, x = make_layer(kind, recurrent_dropout=0.5), make_inputs()
    noise = Noise(7, torch.arange(4))
    masked, _ = layer(x, LENGTHS, noise=noise)
    mask = noise.mask(0.5, 1, 5).squeeze(1).double()
    for row, length in enumerate(LENGTHS.tolist()):
        by_hand = make_layer(kind)
        with torch.no_grad():  # a mask upon what the recurrent weights read is one upon their columns
            by_hand.cell.weight_hh *= mask[row]
        assert_close(masked[row, :length], by_hand(x[row : row + 1, :length], LENGTHS[row : row + 1])[0][0])
    assert_close(layer.eval()(x, LENGTHS), make_layer(kind)(x, LENGTHS))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("other", [{}, {"bptt_steps": 2}, {"recurrent_dropout": 0.5}, {"go_backwards": True}])
def test_without_its_state_a_layer_gives_the_same_outputs_and_gradients(kind, other):
    found = []
    for options in ({}, {"return_state": False}):
        layer, x = make_layer(kind, **other, **options), make_inputs().requires_grad_()
        outputs, state = layer.train()(x, LENGTHS, noise=Noise(3, torch.arange(4)))
        (outputs.square().sum() + state[0].sum()).backward()
        found.append([outputs, state[0], x.grad, *(parameter.grad for parameter in layer.parameters())])
    assert len(state) == 1
    assert_close(tuple(found[0]), tuple(found[1]))


def test_a_stateful_layer_holds_its_cell_though_it_gives_no_state():
    layers = [make_layer("lstm", stateful=True, return_state=is_given) for is_given in (True, False)]
    for layer in layers:
        layer(make_inputs(), LENGTHS)
    first, second = (layer(make_inputs(), LENGTHS)[0] for layer in layers)
    assert_close(first, second, atol=0)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match=r"no option \['time_major'\]"):
        make_layer("lstm", time_major=True)
