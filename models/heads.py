"""What stands on the recurrent layers: logits, summed losses and predictions, per step or per sequence.

Losses are sums: whoever adds them up over batches and workers divides once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.config import IGNORED, ModelConfig
from models.crf import CRF
from models.dropout import Dropout, Noise
from models.lengths import step_mask


@dataclass(frozen=True)
class Read:
    """What a head reads of a batch.

    Attributes:
        outputs: (B, T, H) of the recurrent layers, zero at padding, in the order of the steps.
        final: (B, H) what each direction has in its end.
        lengths: (B,), on the CPU.
    """

    outputs: Tensor
    final: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Prediction:
    """Label ids and how likely each is, (B, T) or (B,); past a row's end they mean nothing."""

    labels: Tensor
    probabilities: Tensor


class TokenHead(nn.Module):
    """Softmax over labels at every step (tagging)."""

    def __init__(self, input_size: int, num_labels: int, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(input_size, num_labels)

    def forward(self, read: Read, noise: Noise | None = None) -> Tensor:
        """Give logits, (B, T, L)."""
        return self.output(self.dropout(read.outputs, noise))

    def loss_sum(self, logits: Tensor, labels: Tensor, lengths: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Add up the cross-entropies of all real steps, in nats; see `cross_entropy_sum`."""
        is_real = step_mask(lengths, labels.shape[1], labels.device)
        return cross_entropy_sum(logits, labels.masked_fill(~is_real, IGNORED), label_smoothing)

    def predict(self, logits: Tensor, lengths: Tensor) -> Prediction:
        """Give the most likely label of each step."""
        probabilities, labels = logits.softmax(-1).max(-1)
        return Prediction(labels, probabilities)


class CRFHead(TokenHead):
    """A conditional random field over the labels of a sequence (tagging; Huang et al. 2015)."""

    def __init__(self, input_size: int, num_labels: int, config: ModelConfig, labels: tuple[str, ...] = ()) -> None:
        super().__init__(input_size, num_labels, config)
        self.crf = CRF(num_labels, labels)

    def loss_sum(self, logits: Tensor, labels: Tensor, lengths: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Add up -log p of each row's labels, in nats."""
        if label_smoothing:
            raise ValueError(f"label_smoothing is {label_smoothing}; a CRF has no such thing; set it to 0")
        return self.crf.loss_sum(_wide(logits), labels, lengths)

    def predict(self, logits: Tensor, lengths: Tensor) -> Prediction:
        """Give the most likely sequence of labels, and the marginal probability of each of them."""
        emissions = _wide(logits)
        labels = self.crf.best_path(emissions, lengths)
        likely = self.crf.marginals(emissions, lengths).gather(2, labels.unsqueeze(2)).squeeze(2)
        return Prediction(labels, likely)


def _wide(logits: Tensor) -> Tensor:
    """Sums over many steps ask for at least float32."""
    return logits if logits.dtype == torch.float64 else logits.float()


class SequenceHead(nn.Module):
    """Pooling over time, an optional feed-forward layer, softmax over labels (classification)."""

    def __init__(self, input_size: int, num_labels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pooling = POOLINGS[config.pooling or "final"](input_size)
        self.dropout = Dropout(config.dropout)
        self.dense = nn.Linear(input_size, config.dense) if config.dense else None
        self.output = nn.Linear(config.dense or input_size, num_labels)

    def forward(self, read: Read, noise: Noise | None = None) -> Tensor:
        """Give logits, (B, L)."""
        pooled = self.dropout(self.pooling(read), noise)
        if self.dense is not None:
            pooled = self.dropout(torch.relu(self.dense(pooled)), noise and noise.fold(0))
        return self.output(pooled)

    def loss_sum(self, logits: Tensor, labels: Tensor, lengths: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Add up the cross-entropies, in nats; see `cross_entropy_sum`."""
        return cross_entropy_sum(logits, labels, label_smoothing)

    def predict(self, logits: Tensor, lengths: Tensor) -> Prediction:
        """Give the most likely label of each sequence."""
        probabilities, labels = logits.softmax(-1).max(-1)
        return Prediction(labels, probabilities)


Head = TokenHead | SequenceHead
HEADS: dict[str, type[TokenHead] | type[SequenceHead]] = {"tagging": TokenHead, "classification": SequenceHead}


def cross_entropy_sum(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Add up the cross-entropies of all real targets, in nats.

    Args:
        logits: (..., L).
        labels: (...), label ids or `IGNORED`.
        label_smoothing: share of each target spread evenly over the labels (Szegedy et al. 2016).
    """
    return F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )


class FinalPooling(nn.Module):
    """Each direction's last state."""

    def __init__(self, input_size: int) -> None:
        super().__init__()

    def forward(self, read: Read) -> Tensor:
        """Give (B, H)."""
        return read.final


class MaxPooling(nn.Module):
    """The largest output of each unit over the real steps."""

    def __init__(self, input_size: int) -> None:
        super().__init__()

    def forward(self, read: Read) -> Tensor:
        """Give (B, H)."""
        is_real = step_mask(read.lengths, read.outputs.shape[1], read.outputs.device)
        return read.outputs.masked_fill(~is_real.unsqueeze(2), -torch.inf).amax(dim=1)


class MeanPooling(nn.Module):
    """The mean output over the real steps."""

    def __init__(self, input_size: int) -> None:
        super().__init__()

    def forward(self, read: Read) -> Tensor:
        """Give (B, H)."""
        return read.outputs.sum(dim=1) / read.lengths.to(read.outputs.device, read.outputs.dtype).unsqueeze(1)


class AttentionPooling(nn.Module):
    """A weighted mean over the real steps, weights softmax_t(v . tanh(W h_t + b)) (Yang et al. 2016)."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(input_size, input_size)
        self.score = nn.Linear(input_size, 1, bias=False)

    def forward(self, read: Read) -> Tensor:
        """Give (B, H)."""
        is_real = step_mask(read.lengths, read.outputs.shape[1], read.outputs.device)
        scores = self.score(torch.tanh(self.hidden(read.outputs))).squeeze(2)
        weights = scores.masked_fill(~is_real, -torch.inf).softmax(1)
        return (weights.unsqueeze(1) @ read.outputs).squeeze(1)


POOLINGS: dict[str, type[FinalPooling] | type[MaxPooling] | type[MeanPooling] | type[AttentionPooling]] = {
    "final": FinalPooling,
    "max": MaxPooling,
    "mean": MeanPooling,
    "attention": AttentionPooling,
}
"""Built for H numbers per step; each gives (B, H) of what a head reads."""
