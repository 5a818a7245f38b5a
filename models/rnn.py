"""Recurrent layers over time: one direction, both directions, a stack of them. Lengths are part of every call.

No layer reads a pad: a reverse direction starts at each row's last real step, because each row's real part is reversed
before the cell runs over it and reversed back after. So dense kernels are exact for ragged batches, without packing.
"""

from typing import cast

import torch
from torch import Tensor, nn

from models.cells import CELLS, Cell


def is_ragged(lengths: Tensor, num_steps: int) -> bool:
    """Say whether any row of a batch is shorter than the batch. `lengths` is (B,), on the CPU."""
    return bool((lengths != num_steps).any())


def step_mask(lengths: Tensor, num_steps: int, device: torch.device) -> Tensor:
    """Mark the real steps: (B, T) booleans from lengths (B,)."""
    return (torch.arange(num_steps) < lengths[:, None]).to(device)


def reverse_real_part(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Turn each row's first `lengths` steps around and leave its padding where it is.

    Args:
        inputs: (B, T, ...).
        lengths: (B,), on the CPU.

    Returns:
        The shape of `inputs`; applied twice it gives the inputs back.
    """
    num_rows, num_steps = inputs.shape[:2]
    if not is_ragged(lengths, num_steps):
        return inputs.flip(1)
    steps = torch.arange(num_steps)
    steps = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    flat = (steps + torch.arange(num_rows)[:, None] * num_steps).flatten().to(inputs.device)
    return inputs.flatten(0, 1).index_select(0, flat).unflatten(0, (num_rows, num_steps))


def last_outputs(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Pick each sequence's output at its last real step: (B, H) from (B, T, H) and lengths (B,), each at least 1."""
    rows = torch.arange(len(lengths), device=outputs.device)
    return outputs[rows, lengths.to(outputs.device) - 1]


class Recurrent(nn.Module):
    """One cell run over time in one direction.

    Args:
        cell: the cell, which holds the weights.
        go_backwards: read each row's real part from its end; outputs stay in the order of computing (Keras's rule).
    """

    def __init__(self, cell: Cell, go_backwards: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.go_backwards = go_backwards

    @property
    def output_size(self) -> int:
        """H, numbers per step of the output."""
        return self.cell.units

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the cell over a batch.

        Args:
            inputs: (B, T, I), each row's real part first.
            lengths: (B,), on the CPU, each from 1 to T.

        Returns:
            The outputs, (B, T, H), zero at padding, and each row's output at its last real step, (B, H).
        """
        if self.go_backwards:
            inputs = reverse_real_part(inputs, lengths)
        outputs = self.cell.fused(inputs, self.cell.zero_state(inputs))
        if is_ragged(lengths, inputs.shape[1]):
            outputs = outputs * step_mask(lengths, inputs.shape[1], inputs.device).unsqueeze(2)
        return outputs, last_outputs(outputs, lengths)


class Bidirectional(nn.Module):
    """Two layers over the same inputs, one from each end; outputs are joined per step.

    Args:
        forward_layer: reads from the first step on.
        backward_layer: reads from the last real step back (`go_backwards`).
    """

    def __init__(self, forward_layer: Recurrent, backward_layer: Recurrent) -> None:
        super().__init__()
        if forward_layer.go_backwards or not backward_layer.go_backwards:
            raise ValueError("Bidirectional takes a forward layer first and a go_backwards layer second")
        self.forward_layer = forward_layer
        self.backward_layer = backward_layer

    @property
    def output_size(self) -> int:
        """Numbers per step of the output, both directions together."""
        return self.forward_layer.output_size + self.backward_layer.output_size

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run both directions; see `Recurrent.forward`.

        Returns:
            The outputs (B, T, 2H) in the order of the input, and the final states (B, 2H): the forward layer's after
            the last real step beside the backward layer's after the first.
        """
        ahead, ahead_last = self.forward_layer(inputs, lengths)
        back, back_last = self.backward_layer(inputs, lengths)
        outputs = torch.cat([ahead, reverse_real_part(back, lengths)], dim=2)
        return outputs, torch.cat([ahead_last, back_last], dim=1)


class Stacked(nn.Module):
    """Recurrent layers on top of each other, dropout before each.

    Args:
        layers: from the input upwards; each takes the whole output sequence of the one below.
        dropout: share of each layer's inputs that is set to 0 in training.
    """

    def __init__(self, layers: list[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)

    @property
    def output_size(self) -> int:
        """Numbers per step of the uppermost layer's output."""
        return cast(Recurrent | Bidirectional, self.layers[-1]).output_size

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run every layer over the whole sequence; returns the uppermost one's outputs and final states."""
        outputs = last = inputs
        for layer in self.layers:
            outputs, last = layer(self.dropout(outputs), lengths)
        return outputs, last


def build_stack(cell: str, input_size: int, hidden: tuple[int, ...], bidirectional: bool, dropout: float) -> Stacked:
    """Build recurrent layers of the named cell, widths from the input upwards, each in one direction or in both."""
    layers: list[nn.Module] = []
    for units in hidden:
        ahead = Recurrent(CELLS[cell](input_size, units))
        if bidirectional:
            layer: Recurrent | Bidirectional = Bidirectional(ahead, Recurrent(CELLS[cell](input_size, units), go_backwards=True))
        else:
            layer = ahead
        layers.append(layer)
        input_size = layer.output_size
    return Stacked(layers, dropout)
