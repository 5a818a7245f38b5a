"""AdamW (Loshchilov and Hutter 2019) over a network, with a running average of its weights, at the cost of what a step reads.

Gradients of everything but the word table lie in one tensor, one after another, which is the message that workers add up,
with what else they tell each other at every step.
Of the word table a step reads few rows: only those are sent and updated, and each gets what AdamW over the whole table would
have given it.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from models.network import Network
from pipeline.config import TrainConfig

BETAS = (0.9, 0.999)
EPS = 1e-8
NUM_NOTES = 2
"""Numbers that stand behind the gradients in the message: the loss, and what a worker asks of all."""
_LONGEST = 4096
"""Steps after which every row is brought up to date, lest the list of what it missed grow without end."""
_CHUNK = 1 << 16
"""Rows brought up to date at once."""
_NOW = np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [1.0], [1.0]])
"""The factors of a row that has missed no step."""


class Optimizer:
    """Gradients, updates and the running average of a network's weights.

    From here on the network's weights, the word table aside, are parts of one tensor, and their gradients of another.

    Args:
        network: on its device already.
        config: of the loop.
    """

    def __init__(self, network: Network, config: TrainConfig) -> None:
        self.words = network.inputs.words
        table = None if self.words is None else self.words.weight
        self._parameters = [p for p in network.parameters() if p.requires_grad and p is not table]
        self._flat = torch.cat([p.detach().flatten() for p in self._parameters])
        self._point_to(self._flat)
        self._weight_decay = config.weight_decay
        self._count = 0
        self._m, self._v = torch.zeros_like(self._flat), torch.zeros_like(self._flat)
        self._average = self._flat.detach().clone() if config.average else None
        self.rows = None
        if table is not None and table.requires_grad:
            self.rows = RowAdamW(table, config.weight_decay, has_average=bool(config.average))
        self._room = self.message = self.gradient = self.notes = self._flat.new_empty(0)

    def _point_to(self, flat: Tensor) -> None:
        """Make the network's weights parts of a tensor."""
        for parameter, part in zip(self._parameters, self._cut(flat), strict=True):
            parameter.data = part.view_as(parameter)

    def _cut(self, flat: Tensor) -> tuple[Tensor, ...]:
        return flat.split([p.numel() for p in self._parameters])

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
        if self.rows is None:
            self._clear(0)
            return self.words(word_ids.to(self.words.weight.device))
        trained = word_ids[word_ids < len(self.words.weight)]
        vectors = self.rows.read(trained)
        if len(trained) < len(word_ids):  # the rows beyond are fixed
            fixed = self.words(word_ids[len(trained) :].to(vectors.device))
            vectors = torch.cat([vectors, fixed])
        vectors = vectors.detach().requires_grad_()
        vectors.grad = self._clear(vectors.numel()).view_as(vectors)
        return vectors

    def _clear(self, num_further: int) -> Tensor:
        """Make `message` zero: all gradients one after another, then the words', then `NUM_NOTES` numbers more."""
        size = self._flat.numel() + num_further + NUM_NOTES
        if size > len(self._room):
            self._room = self._room.new_empty(size)
            for parameter, part in zip(self._parameters, self._cut(self._room[: self._flat.numel()]), strict=True):
                parameter.grad = part.view_as(parameter)
        self.message = self._room[:size].zero_()
        self.gradient, self.notes = self.message[:-NUM_NOTES], self.message[-NUM_NOTES:]
        self._word_gradient = self.gradient[self._flat.numel() :]
        return self._word_gradient

    def clip(self, longest: float) -> float:
        """Scale the gradient down to a norm of at most `longest`; returns what it was."""
        norm = self.gradient.norm().item()
        if norm > longest:
            self.gradient.mul_(longest / norm)
        return norm

    def step(self, lr: float, average_weight: float) -> None:
        """Make one update.

        Args:
            lr: the learning rate.
            average_weight: the share of the new weights in the running average, from 0 to 1.
        """
        self._count += 1
        gradient = self.gradient[: self._flat.numel()]
        adamw_(self._flat, self._m, self._v, gradient, count=self._count, lr=lr, weight_decay=self._weight_decay)
        if self._average is not None:
            self._average.lerp_(self._flat, average_weight)
        if self.rows is not None:
            self.rows.update(self._word_gradient, lr, average_weight)

    def settle(self) -> None:
        """Bring every row of the word table up to date, for whoever reads it without asking."""
        if self.rows is not None:
            self.rows.settle()

    def swap_average(self) -> None:
        """Exchange the settled weights with their running average; twice leaves them as they were."""
        if self._average is not None:
            self._flat, self._average = self._average, self._flat
            self._point_to(self._flat)
        if self.rows is not None:
            self.rows.swap_average()

    def state(self) -> dict[str, Tensor]:
        """Give the tensors from which `restore` makes the same optimizer, the weights aside."""
        tensors = {"m": self._m, "v": self._v, "count": torch.tensor(self._count)}
        if self._average is not None:
            tensors["average"] = self._average
        if self.rows is not None:
            tensors |= {f"rows.{name}": value for name, value in self.rows.state().items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Become the optimizer that `state` was taken of."""
        self._m.copy_(tensors["m"])
        self._v.copy_(tensors["v"])
        self._count = int(tensors["count"])
        if self._average is not None:
            self._average.copy_(tensors["average"])
        if self.rows is not None:
            of_rows = {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith("rows.")}
            self.rows.restore(of_rows)


@torch.no_grad()
def adamw_(values: Tensor, m: Tensor, v: Tensor, gradient: Tensor, *, count: int, lr: float, weight_decay: float) -> None:
    """Make update number `count`, from 1, of values and their two moments, in place: torch's own kernel, in one pass.

    Called by its name, as torch's optimizers import its compiler when they are made, which takes longer than many steps.
    """
    torch._fused_adamw_(
        [values],
        [gradient],
        [m],
        [v],
        [],
        [torch.tensor(float(count), device=values.device)],
        lr=lr,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=weight_decay,
        eps=EPS,
        amsgrad=False,
        maximize=False,
    )


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
        # m, v and the average, each as large as the table
        self._kept = table.new_zeros(2 + has_average, *table.shape)
        if has_average:
            self._kept[2] = table.data
        self._last = torch.zeros(len(table), dtype=torch.int64)  # the update that each row is up to date with
        self._count = 0
        self._factors = _NOW  # keep, shift, hold, take, drag, and what m and v keep; by age

    @torch.no_grad()
    def read(self, rows: Tensor) -> Tensor:
        """Bring rows up to date and give their values; `rows` is (R,), on the CPU, each row once. Nothing is written yet."""
        ages = (self._count - self._last[rows]).numpy()
        by_age = torch.from_numpy(self._factors[:, ages]).to(self.table.device, self.table.dtype).unsqueeze(2)
        keep, shift, hold, take, drag, *decays = by_age
        self._rows, self._on_device = rows, rows.to(self.table.device)
        values = self.table.index_select(0, self._on_device)
        self._read = self._kept.index_select(1, self._on_device)
        m, v, *average = self._read
        pull = m / (v.sqrt() + EPS * math.sqrt(1 - BETAS[1] ** max(self._count, 1)))
        for part in average:
            part.mul_(hold).addcmul_(take, values).sub_(drag * pull)
        m *= decays[0]
        v *= decays[1]
        self._values = values.mul_(keep).sub_(pull.mul_(shift))
        return self._values

    @torch.no_grad()
    def update(self, gradient: Tensor, lr: float, average_weight: float) -> None:
        """Make one update of the rows that were read; `gradient` is of those, and may be flat and longer."""
        self._count += 1
        gradient = gradient[: self._values.numel()].view_as(self._values)
        m, v, *average = self._read
        adamw_(self._values, m, v, gradient, count=self._count, lr=lr, weight_decay=self.weight_decay)
        for part in average:
            part.lerp_(self._values, average_weight)
        self._age(lr, average_weight)
        self._write()
        if self._factors.shape[1] > _LONGEST:
            self.settle()

    def _age(self, lr: float, average_weight: float) -> None:
        """Make every row a step older."""
        keep, shift, hold, take, drag, *decays = self._factors
        bias_m, bias_v = (1 - beta**self._count for beta in BETAS)
        m, v = (decay * beta for decay, beta in zip(decays, BETAS, strict=True))
        keep = keep * (1 - lr * self.weight_decay)
        shift = shift * (1 - lr * self.weight_decay) + lr * math.sqrt(bias_v) / bias_m * m / np.sqrt(v)
        hold, take, drag = (part * (1 - average_weight) for part in (hold, take, drag))
        older = np.stack([keep, shift, hold, take + average_weight * keep, drag + average_weight * shift, m, v])
        self._factors = np.concatenate([_NOW, older], axis=1)

    @torch.no_grad()
    def _write(self) -> None:
        self._last[self._rows] = self._count
        self.table.index_copy_(0, self._on_device, self._values)
        self._kept.index_copy_(1, self._on_device, self._read)

    def settle(self) -> None:
        """Bring every row up to date."""
        for rows in (self._last < self._count).nonzero().squeeze(1).split(_CHUNK):
            self.read(rows)
            self._write()
        self._factors = _NOW

    def swap_average(self) -> None:
        """Exchange the settled table with its average, if there is one."""
        for average in self._kept[2:]:
            held = self.table.data.clone()
            self.table.data.copy_(average)
            average.copy_(held)

    def state(self) -> dict[str, Tensor]:
        """Give the tensors from which `restore` makes the same, the table aside."""
        count, factors = torch.tensor(self._count), torch.from_numpy(self._factors.copy())
        return {"kept": self._kept, "last": self._last, "count": count, "factors": factors}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Become what `state` was taken of."""
        self._kept.copy_(tensors["kept"])
        self._last.copy_(tensors["last"])
        self._count, self._factors = int(tensors["count"]), tensors["factors"].numpy().copy()
