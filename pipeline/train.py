"""encoded -> model: data-parallel training on Ray, one MLflow run, checkpoints that outlive an interruption.

Every worker runs `train_worker`, which needs no Ray. Worker 0 sends what happens to this process, which alone shows it and
tracks it. Checkpoints stand outside DVC's outputs, in a folder named by a hash of all that the training depends on, so
that `dvc repro` after an interruption goes on where it was, in the same run, and other params begin anew.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayActorError
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.queue import Queue

from models.config import ModelConfig, Setting, Sizes
from models.network import build_network
from pipeline.checkpoint import file_sha256, load_checkpoint, newest_checkpoint, prune_checkpoints, save_checkpoint
from pipeline.cluster import connected, count_workers
from pipeline.config import ScalingConfig as Scaling
from pipeline.config import TrainConfig
from pipeline.errors import InfrastructureError, ParamsError, UnrollError
from pipeline.examples import Examples
from pipeline.layout import WORK_DIR, Layout
from pipeline.loop import DTYPES, EpochResult, StepResult, Training, fit
from pipeline.progress import TrainingDisplay
from pipeline.spans import BioLabels
from pipeline.tracking import Run, git_commit
from pipeline.vocab import Vocab
from pipeline.world import World

logger = logging.getLogger(__name__)

_SHOW_SECONDS = 0.5
_GLOO_TIMEOUT_SECONDS = 300
_LISTENER_SECONDS = 30
_ENDED = "ended"
_EPOCH_METRIC = "train/loss"
"""Logged once for every epoch, so that its steps tell which epochs were tracked."""

Emit = Callable[[StepResult | EpochResult], None]


@dataclass(frozen=True)
class Job:
    """All that a training depends on, and where its files are. Paths are absolute: workers run in folders of their own."""

    model: ModelConfig
    train: TrainConfig
    encoded_dir: Path
    checkpoint_dir: Path
    num_threads: int = 1

    @property
    def final_dir(self) -> Path:
        """Where the finished training leaves its weights."""
        return self.checkpoint_dir / "final"


def run(model: ModelConfig, train: TrainConfig, scaling: Scaling, layout: Layout) -> None:
    """Train one pipeline's network and write its model folder.

    Raises:
        ParamsError: the params do not fit the encoded corpus.
        DivergedError: the loss is no longer a number.
        InfrastructureError: workers died more often than `scaling.max_failures` allows.
    """
    job = make_job(model, train, scaling, layout)
    tracked = open_run(job, layout.pipeline)
    monitor = tracked.watch_system()
    try:
        with TrainingDisplay(layout.pipeline, train.epochs, train.monitor) as display:
            if not job.final_dir.exists():
                _train_on_ray(job, scaling, _listener(job, tracked, display))
        track_missing(tracked, load_checkpoint(job.final_dir)[1]["history"])
    except BaseException as error:
        tracked.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    finally:
        monitor.finish()
    write_model(job, tracked, layout.model_dir)
    tracked.end()
    shutil.rmtree(layout.checkpoint_dir)


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


def train_worker(job: Job, device: torch.device, emit: Emit) -> None:
    """Train to the end from the newest checkpoint, one process of possibly many; the first saves and tells.

    Args:
        job: what to train.
        device: where.
        emit: called in the first process with each step and epoch.
    """
    torch.set_num_threads(job.num_threads)
    is_first = World.current().rank == 0
    summary = json.loads((job.encoded_dir / "summary.json").read_text(encoding="utf-8"))
    sizes = Sizes.load(summary["sizes"])
    training = _begin(job, sizes, device)
    train, val = (Examples.open(job.encoded_dir, split) for split in ("train", "val"))
    bio = BioLabels.of(Vocab.load(job.encoded_dir / "vocab.json").labels) if sizes.task == "tagging" else None
    saved = told = time.monotonic()
    for result in fit(training, train, val, bio, device):
        if not is_first:
            continue
        if isinstance(result, EpochResult) or time.monotonic() - saved > job.train.checkpoint_seconds:
            name = f"step-{training.progress.epoch:05d}-{training.progress.step:07d}"
            save_checkpoint(job.checkpoint_dir / name, *training.state())
            prune_checkpoints(job.checkpoint_dir, keep=2)
            saved = time.monotonic()
        if isinstance(result, EpochResult) or time.monotonic() - told > _SHOW_SECONDS:
            emit(result)
            told = time.monotonic()
    if is_first:
        meta = {
            "model": asdict(job.model),
            "train": asdict(job.train),
            "sizes": asdict(sizes),
            "max_length": summary["max_length"],
            "truncating": summary["truncating"],
            "history": training.progress.history,
            "best_epoch": training.progress.best_epoch,
            "num_parameters": sum(p.numel() for p in training.network.parameters()),
        }
        save_checkpoint(job.final_dir, training.network.state_dict(), meta)


def _begin(job: Job, sizes: Sizes, device: torch.device) -> Training:
    vectors_path = job.encoded_dir / "vectors.npy"
    vectors = torch.from_numpy(np.load(vectors_path)) if vectors_path.exists() and job.model.word_size else None
    network = build_network(job.model, sizes, job.train.seed, vectors)
    training = Training(network.to(device, DTYPES[job.train.precision]), job.train)
    found = newest_checkpoint(job.checkpoint_dir)
    if found is not None:
        training.restore(*found)
    return training


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
    with connected(least_cpus=(scaling.num_workers or 1) * scaling.cpus_per_worker):
        num_workers, use_gpu = count_workers(scaling)
        queue = Queue(actor_options={"num_cpus": 0})
        listener = Thread(target=_listen, args=(queue, listen), daemon=True)
        listener.start()
        trainer = TorchTrainer(
            _ray_worker,
            train_loop_config={"job": job, "queue": queue},
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
            with suppress(RayActorError):
                queue.put(_ENDED)
            listener.join(timeout=_LISTENER_SECONDS)
    if trouble is not None:
        raise trouble


def _ray_worker(config: dict[str, Any]) -> UnrollError | None:
    """Run in each of Ray's workers. What a person can mend comes back as a value: Ray would start a failed worker anew."""
    try:
        train_worker(config["job"], get_device(), config["queue"].put)
    except UnrollError as error:
        return error
    return None


def _listen(queue: Queue, listen: Emit) -> None:
    """Pass on every message. Where the queue is gone, Ray has ended; what was not heard is in the final history."""
    with suppress(RayActorError):
        while (message := queue.get()) != _ENDED:
            listen(message)
