"""Keras's side of tests/unit/bridging.py: the same layers made of Keras, and a pass over them under the same names."""

from functools import partial

import keras
import torch
from bridging import example_loss

KINDS = {
    "tanh": keras.layers.SimpleRNN,
    "relu": partial(keras.layers.SimpleRNN, activation="relu"),
    "lstm": keras.layers.LSTM,
    "gru": partial(keras.layers.GRU, reset_after=True),
    "gru_before": partial(keras.layers.GRU, reset_after=False),
}


def build_twins(recipe):
    """Build Keras's layers, from the input upwards; each draws its own weights."""
    twins, shape = {}, (None, None, recipe.input_size)
    if recipe.num_words:
        twins["embedding"] = keras.layers.Embedding(recipe.num_words, recipe.input_size, mask_zero=True)
        twins["embedding"].build()
    for number, level in enumerate(recipe.levels):
        layer = KINDS[level.kind](
            level.units, go_backwards=level.go_backwards, return_sequences=level.return_sequences, return_state=True
        )
        twin = keras.layers.Bidirectional(layer, merge_mode=level.merge) if level.merge else layer
        twin.build(shape)
        shape = twin.compute_output_shape(shape)[0]
        twins[f"layer{number}"] = twin
    if recipe.num_labels:
        twins["dense"] = keras.layers.Dense(recipe.num_labels)
        twins["dense"].build(shape)
    return twins


def run_twins(recipe, twins, inputs, lengths):
    """Give every layer's outputs and states. Keras repeats the last output at padding; here padding is zero, as in ours."""
    tensors, outputs = {}, inputs
    is_real = torch.arange(inputs.shape[1]) < lengths[:, None]
    backwards = {f"layer{number}" for number, level in enumerate(recipe.levels) if level.go_backwards}
    for name, twin in twins.items():
        if name.startswith("layer"):
            # Words bring their mask along, from mask_zero; numbers are told which steps are real.
            outputs, *state = twin(outputs) if recipe.num_words else twin(outputs, mask=is_real)
            tensors |= {f"{name}/state{number}": part for number, part in enumerate(state)}
        else:
            outputs = twin(outputs)
        tensors[f"{name}/outputs"] = _zero_padding(_front(outputs, lengths) if name in backwards else outputs, is_real)
    return tensors


def _front(outputs, lengths):
    """Move the real steps to the front: Keras turns padding around too, so a reversed layer's outputs begin with it."""
    if outputs.dim() == 2:
        return outputs
    return torch.stack([row.roll(int(length), dims=0) for row, length in zip(outputs, lengths, strict=True)])


def _zero_padding(outputs, is_real):
    return outputs if outputs.dim() == 2 else outputs.masked_fill(~is_real.unsqueeze(2), 0)


def pass_over_twins(recipe, twins, inputs, lengths):
    """Run Keras's layers forwards and back; see `bridging.pass_over`."""
    if not recipe.num_words:
        inputs = inputs.clone().requires_grad_()
    tensors = run_twins(recipe, twins, inputs, lengths)
    example_loss(tensors, lengths).backward()
    results = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    gradients = {
        f"{name}/gradient{number}": weight.value.grad.numpy()
        for name, twin in twins.items()
        for number, weight in enumerate(twin.weights)
    }
    if not recipe.num_words:
        gradients["inputs/gradient"] = inputs.grad.numpy()
    return results, gradients


def stir(arrays, rng):
    """Move every number of a layer's weights a little, so that no bias is zero and a GRU's two differ."""
    return [array + rng.normal(0, 0.05, array.shape).astype(array.dtype) for array in arrays]


def same_bits(ours, theirs):
    """Say whether two lists of arrays agree in type, shape and every bit."""
    return all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(ours, theirs, strict=True)
    )
