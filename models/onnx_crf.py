"""A conditional random field's best path and marginals as nodes of an ONNX graph: one loop ahead, one back.

The same recursions as `models.crf`, step by step over a whole batch; padding takes no part.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from models.crf import CRF
from models.graph import Graph, numpy_of

Shape = list[str | int | None]


def decode(graph: Graph, emissions: str, crf: CRF) -> tuple[str, str]:
    """Add the most likely label sequence and the marginal probability of each of its labels.

    Args:
        graph: to be added to.
        emissions: (T, B, L) logits.
        crf: its scores.

    Returns:
        The names of (T, B) int64 labels and (T, B) probabilities.
    """
    start, transitions = (graph.constant(numpy_of(part)) for part in crf.scores())
    end = graph.constant(numpy_of(crf.end))
    head = graph("Slice", emissions, *map(graph.whole, (0, 1)))  # the first step, (1, B, L)
    largest = np.iinfo(np.int64).max
    rest = graph("Slice", emissions, *map(graph.whole, (1, largest)))
    following = graph("Concat", rest, head, axis=0)  # at each step the next one's; what the last one has is never read
    inside = _inside(graph, emissions)
    first = graph("Add", graph("Squeeze", head, graph.whole(0)), start)
    num_labels = len(crf.start)
    body = _ahead(transitions, num_labels)
    *_, chosen, best, sums = graph.add("Scan", first, first, following, inside, outputs=5, body=body, num_scan_inputs=2)
    last = graph("ArgMax", graph("Add", best, end), axis=2, keepdims=0)
    label = graph("Squeeze", graph("Slice", last, *map(graph.whole, (0, 1))), graph.whole(0))
    back = graph("Add", graph("Mul", first, graph.constant(np.array(0, np.float32))), end)  # end's scores in every row
    inputs = [label, back, chosen, last, following, inside]
    ways = {"scan_input_directions": [1] * 4, "scan_output_directions": [1] * 2}
    body = _back(transitions, num_labels)
    *_, labels, backs = graph.add("Scan", *inputs, outputs=4, body=body, num_scan_inputs=4, **ways)
    likely = graph("Softmax", graph("Add", sums, backs), axis=2)
    own = graph("GatherElements", likely, graph("Unsqueeze", labels, graph.whole(2)), axis=2)
    return labels, graph("Squeeze", own, graph.whole(2))


def _inside(graph: Graph, emissions: str) -> str:
    """Add whether the next step is a real one, (T, B, 1)."""
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    num_steps = graph("Gather", graph("Shape", emissions), zero)
    steps = graph("Range", one, graph("Add", num_steps, one), one)
    lengths = graph("Cast", graph.lengths, to=TensorProto.INT64)
    is_inside = graph("Less", graph("Unsqueeze", steps, graph.whole(1)), graph("Unsqueeze", lengths, graph.whole(0)))
    return graph("Unsqueeze", is_inside, graph.whole(2))


def _ahead(transitions: str, num_labels: int) -> Any:
    """Draw a step ahead: which label is best before each, the best scores and the summed ones; those from before leave it."""
    graph = Graph("ahead_")
    before = graph("Add", graph("Unsqueeze", "best", graph.whole(2)), transitions)
    chosen = graph("ArgMax", before, axis=1, keepdims=0)
    best = graph("Add", graph("ReduceMax", before, graph.whole(1), keepdims=0), "next")
    reached = graph("Add", graph("Unsqueeze", "sums", graph.whole(2)), transitions)
    after = graph("Add", graph("ReduceLogSumExp", reached, graph.whole(1), keepdims=0), "next")
    sums = graph("Where", "inside", _without_largest(graph, after), "sums")
    seen = [graph("Identity", name) for name in ("best", "sums")]
    scores: Shape = ["B", num_labels]
    given = {"best": scores, "sums": scores, "next": scores}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()]
    inputs.append(helper.make_tensor_value_info("inside", TensorProto.BOOL, ["B", 1]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, scores) for name in (best, sums)]
    outputs.append(helper.make_tensor_value_info(chosen, TensorProto.INT64, scores))
    outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, scores) for name in seen]
    return helper.make_graph(graph.nodes, "ahead", inputs, outputs, graph.constants)


def _back(transitions: str, num_labels: int) -> Any:
    """Draw a step back: the label that led to the one after it, and the summed scores of all that comes after."""
    graph = Graph("back_")
    earlier = graph("GatherElements", "chosen", graph("Unsqueeze", "label", graph.whole(1)), axis=1)
    is_inside = graph("Squeeze", "inside_back", graph.whole(1))
    label = graph("Where", is_inside, graph("Squeeze", earlier, graph.whole(1)), "last")
    after = graph("Unsqueeze", graph("Add", "next_back", "back"), graph.whole(1))
    before = graph("ReduceLogSumExp", graph("Add", transitions, after), graph.whole(2), keepdims=0)
    back = graph("Where", "inside_back", _without_largest(graph, before), "back")
    seen = [graph("Identity", label), graph("Identity", back)]
    scores: Shape = ["B", num_labels]
    floating, whole = TensorProto.FLOAT, TensorProto.INT64
    given: list[tuple[str, int, Shape]] = [
        ("label", whole, ["B"]),
        ("back", floating, scores),
        ("chosen", whole, scores),
        ("last", whole, ["B"]),
        ("next_back", floating, scores),
        ("inside_back", TensorProto.BOOL, ["B", 1]),
    ]
    left: list[tuple[str, int, Shape]] = [
        (label, whole, ["B"]),
        (back, floating, scores),
        (seen[0], whole, ["B"]),
        (seen[1], floating, scores),
    ]
    inputs, outputs = ([helper.make_tensor_value_info(*each) for each in side] for side in (given, left))
    return helper.make_graph(graph.nodes, "back", inputs, outputs, graph.constants)


def _without_largest(graph: Graph, scores: str) -> str:
    """Take the largest of (B, L) off each row, so that long sequences lose no digits."""
    return graph("Sub", scores, graph("ReduceMax", scores, graph.whole(1), keepdims=1))
