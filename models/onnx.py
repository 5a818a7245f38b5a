"""A network's recurrent layers and heads as an ONNX graph, which onnxruntime runs faster than torch on a CPU.

The graph is built by hand on ONNX's own recurrent operators, which take lengths as an input: it is exact for any batch and
length, where tracing freezes both. Word forms come in as rows of a table of vectors, which `form_vectors` computes once per
form. Dropout is left out; what a CRF makes of its scores stays with `models.crf`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from models.batch import Batch
from models.cells import LSTMCell
from models.embed import CharacterEncoder, ConvolutionalCharacters
from models.graph import MERGES, NUM_HOLDERS, OPERATORS, Array, Flow, Graph, numpy_of, recurrent
from models.heads import AttentionPooling, FinalPooling, Head, MaxPooling, MeanPooling, SequenceHead
from models.network import Network
from models.rnn import Recurrent
from models.stack import Bidirectional, Layer

OPSET, IR_VERSION = 21, 10
CAPITALISATION = "capitalisation"
"""The further column that follows from the word's form."""


def export(network: Network, int8: bool = False) -> bytes:
    """Write a network's graph, with its weights.

    Inputs: `lengths` (B,) int32; `values` (B, T, I), or `forms` (F, ...) of `form_vectors`, `tokens` (B, T) rows of it, and
    `column/<name>` (B, T) of every further column but `capitalisation`. Outputs: each head's logits, `logits/<name>`,
    (B, T, L) or (B, L); past a row's end they mean nothing.

    Args:
        network: what to write.
        int8: multiply in whole numbers; see `models.graph`.

    Raises:
        ValueError: something in the network has no counterpart in ONNX, or none in int8.
    """
    check(network, int8)
    graph, states = Graph(), ""
    flow, inputs = _inputs(graph, network, int8)
    for number, layer in enumerate(network.rnn.layers):
        below, norms = flow, network.rnn.norms
        read = flow if norms is None else _norm(graph, flow, norms[number])
        flow, states = recurrent(graph, read, layer, go_backwards=network.config.go_backwards, int8=int8)  # type: ignore[arg-type]
        if network.rnn.residual and number:
            flow = Flow(graph("Add", flow.name, below.name), flow.places, flow.width)
    for name, head in zip(network.head_names, network.heads, strict=True):
        graph.name(_head(graph, head, flow, states, network), f"logits/{name}")  # type: ignore[arg-type]
    heads = zip(network.head_names, network.heads, strict=True)
    outputs = [helper.make_tensor_value_info(f"logits/{name}", TensorProto.FLOAT, _shape(head)) for name, head in heads]  # type: ignore[arg-type]
    lengths = helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"])
    drawn = helper.make_graph(graph.nodes, "network", [lengths, *inputs], outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(drawn, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())


def check(network: Network, int8: bool = False) -> None:
    """Refuse a network that can not be written.

    Raises:
        ValueError: saying what stands in the way.
    """
    for part in network.rnn.modules():
        if not isinstance(part, Recurrent):
            continue
        if type(part.cell) not in OPERATORS:
            raise ValueError(f"ONNX has no operator for {type(part.cell).__name__}; the network runs on torch alone")
        if part.stateful or not part.return_sequences:
            raise ValueError(
                "a layer that is stateful or gives no sequences is not written to ONNX; the network runs on torch alone"
            )
        if int8 and not isinstance(part.cell, LSTMCell):
            raise ValueError("int8 is for LSTMs; other cells have no operator in whole numbers")
    if int8 and (network.rnn.norms is not None or network.config.merge == "mul" or not form_size(network)):
        raise ValueError("int8 is for networks that read words, without layer_norm and without merge: mul")


def form_size(network: Network) -> int:
    """Count the numbers that follow from a word's form."""
    words, chars = network.inputs.words, network.inputs.chars
    size = 0 if words is None else words.weight.shape[1]
    size += 0 if chars is None else chars.output_size
    return size + network.config.features.get(CAPITALISATION, 0)


@torch.inference_mode()
def form_vectors(network: Network, batch: Batch, int8: bool = False) -> Array:
    """Give what the graph reads of the word form at every step of a batch.

    Args:
        network: which was exported.
        batch: of (B, T) words.
        int8: whether the graph was exported so.

    Returns:
        (B * T, `form_size`), or two more in int8.
    """
    inputs, parts = network.inputs, []
    if inputs.words is not None:
        parts.append(inputs.words(batch.words.flatten()))
    if inputs.chars is not None:
        parts.append(inputs.chars(batch.chars, batch.char_lengths)[batch.forms.flatten()])
    parts += [table(batch.features[name].flatten()) for name, table in _features(network) if name == CAPITALISATION]
    vectors = numpy_of(torch.cat(parts, dim=1))
    if not int8:
        return vectors
    held = np.tile(np.array([1, -1], np.float32), (len(vectors), 1))
    return np.concatenate([vectors / _bounds(network)[: vectors.shape[1]], held], axis=1)


def _features(network: Network) -> list[tuple[str, nn.Embedding]]:
    return list(zip(network.inputs.feature_names, network.inputs.features, strict=True))  # type: ignore[arg-type]


def _read_order(network: Network) -> Array:
    """Give the place among the network's inputs of each number that the graph reads: what follows from the form first."""
    start = form_size(network) - network.config.features.get(CAPITALISATION, 0)
    first = list(range(start))
    further: list[int] = []
    for name, size in network.config.features.items():
        (first if name == CAPITALISATION else further).extend(range(start, start + size))
        start += size
    return np.array(first + further, np.int64)


def _bounds(network: Network) -> Array:
    """Give the largest size of each number that the graph reads of a word."""
    inputs, parts = network.inputs, []
    if inputs.words is not None:
        parts.append(torch.cat([inputs.words.weight, inputs.words.fixed]).abs().amax(0))
    if inputs.chars is not None:
        parts.append(_character_bounds(inputs.chars))
    ordered = sorted(_features(network), key=lambda feature: feature[0] != CAPITALISATION)
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


def _inputs(graph: Graph, network: Network, int8: bool) -> tuple[Flow, list[Any]]:
    if network.inputs.values is not None:
        values = graph("Transpose", "values", perm=[1, 0, 2])
        info = helper.make_tensor_value_info("values", TensorProto.FLOAT, ["B", "T", network.sizes.vector_size])
        size = network.inputs.output_size
        return Flow(graph.linear(values, network.inputs.values), np.arange(size), size), [info]
    parts, infos, size = [], [], form_size(network)
    bounds = _bounds(network) if int8 else np.ones(network.inputs.output_size, np.float32)
    num_held = NUM_HOLDERS if int8 else 0
    if size:
        infos.append(helper.make_tensor_value_info("forms", TensorProto.FLOAT, ["F", size + num_held]))
        infos.append(helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "T"]))
        parts.append(graph("Gather", "forms", graph("Transpose", "tokens", perm=[1, 0])))
    places = np.arange(len(bounds))
    places[size:] += num_held
    for name, table in _features(network):
        if name != CAPITALISATION:
            rows = numpy_of(table.weight) / bounds[size : size + table.embedding_dim]
            size += table.embedding_dim
            infos.append(helper.make_tensor_value_info(f"column/{name}", TensorProto.INT64, ["B", "T"]))
            parts.append(graph("Gather", graph.constant(rows), graph("Transpose", f"column/{name}", perm=[1, 0])))
    read = parts[0] if len(parts) == 1 else graph("Concat", *parts, axis=2)
    return Flow(read, places, size + num_held, _read_order(network), bounds if int8 else None), infos


def _norm(graph: Graph, flow: Flow, norm: nn.Module) -> Flow:
    assert isinstance(norm, nn.LayerNorm)
    weights = [graph.constant(flow.ordered(numpy_of(part))) for part in (norm.weight, norm.bias)]
    name = graph("LayerNormalization", flow.name, *weights, axis=-1, epsilon=norm.eps)
    return Flow(name, flow.places, flow.width, flow.order)


def _head(graph: Graph, head: Head, flow: Flow, states: str, network: Network) -> str:
    """Add a head; returns the name of its logits."""
    if not isinstance(head, SequenceHead):
        return graph("Transpose", graph.linear(flow.name, head.output, flow), perm=[1, 0, 2])
    if isinstance(head.pooling, FinalPooling):
        pooled = _final(graph, flow, states, network)
    else:
        pooled = _POOLINGS[type(head.pooling)](graph, flow, head.pooling)
    if head.dense is None:
        return graph.linear(pooled, head.output, flow)
    return graph.linear(graph("Relu", graph.linear(pooled, head.dense, flow)), head.output)


def _shape(head: Head) -> list[str | int]:
    return [*("B" if isinstance(head, SequenceHead) else "BT"), head.output.out_features]


def _final(graph: Graph, flow: Flow, states: str, network: Network) -> str:
    """Add what `Stacked.final` gives, (B, width)."""
    top: Layer = network.rnn.top
    if isinstance(top, Bidirectional) and top.merge_mode != "concat":
        return graph(MERGES[top.merge_mode], states, graph.whole(0), keepdims=0)
    first = graph.constant(np.array(0, np.int64))
    if not isinstance(top, Bidirectional):
        return graph("Gather", flow.name, first) if network.config.go_backwards else _last(graph, flow.name)
    ahead, back = graph.add("Split", flow.name, outputs=2, axis=2, num_outputs=2)
    return graph("Concat", _last(graph, ahead), graph("Gather", back, first), axis=1)


def _last(graph: Graph, outputs: str) -> str:
    """Add each row's output at its last real step."""
    steps = graph("Sub", graph("Cast", "lengths", to=TensorProto.INT64), graph.whole(1))
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    rows = graph("Range", zero, graph("Gather", graph("Shape", "lengths"), zero), one)
    places = [graph("Unsqueeze", each, graph.whole(1)) for each in (steps, rows)]
    return graph("GatherND", outputs, graph("Concat", *places, axis=1))


def _real(graph: Graph, flow: Flow) -> str:
    """Add the mask of real steps, (T, B, 1)."""
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    steps = graph("Range", zero, graph("Gather", graph("Shape", flow.name), zero), one)
    lengths = graph("Cast", "lengths", to=TensorProto.INT64)
    is_real = graph("Less", graph("Unsqueeze", steps, graph.whole(1)), graph("Unsqueeze", lengths, graph.whole(0)))
    return graph("Unsqueeze", is_real, graph.whole(2))


def _filled(graph: Graph, flow: Flow, name: str, value: float) -> str:
    return graph("Where", _real(graph, flow), name, graph.constant(np.array(value, np.float32)))


def _max(graph: Graph, flow: Flow, pooling: nn.Module) -> str:
    return graph("ReduceMax", _filled(graph, flow, flow.name, -np.inf), graph.whole(0), keepdims=0)


def _mean(graph: Graph, flow: Flow, pooling: nn.Module) -> str:
    total = graph("ReduceSum", _filled(graph, flow, flow.name, 0), graph.whole(0), keepdims=0)
    return graph("Div", total, graph("Unsqueeze", graph("Cast", "lengths", to=TensorProto.FLOAT), graph.whole(1)))


def _attention(graph: Graph, flow: Flow, pooling: nn.Module) -> str:
    assert isinstance(pooling, AttentionPooling)
    scores = graph.linear(graph("Tanh", graph.linear(flow.name, pooling.hidden, flow)), pooling.score)
    weights = graph("Softmax", _filled(graph, flow, scores, -np.inf), axis=0)
    return graph("ReduceSum", graph("Mul", weights, _filled(graph, flow, flow.name, 0)), graph.whole(0), keepdims=0)


_POOLINGS: dict[type[nn.Module], Callable[[Graph, Flow, nn.Module], str]] = {
    MaxPooling: _max,
    MeanPooling: _mean,
    AttentionPooling: _attention,
}
