"""Recurrent networks in NumPy, written apart from the code that they judge, from the equations alone."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _arrays(cell):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(cell, name).detach().numpy() if hasattr(cell, name) else None for name in names]


def _elman(cell, x, activation):
    w, u, b, d = _arrays(cell)
    h, out = np.zeros((len(x), cell.units)), []
    for t in range(x.shape[1]):
        h = activation(x[:, t] @ w.T + b + h @ u.T + d)
        out.append(h)
    return np.stack(out, 1)


def elman_tanh(cell, x):
    return _elman(cell, x, np.tanh)


def elman_relu(cell, x):
    return _elman(cell, x, lambda sums: np.maximum(sums, 0))


def lstm(cell, x):
    w, u, b, d = _arrays(cell)
    h = c = np.zeros((len(x), cell.units))
    out = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ w.T + b + h @ u.T + d, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out, 1)


def gru_reset_after(cell, x):
    w, u, b, d = _arrays(cell)
    h, out = np.zeros((len(x), cell.units)), []
    for t in range(x.shape[1]):
        r_x, z_x, n_x = np.split(x[:, t] @ w.T + b, 3, axis=1)
        r_h, z_h, n_h = np.split(h @ u.T + d, 3, axis=1)
        z = sigmoid(z_x + z_h)
        h = (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * h
        out.append(h)
    return np.stack(out, 1)


def gru_reset_before(cell, x):
    w, u, b, _ = _arrays(cell)
    u_r, u_z, u_n = np.split(u, 3)
    h, out = np.zeros((len(x), cell.units)), []
    for t in range(x.shape[1]):
        r_x, z_x, n_x = np.split(x[:, t] @ w.T + b, 3, axis=1)
        r, z = sigmoid(r_x + h @ u_r.T), sigmoid(z_x + h @ u_z.T)
        candidate = np.tanh(n_x + (r * h) @ u_n.T)
        h = (1 - z) * h + z * candidate
        out.append(h)
    return np.stack(out, 1)
