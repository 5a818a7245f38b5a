"""encoded -> model: data-parallel training on Ray, one MLflow run, checkpoints that outlive an interruption.

Every worker runs `pipeline.worker`. Its first process tells what happens to this one, which alone shows it and tracks it.
Checkpoints stand outside DVC's outputs, in a folder named by a hash of all that the training depends on, so that `dvc repro`
after an interruption goes on where it was, in the same run, and other params begin anew.

What takes seconds happens side by side: Ray starts while this process imports torch and Ray Train, and MLflow while the workers
start.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType, ModuleType, TracebackType
from typing import Any

from models.config import ModelConfig
from pipeline import commits
from pipeline.cluster import ActorChannel, connected, preflight
from pipeline.config import ScalingConfig, TrainConfig
from pipeline.environment import is_private
from pipeline.errors import InfrastructureError, StoppedError
from pipeline.job import FINAL, Job, make_job
from pipeline.layout import Layout
from pipeline.messages import Channel, Emit, EpochResult, FileChannel, Message, Notice, StepResult, Trouble
from pipeline.progress import TrainingDisplay
from pipeline.storage import Store, open_store
from pipeline.tracking import Run, in_use

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_RUN = "run.json"


def run(model: ModelConfig, train: TrainConfig, scaling: ScalingConfig, layout: Layout) -> None:
    """Train one pipeline's network and write its model folder.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
        DivergedError: the loss is no longer a number.
        InfrastructureError: workers died more often than `scaling.max_failures` allows, or the cluster or a disk failed,
            or MLflow did not answer as it began.
        StoppedError: a person stopped it, and it goes on when it is run again.
    """
    job = make_job(model, train, scaling, layout)
    store = open_store(job.checkpoints)
    with ExitStack() as stack:
        stack.enter_context(alone(job.work_dir))
        stack.enter_context(in_use(layout.work_dir))
        progress = _progress(store)
        stop = stack.enter_context(Stop())
        training, channel = (None, None) if FINAL in store.names() else _start(job, scaling, stack)
        stop.listen(channel)
        tracked = open_run(job, store, layout.pipeline)
        monitor = tracked.watch_system()
        try:
            with TrainingDisplay(layout.pipeline, train.epochs, train.monitor) as display:
                if progress is not None:
                    track_missing(tracked, progress["history"])
                    place = f"epoch {progress['epoch'] + 1} after step {progress['step']}"
                    display.say(f"goes on in {place}, in run {tracked.run_id}")
                if training is not None and channel is not None:
                    _follow(training, channel, Listener(tracked, display))
            track_missing(tracked, _history(store))
        except BaseException as error:
            tracked.end("KILLED" if isinstance(error, StoppedError) else "FAILED")
            raise
        finally:
            monitor.finish()
        write_model(job, tracked, layout.model_dir)
        tracked.end()
        store.remove()
    shutil.rmtree(layout.checkpoint_dir, ignore_errors=True)


class Stop:
    """Ctrl-C and SIGTERM, as a context: the first lets the training save itself after its step, a second ends it at once."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._signal = 0
        self._before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}

    def __enter__(self) -> "Stop":
        self.listen(None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, StoppedError) and self._signal:
            stopped = StoppedError(f"{error}; run it again to go on")
            stopped.exit_code = 128 + self._signal
            raise stopped from None

    def listen(self, channel: Channel | None) -> None:
        """Take the signals from now on, also from whoever has taken them meanwhile, and pass the first one on."""
        self._channel = channel
        for number in _ENDING_SIGNALS:
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        is_first, self._signal = not self._signal, number
        if is_first and self._channel is not None:
            logger.warning("stops after this step and saves; once more to stop at once")
            self._channel.ask_to_stop()
        else:
            raise StoppedError("stopped at once")


_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a training's folder against a second process that would train the same: a lock that goes with this process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise InfrastructureError(
                f"{folder}: process {file.read()} trains this already; fix: wait for it, or end it; then run again"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _progress(store: Store) -> dict[str, Any] | None:
    """Say how far a training has come that was interrupted; None where it begins."""
    if not store.names():
        return None
    from pipeline.checkpoint import newest_checkpoint

    found = newest_checkpoint(store)
    return None if found is None else found[1]["progress"]


def _history(store: Store) -> list[dict[str, float]]:
    """Give the metrics of all epochs of a finished training."""
    from pipeline.checkpoint import load_from

    return load_from(store, FINAL)[1]["history"]


def _start(job: Job, scaling: ScalingConfig, stack: ExitStack) -> "tuple[Future[None], Channel]":
    """Start Ray, which the end of `stack` ends, and a training on it in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        importing = pool.submit(_import_trainer)
        stack.enter_context(connected(least_cpus=(scaling.num_workers or 1) * scaling.cpus_per_worker))
        preflight(scaling.storage or job.encoded.rpartition("/")[0], scaling)
        trainer = importing.result()
    channel = FileChannel(job.work_dir) if is_private() else ActorChannel()
    publish(job)
    training: Future[None] = Future()
    Thread(target=_fulfil, args=(training, partial(trainer.fit, is_own=is_private()), job, scaling, channel), daemon=True).start()
    return training, channel


def publish(job: Job) -> None:
    """Lay the encoded corpus where all workers see it, unless it is there."""
    parent, _, name = job.encoded.rpartition("/")
    store = open_store(parent)
    if name not in store.names():
        with store.writing(name) as folder:
            shutil.copytree(job.encoded_dir, folder, dirs_exist_ok=True)


def _import_trainer() -> ModuleType:
    from pipeline import trainer

    return trainer


def _fulfil(future: "Future[None]", fit: Callable[..., None], *arguments: Any) -> None:
    try:
        fit(*arguments)
        future.set_result(None)
    except BaseException as error:
        future.set_exception(error)


def _follow(training: "Future[None]", channel: Channel, listen: Emit) -> None:
    """Pass on every message until a training has ended, and raise what it ended with."""
    while not training.done():
        wait([training], timeout=_POLL_SECONDS)
        for message in channel.take():
            listen(message)
    for message in channel.take():
        listen(message)
    training.result()


def open_run(job: Job, store: Store, pipeline: str, parent: str | None = None) -> Run:
    """Take up the run of an interrupted training, or begin one; its id is kept beside the checkpoints."""
    kept = store.read_text(_RUN)
    if kept is not None:
        found = Run.find(json.loads(kept)["run_id"])
        if found is not None:
            return found
    tags = {"pipeline": pipeline, "git_commit": commits.current(), "training_key": job.key}
    begun = Run.start(pipeline, f"{pipeline}-{job.key[:6]}", job.params, tags, parent)
    store.write_text(_RUN, json.dumps({"run_id": begun.run_id}))
    return begun


def write_model(job: Job, tracked: Run, model_dir: Path) -> None:
    """Make the model folder of a finished training: its weights, vocabularies, history and run id."""
    from pipeline.checkpoint import load_from, save_checkpoint

    weights, meta = load_from(open_store(job.checkpoints), FINAL)
    save_checkpoint(model_dir, weights, {**meta, "run_id": tracked.run_id}, job.encoded_dir / "vocab.json")


class Listener:
    """Takes what worker 0 sends: shows every step now and then, tracks every epoch once."""

    def __init__(self, tracked: Run, display: TrainingDisplay) -> None:
        self._tracked, self._display = tracked, display

    def __call__(self, message: Message) -> None:
        """Take one message, in the order they were sent."""
        match message:
            case StepResult():
                self._display.on_step(message)
            case Trouble():
                self._display.on_trouble(message)
            case Notice():
                self._display.on_notice(message)
            case EpochResult():
                self._display.on_epoch(message)
                self._tracked.log_epoch(message.metrics)


def track_missing(tracked: Run, history: list[dict[str, float]]) -> None:
    """Track the epochs that were trained while nobody listened."""
    for row in history:
        tracked.log_epoch(row)
