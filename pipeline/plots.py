"""Pictures of a training and of its scores, as PNG files. Same input, same matplotlib, same bytes; no pyplot, no state.

Colours are Okabe and Ito's, told apart by the colour-blind. matplotlib takes a second to import, so `picture` does it.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.scores import LabelRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, GREY, FAINT = "#1F2328", "#6B7280", "#E3E6EA"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the same everywhere
    "font.size": 9.5,
    "grid.color": FAINT,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markersize": 4,
    "svg.hashsalt": "unroll",
    "text.color": INK,
    "text.parse_math": False,  # a label may hold a $
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
}
MARK: dict[str, Any] = {"color": ORANGE, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1.5}
DPI = 110  # a page shows a pixel as it is: pictures shall fit into its width
MAX_CONFUSED, MAX_COUNTED = 25, 18  # labels in a confusion picture, and in one with counts
MAX_LETTERS = 36
SHARES = [0, 0.01, 0.05, 0.2, 0.5, 1]  # ticks of the colour bar

LOSSES = {"train/loss": ("train", GREY), "val/loss": ("val", BLUE)}
SCORES = {"val/entity_f1": ("entity F1", BLUE), "val/accuracy": ("accuracy", GREEN)}  # the first there names the best


def plot_learning_curves(history: list[dict[str, float]], best_epoch: int, path: Path) -> None:
    """Draw losses and scores over epochs, the best epoch marked.

    Args:
        history: a row per epoch, from 1, with `epoch` and any of the keys of LOSSES and SCORES.
        best_epoch: the one whose weights were kept.
        path: the PNG to write.
    """
    with picture(path, width=11, height=4.2) as figure:
        loss_axes, score_axes = figure.subplots(1, 2)
        _draw_lines(loss_axes, history, LOSSES)
        _draw_lines(score_axes, history, SCORES)
        loss_axes.set_title("Loss")
        score_axes.set_title("Score on val")
        score_axes.yaxis.set_major_formatter(percent)
        key = next((key for key in SCORES if any(key in row for row in history)), None)
        if key is not None:
            best = history[best_epoch - 1]
            name, colour = SCORES[key]
            score_axes.plot(best["epoch"], best[key], "o", color=colour, markersize=9, markeredgecolor="white")
            _note(score_axes, f"best {name}: {best[key]:.2%}, epoch {best['epoch']:.0f}", ORANGE)
            for axes in (loss_axes, score_axes):
                axes.axvline(best["epoch"], **MARK)


def plot_confusion(table: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Draw how each gold label was predicted: colour is the share of its row, on a square-root scale.

    Args:
        table: (L, L) counts, gold in rows. With more than MAX_CONFUSED labels, those with most errors in their row and
            column are drawn; shares stay those of the whole row.
        labels: (L,).
        path: the PNG to write.
    """
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    num_errors = table.sum(axis=0) + table.sum(axis=1) - 2 * table.diagonal()
    shown = np.sort(np.argsort(-num_errors, kind="stable")[:MAX_CONFUSED])
    names = [_shorten(labels[index]) for index in shown]
    side = max(3.0, 0.38 * len(shown))
    with picture(path, width=side / 0.64, height=side / 0.77) as figure:
        from matplotlib.colors import PowerNorm

        axes = figure.add_subplot()
        cells = np.ix_(shown, shown)
        image = axes.imshow(shares[cells], cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
        if len(shown) <= MAX_COUNTED:
            _write_counts(axes, table[cells], shares[cells])
        _name_cells(axes, names)
        axes.set(xlabel="predicted", ylabel="gold")
        axes.set_title("Confusions")
        bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=24, ticks=SHARES, format=percent)
        bar.outline.set_visible(False)
        bar.set_label("share of the gold label")
        if len(shown) < len(labels):
            _note(axes, f"the {len(shown)} of {len(labels)} labels with most errors", GREY)


def plot_label_f1(rows: list[LabelRow], path: Path) -> None:
    """Draw a bar of F1 per label, best on top, with its support, and the unweighted mean of all.

    Args:
        rows: what `scores.label_table` gives; one at least.
        path: the PNG to write.
    """
    ranked = sorted(rows, key=lambda row: (row["f1"], row["support"], row["label"]))
    names, scores = [_shorten(row["label"]) for row in ranked], [row["f1"] for row in ranked]
    mean = sum(scores) / len(scores)
    with picture(path, width=8, height=1.3 + 0.24 * len(rows)) as figure:
        axes = figure.add_subplot()
        halo = {"color": "white", "pad": 1, "linewidth": 0}
        axes.barh(range(len(rows)), scores, height=0.68, color=BLUE)
        axes.axvline(mean, **MARK)
        for height, row in enumerate(ranked):
            axes.text(row["f1"] + 0.012, height, f"{row['f1']:.1%}", va="center", fontsize=8.5, bbox=halo)
            axes.text(1.18, height, f"{row['support']:,}", va="center", ha="right", fontsize=8.5, color=GREY)
        top = len(rows) - 0.35
        axes.text(1.18, top, "support", ha="right", va="bottom", fontsize=8.5, color=GREY)
        axes.text(mean, top, f"mean {mean:.1%}", ha="center", va="bottom", fontsize=8.5, color=ORANGE)
        axes.set_yticks(range(len(rows)), names)
        axes.set(xlim=(0, 1.18), ylim=(-0.6, len(rows) - 0.4))
        axes.set_title("F1 of each label", pad=22)
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
        axes.xaxis.set_major_formatter(percent)
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_bounds(0, 1)


@contextmanager
def picture(path: Path, *, width: float, height: float) -> Iterator["Figure"]:
    """Give an empty figure, in inches, and write it to `path`, a PNG or SVG, at the end, whatever a user's own matplotlibrc says.

    What sticks out, long labels above all, widens the picture: the sizes are those of the axes and usual margins.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box for a sign that the font lacks
        figure = Figure(figsize=(width, height))
        yield figure
        nameless = {"png": {"Software": None}, "svg": {"Date": None}}[path.suffix[1:]]
        figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15, metadata=nameless)


def _draw_lines(axes: "Axes", history: list[dict[str, float]], lines: dict[str, tuple[str, str]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for key, (name, colour) in lines.items():
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
    if axes.lines:
        axes.legend()
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def _note(axes: "Axes", text: str, colour: str) -> None:
    axes.set_title(text, loc="right", color=colour, fontsize=9.5, fontweight="normal")


def _name_cells(axes: "Axes", names: list[str]) -> None:
    """Write labels at rows and columns, those upright where they would touch, and draw white lines between cells."""
    is_tight = max(map(len, names)) * len(names) > 24
    axes.set_xticks(range(len(names)), names, rotation=90 if is_tight else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _write_counts(axes: "Axes", table: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(table):
        colour = "white" if shares[row, column] > 0.3 else INK
        axes.text(column, row, f"{table[row, column]}", ha="center", va="center", color=colour, fontsize=7)


def percent(value: float, _position: Any = None) -> str:
    """Write a share."""
    return f"{100 * value:.3g}%"


def _shorten(label: str) -> str:
    """Keep both ends of a long label: what tells it from its neighbours is often the last word."""
    half = MAX_LETTERS // 2
    return label if len(label) <= MAX_LETTERS else f"{label[:half]}…{label[1 - half :]}"
