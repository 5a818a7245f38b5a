"""Networks of one size: counted as they are built, and within a hundredth of the budget."""

import pytest

from models.config import ModelConfig, Sizes
from models.network import build_network
from pipeline.budget import TOLERANCE, fit_width, num_parameters

SIZES = Sizes("tagging", 500, 40, 7)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
def test_every_architecture_comes_within_a_hundredth_of_the_budget(cell, layers, bidirectional):
    model = fit_width(ModelConfig(cell=cell, hidden=(9,) * layers, bidirectional=bidirectional), SIZES, 600_000)
    network = build_network(model, SIZES)
    assert network.inputs.words is not None
    counted = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in network.inputs.words.parameters())
    assert len(set(model.hidden)) == 1 and len(model.hidden) == layers
    assert counted == num_parameters(model, SIZES) and abs(counted - 600_000) <= TOLERANCE * 600_000


@pytest.mark.parametrize("budget", range(50_000, 58_000, 1_000))
def test_the_width_is_the_nearest_there_is(budget):
    (units,) = fit_width(ModelConfig(), SIZES, budget).hidden
    off = [abs(num_parameters(ModelConfig(hidden=(width,)), SIZES) - budget) for width in (units - 1, units, units + 1)]
    assert min(off) == off[1]
