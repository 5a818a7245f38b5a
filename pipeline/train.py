"""encoded -> model: data-parallel training on Ray, one MLflow run, checkpoints that outlive an interruption.

Every worker runs `pipeline.worker`. Its first process tells what happens to this one, which alone shows it and tracks it.
Checkpoints stand outside DVC's outputs, in a folder named by a hash of all that the training depends on, so that `dvc repro`
after an interruption goes on where it was, in the same run, and other params begin anew.
"""

import hashlib
import json
import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import ray
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from models.config import ModelConfig, Setting, Sizes
from pipeline.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from pipeline.cluster import connected, count_workers, is_private
from pipeline.config import ScalingConfig as Scaling
from pipeline.config import TrainConfig
from pipeline.digest import file_sha256
from pipeline.errors import InfrastructureError, ParamsError
from pipeline.examples import Examples
from pipeline.layout import WORK_DIR, Layout
from pipeline.loop import EpochResult, StepResult
from pipeline.progress import TrainingDisplay
from pipeline.spans import BioLabels
from pipeline.tracking import Run, git_commit
from pipeline.vocab import Vocab
from pipeline.worker import Emit, Job, Messages, ray_worker

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_GLOO_TIMEOUT_SECONDS = 300
_LISTENER_SECONDS = 30
_EPOCH_METRIC = "train/loss"
"""Logged once for every epoch, so that its steps tell which epochs were tracked."""


def run(model: ModelConfig, train: TrainConfig, scaling: Scaling, layout: Layout) -> None:
    """Train one pipeline's network and write its model folder.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
        DivergedError: the loss is no longer a number.
        InfrastructureError: workers died more often than `scaling.max_failures` allows.
    """
    job = make_job(model, train, scaling, layout)
    with ExitStack() as stack:
        tracked = _start(job, scaling, layout.pipeline, stack)
        monitor = tracked.watch_system()
        try:
            with TrainingDisplay(layout.pipeline, train.epochs, train.monitor) as display:
                if not job.final_dir.exists():
                    _train_on_ray(job, scaling, _listener(job, tracked, display))
            track_missing(tracked, load_checkpoint(job.final_dir)[1]["history"])
        except BaseException as error:
            tracked.end(_status(error))
            raise
        finally:
            monitor.finish()
    write_model(job, tracked, layout.model_dir)
    tracked.end()
    shutil.rmtree(layout.checkpoint_dir)


def _start(job: Job, scaling: Scaling, pipeline: str, stack: ExitStack) -> Run:
    """Open the run while Ray starts, which is mostly waiting; the end of `stack` ends Ray."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(open_run, job, pipeline)
        try:
            if not job.final_dir.exists():
                stack.enter_context(connected(least_cpus=(scaling.num_workers or 1) * scaling.cpus_per_worker))
        except BaseException as error:
            opening.result().end(_status(error))
            raise
    return opening.result()


def _status(error: BaseException) -> str:
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


def make_job(model: ModelConfig, train: TrainConfig, scaling: Scaling, layout: Layout) -> Job:
    """Describe a training; its checkpoints' folder is named by a hash of the params and of the encoded corpus.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
    """
    check_fit(model, train, layout)
    files = [path for path in sorted(layout.encoded_dir.rglob("*")) if path.is_file()]
    encoded = {path.relative_to(layout.encoded_dir).as_posix(): file_sha256(path) for path in files}
    key = hashlib.sha256(json.dumps([asdict(model), asdict(train), encoded], sort_keys=True).encode()).hexdigest()[:12]
    return Job(
        model,
        train,
        layout.encoded_dir.resolve(),
        (layout.checkpoint_dir / key).resolve(),
        scaling.cpus_per_worker,
    )


def check_fit(model: ModelConfig, train: TrainConfig, layout: Layout) -> None:
    """Hold what params.yaml says against the encoded corpus, before anything is started.

    Raises:
        ParamsError: words are not as wide as the pre-trained vectors, or labels are not BIO though `bio` or `monitor` says so.
    """
    where = f"params.yaml: pipelines.{layout.pipeline}"
    vectors_path = layout.encoded_dir / "vectors.npy"
    width = np.load(vectors_path, mmap_mode="r").shape[1] if vectors_path.exists() else None
    if width is not None and model.word_size not in (0, width):
        raise ParamsError(
            f"{where}.model.word_size is {model.word_size}; the vectors have {width} numbers; fix: set it to {width}"
        )
    if model.bio or train.monitor == "entity_f1":
        key = "model.bio" if model.bio else "train.monitor: entity_f1"
        labels = Vocab.load(layout.encoded_dir / "vocab.json").labels
        bio = BioLabels.of(labels)
        if bio is None:
            raise ParamsError(
                f"{where}.{key} is for labels O, B-x, I-x; the corpus has {', '.join(labels[:8])}; fix: leave it out"
            )
        examples = Examples.open(layout.encoded_dir, "train")
        assert examples.labels is not None
        if model.bio and bio.has_stray_inside(examples.labels, examples.offsets):
            raise ParamsError(
                f"{where}.model.bio forbids I-x after all but B-x and I-x; train has such labels; fix: leave it out"
            )


def setting_of(encoded_dir: Path) -> Setting:
    """Say what a network for an encoded corpus is for."""
    sizes = Sizes.load(json.loads((encoded_dir / "summary.json").read_text(encoding="utf-8"))["sizes"])
    sequence_targets = tuple(name for name, target in sizes.targets.items() if target.task == "classification")
    return Setting(sizes.task, bool(sizes.vector_size), (encoded_dir / "vectors.npy").exists(), sequence_targets)


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
    job.checkpoint_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run_id": begun.run_id}), encoding="utf-8")
    return begun


def write_model(job: Job, tracked: Run, model_dir: Path) -> None:
    """Make the model folder of a finished training: its weights, vocabularies, history and run id."""
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


def _listener(job: Job, tracked: Run, display: TrainingDisplay) -> Listener:
    """Make the listener of a training, which may be one that goes on from a checkpoint."""
    found = newest_checkpoint(job.checkpoint_dir)
    if found is not None:
        progress = found[1]
        track_missing(tracked, progress["history"])
        display.say(f"goes on in epoch {progress['epoch'] + 1} after step {progress['step']}, in run {tracked.run_id}")
    return Listener(tracked, display)


def track_missing(tracked: Run, history: list[dict[str, float]]) -> None:
    """Track the epochs that were trained while nobody listened."""
    known = tracked.steps(_EPOCH_METRIC)
    for row in history:
        if row["epoch"] not in known:
            tracked.log(row, step=int(row["epoch"]))


def _train_on_ray(job: Job, scaling: Scaling, listen: Emit) -> None:
    num_workers, use_gpu = count_workers(scaling)
    ended = Event()
    listener = Thread(target=_listen, args=(Messages(job.messages_path), listen, ended), daemon=True)
    listener.start()
    trainer = (_PrivateTrainer if is_private() else TorchTrainer)(
        ray_worker,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=num_workers, use_gpu=use_gpu, resources_per_worker={"CPU": scaling.cpus_per_worker}
        ),
        torch_config=TorchConfig(timeout_s=_GLOO_TIMEOUT_SECONDS),
        run_config=RunConfig(
            name=f"{job.checkpoint_dir.name}-{time.time_ns()}",
            storage_path=str((WORK_DIR / "ray").resolve()),
            failure_config=FailureConfig(max_failures=scaling.max_failures),
            logging_config=LoggingConfig("ERROR"),
        ),
    )
    try:
        trouble = trainer.fit().return_value
    except ray.train.TrainingFailedError as error:
        raise InfrastructureError(
            f"training failed {scaling.max_failures + 1} times; {error}; fix: see the cause above, then run again: it goes "
            "on from the last checkpoint"
        ) from error
    finally:
        ended.set()
        listener.join(timeout=_LISTENER_SECONDS)
    if trouble is not None:
        raise trouble


class _PrivateTrainer(TorchTrainer):
    """Does without the actor that frees a dead controller's resources: they end with a private Ray, and it waits for a dashboard.

    That is 10 s at the end of a training where no dashboard runs.
    """

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()
        return [callback for callback in made if not isinstance(callback, PlacementGroupCleanerCallback)]


def _listen(messages: Messages, listen: Emit, ended: Event) -> None:
    """Pass on every message until training has ended, and what came just before."""
    while not ended.wait(_POLL_SECONDS):
        for message in messages.take():
            listen(message)
    for message in messages.take():
        listen(message)
