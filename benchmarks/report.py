"""Measured values as a table for people, markdown for RESULTS.md, a chart, and JSON for programs."""

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.table import Table as RichTable

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

INK, OURS_COLOUR, OTHER_COLOUR = "#333333", "#1f5fa8", "#a9b4c0"


@dataclass
class Rows:
    """One thing measured, for several contenders.

    Attributes:
        title: what was measured.
        unit: of the values.
        values: contender -> a value per round, in the order of rounds.
        digits: after the point, where they are shown.
    """

    title: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    digits: int = 0

    def add(self, contender: str, values: list[float]) -> None:
        """Add the median of what one round gave, if it gave anything."""
        if values:
            self.values.setdefault(contender, []).append(statistics.median(values))

    def median(self, contender: str) -> float | None:
        return statistics.median(self.values[contender]) if self.values.get(contender) else None

    def ratio(self, contender: str, base: str) -> float | None:
        """Give the median over the rounds of one contender's value over another's in the same round."""
        if not (self.values.get(contender) and self.values.get(base)):
            return None
        return statistics.median(a / b for a, b in zip(self.values[contender], self.values[base], strict=False))

    def cells(self, contender: str, ours: str) -> list[str]:
        """Give a line of the table: contender, median, lowest to highest, ours over it, rounds."""
        values, ratio = self.values[contender], self.ratio(ours, contender)
        shown = [f"{value:,.{self.digits}f}" for value in (statistics.median(values), min(values), max(values))]
        return [contender, shown[0], f"{shown[1]} to {shown[2]}", f"{ratio:.2f}" if ratio else "", str(len(values))]

    def summary(self) -> dict[str, object]:
        return {
            "unit": self.unit,
            **{
                name: {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}
                for name, values in self.values.items()
            },
        }


HEADINGS = ("", "median", "lowest to highest", "ours over it", "rounds")


def show(tables: list[Rows], ours: str) -> None:
    console = Console(width=110, highlight=False)
    for rows in tables:
        table = RichTable(title=f"{rows.title}, {rows.unit}", title_justify="left", min_width=78)
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left")
        for contender in rows.values:
            table.add_row(*rows.cells(contender, ours), style="bold" if contender == ours else "")
        console.print(table)


def markdown(tables: list[Rows], ours: str, heading: str, lead: str) -> str:
    """Write a section of RESULTS.md."""
    parts = [f"## {heading}\n", f"{lead}\n", f"| measured | {' | '.join(HEADINGS)} |".replace("|  |", "| who |")]
    parts.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for rows in tables:
        parts += [f"| {rows.title}, {rows.unit} | {' | '.join(rows.cells(name, ours))} |" for name in rows.values]
    return "\n".join(parts) + "\n"


def chart(tables: list[Rows], ours: str, path: Path) -> None:
    """Draw a panel per thing measured: a bar per contender, a line from the lowest to the highest round."""
    columns = 2
    lines = -(-len(tables) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(11, 0.6 + 2.0 * lines), squeeze=False, layout="constrained")
    for panel, rows in zip(panels.flat, tables, strict=False):
        _draw(panel, rows, ours)
    for panel in list(panels.flat)[len(tables) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw(panel: Axes, rows: Rows, ours: str) -> None:
    names = list(rows.values)
    medians = [statistics.median(rows.values[name]) for name in names]
    spread = [
        [median - min(rows.values[name]) for name, median in zip(names, medians, strict=True)],
        [max(rows.values[name]) - median for name, median in zip(names, medians, strict=True)],
    ]
    colours = [OURS_COLOUR if name == ours else OTHER_COLOUR for name in names]
    panel.barh(names, medians, xerr=spread, color=colours, height=0.62, error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2})
    most = max(max(rows.values[name]) for name in names)
    for place, (name, median) in enumerate(zip(names, medians, strict=True)):
        at = max(rows.values[name]) + 0.015 * most
        panel.text(at, place, f"{median:,.{rows.digits}f}", va="center", fontsize=9, color=INK)
    panel.set_xlim(0, most * 1.18)
    panel.set_title(f"{rows.title}, {rows.unit}", loc="left", fontsize=10, color=INK)
    panel.invert_yaxis()
    panel.xaxis.set_visible(False)
    panel.spines[["top", "right", "bottom"]].set_visible(False)
    panel.tick_params(left=False, labelsize=9, labelcolor=INK)
