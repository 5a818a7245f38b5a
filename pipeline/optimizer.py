"""AdamW (Loshchilov and Hutter 2019) over a network, with a running average of its weights, at the cost of what a step reads.

Gradients of everything but the word table lie in one tensor, one after another, which is the message that workers add up.
Of the word table a step reads few rows: only those are sent and updated, and each gets what AdamW over the whole table would
have given it.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.network import Network
from pipeline.config import TrainConfig

BETAS = (0.9, 0.999)
EPS = 1e-8
_LONGEST = 4096
"""Steps after which every row is brought up to date, lest the list of what it missed grow without end."""
_CHUNK = 1 << 16
"""Rows brought up to date at once."""


class Optimizer:
    """Gradients, updates and the running average of a network's weights.

    Args:
        network: on its device already.
        config: of the loop.
    """

    def __init__(self, network: Network, config: TrainConfig) -> None:
        self.words = network.inputs.words
        table = None if self.words is None else self.words.weight
        self.dense = [p for p in network.parameters() if p.requires_grad and p is not table]
        self._adamw = torch.optim.AdamW(
            self.dense, lr=config.lr, betas=BETAS, eps=EPS, weight_decay=config.weight_decay, fused=True
        )
        self.average = [p.detach().clone() for p in self.dense] if config.average else []
        self.rows = None
        if table is not None and table.requires_grad:
            self.rows = RowAdamW(table, config.weight_decay, has_average=bool(config.average))
        self._num_dense = sum(p.numel() for p in self.dense)
        self._room = self.message = self.dense[0].new_empty(0)

    def begin(self, word_ids: Tensor | None) -> Tensor | None:
        """Set all gradients to zero and give the vectors of a step's words, up to date, whose gradient is wanted.

        Args:
            word_ids: (R,) the rows of the word table that the step reads, over all workers, ascending.

        Returns:
            (R, size), or None where the network reads no words.
        """
        if self.words is None or word_ids is None:
            self._clear(0)
            return None
        vectors = self.words(word_ids.to(self.words.weight.device)).detach()
        if self.rows is None:
            self._clear(0)
            return vectors
        trained = word_ids[word_ids < len(self.words.weight)]  # the rows beyond are fixed
        vectors[: len(trained)] = self.rows.read(trained)
        part = self._clear(vectors.numel())
        vectors.requires_grad_().grad = part.view_as(vectors)
        return vectors

    def _clear(self, num_further: int) -> Tensor:
        """Make `message` zero: all gradients one after another, then the words', then one number more, for the loss."""
        size = self._num_dense + num_further + 1
        if size > len(self._room):
            self._room = self._room.new_empty(size)
            parts = self._room[: self._num_dense].split([p.numel() for p in self.dense])
            for parameter, part in zip(self.dense, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        self.message = self._room[:size].zero_()
        self._word_gradient = self.message[self._num_dense : -1]
        return self._word_gradient

    def clip(self, longest: float) -> float:
        """Scale the gradient down to a norm of at most `longest`; returns what it was."""
        gradient = self.message[:-1]
        norm = gradient.norm().item()
        if norm > longest:
            gradient.mul_(longest / norm)
        return norm

    def step(self, lr: float, average_weight: float) -> None:
        """Make one update.

        Args:
            lr: the learning rate.
            average_weight: the share of the new weights in the running average, from 0 to 1.
        """
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        if self.average:
            torch._foreach_lerp_(self.average, [p.detach() for p in self.dense], average_weight)
        if self.rows is not None:
            self.rows.update(self._word_gradient, lr, average_weight)

    def settle(self) -> None:
        """Bring every row of the word table up to date, for whoever reads it without asking."""
        if self.rows is not None:
            self.rows.settle()

    def swap_average(self) -> None:
        """Exchange the settled weights with their running average; twice leaves them as they were."""
        for i, parameter in enumerate(self.dense[: len(self.average)]):
            parameter.data, self.average[i] = self.average[i], parameter.data
        if self.rows is not None:
            self.rows.swap_average()

    def state(self) -> dict[str, Tensor]:
        """Give the tensors from which `restore` makes the same optimizer, the weights aside."""
        tensors = {f"average.{i}": value for i, value in enumerate(self.average)}
        for i, state in self._adamw.state_dict()["state"].items():
            tensors |= {f"adamw.{i}.{name}": value for name, value in state.items()}
        if self.rows is not None:
            tensors |= {f"rows.{name}": value for name, value in self.rows.state().items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Become the optimizer that `state` was taken of."""
        stored: dict[str, Any] = self._adamw.state_dict()
        rows: dict[str, Tensor] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            if part == "average":
                self.average[int(rest)].copy_(value)
            elif part == "rows":
                rows[rest] = value
            else:
                i, _, key = rest.partition(".")
                stored["state"].setdefault(int(i), {})[key] = value
        self._adamw.load_state_dict(stored)
        if self.rows is not None:
            self.rows.restore(rows)


class RowAdamW:
    """AdamW and a running average for a table of which a step reads few rows.

    The gradient of a row that a step does not read is zero, and yet AdamW moves it, for its moments m and v have only
    decayed. Over such steps its value w and average a become

        w' = keep * w - shift * m / (sqrt(v) + eps)
        a' = hold * a + take * w - drag * m / (sqrt(v) + eps)

    whose five factors depend on nothing but how many steps ago the row was read: they are kept for each such age, and a row
    is brought up to date when it is read again. The result is that of AdamW over the whole table, save that eps shrinks as
    sqrt(v) does while a row is not read.

    Args:
        table: (V, D), changed in place.
        weight_decay: AdamW's.
        has_average: whether there is a running average.
    """

    def __init__(self, table: nn.Parameter, weight_decay: float, has_average: bool) -> None:
        self.table, self.weight_decay = table, weight_decay
        self.m, self.v = torch.zeros_like(table.data), torch.zeros_like(table.data)
        self.average = table.data.clone() if has_average else None
        self._last = torch.zeros(len(table), dtype=torch.int64)  # the update that each row is up to date with
        self._count = 0
        self._factors = np.array([[1.0], [0.0], [1.0], [0.0], [0.0]])  # keep, shift, hold, take, drag; by age

    def read(self, rows: Tensor) -> Tensor:
        """Bring rows up to date and give their values; `rows` is (R,), on the CPU, each row once. Nothing is written yet."""
        ages = self._count - self._last[rows]
        decay = torch.tensor(BETAS, dtype=torch.float64).unsqueeze(1) ** ages
        by_age = torch.cat([torch.from_numpy(self._factors)[:, ages], decay]).unsqueeze(2)
        keep, shift, hold, take, drag, *decays = by_age.to(self.table.device, self.table.dtype)
        self._rows, self._on_device = rows, rows.to(self.table.device)
        tensors = [t for t in (self.table.data, self.m, self.v, self.average) if t is not None]
        self._values, self._m, self._v, *average = (tensor[self._on_device] for tensor in tensors)
        pull = self._m / (self._v.sqrt() + EPS * math.sqrt(1 - BETAS[1] ** max(self._count, 1)))
        self._average = [hold * a + take * self._values - drag * pull for a in average]
        self._values = keep * self._values - shift * pull
        self._m *= decays[0]
        self._v *= decays[1]
        return self._values

    def update(self, gradient: Tensor, lr: float, average_weight: float) -> None:
        """Make one update of the rows that were read; `gradient` is of those, and may be flat and longer."""
        self._count += 1
        gradient = gradient[: self._values.numel()].view_as(self._values)
        bias_m, bias_v = (1 - beta**self._count for beta in BETAS)
        self._m.lerp_(gradient, 1 - BETAS[0])
        self._v.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size = (self._v / bias_v).sqrt_().add_(EPS)
        self._values.mul_(1 - lr * self.weight_decay).addcdiv_(self._m, size, value=-lr / bias_m)
        for average in self._average:
            average.lerp_(self._values, average_weight)
        self._age(lr, average_weight)
        self._write()
        if self._factors.shape[1] > _LONGEST:
            self.settle()

    def _age(self, lr: float, average_weight: float) -> None:
        """Make every row a step older."""
        keep, shift, hold, take, drag = self._factors
        ages = np.arange(1, len(keep) + 1)
        bias_m, bias_v = (1 - beta**self._count for beta in BETAS)
        pulled = lr * math.sqrt(bias_v) / bias_m * (BETAS[0] / math.sqrt(BETAS[1])) ** ages
        keep = keep * (1 - lr * self.weight_decay)
        shift = shift * (1 - lr * self.weight_decay) + pulled
        hold, take, drag = (part * (1 - average_weight) for part in (hold, take, drag))
        older = np.stack([keep, shift, hold, take + average_weight * keep, drag + average_weight * shift])
        self._factors = np.concatenate([[[1.0], [0.0], [1.0], [0.0], [0.0]], older], axis=1)

    def _write(self) -> None:
        self._last[self._rows] = self._count
        for tensor, values in ((self.table.data, self._values), (self.m, self._m), (self.v, self._v)):
            tensor[self._on_device] = values
        if self.average is not None:
            self.average[self._on_device] = self._average[0]

    def settle(self) -> None:
        """Bring every row up to date."""
        for rows in (self._last < self._count).nonzero().squeeze(1).split(_CHUNK):
            self.read(rows)
            self._write()
        self._factors = self._factors[:, :1]

    def swap_average(self) -> None:
        """Exchange the settled table with its average."""
        if self.average is not None:
            self.table.data, self.average = self.average, self.table.data

    def state(self) -> dict[str, Tensor]:
        """Give the tensors from which `restore` makes the same, the table aside."""
        count, factors = torch.tensor(self._count), torch.from_numpy(self._factors.copy())
        tensors = {"m": self.m, "v": self.v, "last": self._last, "count": count, "factors": factors}
        return tensors if self.average is None else {**tensors, "average": self.average}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Become what `state` was taken of."""
        self.m.copy_(tensors["m"])
        self.v.copy_(tensors["v"])
        self._last.copy_(tensors["last"])
        self._count, self._factors = int(tensors["count"]), tensors["factors"].numpy().copy()
        if self.average is not None:
            self.average.copy_(tensors["average"])
