"""What a network reads of a word's form, its vector, as an ONNX graph: embedding, characters, how it is written.

A form's vector never changes once a network is trained, so whoever runs the network computes it once per form.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from models.embed import CharacterEncoder, ConvolutionalCharacters, RecurrentCharacters
from models.graph import Array, Flow, Graph, directions, numpy_of
from models.network import Network

CAPITALISATION = "capitalisation"
"""The further column that follows from the word's form."""
INT8 = "_int8"
"""What the name of the vectors ends in that a graph in int8 reads."""


def export_forms(network: Network, int8: bool = False) -> bytes:
    """Write the graph that gives word forms their vectors, with its weights.

    Inputs, those that the network reads: `words` (F,) int64 rows of the word table; `chars` (F, C) int64 rows of the character
    table and `char_lengths` (F,) int32, each at least 1; `capitalisation` (F,) int64. Outputs: `vectors` (F, `form_size`), and
    with int8 `vectors_int8`, two numbers wider, for the network's graph in int8.

    Args:
        network: which reads words.
        int8: whether the network can be had in int8.
    """
    graph, parts, inputs = Graph(lengths="char_lengths"), [], []
    words, chars = network.inputs.words, network.inputs.chars
    if words is not None:
        inputs.append(helper.make_tensor_value_info("words", TensorProto.INT64, ["F"]))
        parts.append(graph("Gather", graph.constant(numpy_of(torch.cat([words.weight, words.fixed]))), "words"))
    if chars is not None:
        inputs.append(helper.make_tensor_value_info("chars", TensorProto.INT64, ["F", "C"]))
        inputs.append(helper.make_tensor_value_info("char_lengths", TensorProto.INT32, ["F"]))
        letters = graph("Gather", graph.constant(numpy_of(chars.table.embedding.weight)), "chars")
        parts.append(_CHARACTERS[type(chars)](graph, letters, chars))
    for name, table in features(network):
        if name == CAPITALISATION:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["F"]))
            parts.append(graph("Gather", graph.constant(numpy_of(table.weight)), name))
    size = form_size(network)
    vectors = graph.name(graph("Concat", *parts, axis=1), "vectors")
    outputs = [helper.make_tensor_value_info(vectors, TensorProto.FLOAT, ["F", size])]
    if int8:
        wide = graph.name(_scaled(graph, vectors, bounds(network)[:size]), f"vectors{INT8}")
        outputs.append(helper.make_tensor_value_info(wide, TensorProto.FLOAT, ["F", size + 2]))
    return graph.model(inputs, outputs)


def _scaled(graph: Graph, vectors: str, largest: Array) -> str:
    """Divide vectors by their bounds, and add the inputs that hold the range: 1 and -1."""
    rows = graph("Concat", graph("Slice", graph("Shape", vectors), *map(graph.whole, (0, 1))), graph.whole(1), axis=0)
    held = graph("Expand", graph.constant(np.array([[1, -1]], np.float32)), rows)
    return graph("Concat", graph("Div", vectors, graph.constant(largest)), held, axis=1)


def _recurrent(graph: Graph, letters: str, chars: Any) -> str:
    size = chars.table.embedding.embedding_dim
    flow = Flow(graph("Transpose", letters, perm=[1, 0, 2]), np.arange(size), size)
    _, states = directions(graph, flow, [chars.ahead, chars.back])
    return graph("Reshape", graph("Transpose", states, perm=[1, 0, 2]), graph.whole(0, -1))


def _convolution(graph: Graph, letters: str, chars: Any) -> str:
    filters = chars.filters
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    steps = graph("Range", zero, graph("Gather", graph("Shape", "chars"), one), one)
    is_real = graph("Less", graph("Cast", steps, to=TensorProto.INT32), graph("Unsqueeze", graph.lengths, graph.whole(1)))
    letters = graph("Where", graph("Unsqueeze", is_real, graph.whole(2)), letters, graph.constant(np.array(0, np.float32)))
    (width,) = filters.kernel_size
    constants = [graph.constant(numpy_of(part)) for part in (filters.weight, filters.bias)]
    read = graph("Transpose", letters, perm=[0, 2, 1])
    answers = graph("Conv", read, *constants, pads=[width // 2, width - 1 - width // 2])
    lowest = graph.constant(np.array(-np.inf, np.float32))
    kept = graph("Where", graph("Unsqueeze", is_real, graph.whole(1)), answers, lowest)
    return graph("ReduceMax", kept, graph.whole(2), keepdims=0)


_CHARACTERS: dict[type[CharacterEncoder], Callable[[Graph, str, Any], str]] = {
    RecurrentCharacters: _recurrent,
    ConvolutionalCharacters: _convolution,
}


def form_size(network: Network) -> int:
    """Count the numbers that follow from a word's form."""
    words, chars = network.inputs.words, network.inputs.chars
    size = 0 if words is None else words.weight.shape[1]
    size += 0 if chars is None else chars.output_size
    return size + network.config.features.get(CAPITALISATION, 0)


def features(network: Network) -> list[tuple[str, nn.Embedding]]:
    """Give the further columns that a network reads, with their tables."""
    return list(zip(network.inputs.feature_names, network.inputs.features, strict=True))  # type: ignore[arg-type]


def read_order(network: Network) -> Array:
    """Give the place among the network's inputs of each number that the graph reads: what follows from the form first."""
    start = form_size(network) - network.config.features.get(CAPITALISATION, 0)
    first = list(range(start))
    further: list[int] = []
    for name, size in network.config.features.items():
        (first if name == CAPITALISATION else further).extend(range(start, start + size))
        start += size
    return np.array(first + further, np.int64)


def bounds(network: Network) -> Array:
    """Give the largest size of each number that the graph reads of a word."""
    inputs, parts = network.inputs, []
    if inputs.words is not None:
        parts.append(torch.cat([inputs.words.weight, inputs.words.fixed]).abs().amax(0))
    if inputs.chars is not None:
        parts.append(_character_bounds(inputs.chars))
    ordered = sorted(features(network), key=lambda feature: feature[0] != CAPITALISATION)
    parts += [table.weight.abs().amax(0) for _, table in ordered]
    return numpy_of(torch.cat(parts).clamp(min=1e-6))


def _character_bounds(chars: CharacterEncoder) -> Tensor:
    """A recurrent state is within 1; a filter's answer within those to the characters that please it most and least."""
    if not isinstance(chars, ConvolutionalCharacters):
        return torch.ones(chars.output_size)
    answers = torch.einsum("cs,fsw->cfw", chars.table.embedding.weight, chars.filters.weight)  # row 0 is padding, 0
    bias = chars.filters.bias
    assert bias is not None
    return torch.maximum((bias + answers.amax(0).sum(1)).abs(), (bias + answers.amin(0).sum(1)).abs())
