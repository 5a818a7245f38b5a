"""Pictures of a run's report: what probabilities are worth, and what the network does along time; see `pipeline.plots`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Bin
from pipeline.plots import BLUE, FAINT, GREY, MARK, ORANGE, percent, picture
from pipeline.slices import wilson

Floats = NDArray[np.floating[Any]]

WIDTH, HEIGHT = 5.2, 3.7
FEWEST = 10
"""Sequences that a mean is taken over, at least, where there are as many."""
LEAST_GRADIENT = 1e-12
COLOURS = (BLUE, ORANGE)
"""Of the direction that reads from the start, and of the other."""
HALVES = [0, 0.5, 1]
MOST_DOTS = 400
HALF_LIVES = (0.1, 1000.0)
"""Steps between which half-lives are drawn; what is shorter or longer stands at the ends."""


@dataclass(frozen=True)
class Reach:
    """How a gradient fares on its way back: at each distance its mean over sequences and where the middle 80 % of them lie."""

    mean: Floats
    low: Floats
    high: Floats


def average_reach(gradients: Floats) -> Reach:
    """Average over sequences, as far as enough of them reach.

    Args:
        gradients: (B, T) sizes at distance 0, 1, ...; NaN where a sequence does not reach.
    """
    counts = (~np.isnan(gradients)).sum(axis=0)
    far = int((counts >= min(FEWEST, len(gradients))).sum())
    known = gradients[:, :far].astype(np.float64)
    low, high = np.nanquantile(known, [0.1, 0.9], axis=0)
    return Reach(np.nanmean(known, axis=0), low, high)


def plot_reliability(bins: list[Bin], path: Path) -> None:
    """Draw how often answers of a probability are right, with 95 % intervals, over how many there are.

    Args:
        bins: one at least.
        path: the picture to write.
    """
    probabilities = np.array([each.probability for each in bins])
    accuracies = np.array([each.accuracy for each in bins])
    ends = np.array([wilson(each.accuracy * each.count, each.count) for each in bins])
    with picture(path, width=WIDTH, height=HEIGHT + 0.8) as figure:
        from matplotlib.ticker import NullLocator

        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        axes.plot([0, 1], [0, 1], **{**MARK, "color": GREY})
        reach = np.abs(ends - accuracies[:, None]).T
        axes.errorbar(probabilities, accuracies, reach, fmt="o", color=BLUE, ecolor=BLUE, elinewidth=1, markersize=6)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), ylabel="share that is right")
        axes.set_title("Reliability")
        below.bar([each.low + 0.05 for each in bins], [each.count for each in bins], width=0.09, color=BLUE)
        below.set_yscale("log")
        below.yaxis.set_major_formatter(_count)
        below.yaxis.set_minor_locator(NullLocator())
        below.set(xlabel="probability of the label", ylabel="labels", ylim=(0.5, None))
        axes.yaxis.set_major_formatter(percent)
        below.xaxis.set_major_formatter(percent)


def plot_coverage(answered: Floats, accuracy: Floats, path: Path) -> None:
    """Draw the accuracy of what is answered over the share that is, the likeliest first; `path` is the picture to write."""
    with picture(path, width=WIDTH, height=HEIGHT + 0.8) as figure:
        axes = figure.add_subplot()
        axes.plot(answered, accuracy, color=BLUE, marker="o" if len(answered) < 5 else None)
        axes.plot(answered[-1], accuracy[-1], "o", color=ORANGE, markersize=7)
        axes.annotate(
            f"all: {accuracy[-1]:.2%}", (answered[-1], accuracy[-1]), xytext=(-10, 0), textcoords="offset points",
            ha="right", va="center", color=ORANGE,
        )  # fmt: skip
        axes.set(xlim=(0, 1.03), xlabel="share answered", ylabel="share of the answers that is right")
        axes.margins(y=0.15)
        axes.xaxis.set_major_formatter(percent)
        axes.yaxis.set_major_formatter(percent)
        axes.set_title("Silence where it is unsure")


def plot_gradients(title: str, reaches: dict[str, Reach], path: Path, *, cut: int | None = None) -> None:
    """Draw the size of a gradient over the steps that it went back, on a log axis.

    Args:
        title: of the picture.
        reaches: the direction's name -> how far it reaches.
        path: the picture to write.
        cut: steps after which training cuts the gradient.
    """
    with picture(path, width=WIDTH, height=HEIGHT) as figure:
        from matplotlib.ticker import MaxNLocator, NullLocator

        axes = figure.add_subplot()
        axes.axhline(1, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        for colour, (name, reach) in zip(COLOURS, reaches.items(), strict=False):
            steps = np.arange(len(reach.mean))
            mean, low, high = (_positive(values) for values in (reach.mean, reach.low, reach.high))
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(steps, mean, color=colour, label=name, marker="o" if len(steps) < 12 else None)
        if cut is not None:
            axes.axvline(cut, **{**MARK, "color": GREY})
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_power)
        axes.yaxis.set_minor_locator(NullLocator())
        low_end, high_end = axes.get_ylim()
        axes.set_ylim(max(low_end, LEAST_GRADIENT), max(high_end, 2.0))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axes.set(xlabel="steps back", ylabel="size of the gradient")
        axes.legend()
        axes.set_title(title)


def plot_saturation(title: str, gates: dict[str, tuple[Floats, Floats]], path: Path) -> None:
    """Draw a dot for each unit: how often its gate is open, and how often shut (after Karpathy et al. 2015).

    Args:
        title: of the picture.
        gates: the direction's name -> (H,) shares of steps at which the gate is open, and shut.
        path: the picture to write.
    """
    with picture(path, width=2.7, height=2.7) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [1, 0], color=FAINT, linewidth=1.2)
        for colour, (name, (opened, shut)) in zip(COLOURS, gates.items(), strict=False):
            chosen = _spread(len(opened))
            axes.scatter(opened[chosen], shut[chosen], s=9, color=colour, alpha=0.45, linewidth=0, label=name)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="open", ylabel="shut", xticks=HALVES, yticks=HALVES)
        axes.xaxis.set_major_formatter(percent)
        axes.yaxis.set_major_formatter(percent)
        if len(gates) > 1:
            axes.legend(loc="upper right", handletextpad=0.1, borderaxespad=0.1, markerscale=1.6)
        axes.set_title(title)


def plot_half_lives(title: str, lives: dict[str, Floats], path: Path) -> None:
    """Draw how many units keep half of their state for how many steps, on a log axis.

    Args:
        title: of the picture.
        lives: the direction's name -> (H,) steps.
        path: the picture to write.
    """
    with picture(path, width=WIDTH, height=HEIGHT) as figure:
        from matplotlib.ticker import NullLocator

        axes = figure.add_subplot()
        edges = np.geomspace(*HALF_LIVES, 41).tolist()
        for colour, (name, steps) in zip(COLOURS, lives.items(), strict=False):
            axes.hist(np.clip(steps, *HALF_LIVES), edges, histtype="stepfilled", color=colour, alpha=0.35, label=name)
            axes.hist(np.clip(steps, *HALF_LIVES), edges, histtype="step", color=colour, linewidth=1.2)
            axes.axvline(float(np.clip(np.median(steps), *HALF_LIVES)), color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks([0.1, 1, 10, 100, 1000], ["0.1 or less", "1", "10", "100", "1000 or more"])
        axes.set(xlabel="half-life in steps", ylabel="units")
        axes.legend()
        axes.set_title(title)


def _power(value: float, _position: Any = None) -> str:
    """Write a power of ten."""
    exponent = round(np.log10(value))
    return {0: "1", -1: "0.1", 1: "10"}.get(exponent, "10" + str(exponent).translate(_RAISED))


def _count(value: float, _position: Any = None) -> str:
    return f"{value:,.0f}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _positive(values: Floats) -> Floats:
    """Put what a log axis can not show below all that is drawn."""
    return np.maximum(values, LEAST_GRADIENT / 100)


def _spread(number: int) -> NDArray[np.int64]:
    """Choose units, evenly, where there are too many for a page."""
    return np.unique(np.linspace(0, number - 1, min(number, MOST_DOTS)).round().astype(np.int64))
