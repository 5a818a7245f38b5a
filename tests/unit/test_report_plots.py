"""Pictures of a report: they come out for any numbers, the same bytes each time, and a reach is a mean over enough sequences."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.calibration import Bin
from pipeline.report_plots import (
    FEWEST,
    Reach,
    average_reach,
    plot_coverage,
    plot_gradients,
    plot_half_lives,
    plot_reliability,
    plot_saturation,
)

ONE = np.array([1.0])
FADED = Reach(np.array([1.0, 0.1, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.2, 0.0]))
PLOTS = {
    "one bin": lambda path: plot_reliability([Bin(0.9, 1.0, 3, 0.95, 1.0)], path),
    "bins": lambda path: plot_reliability([Bin(0.2, 0.3, 3, 0.25, 0.0), Bin(0.9, 1.0, 9000, 0.95, 0.9)], path),
    "one answer": lambda path: plot_coverage(ONE, ONE, path),
    "gradient of one step": lambda path: plot_gradients("one", {"forward": Reach(ONE, ONE, ONE)}, path),
    "gradient that is gone": lambda path: plot_gradients("gone", {"forward": FADED, "backward": FADED}, path, cut=2),
    "gradient that explodes": lambda path: plot_gradients("far", {"forward": Reach(*(10.0 ** np.arange(60.0),) * 3)}, path),
    "one unit": lambda path: plot_saturation("one", {"forward": (ONE, 1 - ONE)}, path),
    "many units": lambda path: plot_saturation("many", dict.fromkeys(("forward", "backward"), (np.zeros(2000),) * 2), path),
    "half-lives": lambda path: plot_half_lives("$x_$ <b>", {"forward": np.array([0.0, 1.0, np.inf])}, path),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_picture_is_drawn_with_the_same_bytes_twice(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "once.svg", tmp_path / "twice.svg"):
        PLOTS[name](path)
    once, twice = (path.read_text() for path in (tmp_path / "once.svg", tmp_path / "twice.svg"))
    assert "<svg" in once and once == twice


@pytest.mark.parametrize("name", ["bins", "gradient that is gone", "gradient that explodes", "half-lives"])
def test_ticks_of_log_axes_are_readable(tmp_path: Path, name: str) -> None:
    PLOTS[name](tmp_path / "plot.svg")
    assert "mathdefault" not in (tmp_path / "plot.svg").read_text(), "formulas are not set: labels may hold a $"


def test_a_reach_is_the_mean_over_the_sequences_that_go_as_far() -> None:
    gradients = np.full((FEWEST + 1, 3), np.nan)
    gradients[:, 0] = 1
    gradients[:FEWEST, 1] = np.arange(FEWEST)
    gradients[:2, 2] = 7
    assert average_reach(gradients).mean == pytest.approx([1, np.arange(FEWEST).mean()])


def test_a_few_sequences_reach_as_far_as_all_of_them_go() -> None:
    reach = average_reach(np.array([[1.0, 0.5, 0.1], [1.0, 0.3, np.nan]]))
    assert reach.mean == pytest.approx([1, 0.4]) and len(reach.low) == len(reach.high) == 2


def test_the_band_holds_the_middle_four_fifths() -> None:
    reach = average_reach(np.arange(101.0)[:, None])
    assert (reach.low[0], reach.high[0]) == pytest.approx((10, 90))
