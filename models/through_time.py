"""What a trained network does along time: how far a gradient reaches back, what its gates do, how long a unit keeps its state.

Every layer and direction is run by itself, step by step, on what it reads in the whole network. It knows tensors alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.batch import Batch
from models.cells import Cell, GRUCell, LSTMCell, ResetBeforeGRUCell, SimpleRNNCell, State
from models.lengths import Steps, step_mask
from models.network import Network
from models.rnn import Recurrent
from models.stack import Layer

Floats = NDArray[np.floating]

SHUT, OPEN = 0.1, 0.9
"""A gate below the one or above the other is saturated (Karpathy et al. 2015)."""


@dataclass(frozen=True)
class Gate:
    """How each unit's gate stood over all real steps: (H,) shares of them below `SHUT` and above `OPEN`."""

    shut: Floats
    open: Floats


@dataclass(frozen=True)
class Direction:
    """One layer in one direction.

    Attributes:
        layer: its number, from 1.
        is_backward: it reads from the end.
        gradients: (B, T) for each sequence, the size of the gradient that one step's output sends to the state k steps
            before, in column k; NaN where the sequence does not reach that far. See `state_gradients`.
        gates: name -> gate; none in a simple RNN.
        kept: (H,) mean share of its state that each unit keeps from step to step; None where no gate says.
    """

    layer: int
    is_backward: bool
    gradients: Floats
    gates: dict[str, Gate] = field(default_factory=dict)
    kept: Floats | None = None


@dataclass(frozen=True)
class Opened:
    """One step seen from inside.

    Attributes:
        state: after it.
        gates: name -> (B, H) from 0 to 1.
        kept: (B, H) the share of the state before that goes on; None where no gate says.
    """

    state: State
    gates: dict[str, Tensor] = field(default_factory=dict)
    kept: Tensor | None = None


def look_through_time(network: Network, batch: Batch, seed: int = 0) -> list[Direction]:
    """Look at every recurrent layer and direction of a network at work.

    Args:
        network: in evaluation mode.
        batch: the sequences that it reads; no targets are needed.
        seed: of the steps and directions that gradients start from.
    """
    found = []
    for number, (layer, inputs) in enumerate(_reads(network, batch), start=1):
        for recurrent in _directions(layer):
            generator = torch.Generator().manual_seed(seed)
            is_backward = recurrent.go_backwards or network.config.go_backwards
            found.append(_look(recurrent, inputs, batch.lengths, generator, (number, is_backward)))
    return found


def half_lives(kept: Floats) -> Floats:
    """Give the steps after which half of a state is left, ln 0.5 / ln kept: 0 where nothing is kept, infinite where all is."""
    with np.errstate(divide="ignore"):
        return np.abs(np.log(0.5) / np.log(np.clip(kept, 0, 1)))


def open_gates(cell: Cell, projected: Tensor, state: State) -> Opened:
    """Advance a cell by one step as `Cell.advance` does, and show its gates.

    Args:
        cell: of any kind.
        projected: (B, G * H), of `Cell.project`.
        state: each (B, H).
    """
    return _INSIDES[type(cell)](cell, projected, state)


def state_gradients(states: list[State], ends: Tensor, weights: Tensor) -> Tensor:
    """Send a gradient from one output of each sequence back through its states.

    With `weights` of length 1, drawn evenly from all directions, the mean of the squares is the squared Frobenius norm of
    the Jacobian of h_t by the state at t - k, over H: 1 at k = 0, and what Bengio et al. (1994) and Pascanu et al. (2013)
    show to vanish or to explode as k grows.

    Args:
        states: after each of T steps, each part (B, H); what follows a step must have read these very tensors.
        ends: (B,) the step t whose output the gradient starts from.
        weights: (B, H) the gradient there.

    Returns:
        (B, T): in column k the gradient's length at the state of step t - k, h and c together; NaN where k > t.
    """
    outputs = torch.stack([state[0] for state in states], dim=1)
    rows, num_steps = torch.arange(len(ends)), len(states)
    parts = [part for state in states for part in state]
    found = torch.autograd.grad((outputs[rows, ends] * weights).sum(), parts, allow_unused=True)
    squares = [torch.zeros(len(ends), dtype=weights.dtype) if part is None else part.square().sum(1) for part in found]
    norms = torch.stack(squares, dim=1).unflatten(1, (num_steps, -1)).sum(2).sqrt()
    before = ends[:, None] - torch.arange(num_steps)
    return norms.gather(1, before.clamp(min=0)).masked_fill(before < 0, torch.nan)


def _reads(network: Network, batch: Batch) -> list[tuple[Layer, Tensor]]:
    """Give each recurrent layer with what it reads."""
    layers = [cast(Layer, layer) for layer in network.rnn.layers]
    read: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: read.append(given[0])) for layer in layers]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return list(zip(layers, read, strict=True))


def _directions(layer: Layer) -> list[Recurrent]:
    return [layer] if isinstance(layer, Recurrent) else [layer.forward_layer, layer.backward_layer]


def _look(layer: Recurrent, inputs: Tensor, lengths: Tensor, generator: torch.Generator, name: tuple[int, bool]) -> Direction:
    """Run a direction, and send a gradient from a step of each sequence's later half."""
    steps = Steps.of(lengths, inputs.shape[1], inputs.device)
    read = steps.cleared(inputs)
    opened = _walk(layer, steps.turned(read) if layer.go_backwards else read)
    ends = lengths // 2 + (torch.rand(len(lengths), generator=generator) * (lengths - lengths // 2)).long()
    weights = F.normalize(torch.randn(len(lengths), layer.cell.units, generator=generator), dim=1).to(inputs.dtype)
    gradients = state_gradients([step.state for step in opened], ends, weights)
    is_real = step_mask(lengths, inputs.shape[1], inputs.device)
    gates = {}
    for gate in opened[0].gates:
        values = torch.stack([step.gates[gate] for step in opened], dim=1)[is_real].detach()
        gates[gate] = Gate((values < SHUT).double().mean(0).numpy(), (values > OPEN).double().mean(0).numpy())
    held = [step.kept for step in opened if step.kept is not None]
    kept = torch.stack(held, dim=1)[is_real].detach().double().mean(0).numpy() if held else None
    return Direction(*name, gradients.numpy(), gates, kept)


def _walk(layer: Recurrent, inputs: Tensor) -> list[Opened]:
    """Run a cell over all steps; each reads the state that the one before gives, as `state_gradients` asks for."""
    state: State = tuple(part.expand(len(inputs), -1) for part in layer.initial_state) or layer.cell.zero_state(inputs)
    state = tuple(part.detach().requires_grad_() for part in state)
    opened = []
    for projected in layer.cell.project(inputs).detach().unbind(1):
        step = open_gates(layer.cell, projected, state)
        # Of an LSTM, c makes h: a copy lets each get the gradient that comes from later steps alone.
        state = tuple(part.clone() for part in step.state)
        opened.append(Opened(state, step.gates, step.kept))
    return opened


def _simple_rnn(cell: Cell, projected: Tensor, state: State) -> Opened:
    return Opened(cell.advance(projected, state, state[0]))


def _lstm(cell: Cell, projected: Tensor, state: State) -> Opened:
    h, c = state
    sums = projected + F.linear(h, cell.weight_hh, cell.bias_hh)
    i, f, g, o = sums.chunk(4, dim=1)
    i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
    c = f * c + i * torch.tanh(g)
    return Opened((o * torch.tanh(c), c), {"input gate": i, "forget gate": f, "output gate": o}, f)


def _gru(cell: Cell, projected: Tensor, state: State) -> Opened:
    (h,) = state
    r_x, z_x, n_x = projected.chunk(3, dim=1)
    r_h, z_h, n_h = F.linear(h, cell.weight_hh, cell.bias_hh).chunk(3, dim=1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    after = (1 - z) * torch.tanh(n_x + r * n_h) + z * h
    return Opened((after,), {"reset gate": r, "update gate (1 keeps)": z}, z)


def _reset_before_gru(cell: Cell, projected: Tensor, state: State) -> Opened:
    (h,) = state
    gates_x, n_x = projected.split([2 * cell.units, cell.units], dim=1)
    weight, n_weight = cell.weight_hh.split([2 * cell.units, cell.units])
    r, z = torch.sigmoid(gates_x + F.linear(h, weight)).chunk(2, dim=1)
    after = (1 - z) * h + z * torch.tanh(n_x + F.linear(r * h, n_weight))
    return Opened((after,), {"reset gate": r, "update gate (1 renews)": z}, 1 - z)


_INSIDES: dict[type[Cell], Callable[[Cell, Tensor, State], Opened]] = {
    SimpleRNNCell: _simple_rnn,
    LSTMCell: _lstm,
    GRUCell: _gru,
    ResetBeforeGRUCell: _reset_before_gru,
}
