"""Both directions and several layers: who sees what, merge modes, widths, residuals, norms."""

import pytest
import torch
from layers import LAYERS, LENGTHS, assert_close, make_inputs, make_layer
from torch import nn

from models import GRU, LSTM, Bidirectional, ModelConfig, Stacked
from models.dropout import Dropout, Noise
from models.lengths import last_outputs, reverse_real_part
from models.rnn import Recurrent
from models.stack import MERGES, build_stack


def make_both(kind="lstm", merge_mode="concat", input_size=3, units=5):
    both = Bidirectional(make_layer(kind, input_size, units), merge_mode).double()
    for parameter in both.backward_layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return both


def make_stack(kind="lstm", hidden=(5, 4), **options):
    layers, size = [], 3
    for units in hidden:
        layers.append(make_both(kind, input_size=size, units=units))
        size = 2 * units
    return Stacked(layers, **options).double()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("hidden", [(5,), (5, 4, 3)])
def test_padding_batch_mates_and_the_order_of_rows_change_nothing(kind, hidden):
    stack, x = make_stack(kind, hidden), make_inputs()
    outputs, state = stack(x, LENGTHS)
    final = stack.final(outputs, state, LENGTHS)
    for extra in (1, 250):
        padded = torch.cat([x, torch.full((4, extra, 3), 50.0, dtype=torch.float64)], dim=1)
        more, more_state = stack(padded, LENGTHS)
        assert_close(more[:, :6], outputs)
        assert_close(stack.final(more, more_state, LENGTHS), final)
    order = torch.tensor([2, 0, 3, 1])
    mixed, _ = stack(x[order], LENGTHS[order])
    assert_close(mixed, outputs[order])
    for row, length in enumerate(LENGTHS.tolist()):
        alone, alone_state = stack(x[row : row + 1, :length], LENGTHS[row : row + 1])
        assert_close(outputs[row, :length], alone[0])
        assert_close(final[row], stack.final(alone, alone_state, LENGTHS[row : row + 1])[0])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("padding", [torch.nan, torch.inf])
def test_what_stands_in_the_padding_reaches_no_output_and_no_gradient(kind, padding):
    found = []
    for value in (0.0, padding):
        stack, x = make_stack(kind, (5, 5)), make_inputs()
        for row, length in enumerate(LENGTHS.tolist()):
            x[row, length:] = value
        outputs, _ = stack(x, LENGTHS)
        outputs.square().sum().backward()
        found.append([outputs, *(parameter.grad for parameter in stack.parameters())])
    assert all(torch.equal(clean, changed) for clean, changed in zip(*found, strict=True))


@pytest.mark.parametrize(("kind", "theirs"), [("lstm", nn.LSTM), ("gru", nn.GRU), ("tanh", nn.RNN)])
def test_a_stack_equals_torchs_own_packed_network(kind, theirs):
    stack, x = make_stack(kind, (5, 5)), make_inputs()
    packed = theirs(3, 5, num_layers=2, bidirectional=True, batch_first=True).double()
    for number, layer in enumerate(stack.layers):
        for suffix, direction in (("", layer.forward_layer), ("_reverse", layer.backward_layer)):
            for name, value in direction.cell.named_parameters():
                getattr(packed, f"{name}_l{number}{suffix}").data.copy_(value)
    sequence = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    packed_outputs, packed_state = packed(sequence)
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed_outputs, batch_first=True)
    outputs, state = stack(x, LENGTHS)
    assert_close(outputs, expected)
    ours = [torch.stack([end[part] for layer in state for end in layer]) for part in range(len(state[0][0]))]
    theirs_state = packed_state if isinstance(packed_state, tuple) else (packed_state,)
    assert_close(tuple(ours), theirs_state)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_stack_equals_its_layers_chained_over_whole_sequences(kind):
    stack, x = make_stack(kind, (5, 4, 3)), make_inputs()
    outputs, ends = x, []
    for layer in stack.layers:
        outputs, end = layer(outputs, LENGTHS)
        ends.append(end)
    assert_close(stack(x, LENGTHS), (outputs, tuple(ends)), atol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_each_direction_sees_its_own_side_alone(kind):
    both, x = make_both(kind), make_inputs()
    later, earlier = x.clone(), x.clone()
    later[2, 3:] += 1
    earlier[2, :3] += 1
    outputs = both(x, LENGTHS)[0]
    assert torch.equal(outputs[2, :3, :5], both(later, LENGTHS)[0][2, :3, :5])
    assert torch.equal(outputs[2, 3:, 5:], both(earlier, LENGTHS)[0][2, 3:, 5:])
    assert not torch.equal(outputs[2, :3, 5:], both(later, LENGTHS)[0][2, :3, 5:])


def test_the_final_states_are_forward_at_the_last_real_step_and_backward_at_the_first():
    stack, x = make_stack(hidden=(5, 4)), make_inputs()
    outputs, state = stack(x, LENGTHS)
    expected = torch.cat([last_outputs(outputs, LENGTHS)[:, :4], outputs[:, 0, 4:]], dim=1)
    final = stack.final(outputs, state, LENGTHS)
    assert torch.equal(final, expected)
    assert_close(final, torch.cat([state[-1][0][0], state[-1][1][0]], dim=1))


def test_the_last_column_of_the_outputs_would_be_wrong_final_states():
    stack, x = make_stack(), make_inputs()
    outputs, state = stack(x, LENGTHS)
    final = stack.final(outputs, state, LENGTHS)
    for wrong in (outputs[:, -1], last_outputs(outputs, LENGTHS), torch.cat([outputs[:, 0, :4], outputs[:, -1, 4:]], dim=1)):
        assert not torch.allclose(wrong, final)


@pytest.mark.parametrize("merge_mode", [*MERGES, "none"])
def test_a_merge_mode_joins_the_two_directions(merge_mode):
    both, x = make_both(merge_mode=merge_mode), make_inputs()
    ahead = both.forward_layer(x, LENGTHS)[0]
    back = reverse_real_part(both.backward_layer(x, LENGTHS)[0], LENGTHS)
    expected = {
        "concat": torch.cat([ahead, back], 2),
        "sum": ahead + back,
        "mul": ahead * back,
        "ave": (ahead + back) / 2,
        "none": (ahead, back),
    }
    outputs = both(x, LENGTHS)[0]
    assert_close(outputs, expected[merge_mode])
    if merge_mode == "none":
        assert make_both(merge_mode=None).merge_mode == "none"
    size = sum(part.shape[2] for part in outputs) if merge_mode == "none" else outputs.shape[2]
    assert both.output_size == size


@pytest.mark.parametrize("merge_mode", MERGES)
def test_final_states_are_merged_as_the_outputs_are(merge_mode):
    stack, x = Stacked([make_both(merge_mode=merge_mode)]), make_inputs()
    outputs, state = stack(x, LENGTHS)
    ((ahead, _), (back, _)) = state[0]
    assert_close(stack.final(outputs, state, LENGTHS), MERGES[merge_mode](ahead, back))


@pytest.mark.parametrize("merge_mode", MERGES)
def test_both_directions_without_return_sequences_give_what_each_has_in_its_end(merge_mode):
    both = Bidirectional(make_layer("gru", return_sequences=False), merge_mode).double()
    outputs, ((ahead,), (back,)) = both(make_inputs(), LENGTHS)
    assert_close(outputs, MERGES[merge_mode](ahead, back))


def test_the_twin_of_a_layer_has_weights_of_its_own():
    both = Bidirectional(LSTM(3, 5, forget_bias=2.0, recurrent_dropout=0.1))
    ahead, back = both.forward_layer.cell, both.backward_layer.cell
    assert not torch.equal(ahead.weight_ih, back.weight_ih) and back.bias_ih[5:10].eq(2).all()
    assert both.backward_layer.recurrent_dropout == 0.1 and both.backward_layer.go_backwards


def test_the_twin_of_a_layer_in_use_begins_anew():
    layer = make_layer("lstm", stateful=True, learned_state=True)
    layer(make_inputs(), LENGTHS)
    both = Bidirectional(layer)
    assert all(part.eq(0).all() for part in both.backward_layer.initial_state)
    both.forward_layer.reset_state()
    both(make_inputs()[:2], LENGTHS[:2])  # a held state of four rows would be refused


def test_two_layers_of_the_same_direction_are_refused():
    layer = GRU(3, 5)
    with pytest.raises(ValueError, match="go_backwards"):
        Bidirectional(layer, "concat", layer)


def test_an_unknown_merge_mode_is_refused():
    with pytest.raises(ValueError, match=r"merge_mode is 'max'; expected one of"):
        Bidirectional(GRU(3, 5), "max")


def test_feeding_the_states_of_a_stack_back_equals_one_pass_in_one_direction():
    stack, x = Stacked([make_layer("lstm"), make_layer("gru", 5, 4)]), make_inputs(torch.tensor([6, 6]))
    outputs, _ = stack(x, torch.tensor([6, 6]))
    first, state = stack(x[:, :2], torch.tensor([2, 2]))
    second, _ = stack(x[:, 2:], torch.tensor([4, 4]), state)
    assert_close(torch.cat([first, second], 1), outputs)


def test_a_cut_layer_leaves_the_layers_below_as_they_were():
    stack, x = make_stack(hidden=(5, 4, 3)), make_inputs()
    seen = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda _module, _inputs, result: seen.append(result[0].detach()))
    stack(x, LENGTHS)
    nn.init.zeros_(stack.layers[1].forward_layer.cell.weight_hh)
    stack(x, LENGTHS)
    assert [torch.equal(seen[i], seen[i + 3]) for i in range(3)] == [True, False, False]


def test_dropout_stands_between_the_layers_only_and_only_in_training():
    stack, x = make_stack(hidden=(5, 5, 4), dropout=0.5), make_inputs()
    read = []
    for layer in stack.layers:
        layer.register_forward_hook(lambda _module, inputs, _result: read.append((inputs[0].detach(), _result[0].detach())))
    outputs, _ = stack.train()(x, LENGTHS)
    assert torch.equal(read[0][0], x) and torch.equal(outputs, read[2][1])
    for below, above in ((0, 1), (1, 2)):
        dropped = (read[above][0] == 0) & (read[below][1] != 0)
        assert 0.3 < dropped.double().sum() / (read[below][1] != 0).sum() < 0.7
        kept = ~dropped
        assert_close(read[above][0][kept], 2 * read[below][1][kept])
    read.clear()
    stack.eval()(x, LENGTHS)
    assert torch.equal(read[1][0], read[0][1])


def test_every_layer_draws_masks_of_its_own(monkeypatch):
    stack, x = make_stack(hidden=(5, 5, 5, 5), dropout=0.5), make_inputs()
    masks, sources, run = [], [], Recurrent.run

    def noted(layer, inputs, steps, state, noise):
        sources.append(noise.seed)
        return run(layer, inputs, steps, state, noise)

    monkeypatch.setattr(Recurrent, "run", noted)
    for part in stack.modules():
        if isinstance(part, Dropout):
            part.register_forward_hook(lambda _module, inputs, _result: sources.append(inputs[1].seed))
    for layer in stack.layers:
        layer.register_forward_hook(lambda _module, inputs, _result: masks.append(inputs[0] == 0))
    stack.train()(x, LENGTHS, noise=Noise(1, torch.arange(4)))
    assert not torch.equal(masks[1], masks[2]) and not torch.equal(masks[2], masks[3])
    assert len(set(sources)) == len(sources) == 3 + 4 * 2


def test_a_residual_adds_each_upper_layers_input_to_its_output():
    stack, x = make_stack(hidden=(5, 5, 5), residual=True), make_inputs()
    first = stack.layers[0](x, LENGTHS)[0]
    second = stack.layers[1](first, LENGTHS)[0] + first
    third = stack.layers[2](second, LENGTHS)[0] + second
    outputs, state = stack(x, LENGTHS)
    assert_close(outputs, third)
    expected = torch.cat([last_outputs(third, LENGTHS)[:, :5], third[:, 0, 5:]], dim=1)
    assert_close(stack.final(outputs, state, LENGTHS), expected)


@pytest.mark.parametrize("residual", [False, True])
def test_a_layer_norm_stands_before_each_layer_and_padding_stays_zero(residual):
    stack, x = make_stack(hidden=(5, 5), layer_norm=True, residual=residual), make_inputs()
    for norm in stack.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    expected = x
    for number, (norm, layer) in enumerate(zip(stack.norms, stack.layers, strict=True)):
        below = expected
        expected = layer(nn.functional.layer_norm(below, norm.normalized_shape, norm.weight, norm.bias), LENGTHS)[0]
        if residual and number:
            expected = expected + below  # not what the norm made of it
    outputs, _ = stack(x, LENGTHS)
    assert_close(outputs, expected)
    assert all(outputs[row, length:].eq(0).all() for row, length in enumerate(LENGTHS.tolist()))


@pytest.mark.parametrize(
    ("layers", "options", "match"),
    [
        (lambda: [GRU(3, 5, return_sequences=False), GRU(5, 5)], {}, "layer 1 does not give one output per step"),
        (lambda: [Bidirectional(GRU(3, 5), "none"), GRU(10, 5)], {}, "layer 1 does not give one output per step"),
        (lambda: [GRU(3, 5), GRU(4, 5)], {}, "layer 1 gives 5 numbers, the next one takes 4"),
        (lambda: [GRU(3, 5), GRU(5, 4)], {"residual": True}, "layer 2 takes 5 numbers and gives 4"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, options, match):
    with pytest.raises(ValueError, match=match):
        Stacked(layers(), **options)


def test_the_widths_of_a_built_stack_are_those_of_the_config():
    stack = build_stack(ModelConfig(hidden=(7, 5, 3), cell="gru", merge="sum"), 4)
    assert [(layer.input_size, layer.output_size) for layer in stack.layers] == [(4, 7), (7, 5), (5, 3)]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_built_stack_that_goes_backwards_reads_the_reversed_sequence_in_every_layer(kind):
    config = ModelConfig(cell=kind, hidden=(5, 4), bidirectional=False, dropout=0.0)
    torch.manual_seed(0)
    ahead = build_stack(config, 3).double()
    torch.manual_seed(0)
    back = build_stack(ModelConfig(cell=kind, hidden=(5, 4), bidirectional=False, go_backwards=True), 3).double().eval()
    x = make_inputs()
    assert_close(back(x, LENGTHS), ahead.eval()(reverse_real_part(x, LENGTHS), LENGTHS), atol=0)
