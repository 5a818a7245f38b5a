"""What a network does along time, as the pictures and the tables of a run's report."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.through_time import Direction, half_lives
from pipeline.report_plots import Reach, average_reach, plot_gradients, plot_half_lives, plot_saturation

Draw = Callable[[Callable[[Path], None]], str]
"""Gives the picture that a function writes to the path that it is given."""

DISTANCES = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Row:
    """A line of a table: whose it is, and its numbers; None where there are none."""

    name: str
    values: list[float | None]


@dataclass(frozen=True)
class GateRow:
    """How one gate of one direction stood: mean shares of steps, over its units, at which it was shut and open."""

    name: str
    gate: str
    shut: float
    open: float


@dataclass(frozen=True)
class TimeReport:
    """The section.

    Attributes:
        gradients: a picture per layer.
        distances: of the table below, in steps.
        reach: per direction, the size of the gradient at each of `distances`.
        saturation: a picture per layer and gate.
        gates: per direction and gate, what the pictures come to.
        lives: a picture per layer.
        quantiles: per direction, the half-life of the unit that a tenth, half and nine tenths of the units do not exceed.
    """

    gradients: list[str]
    distances: list[int]
    reach: list[Row]
    saturation: list[str]
    gates: list[GateRow]
    lives: list[str]
    quantiles: list[Row]


def report_time(directions: list[Direction], draw: Draw, *, cut: int | None = None) -> TimeReport:
    """Make the section.

    Args:
        directions: of all layers, in order.
        draw: makes a picture.
        cut: steps after which training cuts the gradient.
    """
    reaches = {id(direction): average_reach(direction.gradients) for direction in directions}
    furthest = max(len(reach.mean) for reach in reaches.values())
    distances = [distance for distance in DISTANCES if distance < furthest]
    lives = [(direction, half_lives(direction.kept)) for direction in directions if direction.kept is not None]
    found = TimeReport([], distances, [], [], [], [], [Row(name_direction(it), _quantiles(steps)) for it, steps in lives])
    for direction in directions:
        found.reach.append(Row(name_direction(direction), _at(reaches[id(direction)], distances)))
        for gate, stood in direction.gates.items():
            found.gates.append(GateRow(name_direction(direction), gate, float(stood.shut.mean()), float(stood.open.mean())))
    for number, group in groupby(directions, key=lambda direction: direction.layer):
        layer = {_way(direction): direction for direction in group}
        found.gradients.append(_draw_gradients(draw, number, {way: reaches[id(it)] for way, it in layer.items()}, cut))
        for gate in next(iter(layer.values())).gates:
            found.saturation.append(_draw_saturation(draw, number, gate, layer))
        if held := {way: half_lives(it.kept) for way, it in layer.items() if it.kept is not None}:
            found.lives.append(_draw_lives(draw, number, held))
    return found


def name_direction(direction: Direction) -> str:
    """Name a direction of a layer."""
    return f"layer {direction.layer}, {_way(direction)}"


def _way(direction: Direction) -> str:
    return "backward" if direction.is_backward else "forward"


def _at(reach: Reach, distances: list[int]) -> list[float | None]:
    return [float(reach.mean[distance]) if distance < len(reach.mean) else None for distance in distances]


def _quantiles(steps: NDArray[np.floating[Any]]) -> list[float | None]:
    # An infinite half-life has its place among the others, but nothing lies between it and a finite one.
    return [float(value) for value in np.quantile(steps, [0.1, 0.5, 0.9], method="lower")]


def _draw_gradients(draw: Draw, number: int, reaches: dict[str, Reach], cut: int | None) -> str:
    return draw(lambda path: plot_gradients(f"Gradient, layer {number}", reaches, path, cut=cut))


def _draw_saturation(draw: Draw, number: int, gate: str, layer: dict[str, Direction]) -> str:
    units = {way: (it.gates[gate].open, it.gates[gate].shut) for way, it in layer.items()}
    return draw(lambda path: plot_saturation(f"Layer {number}, {gate}", units, path))


def _draw_lives(draw: Draw, number: int, held: dict[str, NDArray[np.floating[Any]]]) -> str:
    return draw(lambda path: plot_half_lives(f"Half-life of a unit, layer {number}", held, path))
