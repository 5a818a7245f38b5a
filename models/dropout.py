"""Dropout whose masks follow from a seed and the sequence alone: not from the batch, the padding or the worker.

Each number of a mask is a hash of (seed, the sequence's key, step, unit), as counter-based generators have it (Salmon et
al. 2011). So any split of the sequences over batches and workers draws the same masks, and a resumed training goes on
with the masks of an unbroken one.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Numbers = TypeVar("Numbers", Tensor, NDArray[Any])

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_WORD = 2**64


@dataclass(frozen=True)
class Noise:
    """A source of masks for a batch.

    Attributes:
        seed: everything drawn changes with it.
        keys: (B,) what names each sequence; equal keys draw equal masks.
    """

    seed: int
    keys: Tensor

    @classmethod
    def fresh(cls, num_rows: int, device: torch.device) -> "Noise":
        """Make one from torch's own generator, for a layer that is used by itself."""
        return cls(int(torch.randint(2**62, ())), torch.arange(num_rows, device=device))

    def fold(self, number: int) -> "Noise":
        """Give the source of another layer: one of its own for each number."""
        return Noise(_splitmix(self.seed + (number + 1) * _GOLDEN), self.keys)

    def mask(self, rate: float, num_steps: int, size: int) -> Tensor:
        """Draw (B, num_steps, size): 0 with probability `rate`, else 1 / (1 - rate)."""
        return self._draw(rate, torch.arange(num_steps, dtype=torch.int32, device=self.keys.device), size)

    def mask_at(self, rate: float, steps: Tensor, size: int) -> Tensor:
        """Draw (B, size), the masks of one step of each row: (B,) numbers of steps, from 0. They are those of `mask`."""
        return self._draw(rate, steps.to(torch.int32).unsqueeze(1), size).squeeze(1)

    def _draw(self, rate: float, steps: Tensor, size: int) -> Tensor:
        """Hash (seed, key, step, unit) to 16 bits, two units from each number; `steps` is (T,), or (B, 1) for T = 1."""
        pairs, lowest = torch.arange((size + 1) // 2, dtype=torch.int32, device=steps.device), round((rate - 0.5) * 2**16)
        seed, dtype = _signed(_splitmix(self.seed)), torch.get_default_dtype()
        if self.keys.is_cuda:
            rows = _scramble(_scramble(self.keys * _signed(_GOLDEN) + seed)).to(torch.int32)
            is_kept = _hashed(rows, steps, pairs).view(torch.int16)[..., :size] >= lowest
            return is_kept.to(dtype).mul_(1 / (1 - rate))
        # NumPy does the same, and begins each of these small operations several times faster.
        keys: NDArray[Any] = self.keys.numpy() * _signed(_GOLDEN) + seed
        bits = _hashed(_scramble(_scramble(keys)).astype(np.int32), steps.numpy(), pairs.numpy())
        scale = (np.float64 if dtype == torch.float64 else np.float32)(1 / (1 - rate))
        return torch.from_numpy((bits.view(np.int16)[..., :size] >= lowest) * scale)


class Dropout(nn.Module):
    """Set a share of the inputs to 0 in training and scale up the rest (Srivastava et al. 2014).

    Args:
        rate: the share.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, inputs: Tensor, noise: Noise | None = None) -> Tensor:
        """Drop from (B, T, I) or (B, I) inputs; without a source, from torch's own generator."""
        if not self.training or not self.rate:
            return inputs
        noise = noise or Noise.fresh(len(inputs), inputs.device)
        num_steps, size = (1, inputs.shape[1]) if inputs.dim() == 2 else inputs.shape[1:]
        return inputs * noise.mask(self.rate, num_steps, size).view(inputs.shape).to(inputs.dtype)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate}"


def _splitmix(number: int) -> int:
    number %= _WORD
    for shift, factor in zip((30, 27), _MIX, strict=True):
        number = (number ^ number >> shift) * factor % _WORD
    return number ^ number >> 31


def _hashed(rows: Numbers, steps: Numbers, pairs: Numbers) -> Numbers:
    """Hash a number of each row, step and pair of units to 32 bits, (B, T, pairs)."""
    bits = (steps[..., None] * len(pairs) + pairs) * -1640531527 ^ rows.reshape(-1, 1, 1)
    for shift, factor in ((16, 0x7FEB352D), (15, -2073319797)):
        bits ^= bits >> shift & 2 ** (32 - shift) - 1  # the shift draws the sign along
        bits *= factor
    bits ^= bits >> 16 & 0xFFFF
    return bits


def _scramble(keys: Numbers) -> Numbers:
    keys = (keys ^ keys >> 32) * _signed(_MIX[0])
    return keys ^ keys >> 29


def _signed(number: int) -> int:
    return number - _WORD if number >= _WORD // 2 else number
