"""A network as a table: layers, output shapes, parameters by Keras's count and as torch holds them.

The two counts differ where torch has a second bias that adds to the first and teaches nothing: in simple RNNs and LSTMs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from models.cells import GRUCell, LSTMCell, SimpleRNNCell
from models.embed import InputEncoder, WordTable
from models.heads import SequenceHead, TokenHead
from models.network import Network
from models.rnn import Recurrent
from models.stack import Bidirectional, Layer, Stacked

NAMES: dict[type[nn.Module], str] = {SimpleRNNCell: "SimpleRNN", LSTMCell: "LSTM", GRUCell: "GRU"}


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        name: of the layer, as Keras would have it.
        shape: of its output; None is what depends on the batch.
        keras: parameters as Keras counts them.
        torch: numbers that are held.
        trained: of those, what training changes.
    """

    name: str
    shape: tuple[int | None, ...]
    keras: int
    torch: int
    trained: int


def summary(module: Network | Stacked | Layer) -> str:
    """Draw the table of a network, or of recurrent layers alone.

    Returns:
        Lines of text: a row per layer with its output shape and both parameter counts, then the totals.
    """
    lines = list(lines_of(module))
    head = ("Layer (type)", "Output shape", "Param # (Keras)", "Param # (torch)")
    rows = [(line.name, str(line.shape), f"{line.keras:,}", f"{line.torch:,}") for line in lines]
    widths = [max(len(row[i]) for row in [head, *rows]) + 2 for i in range(4)]
    total = sum(widths)
    text = [_row(head, widths), "=" * total, *(_row(row, widths) for row in rows), "=" * total]
    held, trained = sum(line.torch for line in lines), sum(line.trained for line in lines)
    keras = sum(line.keras for line in lines)
    why = " (the difference: a second bias per recurrent layer)" if held != keras else ""
    text += [
        f"Total params by Keras's count: {keras:,}",
        f"Total params as torch holds them: {held:,}{why}",
        f"Trainable: {trained:,}   Non-trainable: {held - trained:,}",
    ]
    return "\n".join(text)


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    left = "".join(cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True))
    return left + "".join(cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True))


def lines_of(module: nn.Module) -> Iterator[Line]:
    """Yield the rows of a network or of a part of one, from the input upwards."""
    if isinstance(module, Network):
        yield from _inputs(module.inputs, module)
        yield from _layers(module.rnn)
        for name, head in zip(module.head_names, module.heads, strict=True):
            yield from _head(name, head, module.rnn.output_size)
    elif isinstance(module, Stacked):
        yield from _layers(module)
    else:
        yield _layer(module, 0)


def _inputs(inputs: InputEncoder, network: Network) -> Iterator[Line]:
    if inputs.words is not None:
        yield _line("words (Embedding)", (None, None, network.config.word_size), inputs.words)
    if inputs.chars is not None:
        yield _line(f"characters ({type(inputs.chars).__name__})", (None, None, inputs.chars.output_size), inputs.chars)
    for (name, size), table in zip(network.config.features.items(), inputs.features, strict=True):
        yield _line(f"{name} (Embedding)", (None, None, size), table)
    if inputs.values is not None:
        yield _line("numbers (Dense)", (None, None, inputs.output_size), inputs.values)


def _layers(stack: Stacked) -> Iterator[Line]:
    for number, layer in enumerate(stack.layers):
        if stack.norms is not None:
            yield _line(f"norm_{number + 1} (LayerNormalization)", (None, None, layer.input_size), stack.norms[number])  # type: ignore[arg-type]
        yield _layer(layer, number)


def _layer(layer: nn.Module, number: int) -> Line:
    assert isinstance(layer, Recurrent | Bidirectional)
    cell = layer.cell if isinstance(layer, Recurrent) else layer.forward_layer.cell
    name = NAMES.get(type(cell), "GRU, reset before")
    if isinstance(layer, Bidirectional):
        name = f"Bidirectional {name}, {layer.merge_mode}"
    shape = (None, None, layer.output_size) if layer.return_sequences else (None, layer.output_size)
    return _line(f"recurrent_{number + 1} ({name})", shape, layer)


def _head(name: str, head: nn.Module, size: int) -> Iterator[Line]:
    if isinstance(head, SequenceHead):
        yield _line(f"{name}_pooling ({type(head.pooling).__name__})", (None, size), head.pooling)
        if head.dense is not None:
            yield _line(f"{name}_dense (Dense)", (None, head.dense.out_features), head.dense)
        yield _line(f"{name} (Dense)", (None, head.output.out_features), head.output)
    else:
        assert isinstance(head, TokenHead)
        kind = "Dense" if type(head) is TokenHead else "Dense, CRF"
        yield _line(f"{name} ({kind})", (None, None, head.output.out_features), head)


def _line(name: str, shape: tuple[int | None, ...], module: nn.Module) -> Line:
    held = sum(p.numel() for p in module.parameters())
    fixed = module.fixed.numel() if isinstance(module, WordTable) else 0
    cells = [part for part in module.modules() if isinstance(part, SimpleRNNCell | LSTMCell)]
    second = sum(cell.bias_hh.numel() for cell in cells)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Line(name, shape, held + fixed - second, held + fixed, trained)
