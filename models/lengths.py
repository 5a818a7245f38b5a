"""What sequences of different lengths in one batch ask for: which steps are real, the last of them, the way back.

Lengths are (B,), on the CPU, each from 1 to T. Nothing here or above reads a pad.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

Side = Literal["pre", "post"]


def step_mask(lengths: Tensor, num_steps: int, device: torch.device) -> Tensor:
    """Mark the real steps: (B, T) booleans from lengths (B,)."""
    return (torch.arange(num_steps) < lengths[:, None]).to(device)


@dataclass(frozen=True)
class Steps:
    """The steps of a (B, T) batch, told apart once for all that ask.

    Attributes:
        is_padding: (B, T, 1) which are not real; None where all are.
        mirrored: (B * T,) for each step, row after row, the one as far from its row's other end; padding stays.
        last: (B,) where each row's last real step stands among them.
    """

    is_padding: Tensor | None
    mirrored: Tensor
    last: Tensor

    @classmethod
    def of(cls, lengths: Tensor, num_steps: int, device: torch.device) -> "Steps":
        """Look at (B,) lengths, on the CPU."""
        ends, steps = lengths.numpy()[:, None], np.arange(num_steps)
        is_real, begins = steps < ends, np.arange(len(ends))[:, None] * num_steps
        mirrored = begins + np.where(is_real, ends - 1 - steps, steps)
        is_padding = None if is_real.all() else torch.from_numpy(~is_real[:, :, None]).to(device)
        return cls(is_padding, *(torch.from_numpy(each.ravel()).to(device) for each in (mirrored, begins + ends - 1)))

    def cleared(self, inputs: Tensor) -> Tensor:
        """Put 0 at padding of (B, T, H), whatever stands there, NaN or not."""
        return inputs if self.is_padding is None else inputs.masked_fill(self.is_padding, 0)

    def turned(self, inputs: Tensor) -> Tensor:
        """Turn each row's real part of (B, T, ...) around and leave its padding where it is; twice gives the inputs back."""
        return cast(Tensor, _Permuted.apply(inputs, self.mirrored))  # type: ignore[no-untyped-call]

    def lasts(self, inputs: Tensor) -> Tensor:
        """Pick each row's last real step: (B, H) from (B, T, H)."""
        return cast(Tensor, _Picked.apply(inputs, self.last))  # type: ignore[no-untyped-call]


class _Permuted(torch.autograd.Function):
    """Steps put in another order, by an index that is its own inverse: the gradient's way is the same, with nothing to add up."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, index: Tensor) -> Tensor:
        ctx.index = index
        return inputs.flatten(0, 1).index_select(0, index).view(inputs.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return cast(Tensor, _Permuted.apply(gradient, ctx.index)), None  # type: ignore[no-untyped-call]


class _Picked(torch.autograd.Function):
    """Some steps, no step twice."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, index: Tensor) -> Tensor:
        ctx.index, ctx.shape = index, inputs.shape
        return inputs.flatten(0, 1).index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        zeros = gradient.new_zeros(ctx.shape).flatten(0, 1)
        return zeros.index_copy(0, ctx.index, gradient).view(ctx.shape), None


def reverse_real_part(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Turn each row's first `lengths` steps around and leave its padding where it is.

    Args:
        inputs: (B, T, ...).
        lengths: (B,), on the CPU.

    Returns:
        The shape of `inputs`; applied twice it gives the inputs back.
    """
    return Steps.of(lengths, inputs.shape[1], inputs.device).turned(inputs)


def last_outputs(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Pick each sequence's output at its last real step: (B, H) from (B, T, H) and lengths (B,), each at least 1."""
    return Steps.of(lengths, outputs.shape[1], outputs.device).lasts(outputs)


@dataclass(frozen=True)
class Packing:
    """Rows that ascend by length, put step after step without padding: the order that `models.scan` works in.

    Attributes:
        counts: rows that have each step.
        rows: (N,) the row of each packed step, N = sum(lengths).
        steps: (N,) its step.
        mirrored: (N,) where the step stands that is as far from its row's other end.
        last: (B,) where each row's last step stands.
    """

    counts: list[int]
    rows: Tensor
    steps: Tensor
    mirrored: Tensor
    last: Tensor

    @classmethod
    def of(cls, lengths: Tensor) -> "Packing":
        """Pack rows of (B,) ascending lengths, on the CPU."""
        num_rows = len(lengths)
        is_real = torch.arange(int(lengths[-1])).unsqueeze(1) < lengths
        steps, rows = is_real.nonzero().unbind(1)
        counts = is_real.sum(1)
        firsts = counts.cumsum(0) - num_rows  # where a step's row 0 would stand
        return cls(
            counts.tolist(), rows, steps, (firsts[lengths[rows] - 1 - steps] + rows), firsts[lengths - 1] + torch.arange(num_rows)
        )


def check_lengths(lengths: Tensor, inputs: Tensor) -> None:
    """Refuse lengths that are no numbers from 1 to T, one for each row of (B, T, ...) inputs.

    Raises:
        ValueError: saying what they are and may be.
    """
    if lengths.shape != inputs.shape[:1] or lengths.is_cuda:
        raise ValueError(f"lengths has the shape {tuple(lengths.shape)}; expected ({len(inputs)},), on the CPU")
    shortest, longest = lengths.numpy().min(), lengths.numpy().max()
    if shortest < 1 or longest > inputs.shape[1]:
        raise ValueError(
            f"lengths go from {shortest} to {longest}; expected 1 to {inputs.shape[1]}, the steps of the "
            "inputs; leave empty sequences out"
        )


def pad(
    sequences: Sequence[Sequence[float]],
    max_length: int | None = None,
    *,
    padding: Side = "post",
    truncating: Side = "post",
    value: float = 0,
) -> tuple[Tensor, Tensor]:
    """Make one tensor of sequences of numbers, as Keras's `pad_sequences` does.

    The layers here want padding `post`, and give the same for any amount of it.

    Args:
        sequences: B of them, each at least one long.
        max_length: T, steps of every row; the longest sequence's if not given.
        padding: where a short sequence is filled up, before or after it.
        truncating: where a long sequence is cut, at its beginning or its end.
        value: what it is filled up with.

    Returns:
        (B, T), and the lengths (B,) of what is left of each.

    Raises:
        ValueError: a sequence is empty.
    """
    empty = [number for number, steps in enumerate(sequences) if not len(steps)]
    if empty:
        raise ValueError(f"sequences {empty} are empty; a sequence has at least one step; leave them out")
    longest = max_length or max(len(steps) for steps in sequences)
    kept = [torch.as_tensor(steps[-longest:] if truncating == "pre" else steps[:longest]) for steps in sequences]
    padded = torch.full((len(kept), longest), value, dtype=kept[0].dtype)
    for row, steps in zip(padded, kept, strict=True):
        begin = longest - len(steps) if padding == "pre" else 0
        row[begin : begin + len(steps)] = steps
    return padded, torch.tensor([len(steps) for steps in kept])
