"""encoded -> model: data-parallel training on Ray, one MLflow run, checkpoints that outlive an interruption.

Every worker runs `pipeline.worker`. Its first process tells what happens to this one, which alone shows it and tracks it.
Checkpoints stand outside DVC's outputs, in a folder named by a hash of all that the training depends on, so that `dvc repro`
after an interruption goes on where it was, in the same run, and other params begin anew.

What takes seconds happens side by side: Ray starts while this process imports torch and Ray Train, and MLflow while the workers
start.
"""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

from models.config import ModelConfig
from pipeline.cluster import connected
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.job import Job, make_job
from pipeline.layout import Layout
from pipeline.messages import Emit, EpochResult, Messages, StepResult
from pipeline.progress import TrainingDisplay
from pipeline.tracking import Run, git_commit

_POLL_SECONDS = 0.2
_EPOCH_METRIC = "train/loss"
"""Logged once for every epoch, so that its steps tell which epochs were tracked."""


def run(model: ModelConfig, train: TrainConfig, scaling: ScalingConfig, layout: Layout) -> None:
    """Train one pipeline's network and write its model folder.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
        DivergedError: the loss is no longer a number.
        InfrastructureError: workers died more often than `scaling.max_failures` allows.
    """
    job = make_job(model, train, scaling, layout)
    with ExitStack() as stack:
        messages, progress = Messages(job.messages_path), _progress(job)
        training = None if job.final_dir.exists() else _start(job, scaling, stack)
        tracked = open_run(job, layout.pipeline)
        monitor = tracked.watch_system()
        try:
            with TrainingDisplay(layout.pipeline, train.epochs, train.monitor) as display:
                if progress is not None:
                    track_missing(tracked, progress["history"])
                    place = f"epoch {progress['epoch'] + 1} after step {progress['step']}"
                    display.say(f"goes on in {place}, in run {tracked.run_id}")
                if training is not None:
                    _follow(training, messages, Listener(tracked, display))
            track_missing(tracked, _history(job))
        except BaseException as error:
            tracked.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        finally:
            monitor.finish()
    write_model(job, tracked, layout.model_dir)
    tracked.end()
    shutil.rmtree(layout.checkpoint_dir)


def _progress(job: Job) -> dict[str, Any] | None:
    """Say how far a training has come that was interrupted; None where it begins."""
    if not any(job.checkpoint_dir.glob("step-*")):
        return None
    from pipeline.checkpoint import newest_checkpoint

    found = newest_checkpoint(job.checkpoint_dir)
    return None if found is None else found[1]


def _history(job: Job) -> list[dict[str, float]]:
    """Give the metrics of all epochs of a finished training."""
    from pipeline.checkpoint import load_checkpoint

    return load_checkpoint(job.final_dir)[1]["history"]


def _start(job: Job, scaling: ScalingConfig, stack: ExitStack) -> "Future[None]":
    """Start Ray, which the end of `stack` ends, and a training on it in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        importing = pool.submit(_import_trainer)
        stack.enter_context(connected(least_cpus=(scaling.num_workers or 1) * scaling.cpus_per_worker))
        trainer = importing.result()
    job.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    training: Future[None] = Future()
    Thread(target=_fulfil, args=(training, trainer.fit, job, scaling), daemon=True).start()
    return training


def _import_trainer() -> ModuleType:
    from pipeline import trainer

    return trainer


def _fulfil(future: "Future[None]", fit: Callable[[Job, ScalingConfig], None], job: Job, scaling: ScalingConfig) -> None:
    try:
        fit(job, scaling)
        future.set_result(None)
    except BaseException as error:
        future.set_exception(error)


def _follow(training: "Future[None]", messages: Messages, listen: Emit) -> None:
    """Pass on every message until a training has ended, and raise what it ended with."""
    while not training.done():
        wait([training], timeout=_POLL_SECONDS)
        for message in messages.take():
            listen(message)
    for message in messages.take():
        listen(message)
    training.result()


def open_run(job: Job, pipeline: str, parent: str | None = None) -> Run:
    """Take up the run of an interrupted training, or begin one; its id is kept beside the checkpoints."""
    path = job.checkpoint_dir / "run.json"
    if path.exists():
        found = Run.find(json.loads(path.read_text(encoding="utf-8"))["run_id"])
        if found is not None:
            return found
    params = {"model": asdict(job.model), "train": asdict(job.train)}
    tags = {"pipeline": pipeline, "git_commit": git_commit(), "training_key": job.checkpoint_dir.name}
    begun = Run.start(pipeline, f"{pipeline}-{job.checkpoint_dir.name[:6]}", params, tags, parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run_id": begun.run_id}), encoding="utf-8")
    return begun


def write_model(job: Job, tracked: Run, model_dir: Path) -> None:
    """Make the model folder of a finished training: its weights, vocabularies, history and run id."""
    from pipeline.checkpoint import load_checkpoint, save_checkpoint

    weights, meta = load_checkpoint(job.final_dir)
    save_checkpoint(model_dir, weights, {**meta, "run_id": tracked.run_id}, job.encoded_dir / "vocab.json")


class Listener:
    """Takes what worker 0 sends: shows every step now and then, tracks every epoch once."""

    def __init__(self, tracked: Run, display: TrainingDisplay) -> None:
        self._tracked, self._display = tracked, display
        self._epochs = tracked.steps(_EPOCH_METRIC)

    def __call__(self, result: StepResult | EpochResult) -> None:
        """Take one message, in the order they were sent."""
        if isinstance(result, StepResult):
            self._display.on_step(result)
        else:
            self._display.on_epoch(result)
            if result.epoch not in self._epochs:
                self._tracked.log(result.metrics, step=result.epoch)
                self._epochs.add(result.epoch)


def track_missing(tracked: Run, history: list[dict[str, float]]) -> None:
    """Track the epochs that were trained while nobody listened."""
    known = tracked.steps(_EPOCH_METRIC)
    for row in history:
        if row["epoch"] not in known:
            tracked.log(row, step=int(row["epoch"]))
