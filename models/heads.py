"""What stands on the recurrent layers: logits, summed losses and predictions, per step or per sequence.

Losses are sums and come with their count: whoever adds them up over batches and workers divides once.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.batch import Batch
from models.config import ModelConfig
from models.rnn import Stacked, step_mask

IGNORED = -100
"""The label of a step that carries no loss."""


class TokenHead(nn.Module):
    """Softmax over labels at every step (tagging)."""

    def __init__(self, rnn: Stacked, num_labels: int, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(rnn.output_size, num_labels)

    def forward(self, outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        """Give logits (B, T, L) from outputs (B, T, H)."""
        return self.output(self.dropout(outputs))

    def targets(self, batch: Batch) -> Tensor:
        """Give (B, T) labels with everything past `lengths` marked as ignored, whatever the padding holds."""
        mask = step_mask(batch.lengths, batch.labels.shape[1], batch.labels.device)
        return batch.labels.masked_fill(~mask, IGNORED)


class SequenceHead(nn.Module):
    """Pooling over time, an optional feed-forward layer, softmax over labels (classification)."""

    def __init__(self, rnn: Stacked, num_labels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(rnn.output_size, config.dense) if config.dense else None
        self.output = nn.Linear(config.dense or rnn.output_size, num_labels)

    def forward(self, outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
        """Give logits (B, L) from outputs (B, T, H), zero at padding, and final states (B, H)."""
        pooled = self.dropout(POOLINGS[self.pooling](outputs, last, lengths))
        if self.dense is not None:
            pooled = self.dropout(torch.relu(self.dense(pooled)))
        return self.output(pooled)

    def targets(self, batch: Batch) -> Tensor:
        """Give the labels, (B,)."""
        return batch.labels


Head = TokenHead | SequenceHead
HEADS: dict[str, type[TokenHead] | type[SequenceHead]] = {"tagging": TokenHead, "classification": SequenceHead}


def loss_sum(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Add up the cross-entropies of all real targets, in nats.

    Args:
        logits: (..., L).
        targets: (...), label ids or `IGNORED`.
        label_smoothing: share of each target spread evenly over the labels (Szegedy et al. 2016).
    """
    return F.cross_entropy(
        logits.flatten(0, -2),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def _final(outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
    return last


def _max(outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
    mask = step_mask(lengths, outputs.shape[1], outputs.device)
    return outputs.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(dim=1)


def _mean(outputs: Tensor, last: Tensor, lengths: Tensor) -> Tensor:
    return outputs.sum(dim=1) / lengths.to(outputs.device, outputs.dtype).unsqueeze(1)


POOLINGS = {"final": _final, "max": _max, "mean": _mean}
"""(B, H) from outputs (B, T, H), zero at padding, each direction's final states (B, H) and lengths (B,)."""
