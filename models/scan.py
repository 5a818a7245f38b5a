"""Recurrent cells over all steps of many sequences, forward and backward written out: what oneDNN does not serve.

Autograd keeps no graph per step: what depends on no earlier step is computed for all steps at once, and the weights'
gradients are one matrix product each.

Every scan takes the same and gives the same. Sequences are packed: step after step, at each step those that are still
going on. Rows ascend by length, so the ones that go on are the last rows of the step before, and stand right before their
next step in the packed order.

    scan(gates, states, weight, bias, counts) -> (outputs, ...)

    gates    (D, N, G * H)  what the inputs add to each gate; N = sum(counts), G gates, D independent directions
    states   each (D, B, H) before the first step
    weight   (D, G * H, H)  recurrent weights
    bias     (D, 1, H)      of the candidate's recurrent product, which a GRU's reset gate acts upon; others have none
    counts   T numbers of sequences that have that step, B = counts[0] first, never rising
    outputs  (D, N, H)      and what else the state holds, of the same shape
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Counts = Sequence[int]


class Scan(Protocol):
    """What every scan takes and gives, as above."""

    def __call__(
        self, gates: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None, counts: Counts
    ) -> tuple[Tensor, ...]: ...


def elman_scan(
    gates: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None, counts: Counts
) -> tuple[Tensor, ...]:
    """Run an Elman network with tanh; see `models.cells.SimpleRNNCell`."""
    return (_apply(_SimpleScan, gates, *states, weight, torch.Tensor.tanh_, counts),)


def relu_scan(
    gates: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None, counts: Counts
) -> tuple[Tensor, ...]:
    """Run an Elman network with ReLU; see `models.cells.SimpleRNNCell`."""
    return (_apply(_SimpleScan, gates, *states, weight, torch.Tensor.relu_, counts),)


def lstm_scan(
    gates: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None, counts: Counts
) -> tuple[Tensor, ...]:
    """Run an LSTM; see `models.cells.LSTMCell`."""
    return _apply(_LSTMScan, gates, *states, weight, counts)


def gru_scan(
    gates: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None, counts: Counts
) -> tuple[Tensor, ...]:
    """Run a GRU whose reset gate acts after the matrix product; see `models.cells.GRUCell`."""
    return (_apply(_GRUScan, gates, *states, weight, bias, counts),)


def reset_before_gru_scan(
    gates: Tensor, states: tuple[Tensor, ...], weight: Tensor, bias: Tensor | None, counts: Counts
) -> tuple[Tensor, ...]:
    """Run a GRU whose reset gate acts before the matrix product; see `models.cells.ResetBeforeGRUCell`."""
    return (_apply(_ResetBeforeGRUScan, gates, *states, weight, counts),)


def _apply(scan: type[torch.autograd.Function], gates: Tensor, *arguments: Any) -> Any:
    same = (part.to(gates.dtype) if isinstance(part, Tensor) else part for part in arguments)
    return scan.apply(gates, *same)


def _spans(counts: Counts) -> list[tuple[slice, slice]]:
    """Say where each step's rows are, before the step and after it, where the first state stands before the first step."""
    spans, start = [], counts[0]
    for count in counts:
        spans.append((slice(start - count, start), slice(start, start + count)))
        start += count
    return spans


def _walk(states: Tensor, counts: Counts) -> Iterator[tuple[Tensor, Tensor]]:
    """Give each step's rows of (D, B + N, ...) states, before the step and after it, first to last."""
    for before, now in _spans(counts):
        yield states[:, before], states[:, now]


def _by_step(counts: Counts, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut each (D, N, ...) tensor into the rows of each step."""
    return [tensor.split(list(counts), 1) for tensor in tensors]


def _all_before(states: Tensor, counts: Counts) -> Tensor:
    """Give for all steps the rows before the step, (D, N, ...)."""
    if counts[-1] == counts[0]:
        return states[:, : -counts[0]]
    return torch.cat([states[:, before] for before, _ in _spans(counts)], dim=1)


def _begun(first: Tensor, num_steps: int) -> Tensor:
    """Make room for the states of all steps behind the first one."""
    num_directions, num_rows, units = first.shape
    states = first.new_empty(num_directions, num_rows + num_steps, units)
    states[:, :num_rows] = first
    return states


def _backwards(d_outputs: Tensor, counts: Counts) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Give the gradients of all states, those of the outputs so far, and each step's two sets of rows, last to first."""
    d_first = d_outputs.new_zeros(len(d_outputs), counts[0], d_outputs.shape[2])
    d_states = torch.cat([d_first, d_outputs], dim=1)
    return d_states, list(_walk(d_states, counts))[::-1]


class _SimpleScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, first: Tensor, weight: Tensor, activate: Any, counts: Counts) -> Tensor:
        states, across = _begun(first, gates.shape[1]), weight.transpose(1, 2)
        for (h, new), gate in zip(_walk(states, counts), gates.split(list(counts), 1), strict=True):
            activate(torch.baddbmm(gate, h, across, out=new))
        ctx.save_for_backward(states, weight)
        ctx.counts, ctx.activate = counts, activate
        return states[:, counts[0] :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (states, weight), counts = ctx.saved_tensors, ctx.counts
        outputs = states[:, counts[0] :]
        slopes = 1 - outputs * outputs if ctx.activate is torch.Tensor.tanh_ else (outputs > 0).to(outputs.dtype)
        d_states, steps = _backwards(d_outputs, counts)
        d_gates = torch.empty_like(slopes)
        parts = zip(slopes.split(counts, 1), d_gates.split(counts, 1), strict=True)
        for (d_before, d_h), (slope, d_gate) in zip(steps, reversed(list(parts)), strict=True):
            torch.mul(d_h, slope, out=d_gate)
            d_before.baddbmm_(d_gate, weight)
        d_weight = d_gates.transpose(1, 2) @ _all_before(states, counts)
        return d_gates, d_states[:, : counts[0]], d_weight, None, None


class _LSTMScan(torch.autograd.Function):
    """Each small operation costs as much as its numbers, so gates are squashed by one: tanh(x) = 2 sigmoid(2x) - 1.

    In the comments s = sigmoid(2x) of the candidate, so that g = 2s - 1.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, first: Tensor, first_c: Tensor, weight: Tensor, counts: Counts) -> tuple[Tensor, Tensor]:
        units = first.shape[2]
        twice = gates.new_ones(4, 1).index_fill_(0, torch.tensor(2, device=gates.device), 2).expand(4, units).reshape(-1)
        gates, across = gates * twice, weight.transpose(1, 2) * twice
        states, cells = _begun(first, gates.shape[1]), _begun(first_c, gates.shape[1])
        tanh_c = torch.empty_like(states[:, counts[0] :])
        walk = zip(
            _walk(states, counts), _walk(cells, counts), *_by_step(counts, gates, *gates.split(units, 2), tanh_c), strict=True
        )
        for (h, new), (c, new_c), gate, i, f, s, o, squashed in walk:
            gate.baddbmm_(h, across).sigmoid_()
            torch.mul(f, c, out=new_c).addcmul_(i, s, value=2).sub_(i)
            torch.tanh(new_c, out=squashed)
            torch.mul(o, squashed, out=new)
        ctx.save_for_backward(states, cells, gates, tanh_c, weight)
        ctx.counts = counts
        return states[:, counts[0] :], cells[:, counts[0] :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
        (states, cells, gates, tanh_c, weight), counts = ctx.saved_tensors, ctx.counts
        i, f, s, o = (gate.unsqueeze(2) for gate in gates.split(states.shape[2], 2))
        from_h = o.squeeze(2) * (1 - tanh_c * tanh_c)  # what a gradient of h is multiplied with on its way to c, at all steps
        of_i, of_f, of_o = (gate * (1 - gate) for gate in (i, f, o))
        to_ifg = torch.cat([(2 * s - 1) * of_i, _all_before(cells, counts).unsqueeze(2) * of_f, 4 * i * s * (1 - s)], dim=2)
        to_o = tanh_c * of_o.squeeze(2)
        d_gates = torch.empty_like(gates).unflatten(2, (4, -1))
        d_states, steps = _backwards(d_outputs, counts)
        d_cells, cell_steps = _backwards(d_c, counts)
        parts = _by_step(counts, from_h, to_ifg, to_o, f.squeeze(2), d_gates.flatten(2), d_gates[:, :, :3], d_gates[:, :, 3])
        walk = zip(steps, cell_steps, *(reversed(part) for part in parts), strict=True)
        for (d_before, d_h), (d_c_before, d_c_now), slope, to_ifg_now, to_o_now, kept, d_gate, d_ifg, d_o in walk:
            d_c_now.addcmul_(d_h, slope)
            torch.mul(d_c_now.unsqueeze(2), to_ifg_now, out=d_ifg)
            torch.mul(d_h, to_o_now, out=d_o)
            d_c_before.addcmul_(d_c_now, kept)
            d_before.baddbmm_(d_gate, weight)
        d_gates = d_gates.flatten(2)
        d_weight = d_gates.transpose(1, 2) @ _all_before(states, counts)
        return d_gates, d_states[:, : counts[0]], d_cells[:, : counts[0]], d_weight, None


class _GRUScan(torch.autograd.Function):
    """In the comments u = U_n h + d_n, what the reset gate acts on."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, first: Tensor, weight: Tensor, bias: Tensor, counts: Counts) -> Tensor:
        units, across = first.shape[2], weight.transpose(1, 2)
        states = _begun(first, gates.shape[1])
        rz, n = gates[..., : 2 * units].clone(), gates[..., 2 * units :].clone()
        u = torch.empty_like(n)
        walk = zip(_walk(states, counts), *(part.split(counts, 1) for part in (rz, n, u)), strict=True)
        for (h, new), rz_now, n_now, u_now in walk:
            rz_now.baddbmm_(h, across[..., : 2 * units]).sigmoid_()
            torch.baddbmm(bias, h, across[..., 2 * units :], out=u_now)
            n_now.addcmul_(rz_now[..., :units], u_now).tanh_()
            torch.lerp(n_now, h, rz_now[..., units:], out=new)
        ctx.save_for_backward(states, rz, n, u, weight)
        ctx.counts = counts
        return states[:, counts[0] :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (states, rz, n, u, weight), counts = ctx.saved_tensors, ctx.counts
        before, (r, z), units = _all_before(states, counts), rz.chunk(2, 2), n.shape[2]
        to_n = (1 - z) * (1 - n * n)  # what a gradient of h is multiplied with on its way to each sum, at all steps
        to_rzu = torch.stack([to_n * u * r * (1 - r), (before - n) * z * (1 - z), to_n * r], dim=2)
        d_sums = torch.empty_like(to_rzu)  # of r, z and u
        d_states, steps = _backwards(d_outputs, counts)
        parts = list(zip(*(part.split(counts, 1) for part in (to_rzu, z, d_sums)), strict=True))
        for (d_before, d_h), (slopes, kept, d_sum) in zip(steps, reversed(parts), strict=True):
            torch.mul(d_h.unsqueeze(2), slopes, out=d_sum)
            d_before.addcmul_(d_h, kept).baddbmm_(d_sum.flatten(2), weight)
        d_sums = d_sums.flatten(2)
        d_weight = d_sums.transpose(1, 2) @ before
        d_n = d_states[:, counts[0] :] * to_n
        d_gates = torch.cat([d_sums[..., : 2 * units], d_n], dim=2)
        d_bias = d_sums[..., 2 * units :].sum(1, keepdim=True)
        return d_gates, d_states[:, : counts[0]], d_weight, d_bias, None


class _ResetBeforeGRUScan(torch.autograd.Function):
    """In the comments m = r * h, what the candidate reads."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, first: Tensor, weight: Tensor, counts: Counts) -> Tensor:
        units, across = first.shape[2], weight.transpose(1, 2)
        states = _begun(first, gates.shape[1])
        rz, n = gates[..., : 2 * units].clone(), gates[..., 2 * units :].clone()
        m = torch.empty_like(n)
        walk = zip(_walk(states, counts), *(part.split(counts, 1) for part in (rz, n, m)), strict=True)
        for (h, new), rz_now, n_now, m_now in walk:
            rz_now.baddbmm_(h, across[..., : 2 * units]).sigmoid_()
            torch.mul(rz_now[..., :units], h, out=m_now)
            n_now.baddbmm_(m_now, across[..., 2 * units :]).tanh_()
            torch.lerp(h, n_now, rz_now[..., units:], out=new)
        ctx.save_for_backward(states, rz, m, n, weight)
        ctx.counts = counts
        return states[:, counts[0] :]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (states, rz, m, n, weight), counts = ctx.saved_tensors, ctx.counts
        before, (r, z), units = _all_before(states, counts), rz.chunk(2, 2), n.shape[2]
        to_n = z * (1 - n * n)  # what a gradient of h is multiplied with on its way to each gate's sum, at all steps
        to_z = (n - before) * z * (1 - z)
        to_r = before * r * (1 - r)
        kept = 1 - z
        d_gates = torch.empty(*n.shape[:2], 3 * units, dtype=n.dtype, device=n.device)
        d_states, steps = _backwards(d_outputs, counts)
        parts = list(zip(*(part.split(counts, 1) for part in (to_n, to_z, to_r, kept, r, d_gates)), strict=True))
        gate_weight, n_weight = weight[:, : 2 * units], weight[:, 2 * units :]
        for (d_before, d_h), (to_n_now, to_z_now, to_r_now, kept_now, r_now, d_gate) in zip(steps, reversed(parts), strict=True):
            d_n = torch.mul(d_h, to_n_now, out=d_gate[..., 2 * units :])
            torch.mul(d_h, to_z_now, out=d_gate[..., units : 2 * units])
            d_m = d_n @ n_weight
            torch.mul(d_m, to_r_now, out=d_gate[..., :units])
            d_before.addcmul_(d_h, kept_now).addcmul_(d_m, r_now).baddbmm_(d_gate[..., : 2 * units], gate_weight)
        d_rz, d_n = d_gates.split([2 * units, units], 2)
        d_weight = torch.cat([d_rz.transpose(1, 2) @ before, d_n.transpose(1, 2) @ m], dim=1)
        return d_gates, d_states[:, : counts[0]], d_weight, None
