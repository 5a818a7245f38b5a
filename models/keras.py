"""Weights to and from Keras: arrays in the order of a Keras layer's `get_weights`, as .npz files, so that Keras is not needed.

Keras's layouts: kernels are (inputs, outputs); an LSTM's gates stand in the order i, f, c, o and a GRU's in z, r, h; simple
RNNs and LSTMs have one bias, which is the sum of torch's two; a GRU with `reset_after` has a bias of (2, 3H). Its GRU without
`reset_after` keeps the state where z is 1, as torch's does, so the z of `models.cells.ResetBeforeGRUCell` is negated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.cells import Cell, GRUCell, ResetBeforeGRUCell
from models.embed import WordTable
from models.rnn import Recurrent
from models.stack import Bidirectional

Arrays = list[NDArray[Any]]


def dump_weights(layer: nn.Module) -> Arrays:
    """Give a layer's weights as Keras's `layer.get_weights()` would.

    Args:
        layer: `SimpleRNN`, `LSTM`, `GRU`: [kernel (I, G * H), recurrent kernel (H, G * H), bias]; `Bidirectional`: the forward
            layer's, then the backward layer's; a word table or `nn.Embedding`: [(V, D)]; `nn.Linear` (Dense): [kernel (I, O),
            bias]; `nn.LayerNorm`: [gamma, beta] (its epsilon is 1e-5, Keras's 1e-3 unless told); `nn.Conv1d`: [kernel
            (width, I, O), bias].

    Raises:
        ValueError: Keras has no such layer.
    """
    return [array.detach().cpu().numpy().copy() for array in _bridge(layer).dump(layer)]


@torch.no_grad()
def load_weights(layer: nn.Module, arrays: Sequence[NDArray[Any]]) -> None:
    """Take the weights of the Keras layer that `layer` is; see `dump_weights` for the arrays.

    Where torch holds two biases, Keras's one goes into the first and the second becomes 0.

    Raises:
        ValueError: Keras has no such layer, or the arrays do not have its shapes; the layer is as it was.
    """
    _check_shapes(layer, arrays, type(layer).__name__)
    _bridge(layer).load(layer, [torch.from_numpy(np.array(array)) for array in arrays])


def _check_shapes(layer: nn.Module, arrays: Sequence[NDArray[Any]], name: str) -> None:
    wanted, given = [array.shape for array in dump_weights(layer)], [np.shape(array) for array in arrays]
    if wanted != given:
        raise ValueError(f"{name} takes arrays of the shapes {wanted}; given {given}")


@dataclass(frozen=True)
class _Bridge:
    """How one kind of layer becomes arrays, and arrays become it."""

    dump: Callable[[Any], list[Tensor]]
    load: Callable[[Any, list[Tensor]], None]


def _swap_gates(gates: Tensor) -> Tensor:
    """Turn r, z, n into z, r, h and back, along the first axis."""
    r, z, n = gates.chunk(3)
    return torch.cat([z, r, n])


def _negate_z(gates: Tensor) -> Tensor:
    """Negate the update gate in r, z, n, along the first axis."""
    r, z, n = gates.chunk(3)
    return torch.cat([r, -z, n])


def _dump_recurrent(layer: Recurrent) -> list[Tensor]:
    cell = layer.cell
    if layer.initial_state:
        raise ValueError("Keras's layers have no learned initial state; build the layer without learned_state")
    if isinstance(cell, GRUCell):
        biases = torch.stack([_swap_gates(cell.bias_ih), _swap_gates(cell.bias_hh)])
        return [_swap_gates(cell.weight_ih).T, _swap_gates(cell.weight_hh).T, biases]
    if isinstance(cell, ResetBeforeGRUCell):
        weights = [_swap_gates(_negate_z(weight)) for weight in (cell.weight_ih, cell.weight_hh, cell.bias_ih)]
        return [weights[0].T, weights[1].T, weights[2]]
    return [cell.weight_ih.T, cell.weight_hh.T, cell.bias_ih + cell.bias_hh]


def _load_recurrent(layer: Recurrent, arrays: list[Tensor]) -> None:
    cell: Cell = layer.cell
    kernel, recurrent, bias = arrays[0].T, arrays[1].T, arrays[2]
    second = torch.zeros_like(bias)
    if isinstance(cell, GRUCell):
        kernel, recurrent, bias, second = (_swap_gates(part) for part in (kernel, recurrent, bias[0], bias[1]))
    elif isinstance(cell, ResetBeforeGRUCell):
        kernel, recurrent, bias = (_negate_z(_swap_gates(part)) for part in (kernel, recurrent, bias))
    cell.weight_ih.copy_(kernel)
    cell.weight_hh.copy_(recurrent)
    cell.bias_ih.copy_(bias)
    if cell.has_recurrent_bias:
        cell.bias_hh.copy_(second)


def _dump_both(layer: Bidirectional) -> list[Tensor]:
    return _dump_recurrent(layer.forward_layer) + _dump_recurrent(layer.backward_layer)


def _load_both(layer: Bidirectional, arrays: list[Tensor]) -> None:
    _load_recurrent(layer.forward_layer, arrays[:3])
    _load_recurrent(layer.backward_layer, arrays[3:])


def _dump_words(layer: WordTable) -> list[Tensor]:
    return [torch.cat([layer.weight, layer.fixed])]


def _load_words(layer: WordTable, arrays: list[Tensor]) -> None:
    layer.start_from(arrays[0])


def _dump_plain(layer: nn.Embedding | nn.LayerNorm) -> list[Tensor]:
    return list(layer.parameters())


def _load_plain(layer: nn.Embedding | nn.LayerNorm, arrays: list[Tensor]) -> None:
    for parameter, array in zip(layer.parameters(), arrays, strict=True):
        parameter.copy_(array)


def _dump_kernel(layer: nn.Linear | nn.Conv1d) -> list[Tensor]:
    """Kernel and bias; torch has the axes of a kernel in the opposite order."""
    kernel = layer.weight.permute(*reversed(range(layer.weight.dim())))
    return [kernel] if layer.bias is None else [kernel, layer.bias]


def _load_kernel(layer: nn.Linear | nn.Conv1d, arrays: list[Tensor]) -> None:
    layer.weight.copy_(arrays[0].permute(*reversed(range(arrays[0].dim()))))
    if layer.bias is not None:
        layer.bias.copy_(arrays[1])


BRIDGES: dict[type[nn.Module], _Bridge] = {
    Recurrent: _Bridge(_dump_recurrent, _load_recurrent),
    Bidirectional: _Bridge(_dump_both, _load_both),
    WordTable: _Bridge(_dump_words, _load_words),
    nn.Embedding: _Bridge(_dump_plain, _load_plain),
    nn.LayerNorm: _Bridge(_dump_plain, _load_plain),
    nn.Linear: _Bridge(_dump_kernel, _load_kernel),
    nn.Conv1d: _Bridge(_dump_kernel, _load_kernel),
}


def _bridge(layer: nn.Module) -> _Bridge:
    for kind, bridge in BRIDGES.items():
        if isinstance(layer, kind):
            return bridge
    raise ValueError(
        f"Keras has no layer that is a {type(layer).__name__}; expected one of {[kind.__name__ for kind in BRIDGES]}"
    )


def bridged_layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield every layer of a network that Keras has, by its path in the network.

    Raises:
        ValueError: the network holds weights that no layer of Keras has, such as a CRF's.
    """
    if isinstance(module, tuple(BRIDGES)):
        yield name, module
        return
    own = [key for key, _ in module.named_parameters(recurse=False)]
    if own:
        raise ValueError(f"{name} ({type(module).__name__}) holds {own}, which no layer of Keras has")
    for key, child in module.named_children():
        yield from bridged_layers(child, f"{name}.{key}" if name else key)


def save_npz(network: nn.Module, path: Path) -> None:
    """Write the weights of all layers in Keras's layouts, as `<path in the network>/<number>`."""
    layers = bridged_layers(network)
    arrays = {f"{name}/{number}": array for name, layer in layers for number, array in enumerate(dump_weights(layer))}
    with path.open("wb") as file:  # numpy would add an ending to a name without one
        np.savez(file, allow_pickle=False, **arrays)


def load_npz(network: nn.Module, path: Path) -> None:
    """Take the weights that `save_npz` wrote, or that a script beside Keras wrote under the same names.

    Raises:
        ValueError: the file's layers are not the network's, or a shape differs; the network is as it was.
    """
    with np.load(path, allow_pickle=False) as file:
        held = {name: file[name] for name in file.files}
    layers = dict(bridged_layers(network))
    wanted = {f"{name}/{number}" for name, layer in layers.items() for number in range(len(dump_weights(layer)))}
    if wanted != set(held):
        raise ValueError(f"{path} lacks {sorted(wanted - set(held))} and has {sorted(set(held) - wanted)} too many")
    arrays = {name: [held[f"{name}/{number}"] for number in range(len(dump_weights(layer)))] for name, layer in layers.items()}
    for name, layer in layers.items():  # all of them before the first is loaded
        _check_shapes(layer, arrays[name], name)
    for name, layer in layers.items():
        load_weights(layer, arrays[name])


def parity(ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> str:
    """Report how far each layer's outputs or gradients are apart.

    Args:
        ours: name -> array.
        theirs: the same names and shapes.

    Returns:
        A line per layer: its name, the largest difference, the largest number.
    """
    rows = [(name, float(np.abs(ours[name] - theirs[name]).max()), float(np.abs(theirs[name]).max())) for name in theirs]
    width = max(len(name) for name, _, _ in rows) + 2
    head = "layer".ljust(width) + "largest difference".rjust(20) + "largest number".rjust(18)
    return "\n".join([head, *(f"{name.ljust(width)}{apart:20.2e}{largest:18.3f}" for name, apart, largest in rows)])
