"""What `unroll run` would do, about how long it would take, and how much memory: measured on a few steps, nothing changed.

The corpus is prepared and encoded for that, in a temporary folder; what is not here is not fetched.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from models.config import Sizes
from pipeline.config import PathSource, Source, UrlSource, WheelSource
from pipeline.examples import Examples
from pipeline.footprint import estimate_bytes
from pipeline.job import Job, make_job
from pipeline.layout import Layout
from pipeline.loop import evaluate, fit
from pipeline.memory import free_bytes
from pipeline.messages import StepResult
from pipeline.rehearsal import Here, num_workers_here, rehearse
from pipeline.run import STAGES
from pipeline.scratch import Work, find_raw, link_raw

logger = logging.getLogger(__name__)

WARM_UP_STEPS = 3
TIMED_STEPS = 20
_TIMED_EXAMPLES = 500
"""Of val at most, evaluated to see how long that takes."""
_START_SECONDS = {"train": 12.0, "evaluate": 8.0}
"""What the stages take besides their work: Ray and its workers, imports, pictures and the page; on a laptop."""


@dataclass(frozen=True)
class Pace:
    """How fast this machine trains: seconds of a step, and seconds that one evaluated example takes, with all workers."""

    step_seconds: float
    example_seconds: float
    num_steps: int


@dataclass(frozen=True)
class Row:
    """A stage, what it would do, and about how many seconds and bytes it would take; None where that is not known."""

    stage: str
    what: str
    seconds: float | None = None
    memory: str = ""


def run(work: Work) -> None:
    """Print a table of the stages.

    Raises:
        UnrollError: what a stage that prepares or encodes ends with; the params do not fit the corpus.
    """
    with TemporaryDirectory(prefix="unroll-") as folder:
        rows = _look(work, Path(folder).resolve())
    table = Table(
        title=f"unroll run -p {work.layout.pipeline}, in {work.layout.work_dir}, on this machine; nothing is changed yet",
        title_justify="left",
    )
    for heading in ("stage", "what", "about", "memory"):
        table.add_column(heading, justify="right" if heading in ("about", "memory") else "left")
    for row in rows:
        table.add_row(row.stage, row.what, "" if row.seconds is None else say_seconds(row.seconds), row.memory)
    known = [row.seconds for row in rows if row.seconds is not None]
    table.add_section()
    table.add_row(
        "all", "" if len(known) == len(rows) else "of what is known", say_seconds(sum(known)), f"free {free_bytes() / 1e9:.1f} GB"
    )
    Console(highlight=False).print(table)


def _look(work: Work, folder: Path) -> list[Row]:
    raw_dir = find_raw(work)
    afar = [source for source in work.sources if not isinstance(source, PathSource)]
    if raw_dir is None and afar:
        unknown = "not known before the corpus is here"
        return [Row("fetch", "to be fetched: " + "; ".join(map(say_source, afar)))] + [
            Row(stage, unknown) for stage in ("prepare", "encode", "train", "evaluate")
        ]
    there = replace(work, layout=Layout(work.layout.pipeline, folder / "data", folder))
    fetched = Row("fetch", f"linked from {raw_dir or say_source(work.corpus.source)}", 0.0)
    if raw_dir is not None:
        link_raw(raw_dir, there)
    else:
        STAGES["fetch"](there)
    prepared, encoded = (_timed(STAGES[name], there) for name in ("prepare", "encode"))
    summary = json.loads((there.layout.prepared_dir / "summary.json").read_text(encoding="utf-8"))
    counts = ", ".join(f"{name} {summary[name]['examples']:,}" for name in ("train", "val", "test"))
    vocab = json.loads((there.layout.encoded_dir / "summary.json").read_text(encoding="utf-8"))["sizes"]
    return [
        fetched,
        Row("prepare", f"examples: {counts}", prepared),
        Row(
            "encode", f"{vocab['num_words']:,} words, {vocab['num_chars']:,} characters, {vocab['num_labels']:,} labels", encoded
        ),
        *_look_at_training(there, summary, Sizes.load(vocab), folder),
    ]


def _timed(stage: Callable[[Work], None], work: Work) -> float:
    begun = time.monotonic()
    stage(work)
    return time.monotonic() - begun


def _look_at_training(work: Work, summary: dict[str, dict[str, int]], sizes: Sizes, folder: Path) -> list[Row]:
    job = make_job(work.params.model, work.params.train, replace(work.scaling, storage=None), work.layout)
    num_workers = num_workers_here(work.scaling)
    pace = measure(job, num_workers, folder / "pace.json")
    train = Examples.open(work.layout.encoded_dir, "train")
    needed = estimate_bytes(job, sizes, train)
    epoch = pace.num_steps * pace.step_seconds + summary["val"]["examples"] * pace.example_seconds
    speed = float(train.offsets[-1]) / (pace.num_steps * pace.step_seconds)
    workers = "1 worker" if num_workers == 1 else f"{num_workers} workers"
    what = f"{workers}, at most {job.train.epochs} epochs of {pace.num_steps:,} steps, {speed:,.0f} words/s"
    memory = f"{num_workers} x {needed / 1e9:.1f} GB" + (", more than is free" if num_workers * needed > free_bytes() else "")
    test = summary["test"]["examples"]
    evaluated = _START_SECONDS["evaluate"] + 2 * test * num_workers * pace.example_seconds  # once more in whole numbers
    return [
        Row("train", what, _START_SECONDS["train"] + job.train.epochs * epoch, memory),
        Row("evaluate", f"{test:,} examples of test", evaluated),
    ]


def measure(job: Job, num_workers: int, path: Path) -> Pace:
    """Time some steps of a training in so many workers; `path` is where they leave what they found."""
    rehearse(job, num_workers, look, path)
    return Pace(**json.loads(path.read_text(encoding="utf-8")))


def look(here: Here, path: Path) -> None:
    """Time one worker's steps, and its part of an evaluation; the first tells."""
    seconds, num_steps, last = list[float](), 0, time.perf_counter()
    results = fit(here.training, here.train, here.val, here.bio, here.device)
    for result in islice(results, WARM_UP_STEPS + TIMED_STEPS):
        now = time.perf_counter()
        if isinstance(result, StepResult):
            seconds.append(now - last)
            num_steps = result.num_steps
        last = now
    timed = seconds[WARM_UP_STEPS:] or seconds
    some = np.linspace(0, len(here.val) - 1, min(_TIMED_EXAMPLES, len(here.val))).astype(np.int64)
    val = here.val.take(some)
    begun = time.perf_counter()
    evaluate(here.training.network, val, here.bio, here.device)
    pace = Pace(sum(timed) / len(timed), (time.perf_counter() - begun) / len(some), num_steps)
    if here.rank == 0:
        path.write_text(json.dumps(asdict(pace)), encoding="utf-8")


def say_source(source: Source) -> str:
    """Say where a corpus is to come from, and how much."""
    match source:
        case UrlSource():
            size = sum(file.bytes for file in source.files.values()) / 1e6
            return f"{size:.1f} MB from {source.base}"
        case WheelSource():
            return f"{', '.join(Path(member).name for member in source.members)} of the package {source.package}"
        case PathSource():
            return source.path


def say_seconds(seconds: float) -> str:
    """Say a time with as many digits as an estimate has."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s" if seconds else "0 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
