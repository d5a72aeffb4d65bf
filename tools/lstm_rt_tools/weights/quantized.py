"""Layers that torch.ao.quantization makes: their numbers lie packed in objects of its own, which are not read."""

from __future__ import annotations

import re

#: The weight that tells of a layer, by its class.
_WEIGHTS = {
    **dict.fromkeys(["Linear", "Conv1d", "Conv2d", "Embedding"], "weight"),
    **dict.fromkeys(["LSTM", "GRU"], "weight_ih_l0"),
    **dict.fromkeys(["LSTMCell", "GRUCell", "RNNCell"], "weight_ih"),
}
_PACKED = re.compile(r"^((?:.*\.)?)_(?:packed_params\._packed_params|all_weight_values\.(\d+)\.param)$", re.DOTALL)


def weight_of_quantized(cls: str) -> str | None:
    """The weight that a pickled layer of this class had before; None for classes of other modules."""
    return _WEIGHTS.get(cls.rpartition(".")[2]) if ".nn.quantized." in cls else None


def weight_of_packed(name: str) -> str | None:
    """The weight that such a layer had, by the name of its packed numbers in a state dict; None for other names."""
    match = _PACKED.match(name)
    if match is None:
        return None
    return match[1] + ("weight" if match[2] is None else f"weight_ih_l{match[2]}")
