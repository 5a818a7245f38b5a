"""Layers, ragged inputs and the same calls for every test of what runs over time."""

import torch

from models import GRU, LSTM, SimpleRNN

LENGTHS = torch.tensor([4, 1, 6, 3])
LAYERS = {
    "tanh": SimpleRNN,
    "relu": lambda i, h, **options: SimpleRNN(i, h, activation="relu", **options),
    "lstm": LSTM,
    "gru": GRU,
    "gru_before": lambda i, h, **options: GRU(i, h, reset_after=False, **options),
}


def make_layer(kind, input_size=3, units=5, **options):
    """Draw a layer whose every weight matters."""
    torch.manual_seed(1)
    layer = LAYERS[kind](input_size, units, **options).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer


def make_inputs(lengths=LENGTHS, size=3, seed=0):
    torch.manual_seed(seed)
    return torch.randn(len(lengths), int(lengths.max()), size, dtype=torch.float64)


def assert_close(ours, theirs, atol=1e-12):
    """Compare nested tuples of tensors."""
    if isinstance(ours, tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, atol)
    else:
        torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)
