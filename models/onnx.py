"""A network's recurrent layers and heads as an ONNX graph, which onnxruntime runs without torch, and faster on a CPU.

The graph is built by hand on ONNX's own recurrent operators, which take lengths as an input: it is exact for any batch and
length, where tracing freezes both. Word forms come in as rows of a table of vectors, which the graph of `models.onnx_forms`
computes once per form. Dropout is left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from torch import nn

from models.cells import LSTMCell
from models.graph import MERGES, NUM_HOLDERS, OPERATORS, Flow, Graph, numpy_of, recurrent
from models.heads import AttentionPooling, CRFHead, FinalPooling, Head, MaxPooling, MeanPooling, SequenceHead
from models.network import Network
from models.onnx_crf import decode
from models.onnx_forms import CAPITALISATION, bounds, features, form_size, read_order
from models.rnn import Recurrent
from models.stack import Bidirectional, Layer


def export(network: Network, int8: bool = False) -> bytes:
    """Write a network's graph, with its weights.

    Inputs: `lengths` (B,) int32; `values` (B, T, I), or `forms` (F, ...) of `models.onnx_forms`, `tokens` (B, T) rows of it, and
    `column/<name>` (B, T) of every further column but `capitalisation`. Outputs of each head: `labels/<name>` int64 and
    `probabilities/<name>`, (B, T) or (B,), and `logits/<name>`, (B, T, L) or (B, L); past a row's end they mean nothing.

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
    outputs = []
    for name, head in zip(network.head_names, network.heads, strict=True):
        outputs += _head(graph, name, head, flow, states, network)  # type: ignore[arg-type]
    lengths = helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"])
    return graph.model([lengths, *inputs], outputs)


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


def _inputs(graph: Graph, network: Network, int8: bool) -> tuple[Flow, list[Any]]:
    if network.inputs.values is not None:
        values = graph("Transpose", "values", perm=[1, 0, 2])
        info = helper.make_tensor_value_info("values", TensorProto.FLOAT, ["B", "T", network.sizes.vector_size])
        size = network.inputs.output_size
        return Flow(graph.linear(values, network.inputs.values), np.arange(size), size), [info]
    parts, infos, size = [], [], form_size(network)
    largest = bounds(network) if int8 else np.ones(network.inputs.output_size, np.float32)
    num_held = NUM_HOLDERS if int8 else 0
    if size:
        infos.append(helper.make_tensor_value_info("forms", TensorProto.FLOAT, ["F", size + num_held]))
        infos.append(helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "T"]))
        parts.append(graph("Gather", "forms", graph("Transpose", "tokens", perm=[1, 0])))
    places = np.arange(len(largest))
    places[size:] += num_held
    for name, table in features(network):
        if name != CAPITALISATION:
            rows = numpy_of(table.weight) / largest[size : size + table.embedding_dim]
            size += table.embedding_dim
            infos.append(helper.make_tensor_value_info(f"column/{name}", TensorProto.INT64, ["B", "T"]))
            parts.append(graph("Gather", graph.constant(rows), graph("Transpose", f"column/{name}", perm=[1, 0])))
    read = parts[0] if len(parts) == 1 else graph("Concat", *parts, axis=2)
    return Flow(read, places, size + num_held, read_order(network), largest if int8 else None), infos


def _norm(graph: Graph, flow: Flow, norm: nn.Module) -> Flow:
    assert isinstance(norm, nn.LayerNorm)
    weights = [graph.constant(flow.ordered(numpy_of(part))) for part in (norm.weight, norm.bias)]
    name = graph("LayerNormalization", flow.name, *weights, axis=-1, epsilon=norm.eps)
    return Flow(name, flow.places, flow.width, flow.order)


def _head(graph: Graph, name: str, head: Head, flow: Flow, states: str, network: Network) -> list[Any]:
    """Add a head; returns what leaves the graph."""
    if isinstance(head, SequenceHead):
        logits, shape = _sequence_logits(graph, head, flow, states, network), "B"
    else:
        logits, shape = graph.linear(flow.name, head.output, flow), "BT"
    if isinstance(head, CRFHead):
        labels, likely = decode(graph, logits, head.crf)
    else:
        labels = graph("ArgMax", logits, axis=-1, keepdims=0)
        likely = graph("ReduceMax", graph("Softmax", logits, axis=-1), graph.whole(-1), keepdims=0)
    given = [
        ("labels", labels, TensorProto.INT64, []),
        ("probabilities", likely, TensorProto.FLOAT, []),
        ("logits", logits, TensorProto.FLOAT, [head.output.out_features]),
    ]
    outputs = []
    for kind, tensor, dtype, last in given:
        if shape == "BT":
            tensor = graph("Transpose", tensor, perm=[1, 0, *(2 for _ in last)])
        outputs.append(helper.make_tensor_value_info(graph.name(tensor, f"{kind}/{name}"), dtype, [*shape, *last]))
    return outputs


def _sequence_logits(graph: Graph, head: SequenceHead, flow: Flow, states: str, network: Network) -> str:
    if isinstance(head.pooling, FinalPooling):
        pooled = _final(graph, flow, states, network)
    else:
        pooled = _POOLINGS[type(head.pooling)](graph, flow, head.pooling)
    if head.dense is None:
        return graph.linear(pooled, head.output, flow)
    return graph.linear(graph("Relu", graph.linear(pooled, head.dense, flow)), head.output)


def _final(graph: Graph, flow: Flow, states: str, network: Network) -> str:
    """Add what `Stacked.final` gives, (B, width)."""
    top: Layer = network.rnn.top
    if isinstance(top, Bidirectional) and top.merge_mode != "concat":
        return graph(MERGES[top.merge_mode], states, graph.whole(0), keepdims=0)
    if not isinstance(top, Bidirectional):
        return _first(graph, flow.name) if network.config.go_backwards else _last(graph, flow.name)
    ahead, back = graph.add("Split", flow.name, outputs=2, axis=2, num_outputs=2)
    return graph("Concat", _last(graph, ahead), _first(graph, back), axis=1)


def _first(graph: Graph, outputs: str) -> str:
    """Add each row's output at its first step."""
    return graph("Gather", outputs, graph.constant(np.array(0, np.int64)))


def _last(graph: Graph, outputs: str) -> str:
    """Add each row's output at its last real step."""
    steps = graph("Sub", graph("Cast", graph.lengths, to=TensorProto.INT64), graph.whole(1))
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    rows = graph("Range", zero, graph("Gather", graph("Shape", graph.lengths), zero), one)
    places = [graph("Unsqueeze", each, graph.whole(1)) for each in (steps, rows)]
    return graph("GatherND", outputs, graph("Concat", *places, axis=1))


def _real(graph: Graph, flow: Flow) -> str:
    """Add the mask of real steps, (T, B, 1)."""
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    steps = graph("Range", zero, graph("Gather", graph("Shape", flow.name), zero), one)
    lengths = graph("Cast", graph.lengths, to=TensorProto.INT64)
    is_real = graph("Less", graph("Unsqueeze", steps, graph.whole(1)), graph("Unsqueeze", lengths, graph.whole(0)))
    return graph("Unsqueeze", is_real, graph.whole(2))


def _filled(graph: Graph, flow: Flow, name: str, value: float) -> str:
    return graph("Where", _real(graph, flow), name, graph.constant(np.array(value, np.float32)))


def _max(graph: Graph, flow: Flow, pooling: nn.Module) -> str:
    return graph("ReduceMax", _filled(graph, flow, flow.name, -np.inf), graph.whole(0), keepdims=0)


def _mean(graph: Graph, flow: Flow, pooling: nn.Module) -> str:
    total = graph("ReduceSum", _filled(graph, flow, flow.name, 0), graph.whole(0), keepdims=0)
    return graph("Div", total, graph("Unsqueeze", graph("Cast", graph.lengths, to=TensorProto.FLOAT), graph.whole(1)))


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
