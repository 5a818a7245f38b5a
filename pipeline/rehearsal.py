"""Some steps of a training on this machine, in as many workers as it would have, for whoever wants to look at them.

Nothing is saved and nothing tracked; the weights are thrown away.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import distributed, multiprocessing

from pipeline.config import MOST_CPU_WORKERS, ScalingConfig
from pipeline.examples import Examples
from pipeline.job import Job
from pipeline.loop import Training
from pipeline.spans import BioLabels
from pipeline.worker import open_training


@dataclass(frozen=True)
class Here:
    """One worker of a rehearsal, and what it would train."""

    rank: int
    num_workers: int
    training: Training
    train: Examples
    val: Examples
    bio: BioLabels | None
    device: torch.device


def num_workers_here(scaling: ScalingConfig) -> int:
    """Say how many workers a training would have on this machine."""
    by_cores = min(MOST_CPU_WORKERS, max(1, (os.cpu_count() or 1) // scaling.cpus_per_worker))
    return scaling.num_workers or torch.cuda.device_count() or by_cores


def rehearse(job: Job, num_workers: int, look: Callable[..., None], *arguments: Any) -> None:
    """Call `look(here, *arguments)` in each of so many workers at once.

    Args:
        job: with `scaling.storage` null: all of it runs here.
        num_workers: processes.
        look: a function of a module, which every worker calls; it makes as many steps in each.
        arguments: for it.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with TemporaryDirectory() as folder:
        given = (num_workers, f"file://{folder}/meet", job, look, arguments)
        multiprocessing.spawn(_worker, given, nprocs=num_workers)  # type: ignore[attr-defined,no-untyped-call]


def _worker(rank: int, num_workers: int, address: str, job: Job, look: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(job.num_threads)
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", address, rank=rank, world_size=num_workers)
    training, train, val, bio = open_training(job, device)
    look(Here(rank, num_workers, training, train, val, bio, device), *arguments)
    distributed.barrier()
    distributed.destroy_process_group()
