"""Pictures: they come out for any number of labels, the same bytes each time, and leave matplotlib as it was."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.plots import plot_confusion, plot_label_f1, plot_learning_curves
from pipeline.scores import LabelRow

PNG = b"\x89PNG\r\n\x1a\n"


def some_labels(num_labels: int) -> list[str]:
    return [f"label_{index}" for index in range(num_labels)]


def some_counts(num_labels: int) -> NDArray[np.int64]:
    return np.arange(num_labels**2).reshape(num_labels, num_labels) % 5 + 20 * np.eye(num_labels, dtype=np.int64)


def some_rows(num_labels: int) -> list[LabelRow]:
    return [
        LabelRow(label=label, precision=0.5, recall=0.5, f1=index / num_labels, support=index)
        for index, label in enumerate(some_labels(num_labels))
    ]


def some_history(num_epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 2 / epoch, "val/accuracy": 1 - 1 / epoch, "lr": 0.1}
        for epoch in range(1, num_epochs + 1)
    ]


@pytest.mark.parametrize("num_labels", [1, 6, 80])
def test_confusions_are_drawn_with_the_same_bytes_twice(tmp_path: Path, num_labels: int) -> None:
    paths = [tmp_path / "once.png", tmp_path / "twice.png"]
    for path in paths:
        plot_confusion(some_counts(num_labels), some_labels(num_labels), path)
    once, twice = (path.read_bytes() for path in paths)
    assert once.startswith(PNG) and once == twice


@pytest.mark.parametrize("num_labels", [1, 6, 80])
def test_label_bars_are_drawn_with_the_same_bytes_twice(tmp_path: Path, num_labels: int) -> None:
    paths = [tmp_path / "once.png", tmp_path / "twice.png"]
    for path in paths:
        plot_label_f1(some_rows(num_labels), path)
    once, twice = (path.read_bytes() for path in paths)
    assert once.startswith(PNG) and once == twice


@pytest.mark.parametrize("num_epochs", [1, 30])
def test_learning_curves_are_drawn_with_the_same_bytes_twice(tmp_path: Path, num_epochs: int) -> None:
    paths = [tmp_path / "once.png", tmp_path / "twice.png"]
    for path in paths:
        plot_learning_curves(some_history(num_epochs), 1, path)
    once, twice = (path.read_bytes() for path in paths)
    assert once.startswith(PNG) and once == twice


def test_a_history_without_losses_is_drawn(tmp_path: Path) -> None:
    plot_learning_curves([{"epoch": 1, "val/accuracy": 0.5}], 1, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)


def test_the_best_epoch_changes_the_picture(tmp_path: Path) -> None:
    plot_learning_curves(some_history(3), 1, tmp_path / "early.png")
    plot_learning_curves(some_history(3), 3, tmp_path / "late.png")
    assert (tmp_path / "early.png").read_bytes() != (tmp_path / "late.png").read_bytes()


def test_labels_without_errors_leave_a_picture_of_the_most_confused_as_it_is(tmp_path: Path) -> None:
    counts = np.kron(np.eye(40, dtype=int), np.array([[9, 1], [1, 9]]))
    counts[60:, 60:] = 9 * np.eye(20, dtype=int)
    plot_confusion(counts, some_labels(80), tmp_path / "some.png")
    counts[60:, 60:] *= 2
    plot_confusion(counts, some_labels(80), tmp_path / "more.png")
    assert (tmp_path / "some.png").read_bytes() == (tmp_path / "more.png").read_bytes()


def test_a_gold_label_that_never_occurs_is_drawn(tmp_path: Path) -> None:
    plot_confusion(np.array([[0, 0], [1, 2]]), ["never", "often"], tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(PNG)


def test_labels_with_dollars_and_unknown_signs_are_drawn(tmp_path: Path) -> None:
    plot_confusion(np.eye(2, dtype=int), ["$x_$", "名" * 60], tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes().startswith(PNG)


def test_a_users_own_settings_change_nothing(tmp_path: Path) -> None:
    plot_label_f1(some_rows(2), tmp_path / "plain.png")
    with matplotlib.rc_context({"font.size": 30, "savefig.facecolor": "red"}):
        plot_label_f1(some_rows(2), tmp_path / "loud.png")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "loud.png").read_bytes()


def test_drawing_leaves_matplotlibs_settings_as_they_were(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 30}):
        plot_label_f1(some_rows(2), tmp_path / "bars.png")
        assert matplotlib.rcParams["font.size"] == 30


def test_drawing_never_imports_pyplot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plot_learning_curves(some_history(2), 2, tmp_path / "curves.png")
    assert "matplotlib.pyplot" not in sys.modules
