"""The network along time: gates are the cell's own, gradients those of autograd and algebra, half-lives those of the equation."""

import dataclasses

import numpy as np
import pytest
import torch
from layers import LAYERS, assert_close, make_inputs, make_layer
from making import SMALL, batch_of, make_examples, make_network

from models.config import Sizes
from models.network import build_network
from models.through_time import half_lives, look_through_time, open_gates, state_gradients

EXAMPLES = make_examples([4, 1, 9, 6])
BATCH = batch_of(EXAMPLES, [0, 1, 2, 3])
CELLS = {
    "simple_rnn": {"cell": "simple_rnn"},
    "relu": {"cell": "simple_rnn", "activation": "relu"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "gru_before": {"cell": "gru", "reset_after": False},
}
SHAPES = {
    "both ways": {},
    "one way": {"bidirectional": False},
    "from the end": {"bidirectional": False, "go_backwards": True, "hidden": (5, 3)},
    "deep": {"hidden": (5, 5), "merge": "sum", "residual": True, "layer_norm": True},
    "learned, cut": {"learned_state": True, "bptt_steps": 2},
}


def network_of(**options):
    network = make_network(dataclasses.replace(SMALL, **options)).eval()
    torch.manual_seed(5)
    for name, parameter in network.rnn.named_parameters():
        if "initial_state" in name:
            torch.nn.init.normal_(parameter)
    return network


def walked(layer, inputs):
    """Run a layer step by step; gives the states and what was opened."""
    state = tuple(part.requires_grad_() for part in layer.cell.zero_state(inputs))
    states, opened = [], []
    for projected in layer.cell.project(inputs).unbind(1):
        opened.append(open_gates(layer.cell, projected, state))
        state = tuple(part.clone() for part in opened[-1].state)
        states.append(state)
    return states, opened


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_gates_make_the_cells_own_states(kind, dtype, atol):
    cell = make_layer(kind).cell.to(dtype)
    projected = torch.randn(7, cell.num_gates * cell.units, dtype=dtype)
    state = tuple(torch.randn(7, cell.units, dtype=dtype) for _ in range(cell.num_states))
    assert_close(open_gates(cell, projected, state).state, cell.advance(projected, state, state[0]), atol)


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_before"])
def test_what_is_kept_is_the_share_of_the_state_that_goes_on(kind):
    cell = make_layer(kind).cell
    with torch.no_grad():
        cell.weight_hh.zero_()  # then nothing of what is new hangs on the state
    projected = torch.randn(7, cell.num_gates * cell.units, dtype=torch.float64)
    state = tuple(torch.randn(7, cell.units, dtype=torch.float64) for _ in range(cell.num_states))
    empty = tuple(torch.zeros_like(part) for part in state)
    opened = open_gates(cell, projected, state)
    assert_close(opened.state[-1] - open_gates(cell, projected, empty).state[-1], opened.kept * state[-1])


def test_the_gradient_of_a_linear_network_decays_as_its_weight_to_the_power_of_the_distance():
    layer = make_layer("relu", units=4)
    with torch.no_grad():
        layer.cell.weight_hh.copy_(0.7 * torch.eye(4, dtype=torch.float64))
        for part in (layer.cell.weight_ih, layer.cell.bias_ih, layer.cell.bias_hh):
            part.abs_()  # with inputs of the same kind all sums are positive, where relu does nothing
    states, _ = walked(layer, make_inputs(torch.tensor([9, 9])).abs())
    weights = torch.nn.functional.normalize(torch.randn(2, 4, dtype=torch.float64), dim=1)
    found = state_gradients(states, torch.tensor([8, 3]), weights)
    expected = 0.7 ** torch.arange(9, dtype=torch.float64)
    assert_close(found[0], expected)
    assert_close(found[1, :4], expected[:4])
    assert found[1, 4:].isnan().all()


@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_is_the_product_of_the_jacobians_of_the_steps(kind):
    layer, inputs = make_layer(kind), make_inputs(torch.tensor([5]))
    states, _ = walked(layer, inputs)
    weights = torch.randn(1, layer.cell.units, dtype=torch.float64)
    found = state_gradients(states, torch.tensor([4]), weights)[0]
    projected = layer.cell.project(inputs)

    def advance(t, flat):
        parts = flat.unflatten(0, (layer.cell.num_states, 1, -1)).unbind(0)
        return torch.cat(layer.cell.advance(projected[:, t], parts, parts[0]), dim=1)[0]

    row = torch.cat([weights[0], torch.zeros(layer.cell.units * (layer.cell.num_states - 1), dtype=torch.float64)])
    for distance in range(5):
        torch.testing.assert_close(found[distance], row.norm(), rtol=1e-10, atol=0)
        if distance < 4:
            before = torch.cat(states[3 - distance], dim=1)[0].detach()
            row = row @ torch.autograd.functional.jacobian(lambda flat, t=4 - distance: advance(t, flat), before)


def test_a_unit_that_keeps_half_of_its_state_has_a_half_life_of_one_step():
    assert half_lives(np.array([0.5, 0.25, 0.5**0.1])) == pytest.approx([1, 0.5, 10])


def test_a_unit_that_keeps_nothing_or_all_has_a_half_life_of_nothing_or_for_ever():
    assert half_lives(np.array([0.0, 1.0])).tolist() == [0, np.inf]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_every_layer_and_direction_of_every_network_is_looked_at(cell, shape):
    network = network_of(**CELLS[cell], **SHAPES[shape])
    found = look_through_time(network, BATCH)
    config = network.config
    ways = [False, True] if config.bidirectional else [config.go_backwards]
    assert [(it.layer, it.is_backward) for it in found] == [(n, way) for n in range(1, len(config.hidden) + 1) for way in ways]
    for direction in found:
        assert direction.gradients.shape == (4, 9)
        assert direction.gradients[:, 0] == pytest.approx(1)
        assert bool(direction.gates) == (direction.kept is not None) == (config.cell != "simple_rnn")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_looked_at_are_the_outputs_of_the_network_itself(cell, shape, monkeypatch):
    network = network_of(**CELLS[cell], **SHAPES[shape])
    walks = []
    from models import through_time

    walk = through_time._walk
    monkeypatch.setattr(through_time, "_walk", lambda *given: walks.append((given[0], walk(*given))) or walks[-1][1])
    outputs = {}
    hooked = [layer for top in network.rnn.layers for layer in through_time._directions(top)]
    for layer in hooked:
        run = layer.run
        monkeypatch.setattr(layer, "run", lambda *a, _layer=layer, _run=run, **b: outputs.setdefault(_layer, _run(*a, **b)))
    look_through_time(network, BATCH)
    assert [layer for layer, _ in walks] == hooked
    for layer, opened in walks:
        ours = torch.stack([step.state[0] for step in opened], dim=1)
        for row, length in enumerate(BATCH.lengths):
            assert_close(ours[row, :length].detach(), outputs[layer][0][row, :length].detach())


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_before"])
def test_gates_that_are_held_open_or_shut_are_counted_as_such(kind):
    network = network_of(**CELLS[kind], bidirectional=False)
    cell = network.rnn.layers[0].cell
    with torch.no_grad():
        cell.weight_hh.zero_(), cell.weight_ih.zero_()
        cell.bias_ih[:5] = 9.0
        cell.bias_ih[5:10] = -9.0
    (found,) = look_through_time(network, BATCH)
    first, second = list(found.gates.values())[:2]
    assert (first.open == 1).all() and (first.shut == 0).all()
    assert (second.open == 0).all() and (second.shut == 1).all()
    held = 1 / (1 + np.exp(-9.0))
    assert found.kept == pytest.approx(held if kind == "gru_before" else 1 - held)


def test_what_stands_in_the_padding_changes_nothing():
    network = network_of()
    noisy = dataclasses.replace(BATCH, words=torch.where(torch.arange(9) < BATCH.lengths[:, None], BATCH.words, 7))
    for ours, theirs in zip(look_through_time(network, BATCH), look_through_time(network, noisy), strict=True):
        np.testing.assert_array_equal(ours.gradients, theirs.gradients)
        np.testing.assert_array_equal(ours.kept, theirs.kept)


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_before"])
def test_each_step_counts_once_and_padding_never(kind):
    network = network_of(**CELLS[kind])
    together = look_through_time(network, BATCH)
    alone = [look_through_time(network, batch_of(EXAMPLES, [row])) for row in range(4)]
    lengths = BATCH.lengths.numpy()
    for number, direction in enumerate(together):
        kept = np.array([found[number].kept for found in alone])
        np.testing.assert_allclose(direction.kept, (lengths @ kept) / lengths.sum(), rtol=1e-12)
        for name, gate in direction.gates.items():
            opened = np.array([found[number].gates[name].open for found in alone])
            np.testing.assert_allclose(gate.open, (lengths @ opened) / lengths.sum(), rtol=1e-12)


def test_steps_of_numbers_are_looked_at_as_well():
    config = dataclasses.replace(SMALL, char_hidden=None, char_size=None, cell="gru")
    network = build_network(config, Sizes("classification", 2, 2, 3, vector_size=2), seed=1).eval()
    batch = dataclasses.replace(BATCH, values=torch.randn(4, 9, 2))
    assert len(look_through_time(network, batch)) == 2


def test_the_weights_get_no_gradient_and_the_network_no_hook():
    network = network_of()
    look_through_time(network, BATCH)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(layer._forward_pre_hooks for layer in network.rnn.layers)
