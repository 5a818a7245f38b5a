"""What runs in each training process, one of possibly many: it needs neither MLflow nor what the driver shows.

The first process saves checkpoints and tells how it goes.
"""

import json
import time
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch

from models.config import Sizes
from models.network import build_network
from pipeline.checkpoint import newest_checkpoint, prune_checkpoints, save_checkpoint
from pipeline.errors import UnrollError
from pipeline.examples import Examples
from pipeline.job import Job
from pipeline.loop import DTYPES, Training, fit
from pipeline.messages import Emit, EpochResult, tell
from pipeline.spans import BioLabels
from pipeline.vocab import Vocab
from pipeline.world import World

_SHOW_SECONDS = 0.5


def train_worker(job: Job, device: torch.device, emit: Emit) -> None:
    """Train to the end from the newest checkpoint, one process of possibly many; the first saves and tells.

    Args:
        job: what to train.
        device: where.
        emit: called in the first process with each step and epoch.
    """
    torch.set_num_threads(job.num_threads)
    is_first = World.current().rank == 0
    training, train, val, bio = open_training(job, device)
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
        summary = json.loads((job.encoded_dir / "summary.json").read_text(encoding="utf-8"))
        meta = {
            "model": asdict(job.model),
            "train": asdict(job.train),
            "sizes": asdict(training.network.sizes),
            "max_length": summary["max_length"],
            "truncating": summary["truncating"],
            "history": training.progress.history,
            "best_epoch": training.progress.best_epoch,
            "num_parameters": sum(p.numel() for p in training.network.parameters()),
        }
        save_checkpoint(job.final_dir, training.network.state_dict(), meta)


def open_training(job: Job, device: torch.device) -> tuple[Training, Examples, Examples, BioLabels | None]:
    """Begin a training, or take it up from its newest checkpoint; gives its train and val splits and labels, too."""
    sizes = Sizes.load(json.loads((job.encoded_dir / "summary.json").read_text(encoding="utf-8"))["sizes"])
    vectors_path = job.encoded_dir / "vectors.npy"
    vectors = torch.from_numpy(np.load(vectors_path)) if vectors_path.exists() and job.model.word_size else None
    network = build_network(job.model, sizes, job.train.seed, vectors)
    training = Training(network.to(device, DTYPES[job.train.precision]), job.train)
    found = newest_checkpoint(job.checkpoint_dir)
    if found is not None:
        training.restore(*found)
    train, val = (Examples.open(job.encoded_dir, split) for split in ("train", "val"))
    bio = BioLabels.of(Vocab.load(job.encoded_dir / "vocab.json").labels) if sizes.task == "tagging" else None
    return training, train, val, bio


def ray_worker(config: dict[str, Any]) -> UnrollError | None:
    """Run in each of Ray's workers. What a person can mend comes back as a value: Ray would start a failed worker anew."""
    from ray.train.torch import get_device

    job: Job = config["job"]
    try:
        train_worker(job, get_device(), partial(tell, job.messages_path))
    except UnrollError as error:
        return error
    return None
