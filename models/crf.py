"""A linear-chain conditional random field over label sequences (Lafferty et al. 2001), exact and vectorised over a batch.

A sequence of labels y_1..y_T has the score start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_t-1, y_t] + end[y_T];
its probability is exp(score) over the sum of that for all label sequences of its length. Padding takes no part.
"""

import torch
from torch import Tensor, nn

from models.config import IGNORED
from models.lengths import step_mask

FORBIDDEN = -1e4
"""The score of what can not be: its probability is 0 in every precision, and no sum of it is infinite."""


class CRF(nn.Module):
    """Scores of labels beside each other; all recursions run over T with (B, L) or (B, L, L) at a time.

    Args:
        num_labels: L.
        labels: names of the labels, of which none but B-x and I-x may stand before I-x; anything goes where not given.
    """

    forbidden: Tensor
    forbidden_start: Tensor

    def __init__(self, num_labels: int, labels: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))
        forbidden, forbidden_start = forbidden_by_bio(labels or ("",) * num_labels)
        self.register_buffer("forbidden", forbidden)
        self.register_buffer("forbidden_start", forbidden_start)

    def scores(self) -> tuple[Tensor, Tensor]:
        """Give (L,) scores of a first label, and (L, L) of one, in rows, before another; of what can not be, `FORBIDDEN`."""
        return (
            self.start.masked_fill(self.forbidden_start, FORBIDDEN),
            self.transitions.masked_fill(self.forbidden, FORBIDDEN),
        )

    def loss_sum(self, emissions: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Add up -log p(labels) over the batch, in nats.

        Args:
            emissions: (B, T, L).
            labels: (B, T); at a step with `IGNORED` every label counts as right.
            lengths: (B,).
        """
        unknown = step_mask(lengths, emissions.shape[1], emissions.device) & (labels == IGNORED)
        if unknown.any():
            wrong = (torch.arange(emissions.shape[2], device=labels.device) != labels[:, :, None]) & (labels != IGNORED)[
                :, :, None
            ]
            right = self.log_partition(emissions.masked_fill(wrong, FORBIDDEN), lengths)
        else:
            right = self.score(emissions, labels, lengths)
        return (self.log_partition(emissions, lengths) - right).sum()

    def score(self, emissions: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Give the score of each row's labels, (B,)."""
        start, transitions = self.scores()
        is_real = step_mask(lengths, emissions.shape[1], emissions.device)
        labels = labels.masked_fill(~is_real, 0)
        given = emissions.gather(2, labels.unsqueeze(2)).squeeze(2)
        between = transitions[labels[:, :-1], labels[:, 1:]]
        last = labels[torch.arange(len(labels), device=labels.device), lengths.to(labels.device) - 1]
        return (
            start[labels[:, 0]]
            + given.masked_fill(~is_real, 0).sum(1)
            + between.masked_fill(~is_real[:, 1:], 0).sum(1)
            + self.end[last]
        )

    def log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Give the log of the sum of exp(score) over all label sequences, (B,)."""
        sums, shift = self._forward(emissions, lengths)
        return torch.logsumexp(sums[-1] + self.end, dim=1) + shift

    def _forward(self, emissions: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Sum over all beginnings.

        Returns:
            Per step (B, L) log sums over all beginnings that end in a label, each less its largest, so that long sequences
            lose no digits; a row's last stays at its padding. And (B,) what was taken off in all.
        """
        start, transitions = self.scores()
        is_real = step_mask(lengths, emissions.shape[1], emissions.device)
        sums, shift = [start + emissions[:, 0]], emissions.new_zeros(len(emissions))
        for t in range(1, emissions.shape[1]):
            after = torch.logsumexp(sums[-1].unsqueeze(2) + transitions, dim=1) + emissions[:, t]
            largest = after.detach().amax(1)
            sums.append(torch.where(is_real[:, t, None], after - largest[:, None], sums[-1]))
            shift = shift + largest * is_real[:, t]
        return sums, shift

    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Give the probability of each label at each step, all label sequences considered, (B, T, L)."""
        _, transitions = self.scores()
        ahead, _ = self._forward(emissions, lengths)
        lengths = lengths.to(emissions.device)
        back = self.end.expand_as(ahead[0])
        sums = [ahead[-1] + back]
        for t in range(emissions.shape[1] - 2, -1, -1):
            before = torch.logsumexp(transitions + (emissions[:, t + 1] + back).unsqueeze(1), dim=2)
            back = torch.where((t + 1 < lengths)[:, None], before - before.amax(1, keepdim=True), back)
            sums.append(ahead[t] + back)
        return torch.stack(sums[::-1], dim=1).softmax(-1)

    def best_path(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Give the labels of the highest score (Viterbi 1967), (B, T); what stands at padding means nothing."""
        start, transitions = self.scores()
        lengths = lengths.to(emissions.device)
        best, choices = start + emissions[:, 0], []
        ends = [best + self.end]
        for t in range(1, emissions.shape[1]):
            best, chosen = (best.unsqueeze(2) + transitions).max(1)
            best = best + emissions[:, t]
            choices.append(chosen)
            ends.append(best + self.end)
        last = torch.stack(ends, dim=1).argmax(-1)
        labels = last[:, -1]
        path = [labels]
        for t in range(len(choices) - 1, -1, -1):
            before = choices[t].gather(1, labels.unsqueeze(1)).squeeze(1)
            labels = torch.where(t + 1 < lengths, before, last[:, t])
            path.append(labels)
        return torch.stack(path[::-1], dim=1)


def forbidden_by_bio(labels: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Mark what BIO does not allow: I-x after anything but B-x or I-x, or at the start.

    Returns:
        (L, L) booleans, the label before in rows; (L,) for the start.
    """
    inside = [label[2:] if label.startswith("I-") else None for label in labels]
    kinds = [label[2:] if label.startswith(("B-", "I-")) else None for label in labels]
    after = [[wanted is not None and wanted != kind for wanted in inside] for kind in kinds]
    return torch.tensor(after), torch.tensor([wanted is not None for wanted in inside])
