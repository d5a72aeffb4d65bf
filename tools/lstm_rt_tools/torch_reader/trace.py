"""Live PyTorch modules: run once on an example, with every operation noted in a graph.

The module runs as it is, in eval mode. Known layers are noted when they are called (forward
hooks); functions between them through a ``TorchFunctionMode``. What the graph then computes is
compared with the module on the example and on random inputs of other sizes, so that an operation
that was understood wrongly, or that the example froze, ends in an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lstm_rt.errors import AxesError, GraphError

from .builder import Builder
from .handlers.call import Call, short_name
from .handlers.layers import layer
from .handlers.table import HANDLERS, Handler
from .modules import SHORT_FLOATS
from .symbols import ForwardError, Index, Input, Lengths, Noted, WrongAxes, unsupported
from .where import here, running_module

#: Reading these tells nothing about the numbers in a tensor; comparisons stand in assertions, and a
#: wrong use of them shows in the check with other sizes.
_HARMLESS = frozenset(
    [
        "equal", "allclose", "size", "shape", "dim", "ndim", "ndimension", "device", "dtype", "is_floating_point",
        "is_complex", "numel", "nelement", "stride", "len", "is_cuda", "is_contiguous", "layout", "requires_grad",
        "grad_fn", "is_sparse", "is_nested", "is_quantized", "is_mps", "element_size", "get_device", "format",
        "hash", "is_meta", "is_mkldnn", "_backward_hooks", "grad", "names", "data_ptr", "is_leaf",
        "repr", "str",
    ]
)


#: These take from a tensor its shape and dtype, not its numbers: what they give is a constant.
_CONSTANTS = frozenset(["new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"])
#: Functions whose results differ from call to call.
RANDOM = frozenset(
    [
        "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "uniform",
        "bernoulli", "multinomial", "poisson", "exponential", "random", "dropout", "alpha_dropout",
    ]
)


class Recorder(Builder):
    """Builds the graph while the module runs.

    Args:
        inputs, share_axes, attribute_of: as of :class:`Builder`.
        names: of the modules, by id.
    """

    def __init__(
        self,
        torch: Any,
        inputs: Sequence[Input],
        share_axes: bool,
        names: Mapping[int, str],
        attribute_of: Callable[[Any], str | None],
    ) -> None:
        super().__init__(torch, inputs, share_axes, attribute_of)
        self.names = names
        self.noted: list[Noted] = []
        self.random = ""  #: the first random function that the forward calls, and where
        self.busy = 0  #: known layers that are running, one inside the other

    def function(self, full_name: str, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        """Note one call of a torch function."""
        tensors = [t for t in _flatten((args, kwargs)) if self.tracked(t)]
        name = short_name(full_name)
        if name in RANDOM and not self.random:
            self.random = full_name + here(self.torch, self.names)
        if not tensors or name in _HARMLESS or name in _CONSTANTS:
            return
        call = Call(full_name, args, kwargs, result)
        results = list(_flatten(result))
        self._refuse_short_floats(full_name, results)
        indices = all(isinstance(self.sym(t), Index | Lengths) for t in tensors)
        if not results or not any(isinstance(r, self.torch.Tensor) for r in results):
            if name in ("setitem", "set_") or not indices:
                raise unsupported(full_name, "it makes the forward depend on the numbers of its input")
            return  # such as lengths.max(): a wrong use shows in the check with other sizes
        handler = HANDLERS.get(name)
        if handler is None and not indices:
            raise unsupported(full_name)
        with self.graph.layer(running_module(self.names)):
            out = Index() if handler is None else self._guarded(handler, call)
        self.bind_result(result, out)
        self._note()

    def leaf(self, name: str, module: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        """Note one call of a known layer."""
        if not any(self.tracked(t) for t in _flatten((args, kwargs))):
            return
        call = Call(f"{name or 'module'} ({type(module).__name__})", args, kwargs, result)
        self._refuse_short_floats(call.name, list(_flatten(result)))
        with self.graph.layer(name):
            self._guarded(lambda rec, c: layer(rec, c, module), call)
        self._note()

    def check_unchanged(self, name: str, args: Any) -> None:
        """Raise if the call ``name`` reads a tensor that has been changed in place through a view of its memory."""
        if short_name(name) in _HARMLESS:
            return
        for tensor in _flatten(args):
            if self.tracked(tensor) and self.changed(tensor):
                raise ForwardError(
                    f"{name} reads a tensor that the module's forward has changed in place through a view of its "
                    "memory; not supported",
                    name,
                )

    def _note(self) -> None:
        new = self.graph.nodes[len(self.noted) :]
        line = here(self.torch, self.names) if new else ""
        self.noted += [Noted(n.op, n.inputs, dict(n.attrs), n.weights, line) for n in new]

    def _refuse_short_floats(self, name: str, results: Sequence[Any]) -> None:
        for tensor in results:
            if isinstance(tensor, self.torch.Tensor) and str(tensor.dtype).removeprefix("torch.") in SHORT_FLOATS:
                raise unsupported(name, f"it computes in {tensor.dtype}; the graph computes in float32")

    def _guarded(self, handler: Handler, call: Call) -> Any:
        try:
            return handler(self, call)
        except AxesError as e:
            raise WrongAxes(f"{call.name}: {e}", call.name) from None
        except GraphError as e:
            raise ForwardError(f"{call.name} in the module's forward: {e}", call.name) from None


def _flatten(obj: Any) -> Iterator[Any]:
    if isinstance(obj, dict):
        obj = obj.values()
    elif not isinstance(obj, list | tuple):
        yield obj
        return
    for item in obj:
        yield from _flatten(item)
