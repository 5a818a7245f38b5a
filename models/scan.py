"""The GRU whose reset gate acts before the matrix product, over all steps: neither torch nor cuDNN has a kernel for it.

Forward and backward are written out, so that autograd keeps no graph per step: what depends on no earlier step is
computed for all steps at once, and the weights' gradients are one matrix product each.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gru_scan(gates: Tensor, state: Tensor, weight: Tensor) -> Tensor:
    """Run a reset-before GRU; see `models.cells.ResetBeforeGRUCell` for its equations.

    Args:
        gates: (B, T, 3H) what the inputs add to r, z, n.
        state: (B, H) before the first step.
        weight: (3H, H) recurrent weights of r, z, n.

    Returns:
        (B, T, H).
    """
    outputs: Tensor = _GRUScan.apply(gates.transpose(0, 1), state.to(gates.dtype), weight.to(gates.dtype))  # type: ignore[no-untyped-call]
    return outputs.transpose(0, 1)


class _GRUScan(torch.autograd.Function):
    """Time first. In the comments a is the state before a step, m = r * a."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, state: Tensor, weight: Tensor) -> Tensor:
        num_steps, num_rows, units = gates.shape[0], gates.shape[1], state.shape[1]
        gate_weight, n_weight = weight[: 2 * units].t(), weight[2 * units :].t()
        states = gates.new_empty(num_steps + 1, num_rows, units)
        states[0] = state
        rz, m, n = (gates.new_empty(num_steps, num_rows, size) for size in (2 * units, units, units))
        for t in range(num_steps):
            a, rz_t, m_t, n_t = states[t], rz[t], m[t], n[t]
            torch.addmm(gates[t, :, : 2 * units], a, gate_weight, out=rz_t).sigmoid_()
            torch.mul(rz_t[:, :units], a, out=m_t)
            torch.addmm(gates[t, :, 2 * units :], m_t, n_weight, out=n_t).tanh_()
            torch.lerp(a, n_t, rz_t[:, units:], out=states[t + 1])
        ctx.save_for_backward(states, rz, m, n, weight)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, rz, m, n, weight = ctx.saved_tensors
        num_steps, _, units = n.shape
        gate_weight, n_weight = weight[: 2 * units], weight[2 * units :]
        before, r, z = states[:-1], rz[..., :units], rz[..., units:]
        to_n = z * (1 - n * n)  # what a gradient of h is multiplied with on its way to each gate's sum, at all steps
        to_z = (n - before) * z * (1 - z)
        to_r = before * r * (1 - r)
        kept = 1 - z
        d_rz, d_n = torch.empty_like(rz), torch.empty_like(n)
        d_h = torch.zeros_like(n[0])
        for t in reversed(range(num_steps)):
            d_h = d_h + d_outputs[t]
            torch.mul(d_h, to_n[t], out=d_n[t])
            torch.mul(d_h, to_z[t], out=d_rz[t, :, units:])
            d_m = d_n[t] @ n_weight
            torch.mul(d_m, to_r[t], out=d_rz[t, :, :units])
            d_h = torch.addcmul(d_h * kept[t], d_m, r[t]).addmm_(d_rz[t], gate_weight)
        d_weight = torch.cat([d_rz.flatten(0, 1).t() @ before.flatten(0, 1), d_n.flatten(0, 1).t() @ m.flatten(0, 1)])
        return torch.cat([d_rz, d_n], dim=2), d_h, d_weight
