"""What a sweep came to, as one page that is readable with no network: verdict, tables, pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipeline.finals import Verdict
from pipeline.space import Choice
from pipeline.sweep_plots import plot_costs, plot_curves, plot_importance, plot_parallel
from pipeline.trials import Trial

PAGE = "report.html"


@dataclass(frozen=True)
class Findings:
    """All that the page tells.

    Attributes:
        pipeline: its name.
        monitor: the score that trials were chosen by.
        facts: what it was of and when: a few words -> a few words.
        trials: all of the search.
        choices: name -> choice.
        importance: name -> share of the scores' spread; empty where too few trials ended.
        verdict: of the finals; None without them.
        changes: what is proposed for params.yaml, as text.
    """

    pipeline: str
    monitor: str
    facts: dict[str, str]
    trials: list[Trial]
    choices: dict[str, Choice]
    importance: dict[str, float]
    verdict: Verdict | None
    changes: str


def write_report(found: Findings, folder: Path) -> None:
    """Write the page, and its pictures also as files of their own, into a folder that is made.

    Args:
        found: what to tell; one trial at least has a score.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranked = sorted((trial for trial in found.trials if trial.best is not None), key=lambda trial: -(trial.best or 0.0))
    whole = [trial for trial in ranked if trial.state == "finished"]
    finalists = found.verdict.finalists if found.verdict else []
    plot_parallel(ranked, found.choices, folder / "parallel.svg")
    plot_curves(ranked, {it.trial.number for it in finalists} or {whole[0].number}, folder / "curves.svg")
    panels: dict[str, list[tuple[float, float, str]]] = {
        "parameters": [(trial.parameters, trial.best or 0.0, str(trial.number)) for trial in whole],
        "seconds of training": [(trial.seconds, trial.best or 0.0, str(trial.number)) for trial in whole],
    }
    if finalists:
        panels[SPEED] = [(it.words_per_second, it.mean, str(it.trial.number)) for it in finalists]
    plot_costs(panels, folder / "costs.svg", more_is_better={SPEED})
    if found.importance:
        plot_importance(found.importance, folder / "importance.svg")
    pictures = {path.stem: Markup(_without_head(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.svg"))}
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    )
    unranked = [trial for trial in found.trials if trial.best is None]
    keys = list(dict.fromkeys(name for trial in found.trials for name in trial.chosen))
    text = page.render(found=found, pictures=pictures, ranked=ranked + unranked, keys=keys, show=_show)
    (folder / PAGE).write_text(text, encoding="utf-8")


SPEED = "words labelled in a second"


def _show(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _without_head(svg: str) -> str:
    return svg[svg.index("<svg") :]
