"""The table of Keras's layers."""

from __future__ import annotations

from dataclasses import replace

from ..build import Call, Context, Scores, Tensor
from ..config import ACTIVATION_LAYERS, AUGMENTING, INSTEAD, LayerSpec
from ..scores import of_layer, settled
from ..weights import Weights
from . import attention, basic, convlstm, einsum, merge, norms, shapes, transposed, windows, wrappers
from .cells import CELLS, RECURRENT
from .rnn import emit_cell, emit_recurrent
from .row import DROPS, KEEPS, SAYS, Layer, simple

#: Layers that do nothing at inference, and pass on the mask.
_NOTHING = (
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
)
#: Layers that make numbers of raw data; they come before the part of a model that is a network.
_PREPARATIONS = (
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "MelSpectrogram",
    "STFTSpectrogram",
    "StringLookup",
)
#: Layers that keep masks in Keras 3 alone.
_KEEP_NOT_IN_2 = ("Identity", "Normalization", "Rescaling")
_NORM = ("axis", "epsilon", "center", "scale")
_MULTI_HEAD = (
    "num_heads", "key_dim", "value_dim", "use_bias", "output_shape", "attention_axes",
    "query_shape", "key_shape", "value_shape", "softmax_robust_masking",
)  # fmt: skip
_GROUPED = ("head_dim", "num_query_heads", "num_key_value_heads", "use_bias")
_GLOBAL = ("data_format", "keepdims")

LAYERS: dict[str, Layer] = {
    "Dense": Layer(basic.emit_dense, ("units", "activation", "use_bias"), KEEPS),
    "EinsumDense": Layer(einsum.emit_einsum_dense, einsum.EINSUM),
    "Embedding": Layer(basic.emit_embedding, ("input_dim", "output_dim", "mask_zero"), SAYS),
    "ReversibleEmbedding": Layer(
        basic.emit_embedding,
        ("input_dim", "output_dim", "mask_zero", "tie_weights", "logit_soft_cap"),
        SAYS,
    ),
    "Masking": Layer(basic.emit_masking, ("mask_value",), SAYS),
    "Softmax": Layer(basic.emit_softmax, ("axis", "robust_masking"), KEEPS),
    "ReLU": Layer(basic.emit_relu, ACTIVATION_LAYERS["ReLU"], KEEPS),
    "PReLU": Layer(basic.emit_prelu, ("shared_axes",), KEEPS),
    **{name: Layer(basic.emit_activation, ACTIVATION_LAYERS[name], KEEPS) for name in basic.ACTIVATIONS},
    **dict.fromkeys(_NOTHING, Layer(basic.emit_nothing, (), KEEPS)),
    **{name: Layer(basic.emit_nothing, options) for name, options in AUGMENTING.items()},
    "LayerNormalization": Layer(norms.emit_layer_normalization, _NORM, KEEPS),
    "BatchNormalization": Layer(norms.emit_batch_normalization, _NORM, KEEPS),
    "GroupNormalization": Layer(norms.emit_group_normalization, (*_NORM, "groups"), KEEPS),
    "UnitNormalization": Layer(norms.emit_unit_normalization, ("axis",), KEEPS),
    "RMSNormalization": Layer(norms.emit_rms_normalization, ("axis", "epsilon")),
    "Normalization": Layer(norms.emit_normalization, ("axis", "mean", "variance", "invert"), KEEPS),
    "Rescaling": Layer(norms.emit_rescaling, ("scale", "offset"), KEEPS),
    "Flatten": Layer(simple(shapes.flatten), ("data_format",)),
    "Reshape": Layer(simple(shapes.reshape), ("target_shape",)),
    "Permute": Layer(simple(shapes.permute), ("dims",)),
    "RepeatVector": Layer(simple(shapes.repeat_vector), ("n",)),
    "MultiHeadAttention": Layer(attention.emit_multi_head_attention, _MULTI_HEAD, SAYS, several=True),
    # Exported as GroupQueryAttention; .h5 files have the name of the class.
    **dict.fromkeys(
        ("GroupQueryAttention", "GroupedQueryAttention"),
        Layer(attention.emit_multi_head_attention, _GROUPED, SAYS, several=True),
    ),
    "Attention": Layer(attention.emit_attention, ("use_scale", "score_mode", "causal"), SAYS, several=True),
    "AdditiveAttention": Layer(attention.emit_attention, ("use_scale", "causal"), SAYS, several=True),
    "Add": Layer(merge.merging("add"), (), SAYS, several=True),
    "Subtract": Layer(merge.merging("sub", most=2), (), SAYS, several=True),
    "Multiply": Layer(merge.merging("mul"), (), SAYS, several=True),
    "Average": Layer(merge.merging("average"), (), SAYS, several=True),
    "Maximum": Layer(merge.merging("maximum"), (), SAYS, several=True),
    "Minimum": Layer(merge.merging("minimum"), (), SAYS, several=True),
    "Concatenate": Layer(merge.emit_concatenate, ("axis",), SAYS, several=True),
    "Dot": Layer(merge.emit_dot, ("axes", "normalize"), DROPS, several=True),
    "SpectralNormalization": Layer(wrappers.emit_spectral_normalization, ("layer", "power_iterations"), SAYS),
    "TimeDistributed": Layer(wrappers.emit_time_distributed, ("layer",), KEEPS),
    "Bidirectional": Layer(convlstm.emit_bidirectional, ("merge_mode", "layer", "backward_layer"), SAYS),
    **dict.fromkeys(RECURRENT, Layer(emit_recurrent, (), SAYS)),
    **dict.fromkeys(CELLS, Layer(emit_cell, (), SAYS)),
}
for _n in (1, 2, 3):
    LAYERS |= {
        f"Conv{_n}D": Layer(windows.conv(_n), windows.CONV),
        f"Conv{_n}DTranspose": Layer(transposed.conv_transpose(_n), transposed.TRANSPOSED),
        f"MaxPooling{_n}D": Layer(windows.pooling(_n, "max"), windows.POOL),
        f"AveragePooling{_n}D": Layer(windows.pooling(_n, "avg"), windows.POOL),
        f"GlobalMaxPooling{_n}D": Layer(windows.global_pooling(_n, "max"), _GLOBAL),
        f"GlobalAveragePooling{_n}D": Layer(windows.global_pooling(_n, "mean"), _GLOBAL),
        f"Cropping{_n}D": Layer(simple(shapes.cropping(_n)), ("cropping", "data_format")),
        f"ZeroPadding{_n}D": Layer(simple(shapes.zero_padding(_n)), ("padding", "data_format")),
        f"UpSampling{_n}D": Layer(simple(shapes.up_sampling(_n)), ("size", "data_format", "interpolation")),
    }
for _n in (1, 2):
    LAYERS |= {
        f"DepthwiseConv{_n}D": Layer(windows.depthwise_conv(_n), windows.DEPTHWISE),
        f"SeparableConv{_n}D": Layer(windows.separable_conv(_n), windows.SEPARABLE),
        f"ConvLSTM{_n}D": Layer(convlstm.conv_lstm(_n), convlstm.CONV_LSTM, SAYS),
    }


def emit_layer(ctx: Context, spec: LayerSpec, weights: Weights, call: Call) -> list[Tensor]:
    """Add a layer to the graph; returns its outputs.

    Raises:
        ConvertError: the layer or one of its options is not supported; it is named.
    """
    check_known(spec)
    row = LAYERS[spec.class_name]
    if not row.several and len(call.inputs) != 1:
        raise spec.error(f"it is called with {len(call.inputs)} inputs, expected one")
    other = spec.other_float()
    if other is not None:
        ctx.note(f"{spec}: computed in {other} in Keras, here in float32")
    if spec.class_name not in (*RECURRENT, *CELLS):  # these have options of their cells as well
        spec.check_options(row.options)
    if any(isinstance(t, Scores) for t in call.inputs) and spec.class_name != "Dot":
        if part := of_layer(spec, call):
            return [part]
        call = replace(call, inputs=tuple(settled(ctx, t) for t in call.inputs))
    outputs = row.emit(ctx, spec, weights, call)
    if row.mask == SAYS:
        return outputs
    keeps = row.mask == KEEPS and not (spec.keras.major == 2 and spec.class_name in _KEEP_NOT_IN_2)
    return [replace(t, mask=call.pass_mask if keeps else None) for t in outputs]


def check_known(spec: LayerSpec) -> None:
    """Raise unless the layer is of a class that can be converted.

    Raises:
        ConvertError: naming the layer and what to do without it.
    """
    if spec.class_name in LAYERS:
        return
    if ">" in spec.class_name:
        raise spec.own_class(repr(spec.class_name))
    raise spec.error(f"this layer is not supported; {_instead(spec)}")


def _instead(spec: LayerSpec) -> str:
    """What to do about a layer that cannot be converted."""
    if spec.class_name == "Lambda":
        return "its function is code, which is never run; write it with layers of Keras's own"
    if spec.class_name.endswith("Vectorization") or spec.class_name in _PREPARATIONS:
        return "do this step before the model, and convert the model that starts behind it"
    return f"{INSTEAD}; known layers: {', '.join(sorted(LAYERS))}"
