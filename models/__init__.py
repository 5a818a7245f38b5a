"""Recurrent networks on torch alone: cells, layers over time, inputs, heads, whole networks, their weights to and from Keras.

What is exported here is imported when it is first asked for, so that `models.config` can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.config import ModelConfig, Sizes
    from models.network import Network, build_network
    from models.rnn import GRU, LSTM, SimpleRNN
    from models.stack import Bidirectional, Stacked
    from models.table import summary

__all__ = ["GRU", "LSTM", "Bidirectional", "ModelConfig", "Network", "SimpleRNN", "Sizes", "Stacked", "build_network", "summary"]
_HOMES = {
    "models.config": ("ModelConfig", "Sizes"),
    "models.network": ("Network", "build_network"),
    "models.rnn": ("GRU", "LSTM", "SimpleRNN"),
    "models.stack": ("Bidirectional", "Stacked"),
    "models.table": ("summary",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'models' has no attribute {name!r}")
