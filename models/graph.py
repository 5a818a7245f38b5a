"""Pieces of an ONNX graph: nodes and constants as they are added, and recurrent layers on ONNX's own operators.

With int8, LSTMs multiply whole numbers. onnxruntime scales what it multiplies by the range that it holds at the time, so
answers would depend on batch mates. Here two further units, one always 1 and one always -1, hold every range at its bound.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from models.cells import Cell, GRUCell, LSTMCell, ResetBeforeGRUCell, SimpleRNNCell
from models.rnn import Recurrent
from models.stack import Bidirectional, Layer

OPSET, IR_VERSION = 21, 10
LARGEST = 63
"""Of a weight in int8: two products with it still fit 16 bits, which processors without VNNI need."""
NUM_HOLDERS = 2
"""Units and inputs that hold the range in int8."""
_ALWAYS = 100.0
"""A gate's bias that shuts or opens it to the last bit."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Operator:
    """ONNX's operator for a cell: the place in our order of each of its gates, and attributes."""

    name: str
    order: tuple[int, ...]
    attributes: dict[str, int]


OPERATORS: dict[type[Cell], Operator] = {
    SimpleRNNCell: Operator("RNN", (0,), {}),
    LSTMCell: Operator("LSTM", (0, 3, 1, 2), {}),
    GRUCell: Operator("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    ResetBeforeGRUCell: Operator("GRU", (1, 0, 2), {"linear_before_reset": 0}),
}


@dataclass(frozen=True)
class Flow:
    """A tensor of the graph, (T, B, width), and where the network's own numbers are in its last axis.

    Attributes:
        name: of the tensor.
        places: of the numbers that are the network's.
        width: of the last axis.
        order: which of the network's numbers stands at each place, where they do not stand in its order.
        bounds: what each number was divided by.
    """

    name: str
    places: Array
    width: int
    order: Array | None = None
    bounds: Array | None = None

    def ordered(self, weights: Array) -> Array:
        """Give weights (..., I) in the order of the places."""
        return weights if self.order is None else weights[..., self.order]

    def spread(self, weights: Array) -> Array:
        """Give weights (..., width) that read this as (..., I) read the network's own numbers; 0 at what is not its own."""
        own = self.ordered(weights)
        wide = np.zeros((*own.shape[:-1], self.width), own.dtype)
        wide[..., self.places] = own if self.bounds is None else own * self.bounds
        return wide


class Graph:
    """Nodes and constants, as they are added.

    Args:
        prefix: of all names; a graph inside another has one of its own.
        lengths: the input with the real steps of each row, (B,).
    """

    def __init__(self, prefix: str = "", lengths: str = "lengths") -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.lengths = lengths
        self._prefix = prefix

    def constant(self, value: Any) -> str:
        """Add a tensor; returns its name."""
        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def whole(self, *values: int) -> str:
        """Add whole numbers, such as axes or a shape."""
        return self.constant(np.array(values, np.int64))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node; returns the names of its outputs."""
        names = [f"{self._prefix}{operator}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; returns its name."""
        return self.add(operator, *inputs, **attributes)[0]

    def name(self, tensor: str, name: str) -> str:
        """Give a tensor a further name, under which it leaves the graph; returns that."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        return name

    def model(self, inputs: list[Any], outputs: list[Any]) -> bytes:
        """Make a model of the graph, as bytes."""
        drawn = helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return bytes(helper.make_model(drawn, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())

    def linear(self, read: str, layer: nn.Linear, flow: Flow | None = None) -> str:
        """Add a linear layer over the last axis."""
        weight = numpy_of(layer.weight)
        product = self("MatMul", read, self.constant((weight if flow is None else flow.spread(weight)).T))
        return product if layer.bias is None else self("Add", product, self.constant(numpy_of(layer.bias)))

    def for_each_row(self, states: Array) -> str:
        """Repeat (D, H) states for every row of a batch, (D, B, H)."""
        shape = self("Concat", self.whole(1), self("Shape", self.lengths), self.whole(1), axis=0)
        return self("Expand", self.constant(states[:, None]), shape)


def numpy_of(tensor: Tensor) -> Array:
    """Give a weight as float32."""
    return np.asarray(tensor.detach().float().numpy())


def _gates(cell: Cell, weights: Tensor) -> Array:
    """Give weights (G * H, ...) as (G, H, ...) in ONNX's order."""
    own = numpy_of(weights)
    gates = own.reshape(cell.num_gates, cell.units, *own.shape[1:])[list(OPERATORS[type(cell)].order)]
    if isinstance(cell, ResetBeforeGRUCell):
        gates[0] *= -1  # its z takes the candidate, and ONNX's keeps the state
    return gates


def recurrent(graph: Graph, read: Flow, layer: Layer, *, go_backwards: bool, int8: bool) -> tuple[Flow, str]:
    """Add a layer; returns its outputs, in the order of the steps, and the name of its final states, (D, B, H)."""
    parts = [layer.forward_layer, layer.backward_layer] if isinstance(layer, Bidirectional) else [layer]
    outputs, states = directions(graph, read, parts, go_backwards=go_backwards, int8=int8)
    own, width = np.arange(parts[0].cell.units), parts[0].cell.units + (NUM_HOLDERS if int8 else 0)
    if not isinstance(layer, Bidirectional):
        return Flow(graph("Squeeze", outputs, graph.whole(1)), own, width), states
    if layer.merge_mode == "concat":
        joined = graph("Reshape", graph("Transpose", outputs, perm=[0, 2, 1, 3]), graph.whole(0, 0, -1))
        return Flow(joined, np.concatenate([own, own + width]), 2 * width), states
    return Flow(graph(MERGES[layer.merge_mode], outputs, graph.whole(1), keepdims=0), own, width), states


def directions(
    graph: Graph, read: Flow, parts: list[Recurrent], *, go_backwards: bool = False, int8: bool = False
) -> tuple[str, str]:
    """Add one direction over time, or two, the second from the end; returns outputs (T, D, B, H) and final states (D, B, H)."""
    cells = [part.cell for part in parts]
    inputs = np.stack([read.spread(_gates(cell, cell.weight_ih)) for cell in cells])
    hidden = np.stack([_gates(cell, cell.weight_hh) for cell in cells])
    seconds = [cell.bias_hh if cell.has_recurrent_bias else torch.zeros_like(cell.bias_ih) for cell in cells]
    bias = np.stack([[_gates(cell, cell.bias_ih), _gates(cell, own)] for cell, own in zip(cells, seconds, strict=True)])
    initial = [np.stack([numpy_of(part.initial_state[i]) for part in parts]) for i in range(len(parts[0].initial_state))]
    direction = "bidirectional" if len(parts) == 2 else "reverse" if go_backwards else "forward"
    add = _add_int8 if int8 else _add_float
    return add(graph, read.name, cells[0], (inputs, hidden, bias), initial, direction)


MERGES = {"sum": "ReduceSum", "mul": "ReduceProd", "ave": "ReduceMean"}
"""What joins the directions' outputs; `concat` apart."""


def _add_float(
    graph: Graph, read: str, cell: Cell, weights: tuple[Array, Array, Array], initial: list[Array], direction: str
) -> tuple[str, str]:
    """Add a layer of weights (D, G, H, I), (D, G, H, H) and (D, 2, G, H)."""
    operator = OPERATORS[type(cell)]
    num = len(weights[0])
    flat = [part.reshape(num, -1, *part.shape[3:]) for part in weights[:2]]
    constants = [graph.constant(part) for part in (*flat, weights[2].reshape(num, -1))]
    states = [graph.for_each_row(part) for part in initial]
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": cell.units, **operator.attributes}
    if isinstance(cell, SimpleRNNCell):
        attributes["activations"] = [cell.activation.capitalize()] * num
    outputs, ends = graph.add(operator.name, read, *constants, graph.lengths, *states, outputs=2, **attributes)
    return outputs, ends


def _add_int8(
    graph: Graph, read: str, cell: Cell, weights: tuple[Array, Array, Array], initial: list[Array], direction: str
) -> tuple[str, str]:
    """Add an LSTM layer in whole numbers, with two further units that hold 1 and -1; arguments as of `_add_float`."""
    num, units = len(weights[0]), cell.units
    wide = units + NUM_HOLDERS
    constants, scales = [], []
    for part, width in ((weights[0], weights[0].shape[3]), (weights[1], wide)):
        scale = np.maximum(np.abs(part).max(axis=3), 1e-12) / LARGEST
        whole, scaled = np.zeros((num, 4, wide, width), np.int8), np.ones((num, 4, wide), np.float32)
        whole[:, :, :units, : part.shape[3]] = np.rint(part / scale[..., None])
        scaled[:, :, :units] = scale
        constants.append(graph.constant(whole.reshape(num, 4 * wide, width).transpose(0, 2, 1)))
        scales.append(graph.constant(scaled.reshape(num, -1)))
    bias = np.zeros((num, 2, 4, wide), np.float32)
    bias[..., :units] = weights[2]
    bias[:, 0, :, units:] = np.array([-_ALWAYS, _ALWAYS, _ALWAYS, 0])[:, None]  # i, o, f, c: what is held stays and shows
    held = np.tile(np.eye(1, wide, units, np.float32) - np.eye(1, wide, units + 1, np.float32), (num, 1))
    states = [held, held * _ALWAYS]
    for state, part in zip(states, initial, strict=False):
        state[:, :units] = part
    zero = graph.constant(np.zeros((num, 4 * wide), np.int8))
    inputs = [read, *constants, graph.constant(bias.reshape(num, -1)), graph.lengths, *map(graph.for_each_row, states), ""]
    inputs += [scales[0], zero, scales[1], zero]
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": wide, "domain": "com.microsoft"}
    outputs, ends = graph.add("DynamicQuantizeLSTM", *inputs, outputs=2, **attributes)
    return outputs, ends
