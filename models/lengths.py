"""What sequences of different lengths in one batch ask for: which steps are real, the last of them, the way back.

Lengths are (B,), on the CPU, each from 1 to T. Nothing here or above reads a pad.
"""

import torch
from torch import Tensor


def is_ragged(lengths: Tensor, num_steps: int) -> bool:
    """Say whether any row of a batch is shorter than the batch. `lengths` is (B,), on the CPU."""
    return bool((lengths != num_steps).any())


def step_mask(lengths: Tensor, num_steps: int, device: torch.device) -> Tensor:
    """Mark the real steps: (B, T) booleans from lengths (B,)."""
    return (torch.arange(num_steps) < lengths[:, None]).to(device)


def reverse_real_part(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Turn each row's first `lengths` steps around and leave its padding where it is.

    Args:
        inputs: (B, T, ...).
        lengths: (B,), on the CPU.

    Returns:
        The shape of `inputs`; applied twice it gives the inputs back.
    """
    num_rows, num_steps = inputs.shape[:2]
    if not is_ragged(lengths, num_steps):
        return inputs.flip(1)
    steps = torch.arange(num_steps)
    steps = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    flat = (steps + torch.arange(num_rows)[:, None] * num_steps).flatten().to(inputs.device)
    return inputs.flatten(0, 1).index_select(0, flat).unflatten(0, (num_rows, num_steps))


def last_outputs(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Pick each sequence's output at its last real step: (B, H) from (B, T, H) and lengths (B,), each at least 1."""
    rows = torch.arange(len(lengths), device=outputs.device)
    return outputs[rows, lengths.to(outputs.device) - 1]


def check_lengths(lengths: Tensor, inputs: Tensor) -> None:
    """Refuse lengths that are no numbers from 1 to T, one for each row of (B, T, ...) inputs.

    Raises:
        ValueError: saying what they are and may be.
    """
    if lengths.shape != inputs.shape[:1] or lengths.is_cuda:
        raise ValueError(f"lengths has the shape {tuple(lengths.shape)}; expected ({len(inputs)},), on the CPU")
    if lengths.min() < 1 or lengths.max() > inputs.shape[1]:
        raise ValueError(
            f"lengths go from {int(lengths.min())} to {int(lengths.max())}; expected 1 to {inputs.shape[1]}, the steps of the "
            "inputs; leave empty sequences out"
        )
