"""A recurrent layer: a cell run over time in one direction.

Every layer is called as `layer(inputs, lengths, state=None) -> (outputs, state)`, batch first; outputs are zero at
padding and the state is that after each row's last real step, so it can be fed to the next call.

A reverse direction starts at each row's last real step, because each row's real part is reversed before the cell runs over
it and reversed back after. So dense kernels are exact for ragged batches, without packing.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from models.cells import GRU_CELLS, Cell, LSTMCell, SimpleRNNCell, State
from models.config import ModelConfig
from models.dropout import Noise
from models.lengths import Steps, check_lengths


class LayerOptions(TypedDict, total=False):
    """What a layer of any cell can be told.

    Attributes:
        go_backwards: read each row's real part from its end; outputs stay in the order of computing (Keras's rule).
        return_sequences: give the outputs of all steps, (B, T, H); else the last real step's, (B, H).
        return_state: give all of the state after the last real step; else (h,), which spares an LSTM to hold c over padding.
        learned_state: learn the state before the first step; it is zero otherwise.
        stateful: begin each call in the state that the call before ended in, its gradient cut, until `reset_state`.
        bptt_steps: cut the gradient every so many steps (truncated back-propagation, Williams and Peng 1990).
        recurrent_dropout: share of the state that is not read in training, one mask per sequence.
    """

    go_backwards: bool
    return_sequences: bool
    return_state: bool
    learned_state: bool
    stateful: bool
    bptt_steps: int | None
    recurrent_dropout: float


class Recurrent(nn.Module):
    """A cell run over time in one direction.

    Args:
        cell: one step, which holds the weights.
        options: see `LayerOptions`.
    """

    def __init__(self, cell: Cell, **options: Unpack[LayerOptions]) -> None:
        super().__init__()
        unknown = set(options) - set(LayerOptions.__annotations__)
        if unknown:
            raise TypeError(f"a layer has no option {sorted(unknown)}; expected any of {sorted(LayerOptions.__annotations__)}")
        self.cell = cell
        self.go_backwards = options.get("go_backwards", False)
        self.return_sequences = options.get("return_sequences", True)
        self.return_state = options.get("return_state", True)
        self.stateful = options.get("stateful", False)
        self.bptt_steps = options.get("bptt_steps")
        self.recurrent_dropout = options.get("recurrent_dropout", 0.0)
        num_learned = cell.num_states if options.get("learned_state") else 0
        self.initial_state = nn.ParameterList(nn.Parameter(torch.zeros(cell.units)) for _ in range(num_learned))
        self._held: State | None = None

    @property
    def input_size(self) -> int:
        """I, numbers per step of the input."""
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        """H, numbers per step of the output."""
        return self.cell.units

    def reset_state(self) -> None:
        """Forget what a stateful layer holds: its next call begins anew."""
        self._held = None

    def reversed_twin(self) -> "Recurrent":
        """Make a layer with the same options that reads from the other end, with weights of its own."""
        twin = deepcopy(self)
        twin.go_backwards = not self.go_backwards
        twin.cell.reset_parameters()
        for part in twin.initial_state:
            nn.init.zeros_(part)
        twin.reset_state()
        return twin

    def forward(
        self, inputs: Tensor, lengths: Tensor, state: State | None = None, noise: Noise | None = None
    ) -> tuple[Tensor, State]:
        """Run the cell over a batch.

        Args:
            inputs: (B, T, I), each row's real part first.
            lengths: (B,), on the CPU, each from 1 to T.
            state: each (B, H), before the first step: (h,) or, for an LSTM, (h, c).
            noise: where dropout masks come from in training; torch's generator if not given.

        Returns:
            The outputs, (B, T, H), zero at padding, or (B, H) without `return_sequences`; and the state after each row's
            last real step, each (B, H), of which there is h alone without `return_state`.

        Raises:
            ValueError: a length is no number from 1 to T, or the state is not of the layer's shape.
        """
        check_lengths(lengths, inputs)
        steps = Steps.of(lengths, inputs.shape[1], inputs.device)
        outputs, end = self.run(steps.cleared(inputs), steps, state, noise)
        return (steps.cleared(outputs) if self.return_sequences else end[0]), end

    def run(self, inputs: Tensor, steps: Steps, state: State | None = None, noise: Noise | None = None) -> tuple[Tensor, State]:
        """Do as `forward` from inputs, (B, T, I), that are 0 at padding to all outputs, (B, T, H), which mean nothing there."""
        if self.go_backwards:
            inputs = steps.turned(inputs)
        start = self._start(inputs, state)
        if self.training and self.recurrent_dropout:
            run = self._run_stepwise(inputs, start, steps.is_padding, noise or Noise.fresh(len(inputs), inputs.device))
        else:
            run = self._run_fused(inputs, start, steps.is_padding if self.return_state or self.stateful else None)
        outputs, further = run
        end = (steps.lasts(outputs), *further)
        if self.stateful:
            self._held = _detached(end)
        return outputs, end if self.return_state else end[:1]

    def _start(self, inputs: Tensor, state: State | None) -> State:
        if state is None:
            state = self._held
        if state is None and len(self.initial_state):
            state = tuple(part.expand(len(inputs), -1).contiguous() for part in self.initial_state)
        if state is None:
            return self.cell.zero_state(inputs)
        shapes = [tuple(part.shape) for part in state]
        if shapes != [(len(inputs), self.cell.units)] * self.cell.num_states:
            raise ValueError(
                f"the state has the shapes {shapes}; expected {self.cell.num_states} of ({len(inputs)}, {self.cell.units}); "
                "a stateful layer takes another batch after reset_state()"
            )
        return state

    def _run_fused(self, inputs: Tensor, state: State, is_padding: Tensor | None) -> tuple[Tensor, State]:
        size = self.bptt_steps or inputs.shape[1]
        outputs = []
        for begin in range(0, inputs.shape[1], size):
            padding = None if is_padding is None else is_padding[:, begin : begin + size]
            part, further = self.cell.fused(inputs[:, begin : begin + size], state, padding)
            state = _detached((part[:, -1], *further))
            outputs.append(part)
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)), further

    def _run_stepwise(self, inputs: Tensor, state: State, is_padding: Tensor | None, noise: Noise) -> tuple[Tensor, State]:
        """Run step by step, as no kernel takes a mask upon the state."""
        mask = noise.mask(self.recurrent_dropout, 1, self.cell.units).squeeze(1).to(inputs.dtype)
        gates = self.cell.project(inputs)
        outputs = []
        for t in range(inputs.shape[1]):
            if self.bptt_steps and t and t % self.bptt_steps == 0:
                state = _detached(state)
            after = self.cell.advance(gates[:, t], state, state[0] * mask)
            if is_padding is not None:
                after = tuple(torch.where(is_padding[:, t], old, new) for new, old in zip(after, state, strict=True))
            state = after
            outputs.append(state[0])
        return torch.stack(outputs, dim=1), state[1:]


def _detached(state: State) -> State:
    return tuple(part.detach() for part in state)


class SimpleRNN(Recurrent):
    """The Elman network over time: `SimpleRNN(input_size, units)(inputs, lengths, state=None) -> (outputs, state)`.

    inputs (B, T, input_size), outputs (B, T, units), state (h,) with h (B, units); see `Recurrent.forward`, and
    `models.cells.SimpleRNNCell` for the equations.

    Args:
        activation: `tanh` or `relu`.
        options: see `LayerOptions`.
    """

    def __init__(self, input_size: int, units: int, activation: str = "tanh", **options: Unpack[LayerOptions]) -> None:
        super().__init__(SimpleRNNCell(input_size, units, activation), **options)


class LSTM(Recurrent):
    """Long short-term memory over time: `LSTM(input_size, units)(inputs, lengths, state=None) -> (outputs, state)`.

    inputs (B, T, input_size), outputs (B, T, units), state (h, c), each (B, units); see `Recurrent.forward`, and
    `models.cells.LSTMCell` for the equations.

    Args:
        forget_bias: the forget gate's bias at the start.
        options: see `LayerOptions`.
    """

    def __init__(self, input_size: int, units: int, forget_bias: float = 1.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(LSTMCell(input_size, units, forget_bias), **options)


class GRU(Recurrent):
    """Gated recurrent units over time: `GRU(input_size, units)(inputs, lengths, state=None) -> (outputs, state)`.

    inputs (B, T, input_size), outputs (B, T, units), state (h,) with h (B, units); see `Recurrent.forward`, and
    `models.cells.GRUCell` and `ResetBeforeGRUCell` for the equations.

    Args:
        reset_after: the reset gate acts after the matrix product, as in torch and cuDNN; else before it (Chung et al. 2014).
        options: see `LayerOptions`.
    """

    def __init__(self, input_size: int, units: int, reset_after: bool = True, **options: Unpack[LayerOptions]) -> None:
        super().__init__(GRU_CELLS[reset_after](input_size, units), **options)


def _simple_rnn(config: ModelConfig, input_size: int, units: int, **options: Unpack[LayerOptions]) -> Recurrent:
    return SimpleRNN(input_size, units, config.activation or "tanh", **options)


def _lstm(config: ModelConfig, input_size: int, units: int, **options: Unpack[LayerOptions]) -> Recurrent:
    return LSTM(input_size, units, 1.0 if config.forget_bias is None else config.forget_bias, **options)


def _gru(config: ModelConfig, input_size: int, units: int, **options: Unpack[LayerOptions]) -> Recurrent:
    return GRU(input_size, units, config.reset_after is not False, **options)


LAYERS: dict[str, Callable[..., Recurrent]] = {"simple_rnn": _simple_rnn, "lstm": _lstm, "gru": _gru}
"""Cell of a config -> its layer, from (config, input_size, units) and the layer's options."""
