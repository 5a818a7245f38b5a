"""Small examples and networks for tests, drawn from a seed."""

import numpy as np
import torch
from torch import Tensor

from models.batch import Batch
from models.config import ModelConfig, Sizes
from models.network import Network, build_network
from pipeline.batches import make_batch
from pipeline.examples import Examples, FormTable

SMALL = ModelConfig(word_size=6, char_size=4, char_hidden=3, hidden=(5,), input_dropout=0.0, dropout=0.0)


def make_examples(lengths: list[int], task: str = "tagging", num_labels: int = 4, seed: int = 0) -> Examples:
    """Draw sequences of the given lengths over 30 word forms of 1 to 9 characters."""
    rng = np.random.default_rng(seed)
    char_lengths = rng.integers(1, 10, 30)
    forms = FormTable(
        word_ids=rng.integers(1, 20, 30).astype(np.int32),
        char_ids=rng.integers(1, 12, char_lengths.sum()).astype(np.int32),
        char_offsets=np.concatenate([[0], char_lengths.cumsum()]).astype(np.int64),
        capitalisation=rng.integers(2, 7, 30).astype(np.int32),
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    num_targets = offsets[-1] if task == "tagging" else len(lengths)
    return Examples(
        offsets=offsets,
        labels=rng.integers(0, num_labels, num_targets).astype(np.int32),
        tokens=rng.integers(0, 30, offsets[-1]).astype(np.int32),
        forms=forms,
    )


def make_network(config: ModelConfig = SMALL, task: str = "tagging", dtype: torch.dtype = torch.float64) -> Network:
    """Build a network for `make_examples`."""
    sizes = Sizes(task, num_words=20, num_chars=12, num_labels=4, num_fixed_words=6, features={"capitalisation": 7})  # type: ignore[arg-type]
    return build_network(config, sizes, seed=3).to(dtype)


def batch_of(examples: Examples, rows: list[int]) -> Batch:
    """Gather some sequences."""
    return make_batch(examples, np.array(rows))


def loss_of(network: Network, batch: Batch) -> Tensor:
    """Add up the loss of the main target."""
    return network.loss_sums(network(batch), batch)["label"]
