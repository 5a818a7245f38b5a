"""The gradients of one worker's share of a step, read at once or in parts: as asked, or where memory does not hold it whole."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.profiler import record_function

from models.batch import Batch
from models.network import Network
from pipeline.batches import Share
from pipeline.config import TrainConfig
from pipeline.failpoints import reach
from pipeline.memory import MemoryModel, is_out_of_memory
from pipeline.optimizer import Optimizer
from pipeline.world import World, sum_in_pairs

logger = logging.getLogger(__name__)

Part = TypeVar("Part", Share, Batch)

MATMUL_DTYPES = {"bfloat16": torch.bfloat16}
"""Precision -> the type in which recurrent layers multiply while training, where it is another one than that of the weights."""


class Gradients:
    """Makes the gradients of one share after another, in the optimizer's message, with this worker's part of the step's loss.

    Args:
        network: on `device` already.
        optimizer: of the network.
        config: of the loop.
        device: where the network is.
    """

    def __init__(self, network: Network, optimizer: Optimizer, config: TrainConfig, device: torch.device) -> None:
        self._network, self._optimizer, self._device = network, optimizer, device
        self._label_smoothing = config.label_smoothing
        self._matmul_dtype = _matmul_dtype(config.precision, device)
        self._world = World.current()
        self._memory = MemoryModel(self._world.num_neighbours)

    def make(self, share: Share, place: str) -> str | None:
        """Make those of a share, in twice as many parts where memory does not do; where it still does not, say why.

        Args:
            share: this worker's part of the step.
            place: the step, for a person.
        """
        num_parts = self._memory.num_parts(share.num_words, share.num_parts)
        if self._try(share, num_parts):
            return None
        size = f"{len(share.rows)} examples of {share.num_words:,} words with padding"
        logger.warning("%s: memory does not hold %s; read again in %d parts", place, size, 2 * num_parts)
        if self._try(share, 2 * num_parts):
            return None
        longest = share.rows[share.examples.lengths[share.rows].argmax()]
        return (
            f"{place}: memory does not hold {size}, not even in {2 * num_parts} parts; the longest is example {longest} of "
            f"train, of {share.examples.lengths[longest]:,}; fix: lower train.batch_tokens, raise train.accumulate to "
            f"{4 * num_parts * self._world.size}, or cut long sequences with encode.max_length"
        )

    def _try(self, share: Share, num_parts: int) -> bool:
        """Make those of a share that is read in so many parts; says whether memory held them."""
        optimizer = self._optimizer
        with record_function("unroll: word vectors"):
            vectors = optimizer.begin(None if share.word_ids is None else torch.from_numpy(share.word_ids))
        if len(share.rows) == 0:
            return True
        try:
            total = sum_in_pairs(self._messages(share, num_parts, vectors))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        if total is not optimizer.message:
            optimizer.message.copy_(total)
        return True

    def _messages(self, share: Share, num_parts: int, vectors: Tensor | None) -> Iterator[Tensor]:
        """Make each part's message in the optimizer's room; where there are several, give copies."""
        optimizer = self._optimizer
        batches = share.batches(num_parts)
        while (batch := next_part(batches)) is not None:
            reach("batch read")
            num_words = batch.lengths.numel() * int(batch.lengths.max())
            with record_function("unroll: forward"), self._memory.measuring(num_words):
                loss = self._mean_loss(replace(batch.to(self._device), word_vectors=vectors), share.num_targets)
            with record_function("unroll: backward"):
                loss.backward()
            optimizer.notes[0] += loss.detach()
            if num_parts == 1:
                yield optimizer.message
            else:
                yield optimizer.message.clone()
                optimizer.message.zero_()

    def _mean_loss(self, batch: Batch, num_targets: dict[str, int]) -> Tensor:
        """Give this batch's part of the step's loss: each target's sum over its labels in the whole step, weighted."""
        network = self._network
        sums = network.loss_sums(network(batch, self._matmul_dtype), batch, self._label_smoothing)
        return sum((sums[name] * (weight / num_targets[name]) for name, weight in network.weights.items()), start=torch.zeros(()))


def next_part(parts: Iterator[Part]) -> Part | None:
    """Give the next of several, None after the last; a profile shows what it took."""
    with record_function("unroll: batch"):
        return next(parts, None)


def _matmul_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Give the type in which recurrent layers are to multiply, None for that of the weights, as where a device lacks the type."""
    dtype = MATMUL_DTYPES.get(precision)
    if dtype is None or has_bfloat16(device):
        return dtype
    logger.warning("train.precision is %s, in which this %s does not multiply; it trains in float32", precision, device.type)
    return None


def has_bfloat16(device: torch.device) -> bool:
    """Say whether a device multiplies in bfloat16 by itself; a processor without it has no kernel of an LSTM in it, either."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
