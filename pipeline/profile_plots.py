"""Where the time of a training step goes, as a picture: its parts end to end, and its dearest operators as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.plots import BLUE, GREEN, GREY, ORANGE, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY)
_LEAST_NAMED = 0.08
"""Share of a step from which a part's share is written into it."""


@dataclass(frozen=True)
class Operator:
    """One of torch's operators: calls and milliseconds a step, without what it calls."""

    name: str
    calls: float
    milliseconds: float


@dataclass(frozen=True)
class StepTimes:
    """Milliseconds of a step, by part, and its dearest operators; both the dearest first."""

    parts: Mapping[str, float]
    operators: Sequence[Operator]

    @property
    def total(self) -> float:
        """Milliseconds of all parts."""
        return sum(self.parts.values())


def plot_step(times: StepTimes, title: str, path: Path) -> None:
    """Draw the parts of a step as one bar, and its operators below.

    Args:
        times: of a step; one part at least.
        title: of the picture.
        path: the SVG or PNG to write.
    """
    with picture(path, width=10, height=2.4 + 0.28 * len(times.operators)) as figure:
        above, below = figure.subplots(2, 1, height_ratios=[1.1, max(1.0, 0.28 * len(times.operators))])
        figure.subplots_adjust(hspace=0.5)
        _draw_parts(above, times)
        above.set_title(title, pad=46)
        _draw_operators(below, times)


def _draw_parts(axes: "Axes", times: StepTimes) -> None:
    left = 0.0
    for number, (name, milliseconds) in enumerate(times.parts.items()):
        colour, share = _COLOURS[number % len(_COLOURS)], milliseconds / times.total
        axes.barh(0, milliseconds, left=left, color=colour, label=f"{name} {milliseconds:.2f} ms", height=0.8)
        if share >= _LEAST_NAMED:
            axes.text(left + milliseconds / 2, 0, f"{share:.0%}", ha="center", va="center", color="white", fontweight="bold")
        left += milliseconds
    axes.set(xlim=(0, times.total), xlabel="ms")
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, handlelength=1)


def _draw_operators(axes: "Axes", times: StepTimes) -> None:
    names = [f"{it.name}  ({it.calls:.1f} calls)" for it in times.operators]
    places = range(len(names))[::-1]
    axes.barh(places, [it.milliseconds for it in times.operators], height=0.7, color=GREY)
    for place, it in zip(places, times.operators, strict=True):
        axes.text(it.milliseconds, place, f" {it.milliseconds:.2f}", va="center", fontsize=8.5)
    axes.set_yticks(places, names)
    axes.set(xlabel="ms a step")
    axes.set_title("its dearest operators, without what they call")
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
