"""What a person sees of a sweep in the terminal: trials under way, how each ended and how long the rest takes; then tables."""

import logging
import statistics
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table

from pipeline.finals import Verdict
from pipeline.space import EPOCHS, Chosen
from pipeline.trials import Trial

logger = logging.getLogger(__name__)


class Board:
    """Shows trials while they run: a bar each in a terminal, a line for each that ended; used as a context.

    Args:
        kind: what a trial is called here.
        num_ended: that ended before.
        num_trials: in all.
        num_epochs: of a trial that is not stopped early.
    """

    def __init__(self, kind: str, num_ended: int, num_trials: int, num_epochs: int) -> None:
        self._kind, self._num_epochs = kind, num_epochs
        self._num_before, self._num_ended, self._num_trials = num_ended, num_ended, num_trials
        self._begun, self._bars = time.monotonic(), dict[int, TaskID]()
        self._console = console()
        title = TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=len(kind) + 4))
        note = TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
        is_shown = self._console.is_terminal
        self._progress = Progress(
            title, BarColumn(bar_width=16), note, console=self._console, transient=True, expand=True, disable=not is_shown
        )
        self._whole = self._progress.add_task(f"{kind}s", total=num_trials, completed=num_ended, note=self._left())

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def on_epoch(self, trial: Trial) -> None:
        """Move a trial's bar; its first call makes it."""
        if trial.number not in self._bars:
            title = f"{self._kind} {trial.number}"
            num_epochs = trial.chosen.get(EPOCHS, self._num_epochs)
            self._bars[trial.number] = self._progress.add_task(title, total=num_epochs, note="")
        score = "" if trial.best is None else f"{trial.best:.4f}  "
        self._progress.update(self._bars[trial.number], completed=len(trial.scores), note=score + told(trial.chosen))

    def on_end(self, trial: Trial) -> None:
        """Take its bar away, and say how it ended."""
        if trial.number in self._bars:
            self._progress.remove_task(self._bars.pop(trial.number))
        self._num_ended += 1
        self._progress.update(self._whole, completed=self._num_ended, note=self._left())
        score = "no score" if trial.best is None else f"best {trial.best:.4f}"
        text = f"{self._kind} {trial.number} {trial.state} after {len(trial.scores)} epochs, {score}: {told(trial.chosen)}"
        text += f"; {self._left()}" + (f"\n  {trial.problem.splitlines()[-1]}" if trial.problem else "")
        logger.info("%s", text)

    def _left(self) -> str:
        text = f"{self._num_ended} of {self._num_trials} ended"
        num_left = self._num_trials - self._num_ended
        if not num_left or self._num_ended == self._num_before:
            return text
        each = (time.monotonic() - self._begun) / (self._num_ended - self._num_before)
        return f"{text}, about {each * num_left / 60:.0f} min left"


def show_trials(trials: Iterable[Trial], monitor: str) -> None:
    """Print all trials, best first."""
    ranked = sorted(trials, key=lambda trial: (trial.best is None, -(trial.best or 0.0)))
    rows = []
    for trial in ranked:
        score = "" if trial.best is None else f"{trial.best:.4f}"
        counts = f"{trial.parameters:,}", str(len(trial.scores)), f"{trial.seconds:.0f}", f"{trial.peak_memory / 2**20:,.0f}"
        rows.append([str(trial.number), score, *counts, trial.state])
    headings = ("trial", f"val/{monitor}", "parameters", "epochs", "seconds", "MiB", "state")
    _print("trials, best first", headings, rows, [trial.chosen for trial in ranked])
    off = sorted(trial.memory / trial.peak_memory - 1 for trial in ranked if trial.memory and trial.peak_memory)
    if off:
        span = f"{off[0]:+.0%} to {off[-1]:+.0%}, median {statistics.median(off):+.0%}"
        console().print(f"estimates of memory were off by {span}")


def show_verdict(verdict: Verdict) -> None:
    """Print the finalists, best first, with what luck may have done."""
    rows = [
        [
            str(it.trial.number),
            f"{it.mean:.4f}",
            f"{it.low:.4f} to {it.high:.4f}",
            f"{it.trial.parameters:,}",
            verdict.says(it),
        ]
        for it in verdict.finalists
    ]
    num_seeds = max(len(it.scores) for it in verdict.finalists)
    headings = ("trial", f"val/{verdict.metric}", "95 % interval", "parameters", "against the best")
    title = f"finalists, each trained anew with {num_seeds} other seeds, best first"
    _print(title, headings, rows, [it.trial.chosen for it in verdict.finalists])


def told(chosen: Chosen) -> str:
    """Say a sample in a line."""
    return ", ".join(f"{name.rpartition('.')[2]} {_short(value)}" for name, value in chosen.items())


def console() -> Console:
    """Give where a sweep prints."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _print(title: str, headings: tuple[str, ...], rows: list[list[str]], samples: list[Chosen]) -> None:
    """Print numbers and samples, a row each, in one table, or in two where the terminal is too narrow for one."""
    keys = list(dict.fromkeys(name for chosen in samples for name in chosen))
    names = tuple(name.rpartition(".")[2] for name in keys)
    cells = [[_short(chosen[name]) if name in chosen else "" for name in keys] for chosen in samples]
    shown = console()
    whole = _table(title, headings + names, [row + more for row, more in zip(rows, cells, strict=True)])
    if Measurement.get(shown, shown.options.update(width=1000), whole).maximum <= shown.width:
        shown.print(whole)
        return
    shown.print(_table(title, headings, rows))
    shown.print(_table("", headings[:1] + names, [row[:1] + more for row, more in zip(rows, cells, strict=True)]))


def _table(title: str, headings: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("state", "against the best") else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
