"""What runs in each training process, one of possibly many: it needs neither MLflow nor what the driver shows.

The first process saves checkpoints and tells how it goes.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from models.config import Sizes
from models.network import build_network
from pipeline.batches import make_batch
from pipeline.checkpoint import STEP, Checkpoints, newest_checkpoint
from pipeline.errors import DivergedError, ParamsError, StoppedError, UnrollError
from pipeline.examples import Examples
from pipeline.job import FINAL, Job
from pipeline.loop import DTYPES, Training, fit
from pipeline.manifest import check_manifest
from pipeline.masking import mask
from pipeline.messages import Channel, Emit, EpochResult, Notice, StepResult
from pipeline.plans import plan_epoch
from pipeline.spans import BioLabels
from pipeline.storage import open_store, reading
from pipeline.stored import open_array, read_object
from pipeline.vocab import Vocab
from pipeline.world import World

DIVERGED = "diverged"
"""The name, among a training's checkpoints, of the sequences of a step whose loss was no number."""
_SHOW_SECONDS = 0.5


def train_worker(job: Job, device: torch.device, emit: Emit, must_stop: Callable[[], bool] = lambda: False) -> None:
    """Train to the end from the newest checkpoint, one process of possibly many; the first saves and tells.

    Args:
        job: what to train.
        device: where.
        emit: called in the first process with steps, now and then, and each epoch.
        must_stop: asked in the first process at every step; its yes stops all after the step.

    Raises:
        StoppedError: it was asked to stop, and a checkpoint was written.
        UnrollError: anything else that a person can mend.
    """
    torch.set_num_threads(job.num_threads)
    is_first = World.current().rank == 0
    training, train, val, bio = open_training(job, device)
    saver = _Saver(job, training, train) if is_first else None
    must_end = _now_and_then(must_stop)
    results = fit(
        training,
        train,
        val,
        bio,
        device,
        must_stop=lambda: saver is not None and (saver.trouble is not None or must_end()),
        hang_seconds=job.hang_seconds,
    )
    told, is_stopped = time.monotonic(), False
    try:
        for result in results:
            is_stopped = isinstance(result, StepResult) and result.is_stopped
            if saver is not None:
                saver.see(result)
                if isinstance(result, EpochResult) or time.monotonic() - told > _SHOW_SECONDS:
                    emit(result)
                    told = time.monotonic()
    except DivergedError as error:
        raise (DivergedError(f"{error}; {saver.save_batch()}") if saver is not None else error) from None
    if saver is not None:
        saver.end(is_stopped)
    if is_stopped:
        raise StoppedError(f"stopped after epoch {training.progress.epoch + 1}, step {training.progress.step}")


class _Saver:
    """Saves what a training goes on from, in the first process.

    What it can not save it keeps as `trouble`: the other workers have to hear of it, and all stop after their step.
    """

    def __init__(self, job: Job, training: Training, train: Examples) -> None:
        self._job, self._training, self._train = job, training, train
        self._checkpoints = Checkpoints(job.checkpoints)
        self._saved, self._num_steps = time.monotonic(), 0
        self.trouble: UnrollError | None = None

    def see(self, result: StepResult | EpochResult) -> None:
        """Save after an epoch, after as many steps or seconds as the params say, and where the training stops."""
        config, self._num_steps = self._job.train, self._num_steps + isinstance(result, StepResult)
        is_due = isinstance(result, EpochResult) or result.is_stopped or self._num_steps == config.checkpoint_steps
        if self.trouble is None and (is_due or time.monotonic() - self._saved > config.checkpoint_seconds):
            tensors, progress = self._training.state()
            try:
                name = f"{STEP}{progress['epoch']:05d}-{progress['step']:07d}"
                self._checkpoints.save(name, tensors, {"progress": progress, **self._job.params})
            except UnrollError as error:
                self.trouble = error
            self._saved, self._num_steps = time.monotonic(), 0

    def end(self, is_stopped: bool) -> None:
        """See that all is written, the weights of a finished training, too.

        Raises:
            UnrollError: what could not be saved.
        """
        if self.trouble is not None:
            raise self.trouble
        if not is_stopped:
            self._checkpoints.save(FINAL, self._training.network.state_dict(), _describe(self._job, self._training))
        self._checkpoints.finish()

    def save_batch(self) -> str:
        """Keep the sequences of a step whose loss was no number, as the network reads them but for what is drawn; says where."""
        progress, config = self._training.progress, self._training.config
        plan = plan_epoch(self._train.lengths, config.batch_tokens, config.seed, progress.epoch, config.batch_sequences)
        rows = plan[progress.step]
        batch = make_batch(self._train, rows)
        tensors = {
            "lengths": batch.lengths,
            "rows": batch.keys,
            **{f"targets.{name}": ids for name, ids in batch.targets.items()},
        }
        tensors |= {name: value for name in ("words", "values") if (value := getattr(batch, name)).numel()}
        where = {"epoch": progress.epoch + 1, "step": progress.step + 1, "examples": rows.tolist()}
        self._checkpoints.save(DIVERGED, tensors, where)
        self._checkpoints.finish()
        last = self._checkpoints.last or "none yet"
        return f"all {len(rows)} examples are kept as {self._checkpoints.address(DIVERGED)}, the last good checkpoint is {last}"


def _now_and_then(must_stop: Callable[[], bool], seconds: float = 0.1) -> Callable[[], bool]:
    """Ask only so often, in between the answer is no."""
    asked = time.monotonic()

    def ask() -> bool:
        nonlocal asked
        if time.monotonic() - asked < seconds:
            return False
        asked = time.monotonic()
        return must_stop()

    return ask


def _describe(job: Job, training: Training) -> dict[str, Any]:
    """Give what stands beside the weights of a finished training."""
    with reading(job.encoded) as folder:
        summary = read_object(folder / "summary.json")
    return {
        **job.params,
        "sizes": asdict(training.network.sizes),
        "max_length": summary["max_length"],
        "truncating": summary["truncating"],
        "history": training.progress.history,
        "best_epoch": training.progress.best_epoch,
        "num_parameters": sum(p.numel() for p in training.network.parameters()),
    }


def open_training(job: Job, device: torch.device) -> tuple[Training, Examples, Examples, BioLabels | None]:
    """Begin a training, or take it up from its newest checkpoint; gives its train and val splits and labels, too.

    Raises:
        ParamsError: the checkpoint is of a training with other params.
        IntegrityError: there are checkpoints, and none is whole.
    """
    with reading(job.encoded) as folder:  # what is mapped into memory stays readable where the folder goes
        if job.encoded != str(job.encoded_dir):  # that one was checked where the training was started
            check_manifest(folder, fix="remove it from the storage, and it is laid there anew")
        sizes = Sizes.load(read_object(folder / "summary.json")["sizes"])
        vectors_path = folder / "vectors.npy"
        vectors = torch.from_numpy(np.array(open_array(vectors_path))) if vectors_path.exists() and job.model.word_size else None
        train, val = (Examples.open(folder, split) for split in ("train", "val"))
        bio = BioLabels.of(Vocab.load(folder / "vocab.json").labels) if sizes.task == "tagging" else None
    network = build_network(job.model, sizes, job.train.seed, vectors)
    training = Training(network.to(device, DTYPES[job.train.precision]), job.train)
    found = newest_checkpoint(open_store(job.checkpoints))
    if found is not None:
        tensors, meta = found
        _demand_same(meta, job.params)
        training.restore(tensors, meta["progress"])
    return training, train, val, bio


def _demand_same(found: dict[str, Any], params: dict[str, Any]) -> None:
    changes = [
        f"{section}.{key} was {found[section].get(key)!r} and is {value!r}"
        for section, values in params.items()
        for key, value in values.items()
        if found[section].get(key) != value
    ]
    if changes:
        raise ParamsError(
            f"the checkpoint is of a training with other params: {'; '.join(changes)}; fix: set them back or remove it"
        )


@contextmanager
def _relayed(emit: Emit) -> Iterator[None]:
    """Send what this process warns of to where a person reads it."""
    handler = _Relay(emit)
    logger = logging.getLogger(__package__)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Relay(logging.Handler):
    def __init__(self, emit: Emit) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        self._emit(Notice(mask(record.getMessage())))


def ray_worker(config: dict[str, Any]) -> UnrollError | None:
    """Run in each of Ray's workers. What a person can mend comes back as a value: Ray would start a failed worker anew."""
    from ray.train.torch import get_device

    job: Job = config["job"]
    channel: Channel = config["channel"]
    try:
        with _relayed(channel.emit):
            train_worker(job, get_device(), channel.emit, channel.must_stop)
    except UnrollError as error:
        return error
    return None
