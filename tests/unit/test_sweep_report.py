"""The page of a sweep: it needs no network, tells all trials, and no name in it is read as HTML."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.finals import Finalist, Verdict
from pipeline.space import Interval, Values
from pipeline.sweep_plots import _front, _height
from pipeline.sweep_report import PAGE, Findings, write_report
from pipeline.trials import Trial

CHOICES = {
    "layers": Values((1, 2)),
    "model.cell": Values(("lstm", "gru")),
    "model.hidden": Values(((8,), (8, 4))),
    "train.lr": Interval(1e-4, 1e-2, is_log=True),
}
TRIALS = [
    Trial(1, {"layers": 1, "model.cell": "lstm", "train.lr": 1e-3}, 900, "finished", {1: 0.7, 2: 0.9}, 12.0),
    Trial(
        2, {"layers": 2, "model.cell": "gru", "model.hidden": [8, 4], "train.lr": 1e-4}, 700, "finished", {1: 0.8, 2: 0.85}, 9.0
    ),
    Trial(3, {"layers": 1, "model.cell": "gru", "train.lr": 1e-2}, 500, "stopped early", {1: 0.3}, 4.0),
    Trial(4, {"layers": 1, "model.cell": "gru", "train.lr": 2e-3}, 500, "failed", {}, 0.0, problem='<b>"no"</b>'),
]


def page(folder: Path, **options: object) -> str:
    values = {
        "pipeline": "pos",
        "monitor": "accuracy",
        "facts": {"trials": "4"},
        "trials": TRIALS,
        "choices": CHOICES,
        "importance": {"layers": 0.25, "train.lr": 0.75},
        "verdict": verdict(),
        "changes": "pipelines:\n  pos: {}\n",
    }
    write_report(Findings(**{**values, **options}), folder)
    return (folder / PAGE).read_text(encoding="utf-8")


def verdict(*, is_tied: bool = True) -> Verdict:
    first = Finalist(TRIALS[0], [0.89, 0.9], 0.895, 0.88, 0.91, 1.0, is_tied=True, words_per_second=1000.0)
    second = Finalist(TRIALS[1], [0.89, 0.88], 0.885, 0.87, 0.9, 0.3, is_tied, 2000.0)
    return Verdict([first, second], "accuracy")


def test_it_asks_for_nothing_from_a_network(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!#)""", text.replace('xlink:href="#', "")), "only what is in the page"
    assert "url(http" not in text and "@import" not in text and "<script" not in text
    assert text.count("<svg") == 4


def test_it_tells_every_trial_best_first(tmp_path: Path) -> None:
    table = page(tmp_path).rpartition("<h2>All trials</h2>")[2]
    assert re.findall(r"<tr><td>(\d)<td>(\d)", table) == [("1", "1"), ("2", "2"), ("3", "3"), ("4", "4")]
    assert all(state in table for state in ("finished", "stopped early", "failed", "[8, 4]"))


def test_a_name_is_never_read_as_html(tmp_path: Path) -> None:
    text = page(tmp_path, pipeline="<script>x</script>", changes="<i>")
    assert "<script>" not in text and "<b>" not in text and "<i>" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize(("is_tied", "says"), [(True, "Trials 1, 2 are tied"), (False, "Trial 1 is better than the other")])
def test_it_says_whether_the_best_is_better_than_luck(tmp_path: Path, is_tied: bool, says: str) -> None:
    assert says in page(tmp_path, verdict=verdict(is_tied=is_tied))


def test_a_lone_finalist_is_no_winner(tmp_path: Path) -> None:
    assert "Trial 1 was the only finalist" in page(tmp_path, verdict=Verdict(verdict().finalists[:1], "accuracy"))


def test_without_finals_and_with_losses_it_comes_out_as_well(tmp_path: Path) -> None:
    worse = [Trial(1, {"layers": 1}, 900, "finished", {1: -0.7}, 12.0)]
    text = page(tmp_path, trials=worse, verdict=None, importance={}, monitor="loss", choices={"layers": Values((1,))})
    assert "Finalists" not in text and "Too few trials" in text and "-0.7000" in text


def test_the_same_sweep_gives_the_same_bytes(tmp_path: Path) -> None:
    assert page(tmp_path / "a") == page(tmp_path / "b")


def test_the_front_is_what_none_beats_in_cost_and_score() -> None:
    assert _front(np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.9, 0.5, 0.4, 0.7])) == [1, 3, 0]


def test_values_stand_on_their_axis_in_order_and_what_was_not_chosen_below() -> None:
    assert [_height(value, CHOICES["train.lr"]) for value in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    assert [_height(value, CHOICES["model.hidden"]) for value in ([8], (8, 4))] == [0, 1]
    assert _height(None, CHOICES["layers"]) < 0
