"""Small models that are also Keras's: what they are made of, our side of them, and all that a pass over them tells.

Keras's side is tests/parity/twins.py. Arrays are named `<layer>/<what>`, gradients in Keras's layouts.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from layers import LAYERS
from torch import nn

from models import Bidirectional
from models.cells import GRUCell
from models.embed import WordTable
from models.keras import dump_weights
from models.rnn import Recurrent


@dataclass(frozen=True)
class Level:
    """One recurrent layer: a kind of layers.LAYERS; two directions where it has a merge mode."""

    kind: str
    units: int
    merge: str | None = None
    go_backwards: bool = False
    return_sequences: bool = True


@dataclass(frozen=True)
class Recipe:
    """Recurrent layers from the input upwards, a word table below where there are words, a dense layer above for labels."""

    levels: tuple[Level, ...]
    input_size: int = 3
    num_words: int = 0
    num_labels: int = 0


RECIPES = {
    "tanh": Recipe((Level("tanh", 4),)),
    "relu": Recipe((Level("relu", 4),)),
    "lstm": Recipe((Level("lstm", 4),)),
    "gru": Recipe((Level("gru", 4),)),
    "gru_before": Recipe((Level("gru_before", 4),)),
    "lstm_last": Recipe((Level("lstm", 4, return_sequences=False),)),
    "gru_before_backwards": Recipe((Level("gru_before", 4, go_backwards=True),)),
    "lstm_concat": Recipe((Level("lstm", 4, "concat"),)),
    "gru_ave": Recipe((Level("gru", 4, "ave"),)),
    "tanh_sum": Recipe((Level("tanh", 4, "sum", return_sequences=False),)),
    "gru_before_mul": Recipe((Level("gru_before", 4, "mul"),)),
    "stack": Recipe((Level("gru_before", 5, "concat"), Level("lstm", 3))),
    "words": Recipe((Level("lstm", 4),), num_words=12, num_labels=3),
}
"""What tests/unit/golden/keras.npz has of Keras."""


def build_layers(recipe):
    """Build our layers, from the input upwards, by the names that their arrays have."""
    layers, size = {}, recipe.input_size
    if recipe.num_words:
        layers["embedding"] = WordTable(recipe.num_words, size)
    for number, level in enumerate(recipe.levels):
        layer = LAYERS[level.kind](size, level.units, go_backwards=level.go_backwards, return_sequences=level.return_sequences)
        layers[f"layer{number}"] = Bidirectional(layer, level.merge) if level.merge else layer
        size = layers[f"layer{number}"].output_size
    if recipe.num_labels:
        layers["dense"] = nn.Linear(size, recipe.num_labels)
    return nn.ModuleDict(layers)


def run_layers(layers, inputs, lengths):
    """Give every layer's outputs, zero at padding, and its state after the last real step, flat."""
    tensors, outputs = {}, inputs
    is_real = (torch.arange(inputs.shape[1]) < lengths[:, None]).unsqueeze(2)
    for name, layer in layers.items():
        if isinstance(layer, Recurrent | Bidirectional):
            outputs, state = layer(outputs, lengths)
            parts = sum(state, ()) if isinstance(layer, Bidirectional) else state
            tensors |= {f"{name}/state{number}": part for number, part in enumerate(parts)}
        else:
            outputs = layer(outputs)
        if outputs.dim() == 3:
            outputs = outputs.masked_fill(~is_real, 0)
        tensors[f"{name}/outputs"] = outputs
    return tensors


def example_loss(tensors, lengths):
    """Weigh every number by the cosine of its place, so that each layer's gradient comes in part from itself; per real step."""
    total = sum((tensor * torch.arange(tensor.numel()).to(tensor).cos().view_as(tensor)).sum() for tensor in tensors.values())
    return total / lengths.sum()


def dump_gradients(layer, bias="bias_ih"):
    """Give the gradients of a layer's weights as Keras's layer has them.

    Args:
        bias: which of two biases gives the gradient of Keras's one, which is their sum; either has the same.
    """
    held = deepcopy(layer)
    for name, parameter in layer.named_parameters():
        held.get_parameter(name).data.copy_(parameter.grad)
    for cell in (layer.cell for layer in held.modules() if isinstance(layer, Recurrent)):
        if not isinstance(cell, GRUCell) and cell.has_recurrent_bias:
            getattr(cell, "bias_hh" if bias == "bias_ih" else "bias_ih").data.zero_()
    return dump_weights(held)


def pass_over(recipe, layers, inputs, lengths):
    """Run our layers forwards and back.

    Returns:
        Outputs and states, then the gradients `<layer>/gradient<number>` and, where inputs are numbers, `inputs/gradient`.
    """
    if not recipe.num_words:
        inputs = inputs.clone().requires_grad_()
    tensors = run_layers(layers, inputs, lengths)
    example_loss(tensors, lengths).backward()
    results = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    gradients = {
        f"{name}/gradient{number}": array for name, layer in layers.items() for number, array in enumerate(dump_gradients(layer))
    }
    if not recipe.num_words:
        gradients["inputs/gradient"] = inputs.grad.numpy()
    return results, gradients


def draw_batch(recipe, num_rows, num_steps):
    """Draw a ragged batch: what stands at padding is 0 for words and means nothing for numbers."""
    lengths = torch.randint(1, num_steps + 1, (num_rows,))
    lengths[0] = num_steps
    if recipe.num_words:
        words = torch.randint(1, recipe.num_words, (num_rows, num_steps))
        return words.masked_fill(torch.arange(num_steps) >= lengths[:, None], 0), lengths
    return torch.randn(num_rows, num_steps, recipe.input_size), lengths
