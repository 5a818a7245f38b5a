"""What a run came to, as one page that is readable with no network: scores, mistakes, calibration, the network along time."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from models.config import Task
from models.through_time import Direction
from pipeline.calibration import NUM_BINS, accuracy_by_coverage, calibration_error, reliability, silence_below
from pipeline.judged import Judged
from pipeline.mistakes import MAX_LETTERS, Pair, begin_text, most_confused, pair_labels, show_text, show_word, worst
from pipeline.plots import plot_learning_curves
from pipeline.report_plots import plot_coverage, plot_reliability
from pipeline.scores import LabelRow
from pipeline.scoring import Split, known_words
from pipeline.slices import Cut, cut_by_ambiguity, cut_by_label_share, cut_by_length, cut_by_novelty, cut_by_unknown_share
from pipeline.time_report import report_time

PAGE = "report.html"
INT8 = "_int8"
"""What the names of scores end in where the model answers in whole numbers."""


@dataclass(frozen=True)
class Findings:
    """All that the page tells.

    Attributes:
        pipeline: its name.
        task: of the main target.
        about: the network in a sentence.
        floor: the cheap way that the model is compared with, in words.
        facts: where the model comes from: a few words -> a few words.
        metrics: name -> score, as they are tracked.
        sizes: split -> its `examples` and `steps`.
        flaws: what is suspicious in the data: the `split`, the `text`, the `places`.
        history: a row per epoch.
        best_epoch: the one whose weights were kept.
        diagram: the unrolled network, an SVG.
        judged: the main target's labels of the test split.
        train, test: the splits themselves.
        labels: each label's scores.
        further: further target -> each label's scores.
        directions: the network along time.
        bptt_steps: steps after which training cuts the gradient; None where it does not.
    """

    pipeline: str
    task: Task
    about: str
    floor: str
    facts: dict[str, str]
    metrics: dict[str, float]
    sizes: dict[str, dict[str, int]]
    flaws: list[dict[str, Any]]
    history: list[dict[str, float]]
    best_epoch: int
    diagram: str
    judged: Judged
    train: Split
    test: Split
    labels: list[LabelRow]
    further: dict[str, list[LabelRow]]
    directions: list[Direction]
    bptt_steps: int | None = None

    @property
    def has_words(self) -> bool:
        """Whether the labels are those of words."""
        return self.task == "tagging" and self.test.values is None

    @property
    def noun(self) -> str:
        """Name what has a label."""
        if self.test.values is not None:
            return "step" if self.task == "tagging" else "sequence"
        return "word" if self.task == "tagging" else "text"

    @property
    def whole(self) -> str:
        """Name what the network reads from one end to the other."""
        return "sequence" if self.test.values is not None else "sentence" if self.task == "tagging" else "text"


@dataclass(frozen=True)
class Score:
    """A row of the first table; None where the score has no such value."""

    name: str
    value: float
    floor: float | None
    int8: float | None


@dataclass(frozen=True)
class Field:
    """A field of the confusion table; its share is that of the gold label's row."""

    pair: Pair
    key: str
    share: float


def write_report(found: Findings, path: Path) -> None:
    """Write the page; it asks nothing of any network, and runs no script.

    Args:
        found: what to tell; one label at least was judged.
        path: where to.
    """
    pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"share": _show_share, "number": _show_number, "short": _shorten, "name": _name_score}
    page = pages.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    with TemporaryDirectory() as folder:
        draw = _Pictures(Path(folder)).draw
        text = page.render(
            found=found,
            scores=list_scores(found.metrics),
            curves=draw(partial(plot_learning_curves, found.history, found.best_epoch)),
            diagram=Markup(found.diagram),
            **_tell_mistakes(found),
            cuts=cut_all(found),
            **_tell_calibration(found.judged, draw),
            time=report_time(found.directions, draw, cut=found.bptt_steps),
        )
    path.write_text(text, encoding="utf-8")


class _Pictures:
    """Draws into files of a folder, as the plots ask for, and gives what they hold."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0

    def draw(self, plot: Callable[[Path], None]) -> Markup:
        self._number += 1
        path = self._folder / f"{self._number}.svg"
        plot(path)
        svg = path.read_text(encoding="utf-8")
        return Markup(svg[svg.index("<svg") :])


def list_scores(metrics: dict[str, float]) -> list[Score]:
    """Put each score of the test split beside the floor's and that in whole numbers, where there are such."""
    own = {name.removeprefix("test/"): value for name, value in metrics.items()}
    names = [name for name in own if not name.startswith("floor_") and not name.endswith(INT8)]
    return [Score(name, own[name], own.get(f"floor_{name}"), own.get(name + INT8)) for name in names]


def cut_all(found: Findings) -> list[Cut]:
    """Cut the labels by all that may make them hard, as far as the corpus tells it."""
    judged, train, test = found.judged, found.train, found.test
    cuts = [cut_by_length(judged, test.lengths, "step" if test.values is not None else "word")]
    if found.has_words:
        cuts.append(cut_by_novelty(judged, test.tokens, known_words(train)))
        cuts.append(cut_by_ambiguity(judged, test.tokens, train.tokens, train.labels))
    elif test.values is None:
        cuts.append(cut_by_unknown_share(judged, test.tokens, known_words(train)))
    return [*cuts, cut_by_label_share(judged, train.flat_labels)]


def lay_out(pairs: list[Pair], labels: list[str], support: Counter[str]) -> list[list[Field | None]]:
    """Lay pairs of labels out as a table, gold labels in rows.

    Args:
        pairs: none twice.
        labels: of the rows and columns.
        support: how often each is right.
    """
    place = {label: number for number, label in enumerate(labels)}
    rows: list[list[Field | None]] = [[None] * len(labels) for _ in labels]
    for pair in pairs:
        row, column = place[pair.gold], place[pair.predicted]
        rows[row][column] = Field(pair, f"{row}-{column}", pair.count / support[pair.gold])
    return rows


def _tell_mistakes(found: Findings) -> dict[str, Any]:
    judged, tokens = found.judged, found.test.tokens
    labels = most_confused(judged)
    pairs = pair_labels(judged, labels, partial(show_word if found.has_words else show_text, judged, tokens))

    def show(place: int) -> str:
        words = tokens[judged.examples[place]]
        return words[judged.places[place]] if found.has_words else begin_text(words)

    num_labels = len({*judged.gold, *judged.predicted})
    grid = lay_out(pairs, labels, Counter(judged.gold))
    fields = sorted((field for row in grid for field in row if field and field.pair.excerpts), key=_by_interest)
    return {"confused": labels, "num_labels": num_labels, "grid": grid, "fields": fields, "failures": worst(judged, show)}


def _by_interest(field: Field) -> tuple[bool, int, str]:
    return field.pair.gold == field.pair.predicted, -field.pair.count, field.key


def _tell_calibration(judged: Judged, draw: Callable[[Callable[[Path], None]], Markup]) -> dict[str, Any]:
    likely, is_right = judged.probabilities, judged.is_right
    bins = reliability(likely, is_right)
    return {
        "bins": bins,
        "num_bins": NUM_BINS,
        "error": calibration_error(bins),
        "thresholds": silence_below(likely, is_right),
        "reliability": draw(partial(plot_reliability, bins)),
        "coverage": draw(partial(plot_coverage, *accuracy_by_coverage(likely, is_right))),
    }


def _show_share(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{100 * value:.{digits}f} %"


def _show_number(value: float | None) -> str:
    """Write what may be tiny or infinite."""
    if value is None:
        return ""
    return "∞" if value == float("inf") else f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"


def _name_score(name: str) -> str:
    return name.replace("_", " ").replace("f1", "F1")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…"
