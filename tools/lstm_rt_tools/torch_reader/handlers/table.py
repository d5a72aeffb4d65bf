"""Which handler a function of torch has, by its short name; one without is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..builder import Builder
from . import arithmetic, choosing, lengths, shapes
from .call import Call

#: Gets the call (arguments and the tensor that torch computed) and says what the result stands for.
Handler = Callable[[Builder, Call], Any]

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("contiguous", "clone", "detach", "cpu", "cuda", "requires_grad"), shapes.same),
    **dict.fromkeys(("dropout", "alpha_dropout", "feature_dropout"), shapes.dropout),
    **dict.fromkeys(("to", "float", "double", "type", "type_as", "long", "int"), shapes.type_change),
    "permute": shapes.permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), shapes.transpose),
    **dict.fromkeys(("t", "T", "mT", "H"), shapes.t),
    "unsqueeze": shapes.unsqueeze,
    "squeeze": shapes.squeeze,
    **dict.fromkeys(("reshape", "reshape_as", "view", "view_as", "flatten", "unflatten"), shapes.reshape),
    "getitem": choosing.getitem,
    "select": choosing.select,
    "narrow": choosing.narrow,
    "gather": choosing.gather,
    **dict.fromkeys(("flip", "fliplr"), choosing.flip),
    **dict.fromkeys(("chunk", "split"), choosing.chunk),
    **dict.fromkeys(("cat", "concat", "concatenate"), arithmetic.cat),
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "radd", "rsub", "rmul", "subtract", "multiply", "divide", "true_divide"),
        arithmetic.binary,
    ),
    **dict.fromkeys(("neg", "negative"), arithmetic.neg),
    "linear": arithmetic.linear,
    **dict.fromkeys(("matmul", "mm"), arithmetic.matmul),
    "embedding": arithmetic.embedding,
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        arithmetic.bare_recurrent,
    ),
    "layer_norm": arithmetic.layer_norm,
    **dict.fromkeys(
        (*arithmetic.PLAIN_ACTIVATIONS, "leaky_relu", "elu", "gelu", "softplus", "softmax", "log_softmax"),
        arithmetic.activation,
    ),
    **dict.fromkeys(("expand", "repeat", "expand_as"), lengths.expand),
    "sort": lengths.sort,
    "index_select": lengths.index_select,
    "_pack_padded_sequence": lengths.pack,
    "_pad_packed_sequence": lengths.unpack,
}
