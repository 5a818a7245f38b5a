"""Gates do what they are for: a first token is remembered over a hundred others."""

import pytest
import torch

from models import ModelConfig, Sizes, build_network
from models.batch import Batch

NUM_DISTRACTORS = 100


def draw(num_rows, seed):
    """Draw sequences whose label is their first token; the rest are other tokens."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(2, 4, (num_rows, 1), generator=generator)
    others = torch.randint(4, 10, (num_rows, NUM_DISTRACTORS), generator=generator)
    lengths = torch.full((num_rows,), NUM_DISTRACTORS + 1)
    return Batch(lengths, {"label": first[:, 0] - 2}, words=torch.cat([first, others], dim=1))


def hold(cell, bias):
    """Start the update gate where it keeps the state, as an LSTM's forget bias does."""
    with torch.no_grad():
        cell.bias_ih[cell.units : 2 * cell.units] = bias


@pytest.mark.parametrize(
    ("options", "update_bias"),
    [({"cell": "lstm", "forget_bias": 5.0}, None), ({"cell": "gru"}, 5.0), ({"cell": "gru", "reset_after": False}, -5.0)],
)
def test_a_gated_network_remembers_the_first_token_over_a_hundred_others(options, update_bias):
    plain = {"char_hidden": 0, "bidirectional": False, "input_dropout": 0.0, "dropout": 0.0}
    config = ModelConfig(word_size=8, hidden=(16,), **plain, **options)
    network = build_network(config, Sizes("classification", 10, 0, 2), seed=2)
    if update_bias is not None:
        hold(network.rnn.layers[0].cell, update_bias)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for step in range(100):
        batch = draw(32, step)
        loss = network.loss_sums(network(batch), batch)["label"] / 32
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    test = draw(500, 1000)
    assert torch.equal(network.predict(network(test), test.lengths)["label"].labels, test.targets["label"])
