"""One time step of each recurrent cell, next to its equations, and the fused kernel that computes many of them.

A cell knows nothing of sequences, lengths or directions: `models.rnn` runs it over time. Weights are laid out as in
torch's own recurrent modules, gates stacked along the first axis.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

    def __init__(self, input_size: int, units: int) -> None:
        super().__init__()
        self.input_size, self.units = input_size, units
        self.weight_ih = nn.Parameter(torch.empty(self.num_gates * units, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.num_gates * units, units))
        self.bias_ih = nn.Parameter(torch.zeros(self.num_gates * units))
        self.bias_hh = nn.Parameter(torch.zeros(self.num_gates * units))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw input weights after Glorot and Bengio (2010), orthogonal recurrent ones after Saxe et al. (2014)."""
        for gate in self.weight_ih.chunk(self.num_gates):
            nn.init.xavier_uniform_(gate)
        for gate in self.weight_hh.chunk(self.num_gates):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.bias_ih)
        nn.init.zeros_(self.bias_hh)

    def zero_state(self, inputs: Tensor) -> State:
        """Give the state before the first step: zeros of (B, H) for inputs of (B, ...)."""
        return tuple(inputs.new_zeros(len(inputs), self.units) for _ in range(self.num_states))

    def step(self, inputs: Tensor, state: State) -> State:
        """Advance by one step. `inputs` is (B, I); the new state's first tensor is the output, (B, H)."""
        raise NotImplementedError

    def fused(self, inputs: Tensor, state: State) -> Tensor:
        """Run all T steps in one kernel. `inputs` is (B, T, I); returns the outputs, (B, T, H)."""
        raise NotImplementedError

    def _weights(self) -> list[Tensor]:
        return [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]


class SimpleRNNCell(Cell):
    """The Elman (1990) network: h' = tanh(W x + b + U h + d)."""

    num_gates = 1

    def step(self, inputs: Tensor, state: State) -> State:
        (h,) = state
        return (torch.tanh(F.linear(inputs, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)),)

    def fused(self, inputs: Tensor, state: State) -> Tensor:
        return torch.rnn_tanh(inputs, state[0][None], self._weights(), True, 1, 0.0, self.training, False, True)[0]


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

    i, f, o = sigmoid(W x + U h + b), each with weights of its own; g = tanh(W x + U h + b);
    c' = f * c + i * g;  h' = o * tanh(c').  Gates are stored in the order i, f, g, o.
    """

    num_gates = 4
    num_states = 2

    def reset_parameters(self) -> None:
        """As for every cell, and the forget gate starts open: its bias is 1 (Jozefowicz et al. 2015)."""
        super().reset_parameters()
        nn.init.ones_(self.bias_ih[self.units : 2 * self.units])

    def step(self, inputs: Tensor, state: State) -> State:
        h, c = state
        gates = F.linear(inputs, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def fused(self, inputs: Tensor, state: State) -> Tensor:
        states = [part[None] for part in state]
        return torch.lstm(inputs, states, self._weights(), True, 1, 0.0, self.training, False, True)[0]


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014), the reset gate acting after the matrix product as in torch and cuDNN.

    r, z = sigmoid(W x + b + U h + d), each with weights of its own; n = tanh(W x + b + r * (U h + d));
    h' = (1 - z) * n + z * h.  Gates are stored in the order r, z, n.
    """

    num_gates = 3

    def step(self, inputs: Tensor, state: State) -> State:
        (h,) = state
        r_x, z_x, n_x = F.linear(inputs, self.weight_ih, self.bias_ih).chunk(3, dim=1)
        r_h, z_h, n_h = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, dim=1)
        z = torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
        return ((1 - z) * n + z * h,)

    def fused(self, inputs: Tensor, state: State) -> Tensor:
        return torch.gru(inputs, state[0][None], self._weights(), True, 1, 0.0, self.training, False, True)[0]


CELLS: dict[str, type[Cell]] = {"simple_rnn": SimpleRNNCell, "lstm": LSTMCell, "gru": GRUCell}
