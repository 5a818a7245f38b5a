"""One time step of each recurrent cell, next to its equations, and the fused kernel that computes many of them.

A cell knows nothing of sequences, lengths or directions: `models.rnn` runs it over time. Weights are laid out as in
torch's own recurrent modules, gates stacked along the first axis. They are the same at every step, so a cell takes
sequences of any length: padding and truncation are a matter of batches, not of the network.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.scan import Scan, elman_scan, gru_scan, lstm_scan, relu_scan, reset_before_gru_scan

State = tuple[Tensor, ...]
"""What a cell carries from step to step, each (B, H): (h,) or, for the LSTM, (h, c)."""


class Cell(nn.Module):
    """A recurrent cell: its weights, one step, and the same over a whole sequence.

    Args:
        input_size: I, numbers per step of the input.
        units: H, numbers in the state.
    """

    num_gates: ClassVar[int]
    num_states: ClassVar[int] = 1
    has_recurrent_bias: ClassVar[bool] = True
    scan: Scan
    """All steps of many sequences at once, of any lengths."""

    def __init__(self, input_size: int, units: int) -> None:
        super().__init__()
        self.input_size, self.units = input_size, units
        self.weight_ih = nn.Parameter(torch.empty(self.num_gates * units, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.num_gates * units, units))
        self.bias_ih = nn.Parameter(torch.zeros(self.num_gates * units))
        if self.has_recurrent_bias:
            self.bias_hh = nn.Parameter(torch.zeros(self.num_gates * units))

    def reset_parameters(self) -> None:
        """Draw input weights after Glorot and Bengio (2010), orthogonal recurrent ones after Saxe et al. (2014)."""
        for gate in self.weight_ih.chunk(self.num_gates):
            nn.init.xavier_uniform_(gate)
        for gate in self.weight_hh.chunk(self.num_gates):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.bias_ih)
        if self.has_recurrent_bias:
            nn.init.zeros_(self.bias_hh)

    def zero_state(self, inputs: Tensor) -> State:
        """Give the state before the first step: zeros of (B, H) for inputs of (B, ...)."""
        return tuple(inputs.new_zeros(len(inputs), self.units) for _ in range(self.num_states))

    def step(self, inputs: Tensor, state: State) -> State:
        """Advance by one step. `inputs` is (B, I); the new state's first tensor is the output, (B, H)."""
        return self.advance(self.project(inputs), state, state[0])

    def project(self, inputs: Tensor) -> Tensor:
        """Give what the inputs (..., I) add to every gate, (..., G * H): for all steps at once, as it needs no state."""
        return F.linear(inputs, self.weight_ih, self.bias_ih)

    def advance(self, gates: Tensor, state: State, read: Tensor) -> State:
        """Advance by one step from projected inputs.

        Args:
            gates: (B, G * H), of `project`.
            state: each (B, H).
            read: (B, H) the output of the step before as the recurrent weights read it: h, or h under a dropout mask.
        """
        raise NotImplementedError

    def fused(self, inputs: Tensor, state: State, padding: Tensor | None = None) -> tuple[Tensor, State]:
        """Run all T steps in one kernel.

        Args:
            inputs: (B, T, I).
            state: each (B, H), before the first step.
            padding: (B, T, 1), 1 past each row's end and else 0; None where all rows are T long.

        Returns:
            The outputs, (B, T, H), which mean nothing at padding, and what the state holds besides the output after each
            row's last real step.
        """
        raise NotImplementedError

    def biases(self) -> tuple[Tensor, Tensor | None]:
        """Give what can be added to the projected inputs, (G * H,), and what only the scan can add, (H,) or None."""
        return self.bias_ih + self.bias_hh, None

    def _scanned(self, inputs: Tensor, state: State) -> Tensor:
        """Run all T steps by the scan: (B, T, H) of (B, T, I) inputs."""
        num_rows, num_steps = inputs.shape[:2]
        by_step = inputs.transpose(0, 1).reshape(1, num_steps * num_rows, -1)
        states = tuple(part.unsqueeze(0) for part in state)
        outputs, *_ = scan_together([self], by_step, states, [num_rows] * num_steps)
        return outputs.view(num_steps, num_rows, -1).transpose(0, 1)

    def _weights(self) -> list[Tensor]:
        return [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]


class SimpleRNNCell(Cell):
    """The Elman (1990) network: h' = tanh(W x + b + U h + d), or ReLU in place of tanh (Le et al. 2015)."""

    num_gates = 1

    def __init__(self, input_size: int, units: int, activation: str = "tanh") -> None:
        super().__init__(input_size, units)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {sorted(ACTIVATIONS)}")
        self.activation = activation
        self.scan = _SIMPLE_SCANS[activation]
        self.reset_parameters()

    def advance(self, gates: Tensor, state: State, read: Tensor) -> State:
        return (ACTIVATIONS[self.activation](gates + F.linear(read, self.weight_hh, self.bias_hh)),)

    def fused(self, inputs: Tensor, state: State, padding: Tensor | None = None) -> tuple[Tensor, State]:
        if not inputs.is_cuda:
            return self._scanned(inputs, state), ()
        kernel = _SIMPLE_KERNELS[self.activation]
        return kernel(inputs, state[0][None], self._weights(), True, 1, 0.0, self.training, False, True)[0], ()


ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
_SIMPLE_SCANS: dict[str, Scan] = {"tanh": elman_scan, "relu": relu_scan}
_SIMPLE_KERNELS = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

    i, f, o = sigmoid(W x + b + U h + d), each with weights of its own; g = tanh(W x + b + U h + d);
    c' = f * c + i * g;  h' = o * tanh(c').  Gates are stored in the order i, f, g, o.

    The weights are the same at every step and the length is free; texts that say otherwise speak of one padded batch.

    Args:
        forget_bias: the forget gate's bias at the start; 1 opens it (Jozefowicz et al. 2015).
    """

    num_gates = 4
    num_states = 2
    scan = staticmethod(lstm_scan)

    def __init__(self, input_size: int, units: int, forget_bias: float = 1.0) -> None:
        super().__init__(input_size, units)
        self.forget_bias = forget_bias
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As for every cell, and the forget gate's bias as asked for."""
        super().reset_parameters()
        nn.init.constant_(self.bias_ih[self.units : 2 * self.units], self.forget_bias)

    def advance(self, gates: Tensor, state: State, read: Tensor) -> State:
        _, c = state
        i, f, g, o = (gates + F.linear(read, self.weight_hh, self.bias_hh)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def fused(self, inputs: Tensor, state: State, padding: Tensor | None = None) -> tuple[Tensor, State]:
        weights = self._weights()
        if padding is not None:
            # A further input that is 1 at padding shuts the input gate and opens the forget gate to the last bit: c stays.
            hold = inputs.new_zeros(4, self.units)
            hold[0], hold[1] = -1e4, 1e4
            inputs = torch.cat([inputs, padding.to(inputs.dtype)], dim=2)
            weights[0] = torch.cat([self.weight_ih, hold.view(-1, 1).to(self.weight_ih.dtype)], dim=1)
        states = [part[None] for part in state]
        outputs, _, c = torch.lstm(inputs, states, weights, True, 1, 0.0, self.training, False, True)
        return outputs, (c[0],)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014), the reset gate acting after the matrix product, as in torch and cuDNN.

    r, z = sigmoid(W x + b + U h + d), each with weights of its own; n = tanh(W x + b + r * (U h + d));
    h' = (1 - z) * n + z * h.  Gates are stored in the order r, z, n.
    """

    num_gates = 3
    scan = staticmethod(gru_scan)

    def __init__(self, input_size: int, units: int) -> None:
        super().__init__(input_size, units)
        self.reset_parameters()

    def advance(self, gates: Tensor, state: State, read: Tensor) -> State:
        (h,) = state
        r_x, z_x, n_x = gates.chunk(3, dim=1)
        r_h, z_h, n_h = F.linear(read, self.weight_hh, self.bias_hh).chunk(3, dim=1)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
        return ((1 - z) * n + z * h,)

    def biases(self) -> tuple[Tensor, Tensor | None]:
        of_gates, of_candidate = self.bias_hh.split([2 * self.units, self.units])
        return self.bias_ih + F.pad(of_gates, (0, self.units)), of_candidate

    def fused(self, inputs: Tensor, state: State, padding: Tensor | None = None) -> tuple[Tensor, State]:
        if not inputs.is_cuda:
            return self._scanned(inputs, state), ()
        return torch.gru(inputs, state[0][None], self._weights(), True, 1, 0.0, self.training, False, True)[0], ()


class ResetBeforeGRUCell(Cell):
    """Gated recurrent unit as Chung et al. (2014) and lectures have it: the reset gate acts before the matrix product.

    r, z = sigmoid(W x + b + U h), each with weights of its own; n = tanh(W x + b + U (r * h));
    h' = (1 - z) * h + z * n.  Gates are stored in the order r, z, n.

    Here z takes the candidate n, and in torch's form it keeps h: each is the other with z negated. With r at 1 and the
    candidate always taken this is the simple RNN. That is z = 1 in these equations, though lectures say "update gate 0",
    which holds for the other form.
    """

    num_gates = 3
    has_recurrent_bias = False
    scan = staticmethod(reset_before_gru_scan)

    def __init__(self, input_size: int, units: int) -> None:
        super().__init__(input_size, units)
        self.reset_parameters()

    def advance(self, gates: Tensor, state: State, read: Tensor) -> State:
        (h,) = state
        gates_x, n_x = gates.split([2 * self.units, self.units], dim=1)
        weight, n_weight = self.weight_hh.split([2 * self.units, self.units])
        r, z = torch.sigmoid(gates_x + F.linear(read, weight)).chunk(2, dim=1)
        n = torch.tanh(n_x + F.linear(r * read, n_weight))
        return ((1 - z) * h + z * n,)

    def fused(self, inputs: Tensor, state: State, padding: Tensor | None = None) -> tuple[Tensor, State]:
        return self._scanned(inputs, state), ()

    def biases(self) -> tuple[Tensor, Tensor | None]:
        return self.bias_ih, None


GRU_CELLS: dict[bool, type[GRUCell | ResetBeforeGRUCell]] = {True: GRUCell, False: ResetBeforeGRUCell}
"""Whether the reset gate acts after the matrix product -> the cell."""


def scan_together(cells: Sequence[Cell], inputs: Tensor, states: State | None, counts: Sequence[int]) -> tuple[Tensor, ...]:
    """Run cells of one kind and size at once, each over sequences of its own; see `models.scan`.

    Args:
        cells: D of them.
        inputs: (D, N, I), packed.
        states: each (D, B, H), before the first step; zeros if not given.
        counts: rows that have each step, B first.

    Returns:
        (D, N, H) outputs, then what else the state holds.
    """
    first = cells[0]
    if states is None:
        states = tuple(inputs.new_zeros(len(cells), counts[0], first.units) for _ in range(first.num_states))
    added, further = zip(*(cell.biases() for cell in cells), strict=True)
    weight = torch.stack([cell.weight_ih for cell in cells]).transpose(1, 2)
    bias = None if further[0] is None else torch.stack(further).unsqueeze(1)
    with torch.autocast(inputs.device.type, enabled=False):  # products this small gain less than rounding them takes
        gates = torch.baddbmm(torch.stack(added).unsqueeze(1), inputs, weight)
        return first.scan(gates, states, torch.stack([cell.weight_hh for cell in cells]), bias, counts)
