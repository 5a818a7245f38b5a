"""Pictures of a sweep, as SVG files: what was chosen, what it cost, what mattered, how it was learnt."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.plots import BLUE, GREY, INK, ORANGE, percent, picture
from pipeline.space import Choice, Interval
from pipeline.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = "viridis"


def plot_parallel(trials: Sequence[Trial], choices: dict[str, Choice], path: Path) -> None:
    """Draw a line per trial through its values of all keys to its score; one that a key was not chosen for passes below its axis.

    Args:
        trials: with a score.
        choices: name -> choice.
        path: the SVG to write.
    """
    scores = np.array([trial.best for trial in trials])
    shades = (scores - scores.min()) / (np.ptp(scores) or 1)
    names = list(choices)
    heights = np.array([[_height(trial.chosen.get(name), choices[name]) for name in names] for trial in trials])
    columns = np.concatenate([heights, shades[:, None]], axis=1)
    with picture(path, width=1.7 + 1.5 * len(names), height=4.2) as figure:
        from matplotlib import colormaps

        axes = figure.add_subplot()
        places = np.arange(len(names) + 1)
        spread = np.linspace(-0.02, 0.02, len(trials)) if len(trials) > 1 else np.zeros(1)
        for i in np.argsort(shades):
            shifted = columns[i] + np.append(np.full(len(names), spread[i]), 0)
            axes.plot(places, shifted, color=colormaps[_COLOURS](1 - shades[i]), linewidth=1.6, alpha=0.85)
        for place, name in enumerate(names):
            axes.axvline(place, color=GREY, linewidth=1)
            for height, text in _ticks(choices[name]):
                axes.text(place + 0.04, height, text, fontsize=8.5, va="center", color=INK, bbox=_HALO)
        axes.axvline(len(names), color=GREY, linewidth=1)
        for height, score in ((0, scores.min()), (1, scores.max())):
            axes.text(len(names) + 0.04, height, _score(score), fontsize=8.5, va="center", color=INK, bbox=_HALO)
        axes.set_xticks(places, [name.rpartition(".")[2] for name in names] + ["score on val"])
        axes.set(xlim=(-0.1, len(names) + 0.5), ylim=(-0.25, 1.08), yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title("What each trial chose; darker is better")


def plot_costs(panels: dict[str, list[tuple[float, float, str]]], path: Path, *, more_is_better: set[str]) -> None:
    """Draw scores against costs, one panel each, with the front of those that none beats in both.

    Args:
        panels: what the cost is -> per network its cost, score and name; at least one.
        path: the SVG to write.
        more_is_better: panels whose cost is a gain, such as a speed.
    """
    with picture(path, width=4.4 * len(panels), height=4.0) as figure:
        from matplotlib.ticker import EngFormatter

        for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            costs, scores = np.array([point[0] for point in points]), np.array([point[1] for point in points])
            sign = -1 if title in more_is_better else 1
            front = _front(sign * costs, scores)
            axes.plot(
                costs[front], scores[front], color=ORANGE, linewidth=1.2, drawstyle="steps-post" if sign > 0 else "steps-pre"
            )
            axes.scatter(costs, scores, color=BLUE, s=22, zorder=3)
            for i in front:
                axes.annotate(points[i][2], (costs[i], scores[i]), xytext=(4, 5), textcoords="offset points", fontsize=8)
            if costs.min() > 0 and costs.max() > 8 * costs.min():
                axes.set_xscale("log")
            else:
                axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k: six digits run into each other
            axes.set_xlabel(title)
            _write_scores(axes, scores.min())
            axes.margins(0.12)
            axes.set_title("Score on val")


def plot_importance(importance: dict[str, float], path: Path) -> None:
    """Draw what share of the scores' spread each key explains; `path` is the SVG to write."""
    names = sorted(importance, key=lambda name: importance[name])
    with picture(path, width=6, height=1.1 + 0.32 * len(names)) as figure:
        axes = figure.add_subplot()
        axes.barh(range(len(names)), [importance[name] for name in names], height=0.62, color=BLUE)
        for height, name in enumerate(names):
            axes.text(importance[name] + 0.01, height, percent(round(importance[name], 2)), va="center", fontsize=8.5)
        axes.set_yticks(range(len(names)), [name.rpartition(".")[2] for name in names])
        axes.set(xlim=(0, 1.08), ylim=(-0.6, len(names) - 0.4), xticks=[])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_title("What the score hangs on")


def plot_curves(trials: Sequence[Trial], shown: set[int], path: Path) -> None:
    """Draw each trial's score after each epoch.

    Args:
        trials: with a score.
        shown: numbers of those that are named.
        path: the SVG to write.
    """
    with picture(path, width=8, height=4.2) as figure:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        for trial in sorted(trials, key=lambda trial: trial.number in shown):
            is_shown = trial.number in shown
            epochs, scores = zip(*sorted(trial.scores.items()), strict=True)
            colour = BLUE if is_shown else GREY
            axes.plot(epochs, scores, marker="o", color=colour, alpha=1 if is_shown else 0.45, linewidth=2 if is_shown else 1.2)
            if is_shown:
                axes.annotate(
                    str(trial.number), (epochs[-1], scores[-1]), xytext=(5, -3), textcoords="offset points", fontsize=8.5
                )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        _write_scores(axes, min(min(trial.scores.values()) for trial in trials))
        axes.set_title("Score on val, finalists in blue")


_HALO = {"facecolor": "white", "pad": 1, "linewidth": 0, "alpha": 0.8}


def _height(value: Any, choice: Choice) -> float:
    """Give where a value stands on its axis, from 0 to 1; what was not chosen stands below."""
    if value is None:
        return -0.18
    if isinstance(choice, Interval):
        low, high, found = np.array([choice.low, choice.high, value], float)
        if choice.is_log:
            low, high, found = np.log([low, high, found])
        return float((found - low) / (high - low))
    values = [list(known) if isinstance(known, tuple) else known for known in choice.values]
    place = values.index(list(value) if isinstance(value, tuple) else value)
    return place / (len(values) - 1) if len(values) > 1 else 0.5


def _ticks(choice: Choice) -> list[tuple[float, str]]:
    values = (choice.low, choice.high) if isinstance(choice, Interval) else choice.values
    return [(_height(value, choice), f"{value:.3g}" if isinstance(value, float) else str(value)) for value in values]


def _front(costs: NDArray[np.float64], scores: NDArray[np.float64]) -> list[int]:
    """Give, cheapest first, those that score more than all that cost no more."""
    front, best = [], -np.inf
    for i in np.lexsort((-scores, costs)):
        if scores[i] > best:
            front.append(int(i))
            best = scores[i]
    return front


def _write_scores(axes: "Axes", least: float) -> None:
    """Write scores as shares, unless they are losses, whose scores are less than 0."""
    if least >= 0:
        axes.yaxis.set_major_formatter(percent)


def _score(value: float) -> str:
    return f"{value:.2%}" if value >= 0 else f"{value:.4f}"
