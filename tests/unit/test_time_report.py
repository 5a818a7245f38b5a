"""The section on time: each layer and direction has its rows, and each layer its pictures."""

import numpy as np
import pytest

from models.through_time import Direction, Gate
from pipeline.time_report import report_time

GATE = Gate(np.array([0.0, 0.5]), np.array([1.0, 0.1]))
DECAY = np.tile(0.5 ** np.arange(12), (3, 1))


def direction(layer: int, *, is_backward: bool = False, kept: list[float] | None = None) -> Direction:
    gates = {} if kept is None else {"forget gate": GATE}
    return Direction(layer, is_backward, DECAY, gates, None if kept is None else np.array(kept))


def report(*directions: Direction):
    drawn = []

    def draw(plot):
        drawn.append(plot)
        return f"picture {len(drawn)}"

    return report_time(list(directions), draw)


def test_directions_of_a_layer_share_its_pictures_and_have_rows_of_their_own():
    found = report(*(direction(n, is_backward=way, kept=[0.5, 0.5]) for n in (1, 2) for way in (False, True)))
    assert len(found.gradients) == len(found.saturation) == len(found.lives) == 2
    names = ["layer 1, forward", "layer 1, backward", "layer 2, forward", "layer 2, backward"]
    assert [row.name for row in found.reach] == names == [row.name for row in found.quantiles]


def test_the_size_of_a_gradient_is_told_at_each_distance_that_is_reached():
    found = report(direction(1))
    assert found.distances == [1, 2, 5, 10]
    assert found.reach[0].values == pytest.approx([0.5, 0.25, 0.5**5, 0.5**10])


def test_a_gate_is_told_by_the_mean_of_its_units():
    (row,) = report(direction(1, kept=[0.5, 0.5])).gates
    assert (row.gate, row.shut, row.open) == ("forget gate", 0.25, 0.55)


def test_half_lives_are_told_by_their_quantiles_infinite_ones_too():
    (row,) = report(direction(1, kept=[0.5, 1.0])).quantiles
    assert row.values == [1, 1, 1]
    (row,) = report(direction(1, kept=[1.0, 1.0])).quantiles
    assert row.values == [np.inf] * 3


def test_a_network_without_gates_has_its_gradient_alone():
    found = report(direction(1))
    assert len(found.gradients) == 1 and not (found.gates or found.lives or found.saturation or found.quantiles)
