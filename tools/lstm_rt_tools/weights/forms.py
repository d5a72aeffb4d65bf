"""Weights that a state dict holds in another form than the layer uses: put back at reading.

=================== ================================== =============================================
form                stored instead of ``w``            ``w``
=================== ================================== =============================================
weight norm         ``w_g``, ``w_v``; since torch 2.0  ``g * v / |v|``, the norm over the axes on
                    ``parametrizations.w.original0/1`` which ``g`` has size 1
spectral norm       ``w_orig``, ``w_u``, ``w_v``; or   ``orig / (u . orig v)``, with the vectors of
                    ``parametrizations.w.original``,   training, as in evaluation mode
                    ``.0._u``, ``.0._v``
pruning             ``w_orig``, ``w_mask``             ``orig * mask``
weight drop         ``w_raw``, in the layer or around  ``raw``; a ``w`` beside it is a copy from which
                    its ``module``                     the last step of training dropped entries
=================== ================================== =============================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lstm_rt.errors import ConvertError

from ..names import listed, shown
from .tensors import Computed, Tensor

Array = NDArray[np.float32]

_PARAMETRIZED = re.compile(r"^(?P<owner>(?:.*\.)?)parametrizations\.(?P<name>[^.]+)\.(?P<part>.+)$")
_SUFFIXED = re.compile(r"^(?P<target>.+)_(?P<part>g|v|u|orig|mask)$")
_RAW = re.compile(r"^(?:(?P<owner>.*)\.)?(?P<name>weight\w*)_raw$")
_PLAIN = re.compile(r"^(weight|bias)(?!.*_raw$)")


@dataclass
class Folded:
    """The state dict with plain weights.

    ``stored`` are the names of the file that are gone from it. ``notes`` say what was put back;
    ``unknown`` holds, by a weight's plain name, why it could not be.
    """

    tensors: dict[str, Tensor]
    stored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


def fold(tensors: Mapping[str, Tensor]) -> Folded:
    """Put weights back that are stored as weight norm, spectral norm, pruning or weight drop do.

    Raises:
        ConvertError: a weight and its raw form have different shapes.
    """
    out = Folded({})
    swaps: dict[str, tuple[str, Tensor] | None] = {}  # by name in the file: what stands there instead
    done: dict[str, list[str]] = {}
    for target, parts in _parts(tensors).items():
        form = _form(target, parts, tensors, swaps, out.unknown)
        if form is not None:
            done.setdefault(form, []).append(target)
    out.notes += [f"{form} is computed into the weights: {listed(t)}" for form, t in done.items()]
    dropped = _undrop(tensors, swaps)
    if dropped:
        out.notes.append(f"weight drop: the weights are those called raw: {listed(dropped)}")
    for name, tensor in tensors.items():
        swap = swaps.get(name, (name, tensor))
        if swap is not None:
            out.tensors[swap[0]] = swap[1]
        if swap is None or swap[0] != name:
            out.stored.append(name)
    return out


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """By the plain name: the parts it is stored in, and their names in the file."""
    parts: dict[str, dict[str, str]] = {}
    for name in tensors:
        if m := _PARAMETRIZED.match(name):
            parts.setdefault(m["owner"] + m["name"], {})[m["part"]] = name
        elif m := _SUFFIXED.match(name):
            parts.setdefault(m["target"], {})["_" + m["part"]] = name
    return parts


_FORMS: dict[frozenset[str], tuple[str, tuple[str, ...]]] = {
    frozenset({"_g", "_v"}): ("weight norm", ("_v", "_g")),
    frozenset({"original0", "original1"}): ("weight norm", ("original1", "original0")),
    frozenset({"_orig", "_u", "_v"}): ("spectral norm", ("_orig", "_u", "_v")),
    frozenset({"original", "0._u", "0._v"}): ("spectral norm", ("original", "0._u", "0._v")),
    frozenset({"_orig", "_mask"}): ("pruning", ("_orig", "_mask")),
}


def _form(
    target: str,
    parts: dict[str, str],
    tensors: Mapping[str, Tensor],
    swaps: dict[str, tuple[str, Tensor] | None],
    unknown: dict[str, str],
) -> str | None:
    """Plan the swap of a weight's parts for the weight; returns the form, None if it is none."""
    form, order = _FORMS.get(frozenset(parts), (None, ()))
    if target in tensors:
        return None
    if form is None:
        original = next((n for p, n in parts.items() if p.startswith(("original", "_orig"))), None)
        if original is not None:
            unknown[target] = (
                f"it is stored as {shown(original)}, in a form that only the code of the model can undo; take it off "
                "before saving (torch.nn.utils.parametrize.remove_parametrizations), or convert the live module"
            )
        return None
    make, fits = _MAKERS[form]
    names = [parts[p] for p in order]
    shapes = [tensors[n].shape for n in names]
    if not fits(*shapes):
        told = " and ".join(f"{shown(n)} {s}" for n, s in zip(names, shapes, strict=True))
        unknown[target] = f"the shapes of {told} are not those of {form}"
        return None
    main = tensors[names[0]]
    swaps.update(dict.fromkeys(names))
    swaps[names[0]] = (target, Computed(main.shape, main.dtype, _reader(make, names, tensors)))
    return form


def _reader(
    make: Callable[..., Array], names: list[str], tensors: Mapping[str, Tensor]
) -> Callable[[str], Array]:
    def read(what: str) -> Array:
        # Scalars come as arrays of one number.
        arrays = [tensors[n].array(f"{what} ({shown(n)})").reshape(tensors[n].shape) for n in names]
        with np.errstate(all="ignore"):  # a norm of 0 gives what it gives in the framework: NaN
            return np.ascontiguousarray(make(*arrays), np.float32)

    return read


# -- the forms -----------------------------------------------------------------------------------


def _weight_norm(v: Array, g: Array) -> Array:
    axes = "abcdefghijklmnop"[: v.ndim]
    kept = "".join(a for a, n in zip(axes, g.shape, strict=False) if n != 1)
    squares = np.asarray(np.einsum(f"{axes},{axes}->{kept}", v, v, dtype=np.float64))
    norm = np.sqrt(squares).reshape([n if a in kept else 1 for a, n in zip(axes, v.shape, strict=True)])
    return v * np.asarray(g / norm, np.float32)


def _weight_norm_fits(v: tuple[int, ...], g: tuple[int, ...]) -> bool:
    return not g or (len(g) == len(v) and all(a in (1, b) for a, b in zip(g, v, strict=True)))


def _spectral_norm(w: Array, u: Array, v: Array) -> Array:
    largest = np.einsum("i,ij,j->", u, w.reshape(len(u), -1), v, dtype=np.float64)
    return np.asarray(w / np.float32(largest), np.float32)


def _spectral_norm_fits(w: tuple[int, ...], u: tuple[int, ...], v: tuple[int, ...]) -> bool:
    return len(w) > 1 and 0 not in w and u == w[:1] and v == (math.prod(w[1:]),)


_MAKERS: dict[str, tuple[Callable[..., Array], Callable[..., bool]]] = {
    "weight norm": (_weight_norm, _weight_norm_fits),
    "spectral norm": (_spectral_norm, _spectral_norm_fits),
    "pruning": (lambda w, mask: w * mask, lambda w, mask: w == mask),
}


def _undrop(tensors: Mapping[str, Tensor], swaps: dict[str, tuple[str, Tensor] | None]) -> list[str]:
    """Weight drop (Merity et al. 2017): the weight is the one called raw. Returns a line for each."""
    plain = {n.rpartition(".")[0] for n in tensors if _PLAIN.match(n.rpartition(".")[2])}
    lines = []
    for name, tensor in tensors.items():
        m = _RAW.match(name)
        if not m:
            continue
        owner = next((o for o in (m["owner"] or "", f"{m['owner'] or ''}.module".lstrip(".")) if o in plain), None)
        if owner is None:
            continue
        target = f"{owner}.{m['name']}".lstrip(".")
        copy = tensors.get(target)
        if copy is not None and copy.shape != tensor.shape:
            raise ConvertError(
                f"weights {shown(name)} {tensor.shape} and {shown(target)} {copy.shape}: "
                "expected the same shape, as weight drop writes"
            )
        swaps[name] = (target, tensor)
        if copy is not None:
            swaps[target] = None
        lines.append(f"{target} from {name}")
    return lines
