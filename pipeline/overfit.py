"""Whether a network can learn one batch by heart: one that can not has a fault that more data will not mend.

The loop is the one of every training; what would keep it from learning by heart is switched off: dropout, smoothing, averages,
a rate that changes. Nothing is saved and nothing tracked.
"""

import logging
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from models.config import ModelConfig
from pipeline.config import TrainConfig
from pipeline.errors import ParamsError
from pipeline.examples import Examples
from pipeline.job import make_job
from pipeline.loop import fit
from pipeline.messages import EpochResult
from pipeline.plans import plan_epoch
from pipeline.run import run_stages
from pipeline.scratch import Work
from pipeline.worker import open_training

logger = logging.getLogger(__name__)

NEAR_ZERO = 0.02
"""Loss in nats per label below which a batch counts as learnt by heart: each label has 98 % of the probability."""
_ALL_TOKENS = 10**9


@dataclass(frozen=True)
class Memory:
    """How well a batch was learnt: after so many steps, at which loss in nats per label, with which share of labels right."""

    num_steps: int
    loss: float
    accuracy: float

    @property
    def is_whole(self) -> bool:
        """Whether the batch is learnt by heart."""
        return self.loss < NEAR_ZERO


def run(work: Work, num_steps: int) -> None:
    """Train on the first batch of the first epoch until its loss is near 0, and say after how many steps.

    Args:
        work: the pipeline, with `num_examples` of each split.
        num_steps: at most.

    Raises:
        ParamsError: it is not near 0 after so many steps.
        DivergedError: the loss is no longer a number.
    """
    run_stages(work, ("fetch", "prepare", "encode"))
    train = work.params.train
    job = make_job(
        _without_dropout(work.params.model), _steady(train, num_steps), replace(work.scaling, storage=None), work.layout
    )
    torch.set_num_threads(job.num_threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training, examples, _, bio = open_training(job, device)
    batch = examples.take(plan_epoch(examples.lengths, train.batch_tokens, train.seed, 0, train.batch_sequences)[0])
    unit = "words" if batch.tokens is not None else "rows of numbers"
    told = f"{work.layout.pipeline}: one batch of {len(batch)} sequences, {int(batch.offsets[-1]):,} {unit}"
    logger.info("%s, is to be learnt by heart, without dropout", told)
    memory = Memory(0, float("inf"), 0.0)
    for result in fit(training, batch, batch, bio, device):
        if isinstance(result, EpochResult):
            memory = Memory(result.epoch, result.metrics["val/loss"], result.metrics["val/accuracy"])
            _tell(work.layout.pipeline, memory)
            if memory.is_whole:
                break
    _demand_whole(memory, batch, work)
    print(f"{told}: learnt by heart in {memory.num_steps} steps, loss {memory.loss:.4f}, accuracy {memory.accuracy:.4f}")


def _without_dropout(model: ModelConfig) -> ModelConfig:
    return replace(model, input_dropout=0.0, dropout=0.0, recurrent_dropout=0.0)


def _steady(train: TrainConfig, num_steps: int) -> TrainConfig:
    """Give a training whose every epoch is a step on the same batch, at one rate."""
    return replace(
        train,
        epochs=num_steps,
        batch_tokens=_ALL_TOKENS,
        batch_sequences=None,
        warmup=0.0,
        decay="none",
        weight_decay=0.0,
        word_dropout=0.0,
        label_smoothing=0.0,
        average=0.0,
        patience=0,
    )


def _tell(pipeline: str, memory: Memory) -> None:
    """Log steps ever further apart: 1, 2, 5, 10, 20, 50 and so on."""
    digits = str(memory.num_steps)
    if memory.is_whole or (digits[0] in "125" and not digits[1:].strip("0")):
        logger.info("%s: step %d  loss %.4f  accuracy %.4f", pipeline, memory.num_steps, memory.loss, memory.accuracy)


def _demand_whole(memory: Memory, batch: Examples, work: Work) -> None:
    if memory.is_whole:
        return
    contrary = contradictions(batch)
    why = (
        f"sequences {contrary[0][0] + 1} and {contrary[0][1] + 1} of the batch are the same, their labels are not; fix: mend them"
        if contrary
        else f"fix: allow more --steps, raise train.lr ({work.params.train.lr:g}) or lower it, widen model.hidden "
        f"({list(work.params.model.hidden)}), or look for labels that nothing in the input tells apart"
    )
    raise ParamsError(
        f"pipelines.{work.layout.pipeline}: does not learn one batch by heart; after {memory.num_steps} steps on "
        f"{len(batch)} sequences the loss is {memory.loss:.4f}, not below {NEAR_ZERO}, the accuracy {memory.accuracy:.4f}; {why}"
    )


def contradictions(examples: Examples) -> list[tuple[int, int]]:
    """Give pairs of equal sequences with different labels, by their places."""
    steps = examples.tokens if examples.tokens is not None else examples.values
    assert steps is not None and examples.labels is not None
    bounds = list(pairwise(examples.offsets.tolist()))
    seen: dict[bytes, int] = {}
    found = []
    for number, (start, end) in enumerate(bounds):
        first = seen.setdefault(steps[start:end].tobytes(), number)
        if _labels(examples, first, bounds[first]) != _labels(examples, number, (start, end)):
            found.append((first, number))
    return found


def _labels(examples: Examples, number: int, bounds: tuple[int, int]) -> bytes:
    assert examples.labels is not None
    labels = examples.labels[slice(*bounds)] if examples.is_tagging else examples.labels[number : number + 1]
    return labels.tobytes()
