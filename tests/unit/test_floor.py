"""The floor of the benchmarks counts what the network's products really take."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.batch import Batch
from models.config import ModelConfig, Sizes
from models.network import Network, build_network

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from floor import TRAINING, flops_per_word

ROWS, STEPS, CHARS, LABELS = 2, 5, 4, 3
NETWORKS = {
    "lstm": ModelConfig(word_size=7, char_size=4, char_hidden=3, hidden=(6,)),
    "two layers": ModelConfig(word_size=7, char_size=4, char_hidden=3, hidden=(6, 5)),
    "gru": ModelConfig(word_size=7, char_size=4, char_hidden=3, char_encoder="gru", cell="gru", hidden=(6,)),
    "one direction": ModelConfig(word_size=7, char_hidden=0, hidden=(6,), bidirectional=False),
    "simple rnn": ModelConfig(word_size=7, char_hidden=0, cell="simple_rnn", hidden=(6,)),
}


def network_of(config: ModelConfig) -> Network:
    return build_network(config, Sizes("tagging", 12, 5, LABELS, features={"capitalisation": 7}))


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_the_floor_counts_two_operations_per_weight_and_those_of_characters_once_per_character(config: ModelConfig):
    weights = {name: weight.numel() for name, weight in network_of(config).named_parameters() if weight.dim() == 2}
    of_chars = sum(size for name, size in weights.items() if name.startswith("inputs.chars.") and "cell" in name)
    others = sum(size for name, size in weights.items() if not name.startswith("inputs."))
    assert flops_per_word(config, LABELS, CHARS) == 2 * (others + CHARS * of_chars)


def test_training_takes_thrice_the_forward_pass():
    network = network_of(NETWORKS["simple rnn"])  # whose products torch sees, one by one
    places = torch.arange(ROWS * STEPS).view(ROWS, STEPS)
    batch = Batch(torch.full((ROWS,), STEPS), {"label": places % LABELS}, words=places + 2, keys=torch.arange(ROWS))
    with FlopCounterMode(display=False) as counter:
        network.loss_sums(network(batch), batch)["label"].backward()
    forward = flops_per_word(NETWORKS["simple rnn"], LABELS, CHARS)
    assert counter.get_total_flops() / (ROWS * STEPS) == pytest.approx(TRAINING * forward, rel=0.2)
