"""What memory a training needs, before it begins and when it is over, so that as many run side by side as memory holds."""

import ctypes
from pathlib import Path

import numpy as np

from models.config import Sizes
from models.network import Network, build_network
from pipeline.batches import make_batch
from pipeline.config import CAPITALISATION
from pipeline.examples import Examples, Rows
from pipeline.job import Job
from pipeline.loop import DTYPES, EVALUATION_TOKENS
from pipeline.memory import STEP_MARGIN, MemoryModel
from pipeline.plans import plan_epoch

_PROCESS_BYTES = 440 * 2**20
"""Of a process that has loaded torch and Ray, without a network."""
_COPIES = 12
"""Of each weight: the network's, its gradient, the optimizer's two moments, the running average, the best epoch's; and all of
these but the gradient once more while a checkpoint of them is written."""
_SAMPLE_WORDS = 256
_PEAK, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def estimate_bytes(job: Job, sizes: Sizes, train: Examples) -> int:
    """Estimate what a training takes at its highest on one processor, from a forward pass of a few sequences.

    Args:
        job: the training.
        sizes: of the corpus.
        train: its examples.
    """
    network = build_network(job.model, sizes).to(DTYPES[job.train.precision])
    train = train.only(chars=network.inputs.chars is not None, capitalisation=CAPITALISATION in job.model.features)
    plan = plan_epoch(train.lengths, job.train.batch_tokens, job.train.seed, 0, job.train.batch_sequences)
    paddeds = [len(rows) * int(train.lengths[rows].max()) for rows in plan]
    rows = plan[int(np.argmax(paddeds))]
    few = max(1, _SAMPLE_WORDS // int(train.lengths[rows].max()))
    (words, kept), (more_words, more_kept) = (_kept_bytes(network, train, rows[: few * times]) for times in (1, 2))
    per_word = (more_kept - kept) / (more_words - words) if more_words > words else kept / words  # weights are kept, too, once
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    return int(_PROCESS_BYTES + _COPIES * weights + STEP_MARGIN * max(*paddeds, EVALUATION_TOKENS) * per_word)


def _kept_bytes(network: Network, train: Examples, rows: Rows) -> tuple[int, float]:
    """Give the words of a batch, padding included, and what is kept of it for the backward pass."""
    batch, measured = make_batch(train, rows), MemoryModel()
    num_words = batch.lengths.numel() * int(batch.lengths.max())
    with measured.measuring(num_words):
        network.loss_sums(network(batch), batch)
    return num_words, num_words * measured.bytes_per_word


def forget_peak() -> None:
    """Let this process's highest use of memory begin anew, where the system can."""
    if _RESET.exists():
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")


def peak_bytes() -> int:
    """Give this process's highest use of memory since `forget_peak`; 0 where the system does not tell."""
    if not _PEAK.exists():
        return 0
    lines = dict(line.split(":", 1) for line in _PEAK.read_text(encoding="utf-8").splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
