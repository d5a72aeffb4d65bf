"""TimeDistributed."""

from __future__ import annotations

from dataclasses import replace

from ..arrays import timed
from ..build import Call, Context, Tensor
from ..config import LayerSpec
from ..rnn import RECURRENT
from ..weights import Weights

#: Layers that would take the mask, of one step then, for their own.
_READ_MASKS = (*RECURRENT, "Bidirectional", "Softmax", "GlobalAveragePooling1D")


def emit_time_distributed(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """The layer or model inside, of each step as if it were a row."""
    inner = spec.sublayer("layer")
    if call.run_mask is not None and inner.class_name in _READ_MASKS:
        raise spec.error(f"around a {inner.class_name} under a mask is not supported")
    if len(call.inputs[0].dims) < 2:
        raise spec.error("its input is not a sequence")
    x = timed(ctx, call.inputs[0])
    step = Call((Tensor(x.value, x.dims[1:]),))
    outputs = ctx.run_layer(ctx, inner, weights.child("layer", (inner.name,)), step)
    return [replace(t, dims=(x.steps, *t.dims), time=0) for t in outputs]
