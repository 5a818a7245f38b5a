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

ROWS, STEPS, CHARS, LABELS = 2, 20, 4, 3
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


def test_the_floor_counts_the_products_of_a_forward_pass():
    config = NETWORKS["simple rnn"]  # whose products torch sees, one by one
    places = torch.arange(ROWS * STEPS).view(ROWS, STEPS)
    batch = Batch(torch.full((ROWS,), STEPS), words=places % 10 + 2, keys=torch.arange(ROWS))
    with FlopCounterMode(display=False) as counter:
        network_of(config)(batch)
    assert counter.get_total_flops() == ROWS * STEPS * flops_per_word(config, LABELS, CHARS)


def test_training_takes_thrice_the_forward_pass():
    inputs, state = torch.ones(STEPS, ROWS, 7, requires_grad=True), torch.zeros(ROWS, 6, requires_grad=True)
    weights = [torch.ones(7, 6, requires_grad=True), torch.ones(6, 6, requires_grad=True)]
    with FlopCounterMode(display=False) as counter:
        for step in inputs:
            state = (step @ weights[0] + state @ weights[1]).tanh()
        forward = counter.get_total_flops()
        state.sum().backward()
    assert counter.get_total_flops() == TRAINING * forward
