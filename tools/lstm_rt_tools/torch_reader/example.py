"""The example that a live module is converted with: read, cut down, and other inputs like it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lstm_rt.errors import ConvertError

from .modules import EMBEDDING, RECURRENT, SEQUENTIAL, class_name

#: Up to this, sizes of rows and steps are left as they are: a cut-down example stays an ordinary one.
_SMALL = 8

#: Arguments of a forward: tensors, NumPy arrays, plain Python values and tuples of these.
Args = tuple[Any, ...]


def read_example(torch: Any, module: Any, example: Any) -> Args:
    """The arguments of the module in an example, not yet copied.

    Raises:
        ConvertError: it holds something that is no tensor, array or plain value, or it is empty.
    """
    if example is None:
        return (_default_example(torch, module),)
    several = isinstance(example, tuple | list) and not hasattr(example, "batch_sizes")
    args = tuple(_checked(torch, a) for a in (example if several else (example,)))
    tensors = list(leaves(args))
    if not tensors:
        raise ConvertError("the example holds no tensor or array; a list or tuple stands for several arguments")
    for tensor in tensors:
        if 0 in tensor.shape:
            raise ConvertError(f"the example holds an empty tensor of shape {tuple(tensor.shape)}")
    return args


def _checked(torch: Any, obj: Any) -> Any:
    if hasattr(obj, "batch_sizes"):
        raise ConvertError(
            "the example is a PackedSequence; expected padded sequences (N, T, F) and their lengths: "
            "pack them in the module's forward"
        )
    if isinstance(obj, tuple | list):
        return tuple(_checked(torch, o) for o in obj)
    if isinstance(obj, torch.Tensor):
        if obj.is_meta:
            raise ConvertError("the example is on the meta device: it has a shape, but no numbers")
        return obj
    if isinstance(obj, np.ndarray) and obj.dtype.kind in "fiub":
        return obj
    if obj is None or isinstance(obj, bool | int | float | str):
        return obj
    what = f"an array of {obj.dtype}" if isinstance(obj, np.ndarray) else f"a {type(obj).__name__}"
    hint = ": give the arguments of forward in their order, as a tuple" if isinstance(obj, dict) else ""
    raise ConvertError(f"the example holds {what}; expected tensors or arrays{hint}")


def _default_example(torch: Any, module: Any) -> Any:
    """Without an example: random input for the module's first layer, where that tells the shape."""
    rng = np.random.default_rng(0)
    first = next((m for m in module.modules() if not list(m.children())), module)
    if class_name(module) in RECURRENT or class_name(module) == SEQUENTIAL:
        if class_name(first) in RECURRENT:
            return rng.standard_normal((3, 5, first.input_size))
        if class_name(first) == EMBEDDING:
            return rng.integers(0, first.num_embeddings, (3, 5))
    raise ConvertError(
        f"an example input is needed to convert a {type(module).__name__}: from_torch(module, example)"
    )


def leaves(args: Any) -> Iterator[Any]:
    """The tensors and arrays in ``args``, in order."""
    if isinstance(args, tuple):
        for a in args:
            yield from leaves(a)
    elif hasattr(args, "shape"):
        yield args


def replace(args: Any, new: Iterator[Any]) -> Any:
    """``args`` with its tensors replaced, in order."""
    if isinstance(args, tuple):
        return tuple(replace(a, new) for a in args)
    return next(new) if hasattr(args, "shape") else args


def named_tensors(names: Sequence[str], args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The tensors in ``args`` with the names of the arguments; those in tuples are numbered."""
    for name, arg in zip(names, args, strict=True):
        if isinstance(arg, tuple):
            yield from named_tensors([f"{name}_{i}" for i in range(len(arg))], arg)
        elif hasattr(arg, "shape"):
            yield name, arg


def as_tensors(torch: Any, args: Args, like: Any) -> Args:
    """Copies of ``args`` as tensors: floats of the dtype of the weight ``like``, arrays on its device."""
    return tuple(replace(args, (_as_tensor(torch, a, like) for a in leaves(args))))


def _as_tensor(torch: Any, obj: Any, like: Any) -> Any:
    if isinstance(obj, np.ndarray):
        native = np.array(obj, dtype=obj.dtype.newbyteorder("="), order="C")
        tensor = torch.from_numpy(native)
        # Lengths stay on the CPU: torch packs by lengths that are there.
        tensor = tensor if like is None or tensor.dim() == 1 else tensor.to(like.device)
    else:
        # A copy: one tensor may be given twice, and the forward may change its input in place.
        tensor = obj.detach().clone()
    if like is not None and tensor.is_floating_point():
        tensor = tensor.to(like.dtype)
    return tensor


# -- cutting down ------------------------------------------------------------------------------


def smaller(args: Args) -> Iterator[Args]:
    """``args`` cut down to a few rows and steps, then less so, at last whole.

    Which dimension of a tensor is rows and which is steps is not known here, so both are cut by the same
    rule: sizes keep their order and differ where they differed. A module may be made for one batch size
    or one number of steps: then it fails on the first and runs on a later one.
    """
    seen: list[list[tuple[int, ...]]] = []
    for cut in ((0, 1), (0,), (1,), ()):
        made = _cut(args, cut)
        shapes = [tuple(t.shape) for t in leaves(made)]
        if shapes not in seen:
            seen.append(shapes)
            yield made


def _cut(args: Args, dims: Sequence[int]) -> Args:
    sizes = sorted({n for t in leaves(args) for d, n in enumerate(_free(t)) if d in dims})
    new = {n: min(n, _SMALL + i) for i, n in enumerate(sizes)}

    def cut(tensor: Any) -> Any:
        index = tuple(slice(new[n]) if d in dims else slice(None) for d, n in enumerate(_free(tensor)))
        part = tensor[index] if index else tensor
        return _cut_lengths(part, new) if 1 in dims and _is_lengths(tensor) else part

    return tuple(replace(args, (cut(t) for t in leaves(args))))


def _free(tensor: Any) -> tuple[int, ...]:
    """Sizes of the dimensions that may be rows or steps."""
    is_float = "float" in str(tensor.dtype)
    return tuple(tensor.shape[: 1 if is_float and tensor.ndim == 2 else 2])


def _is_lengths(tensor: Any) -> bool:
    return tensor.ndim == 1 and "int" in str(tensor.dtype)


def _cut_lengths(lengths: Any, new: dict[int, int]) -> Any:
    """Lengths for the new number of steps: full ones stay full, their order stays."""

    def cut(length: int) -> int:
        bound = next((n for n in sorted(new) if n >= length), None)
        if bound is None or new[bound] == bound:
            return length
        return new[bound] if length == bound else max(1, new[bound] - 1)

    made = np.array([cut(int(n)) for n in lengths], dtype=np.int64)
    return made if isinstance(lengths, np.ndarray) else lengths.new_tensor(made.tolist())
