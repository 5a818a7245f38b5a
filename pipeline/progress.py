"""What a person sees while a network trains: a moving bar in a terminal, above it, or alone, the lines of a log."""

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.messages import EpochResult, Notice, StepResult, Trouble

logger = logging.getLogger(__name__)


def speed_bar(console: Console) -> Progress:
    """Make a bar for tasks with a `speed`, which a terminal alone shows, and only until it ends."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class TrainingDisplay:
    """Shows the steps and epochs of one training; used as a context.

    Args:
        title: what is trained.
        num_epochs: epochs at most.
        monitor: the validation score to show.
    """

    def __init__(self, title: str, num_epochs: int, monitor: str) -> None:
        self._title, self._num_epochs, self._monitor = title, num_epochs, monitor
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        self._bar = speed_bar(self._console)
        self._task = self._bar.add_task(title, total=None, speed="")
        self._noticed: set[Notice] = set()

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Log a line, which a terminal shows above the bar."""
        logger.info("%s", line)

    def on_step(self, result: StepResult) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            description=f"{self._title}: epoch {result.epoch} of {self._num_epochs}, loss {result.loss:.3f}",
            total=self._num_epochs * result.num_steps,
            completed=(result.epoch - 1) * result.num_steps + result.step,
            speed=f"{result.tokens_per_second:,.0f} words/s",
        )
        logger.debug(
            "%s: epoch %d of %d, step %d of %d, loss %.4f, %s words/s",
            *(self._title, result.epoch, self._num_epochs, result.step, result.num_steps, result.loss),
            f"{result.tokens_per_second:,.0f}",
        )

    def on_epoch(self, result: EpochResult) -> None:
        """Log an epoch's line."""
        row = result.metrics
        score = "" if self._monitor == "loss" else f"  val/{self._monitor} {row[f'val/{self._monitor}']:.4f}"
        self.say(
            f"{self._title}: epoch {result.epoch:>3} of {self._num_epochs}  train/loss {row['train/loss']:.4f}  "
            f"val/loss {row['val/loss']:.4f}{score}  {row['train/tokens_per_second']:,.0f} words/s"
            f"{'  best so far' if result.is_best else ''}"
        )

    def on_notice(self, notice: Notice) -> None:
        """Say what several workers may have to say, once."""
        if notice not in self._noticed:
            self._noticed.add(notice)
            logger.warning("%s: %s", self._title, notice.text)

    def on_trouble(self, trouble: Trouble) -> None:
        """Say what happened, and that it goes on."""
        logger.warning("%s: %s; all workers start again from the last checkpoint", self._title, trouble.text)
