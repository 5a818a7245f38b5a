"""The training loop: plain torch, one process or many. It yields what happened; whoever runs it logs, shows and saves.

Losses, counts and gradients are summed over all workers and divided once, by the number of labels in the whole step. What
a step draws at random follows from the seed, the epoch and the step, so a training that goes on from a checkpoint makes
the steps that an unbroken one would have made.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from models.config import MAIN
from models.lengths import step_mask
from models.network import Network
from pipeline.batches import Share, evaluation_batches, training_shares
from pipeline.config import CAPITALISATION, TrainConfig
from pipeline.errors import DivergedError, InfrastructureError
from pipeline.examples import Examples
from pipeline.failpoints import reach
from pipeline.gradients import Gradients, next_part
from pipeline.messages import EpochResult, StepResult
from pipeline.optimizer import Optimizer
from pipeline.plans import plan_epoch
from pipeline.spans import BioLabels
from pipeline.world import Adder, World

EVALUATION_TOKENS = 4096
"""Steps per batch where nothing is learnt, padding included."""

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""Precision -> the type of the weights."""


@dataclass
class Progress:
    """How far a training has come, and all that the rest of it depends on besides weights.

    Attributes:
        epoch: the epoch under way, from 0.
        step: steps of it that are done.
        loss_sum: over those steps, in nats.
        num_targets: labels in those steps.
        lr: the learning rate of the last step.
        seconds: of training, in all.
        best_score: the best validation score so far; higher is better.
        best_loss: the validation loss beside it, which decides between equal scores.
        best_epoch: the epoch, from 1, that reached it; 0 where none is done.
        history: one row of metrics per finished epoch.
        is_done: whether training has ended.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    num_targets: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    is_done: bool = False


_INFINITE = ("best_score", "best_loss")
"""Fields of `Progress` that begin at infinity, which JSON does not have."""


class Training:
    """A network in training: weights, optimizer, running average, best weights, progress.

    Args:
        network: on its device already.
        config: of the loop.
    """

    def __init__(self, network: Network, config: TrainConfig) -> None:
        self.network, self.config = network, config
        self.optimizer = Optimizer(network, config)
        self.best = {name: value.clone() for name, value in network.state_dict().items()}
        self.progress = Progress()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give tensors and values from which `restore` makes the same training; they change as it goes on, so copy them."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        return tensors, vars(self.progress) | {name: str(getattr(self.progress, name)) for name in _INFINITE}

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Become the training that `state` was taken of."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self.network.load_state_dict(parts["network"])
        self.best = {name: value.to(self.best[name].device) for name, value in parts["best"].items()}
        self.optimizer.restore(parts["optimizer"])
        self.progress = Progress(**progress | {name: float(progress[name]) for name in _INFINITE})


def fit(
    training: Training,
    train: Examples,
    val: Examples,
    bio: BioLabels | None,
    device: torch.device,
    *,
    must_stop: Callable[[], bool] = lambda: False,
    hang_seconds: float = math.inf,
) -> Iterator[StepResult | EpochResult]:
    """Train to the end from wherever `training` stands, yielding after each step and each epoch.

    Between two yields `training.state()` is whole: a checkpoint may be taken at any of them. At the end the network holds
    the best epoch's weights.

    Args:
        must_stop: asked at every step; where one worker says so all stop after the same step, whose result says so.
        hang_seconds: longest wait for another worker.

    Raises:
        DivergedError: the loss of a step is not a number; the step's update was not made.
        InfrastructureError: memory does not hold a worker's share of a step, not even in parts.
        TimeoutError: another worker does not answer.
    """
    config, progress, world = training.config, training.progress, World.current()
    network = training.network
    has_chars, has_capitalisation = network.inputs.chars is not None, CAPITALISATION in network.config.features
    train, val = (examples.only(chars=has_chars, capitalisation=has_capitalisation) for examples in (train, val))
    adder, gradients = Adder(world, hang_seconds), Gradients(network, training.optimizer, config, device)
    while not progress.is_done:
        plan = plan_epoch(train.lengths, config.batch_tokens, config.seed, progress.epoch, config.batch_sequences)
        shares = training_shares(
            train,
            plan,
            first=progress.step,
            rank=world.rank,
            world_size=world.size,
            num_parts=config.accumulate,
            word_dropout=config.word_dropout,
            seed=(config.seed, progress.epoch),
        )
        training.network.train()
        clock = _Clock()
        while (share := next_part(shares)) is not None:
            rows = plan[progress.step]
            reach(f"worker {world.rank}, step {len(plan) * progress.epoch + progress.step}")
            loss, is_stopped = _step(training, share, rows, len(plan), adder, gradients, device, must_stop())
            progress.step += 1
            clock.stop(int(train.lengths[rows].sum()))
            if is_stopped:
                progress.seconds += clock.seconds
            yield StepResult(progress.epoch + 1, progress.step, len(plan), loss, clock.tokens_per_second, is_stopped)
            if is_stopped:
                return
            clock.start()
        progress.seconds += clock.seconds
        yield _end_epoch(training, val, bio, device, clock.tokens_per_second)
    training.network.load_state_dict(training.best)


class _Clock:
    """Adds up the time of the steps of one epoch, without what the caller does between them."""

    def __init__(self) -> None:
        self.seconds, self._tokens = 0.0, 0
        self.start()

    def start(self) -> None:
        self._start = time.perf_counter()

    def stop(self, num_tokens: int) -> None:
        self.seconds += time.perf_counter() - self._start
        self._tokens += num_tokens

    @property
    def tokens_per_second(self) -> float:
        return self._tokens / self.seconds if self.seconds else 0.0


def learning_rate(config: TrainConfig, done: float) -> float:
    """Give the rate when a share `done` of all steps is made: a linear climb, then the decay asked for."""
    if done < config.warmup:
        return config.lr * done / config.warmup
    left = (1 - done) / (1 - config.warmup)
    return config.lr * DECAYS[config.decay](left)


DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda left: 1.0,
    "linear": lambda left: left,
    "cosine": lambda left: (1 - math.cos(math.pi * left)) / 2,
}
"""Share of the highest rate, when a share `left` of the decay is still to come."""


def _step(
    training: Training,
    share: Share,
    rows: Any,
    num_steps: int,
    adder: Adder,
    gradients: Gradients,
    device: torch.device,
    wants_stop: bool,
) -> tuple[float, bool]:
    """Make one update; returns the step's mean loss over all workers, and whether one of them wants to stop after it."""
    config, progress, optimizer = training.config, training.progress, training.optimizer
    trouble = gradients.make(share, _place(progress))
    optimizer.notes[1] = _FAILED if trouble is not None else float(wants_stop)
    with record_function("unroll: sum over workers"):
        adder.sum(optimizer.message)
        mean, asked = optimizer.notes.tolist()
        if asked >= _FAILED:
            raise InfrastructureError(World.current().share(trouble, device))
        norm = optimizer.clip(config.clip_norm)
    if not math.isfinite(mean) or not math.isfinite(norm):
        raise DivergedError(
            f"{_place(progress)}: the loss is {mean}, the gradient's norm {norm}; "
            f"examples {rows[:8].tolist()}{' ...' if len(rows) > 8 else ''} of train; fix: lower train.lr or train.clip_norm"
        )
    updates = progress.epoch * num_steps + progress.step
    progress.lr = learning_rate(config, (updates + 1) / (config.epochs * num_steps))
    with record_function("unroll: update"):
        optimizer.step(progress.lr, average_weight=1 - min(config.average, (1 + updates) / (10 + updates)))
    progress.loss_sum += mean * share.num_targets[MAIN]
    progress.num_targets += share.num_targets[MAIN]
    return mean, asked > 0


_FAILED = 1e6
"""What a worker notes whose memory ran out; more than as many workers as there may be note that want to stop."""


def _place(progress: Progress) -> str:
    return f"epoch {progress.epoch + 1}, step {progress.step + 1}"


def _end_epoch(
    training: Training, val: Examples, bio: BioLabels | None, device: torch.device, tokens_per_second: float
) -> EpochResult:
    """Evaluate, note the best, decide whether to go on."""
    config, progress = training.config, training.progress
    training.optimizer.settle()
    training.optimizer.swap_average()
    metrics = {
        "epoch": float(progress.epoch + 1),
        "train/loss": progress.loss_sum / progress.num_targets,
        "lr": progress.lr,
    }
    metrics |= {f"val/{name}": value for name, value in evaluate(training.network, val, bio, device).items()}
    metrics |= {"train/seconds": progress.seconds, "train/tokens_per_second": tokens_per_second}
    score = -metrics["val/loss"] if config.monitor == "loss" else metrics[f"val/{config.monitor}"]
    loss = metrics["val/loss"]
    is_best = (score, -loss) > (progress.best_score, -progress.best_loss)
    if is_best:
        progress.best_score, progress.best_loss, progress.best_epoch = score, loss, progress.epoch + 1
        training.best = {name: value.clone() for name, value in training.network.state_dict().items()}
    training.optimizer.swap_average()
    progress.history.append(metrics)
    progress.epoch, progress.step, progress.loss_sum, progress.num_targets = progress.epoch + 1, 0, 0.0, 0
    is_stale = config.patience and progress.epoch - progress.best_epoch >= config.patience
    progress.is_done = progress.epoch >= config.epochs or bool(is_stale)
    return EpochResult(progress.epoch, metrics, is_best, progress.is_done)


@torch.inference_mode()
def evaluate(network: Network, examples: Examples, bio: BioLabels | None, device: torch.device) -> dict[str, float]:
    """Score a split over all workers, each example once.

    Returns:
        `loss` in nats per label, the targets' weighted together; `accuracy`, that of a further target with its name before
        it; and `entity_f1` where labels are BIO. A label that train does not have counts as an error and carries no loss.
    """
    world = World.current()
    network.eval()
    names = list(network.weights)
    sums = torch.zeros(len(names), 3, dtype=torch.float64)  # loss, right, labels
    spans = torch.zeros(3, dtype=torch.float64)  # entities right, predicted, in gold
    for _, batch in evaluation_batches(examples, EVALUATION_TOKENS, world.rank, world.size):
        moved = batch.to(device)
        logits = network(moved)
        losses, predicted = network.loss_sums(logits, moved), network.predict(logits, batch.lengths)
        for number, name in enumerate(names):
            gold, labels = batch.targets[name], predicted[name].labels.cpu()
            is_real = torch.ones_like(gold, dtype=torch.bool)
            if gold.dim() == 2:
                is_real = step_mask(batch.lengths, gold.shape[1], gold.device)
            sums[number] += torch.stack([losses[name].cpu(), ((labels == gold) & is_real).sum(), is_real.sum()]).double()
            if bio is not None and name == MAIN:
                spans += torch.tensor(bio.count(gold.numpy(), labels.numpy(), is_real.numpy()))
    loss, right, total = world.sum(sums.to(device)).cpu().T
    weights = torch.tensor([network.weights[name] for name in names], dtype=torch.float64)
    metrics = {"loss": float((weights * loss / total).sum())}
    for name, share in zip(names, (right / total).tolist(), strict=True):
        metrics["accuracy" if name == MAIN else f"{name}_accuracy"] = share
    if bio is not None:
        found, predicted_spans, gold_spans = world.sum(spans.to(device)).tolist()
        metrics["entity_f1"] = 2 * found / max(predicted_spans + gold_spans, 1)
    return metrics
