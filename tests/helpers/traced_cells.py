"""The equations of recurrent cells in float64, one step after the other, with all that they compute on the way."""

from __future__ import annotations

from typing import Any

import numpy as np


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
}
USUAL = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}


def _lstm(w: dict[str, Any], fs: Any, clip: Any, z: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    s, t, out = fs
    zi, zf, zg, zo = np.split(z + h @ w["w_hh"].T, 4, axis=-1)
    p = w.get("peephole", np.zeros((3, 1)))
    i, f, g = s(clip(zi + p[0] * c)), s(clip(zf + p[1] * c)), t(clip(zg))
    c = f * c + i * g
    o = s(clip(zo + p[2] * c))
    h = o * out(c)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h @ w["w_hr"].T if "w_hr" in w else h}


def _gru(w: dict[str, Any], fs: Any, clip: Any, z: np.ndarray, h: np.ndarray, after: bool) -> dict[str, np.ndarray]:
    s, t = fs
    hidden = h.shape[-1]
    u, d = w["w_hh"].reshape(3, hidden, hidden), np.reshape(w.get("b_hh", np.zeros(3 * hidden)), (3, hidden))
    zr, zz, zn = np.split(z, 3, axis=-1)
    r, update = (s(clip(x + h @ u[k].T + d[k])) for k, x in enumerate((zr, zz)))
    inner = r * (h @ u[2].T + d[2]) if after else (r * h) @ u[2].T + d[2]
    n = t(clip(zn + inner))
    return {"r": r, "z": update, "n": n, "h": (1 - update) * n + update * h}


def run(
    op: str,
    weights: dict[str, np.ndarray],
    x: np.ndarray,
    *,
    suffix: str = "",
    backward: bool = False,
    lengths: np.ndarray | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float = 0.0,
    reset_after: bool = True,
    h: np.ndarray | None = None,
    c: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """One direction of a layer over ``x`` (N, T, I), from zero or ``h`` and ``c``: arrays (N, T, units), 0 where a row
    takes no step."""
    mine = [k for k in weights if k.endswith("_reverse") == bool(suffix)]
    w = {k.removesuffix("_reverse"): np.float64(weights[k]) for k in mine}
    fs = [FUNCTIONS[a] for a in activations or USUAL[op]]
    hidden = len(w["w_ih"]) // {"lstm": 4, "gru": 3, "rnn": 1}[op]
    limit = (lambda a: np.clip(a, -clip, clip)) if clip else (lambda a: a)
    out: dict[str, np.ndarray] = {}
    for n in range(len(x)):
        steps = x.shape[1] if lengths is None else int(lengths[n])
        now_h = np.zeros(len(w["w_hr"]) if "w_hr" in w else hidden) if h is None else np.float64(h[n])
        now_c = np.zeros(hidden) if c is None else np.float64(c[n])
        for t in reversed(range(steps)) if backward else range(steps):
            z = w["w_ih"] @ np.float64(x[n, t]) + w.get("b_ih", 0)
            if op != "gru":
                z = z + w.get("b_hh", 0)
            if op == "lstm":
                found = _lstm(w, fs, limit, z, now_h, now_c)
            elif op == "gru":
                found = _gru(w, fs, limit, z, now_h, reset_after)
            else:
                found = {"h": fs[0](limit(z + w["w_hh"] @ now_h))}
            now_h, now_c = found["h"], found.get("c", now_c)
            for kind, a in found.items():
                out.setdefault(kind, np.zeros((*x.shape[:2], len(a))))[n, t] = a
    return out
