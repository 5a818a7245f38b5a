"""Networks of one size: the width at which a network has as many parameters as the others of a fair comparison."""

from dataclasses import replace

import torch

from models.config import ModelConfig, Sizes
from models.network import build_network

TOLERANCE = 0.01
"""How far from the budget a network may be, as a share of it."""


def num_parameters(model: ModelConfig, sizes: Sizes) -> int:
    """Count the numbers that training may change, as torch holds them, without the word table, which is the vocabulary's."""
    with torch.device("meta"):
        network = build_network(model, sizes)
    words = network.inputs.words
    held = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return held - (0 if words is None else sum(part.numel() for part in words.parameters() if part.requires_grad))


def fit_width(model: ModelConfig, sizes: Sizes, budget: int) -> ModelConfig:
    """Give a network's layers the one width that comes nearest to a number of parameters."""

    def count(units: int) -> int:
        return num_parameters(_wide(model, units), sizes)

    low, high = 1, 2
    while count(high) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= budget else (middle, high)
    return _wide(model, min((low, high), key=lambda units: abs(count(units) - budget)))


def _wide(model: ModelConfig, units: int) -> ModelConfig:
    return replace(model, hidden=(units,) * len(model.hidden))
