"""Recurrent layers together: both directions at once, layers on top of each other. Called as every layer of `models.rnn` is."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from models.cells import State
from models.config import ModelConfig
from models.dropout import Dropout, Noise
from models.lengths import Steps, check_lengths, last_outputs
from models.rnn import LAYERS, Recurrent


def _concat(ahead: Tensor, back: Tensor) -> Tensor:
    return torch.cat([ahead, back], dim=-1)


def _average(ahead: Tensor, back: Tensor) -> Tensor:
    return (ahead + back) / 2


MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": _concat,
    "sum": torch.add,
    "mul": torch.mul,
    "ave": _average,
}
"""One tensor of (..., H) from each direction -> (..., 2H) or (..., H)."""

BothStates = tuple[State, State]


class Bidirectional(nn.Module):
    """Two layers over the same inputs, one from each end (Schuster and Paliwal 1997).

    `Bidirectional(layer, merge_mode)(inputs, lengths, state=None) -> (outputs, state)`, outputs (B, T, 2H) or (B, T, H)
    in the order of the input; state (forward layer's, backward layer's).

    Args:
        layer: reads from the first step on.
        merge_mode: how outputs are joined per step: `concat`, `sum`, `mul`, `ave`; `none` (or None) gives both, as a pair.
        backward_layer: reads from the last real step back; if not given, a twin of `layer` with weights of its own.
    """

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: Literal["concat", "sum", "mul", "ave", "none"] | None = "concat",
        backward_layer: Recurrent | None = None,
    ) -> None:
        super().__init__()
        merge_mode = merge_mode or "none"
        backward_layer = layer.reversed_twin() if backward_layer is None else backward_layer
        if layer.go_backwards or not backward_layer.go_backwards:
            raise ValueError("Bidirectional takes a forward layer first and a go_backwards layer second")
        if merge_mode != "none" and merge_mode not in MERGES:
            raise ValueError(f"merge_mode is {merge_mode!r}; expected one of {sorted((*MERGES, 'none'))}")
        if layer.return_sequences != backward_layer.return_sequences:
            raise ValueError("return_sequences differs between the two layers; give both the same")
        if merge_mode not in ("concat", "none") and layer.output_size != backward_layer.output_size:
            raise ValueError(f"merge_mode {merge_mode} needs equal widths; {layer.output_size}, {backward_layer.output_size}")
        self.forward_layer = layer
        self.backward_layer = backward_layer
        self.merge_mode = merge_mode

    @property
    def input_size(self) -> int:
        """I, numbers per step of the input."""
        return self.forward_layer.input_size

    @property
    def return_sequences(self) -> bool:
        """Whether it gives the outputs of all steps."""
        return self.forward_layer.return_sequences

    @property
    def output_size(self) -> int:
        """Numbers per step of the output, both directions together."""
        if self.merge_mode in ("concat", "none"):
            return self.forward_layer.output_size + self.backward_layer.output_size
        return self.forward_layer.output_size

    def reset_state(self) -> None:
        """Forget what stateful layers hold."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def forward(
        self, inputs: Tensor, lengths: Tensor, state: BothStates | None = None, noise: Noise | None = None
    ) -> tuple[Any, BothStates]:
        """Run both directions; see `Recurrent.forward`.

        Returns:
            The outputs in the order of the input, and the states: the forward layer's after the last real step and the
            backward layer's after the first.
        """
        check_lengths(lengths, inputs)
        steps = Steps.of(lengths, inputs.shape[1], inputs.device)
        inputs = steps.cleared(inputs)
        ahead_state, back_state = state or (None, None)
        ahead, ahead_end = self.forward_layer.run(inputs, steps, ahead_state, noise and noise.fold(0))
        back, back_end = self.backward_layer.run(inputs, steps, back_state, noise and noise.fold(1))
        ends = ahead_end, back_end
        if not self.return_sequences:
            return self._merged(ahead_end[0], back_end[0]), ends
        back = steps.turned(back)
        if self.merge_mode == "concat":
            return steps.cleared(_concat(ahead, back)), ends
        return self._merged(steps.cleared(ahead), steps.cleared(back)), ends

    def _merged(self, ahead: Tensor, back: Tensor) -> Any:
        return (ahead, back) if self.merge_mode == "none" else MERGES[self.merge_mode](ahead, back)


Layer = Recurrent | Bidirectional


class Stacked(nn.Module):
    """Recurrent layers on top of each other: `Stacked(layers)(inputs, lengths, state=None) -> (outputs, state)`.

    Outputs are the uppermost layer's; the state is a tuple of every layer's.

    Args:
        layers: from the input upwards; each takes the whole output sequence of the one below, of any width.
        dropout: share of the numbers between two layers that is set to 0 in training.
        residual: each layer above the first adds its input to its output (He et al. 2016); the widths must agree.
        layer_norm: normalise the inputs of each layer (Ba et al. 2016).
    """

    def __init__(self, layers: list[Layer], dropout: float = 0.0, *, residual: bool = False, layer_norm: bool = False) -> None:
        super().__init__()
        for number, (below, above) in enumerate(pairwise(layers), start=1):
            if not below.return_sequences or getattr(below, "merge_mode", "concat") == "none":
                raise ValueError(f"layer {number} does not give one output per step, which the layer above needs")
            if below.output_size != above.input_size:
                raise ValueError(f"layer {number} gives {below.output_size} numbers, the next one takes {above.input_size}")
            if residual and above.input_size != above.output_size:
                raise ValueError(f"residual: layer {number + 1} takes {above.input_size} numbers and gives {above.output_size}")
        self.layers = nn.ModuleList(layers)
        self.dropout = Dropout(dropout)
        self.residual = residual
        self.norms = nn.ModuleList(nn.LayerNorm(layer.input_size) for layer in layers) if layer_norm else None

    @property
    def top(self) -> Layer:
        """The uppermost layer."""
        return cast(Layer, self.layers[-1])

    @property
    def input_size(self) -> int:
        """I, numbers per step of the input."""
        return cast(Layer, self.layers[0]).input_size

    @property
    def output_size(self) -> int:
        """Numbers per step of the uppermost layer's output."""
        return self.top.output_size

    def reset_state(self) -> None:
        """Forget what stateful layers hold."""
        for layer in self.layers:
            cast(Layer, layer).reset_state()

    def forward(
        self, inputs: Tensor, lengths: Tensor, state: tuple[Any, ...] | None = None, noise: Noise | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Run every layer over the whole sequence; see `Recurrent.forward`."""
        outputs, ends = inputs, []
        for number, layer in enumerate(self.layers):
            own = noise and noise.fold(number)
            below = self.dropout(outputs, own) if number else outputs
            read = below if self.norms is None else self.norms[number](below)
            outputs, end = layer(read, lengths, None if state is None else state[number], own and own.fold(0))
            if self.residual and number:
                outputs = outputs + below
            ends.append(end)
        return outputs, tuple(ends)

    def final(self, outputs: Tensor, state: tuple[Any, ...], lengths: Tensor) -> Tensor:
        """Give what the uppermost layer has in the end of each direction, from what `forward` returned.

        Returns:
            (B, output_size): the forward part after each row's last real step joined with the backward part after the first.
        """
        top, has_added = self.top, self.residual and len(self.layers) > 1  # then the outputs hold more than the state
        if isinstance(top, Recurrent):
            return last_outputs(outputs, lengths) if has_added else state[-1][0]
        (ahead_end, back_end) = state[-1]
        if not has_added or top.merge_mode != "concat":
            return MERGES[top.merge_mode](ahead_end[0], back_end[0])
        ahead, back = outputs.split([top.forward_layer.output_size, top.backward_layer.output_size], dim=2)
        return torch.cat([last_outputs(ahead, lengths), back[:, 0]], dim=1)


def build_stack(config: ModelConfig, input_size: int) -> Stacked:
    """Build the recurrent layers of a network."""
    layers: list[Layer] = []
    for number, units in enumerate(config.hidden):
        ahead = LAYERS[config.cell](
            config,
            input_size,
            units,
            # Outputs of a go_backwards layer stay reversed, so the layers above read backwards without being told.
            go_backwards=config.go_backwards and number == 0,
            return_state=False,
            learned_state=config.learned_state,
            bptt_steps=config.bptt_steps,
            recurrent_dropout=config.recurrent_dropout,
        )
        layers.append(Bidirectional(ahead, config.merge or "concat") if config.bidirectional else ahead)
        input_size = layers[-1].output_size
    return Stacked(layers, config.dropout, residual=config.residual, layer_norm=config.layer_norm)
