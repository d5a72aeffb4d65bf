"""What a Keras configuration says: one layer's options, checked, and its activations.

Every option of a layer is either interpreted, known to be harmless at inference, or refused by name.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lstm_rt.errors import ConvertError
from lstm_rt.graph import Activation

from ..names import shown

#: Options that change training, speed or bookkeeping, but not what a layer computes at inference.
_HARMLESS = frozenset(
    {
        "name",
        "trainable",
        "autocast",
        "dynamic",
        "batch_input_shape",
        "batch_shape",
        "input_length",
        "implementation",
        "unroll",
        "unit_forget_bias",
        "dropout",
        "recurrent_dropout",
        "seed",
        "rate",
        "stddev",
        "noise_shape",
        "data_format",
        "l1",
        "l2",
        "momentum",
        "synchronized",
        "fused",
        "use_cudnn",
        "lora_rank",
        "lora_alpha",
        *(
            f"{weight}_{kind}"
            for weight in (
                "kernel",
                "recurrent",
                "bias",
                "embeddings",
                "beta",
                "gamma",
                "moving_mean",
                "moving_variance",
                "activity",
                "depthwise",
                "pointwise",
                "alpha",
            )
            for kind in ("initializer", "regularizer", "constraint")
        ),
    }
)
#: Options read only when they have the value that switches them off.
_OFF: dict[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "num_constants": (None, 0),
    "reverse_dtype": (None,),
    "quantization_config": (None,),
    "rms_scaling": (False,),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "renorm_momentum": (None, 0.99),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "reverse_state_order": (False,),
    "ragged": (False, None),
    "sparse": (False, None),
    "optional": (False,),
    "use_gate": (False, None),
    "sliding_window": (None,),
    "flash_attention": (None, False),
    "zero_output_for_mask": (False,),
    "groups": (1,),
}
#: Layers of Keras 3 whose configuration does not say whether they are trainable.
_SILENT = (
    "InputLayer",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Discretization",
    "Pipeline",
)
#: Classes of models that tell how their layers are connected.
MODELS = ("Sequential", "Functional", "Model")
#: The layers of Keras 2 that are a function of TensorFlow's.
TF_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
#: The packages that Keras's own classes live in.
PACKAGES = ("keras", "tf_keras", "tensorflow")
#: What to do about a layer that cannot be converted.
INSTEAD = (
    "meanwhile convert the models before and behind it, keras.Model(inputs, outputs), and compute it between them "
    "in your program"
)
#: Computed here in float32 instead; the difference is the rounding of the type named.
_OTHER_FLOATS = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")

#: Keras's activation functions: those of the graph, with their parameters where these are not the graph's own.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    **{
        name: (name, None, None)
        for name in (
            "linear",
            "sigmoid",
            "tanh",
            "relu",
            "elu",
            "selu",
            "softplus",
            "softsign",
            "swish",
            "gelu",
            "softmax",
            "log_softmax",
            "mish",
            "celu",
        )
    },
    "silu": ("swish", None, None),
    "leaky_relu": ("leaky_relu", 0.2, None),  # the function's default, the layer's is 0.3
    "exponential": ("exp", None, None),
    "relu6": ("clip", 0.0, 6.0),
    "hard_silu": ("hard_swish", None, None),
    "hard_swish": ("hard_swish", None, None),
    "hard_tanh": ("clip", -1.0, 1.0),
}


_NEWEST = 1 << 16


@dataclass(frozen=True)
class KerasVersion:
    """The Keras that wrote a model; several defaults and one activation changed with it."""

    text: str

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version; where the minor one is not known, the newest there may be."""
        parts = self.text.split("-")[0].split(".")
        if not self.complete:
            return int(parts[0]), _NEWEST
        return int(parts[0]), int(parts[1]) if parts[1].isdigit() else 0

    @property
    def complete(self) -> bool:
        """Whether more than the major version is known: Keras 3 writes none into JSON."""
        return "." in self.text

    @property
    def major(self) -> int:
        return self.number[0]

    @property
    def bidirectional_zeroes_masked(self) -> bool:
        """Keras in TensorFlow, and Keras 3: Bidirectional sequences are 0 where masked.

        The Keras package of old (to 2.3) repeats the previous output.
        """
        return self.number >= (2, 4) or "tf" in self.text


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a configuration: its class, name and options."""

    name: str
    class_name: str
    config: Mapping[str, Any]
    keras: KerasVersion
    module: str | None = None
    #: The nested model or the wrapper that this one is part of; empty for layers of the model itself.
    inside: str = ""
    #: It is the model itself.
    whole: bool = False

    def error(self, message: str) -> ConvertError:
        """A ConvertError that names this layer, its class and where it is."""
        return ConvertError(f"{self.place}: {message}")

    def own_class(self, what: str) -> ConvertError:
        """A ConvertError that says that only the user has the code of this class."""
        instead = INSTEAD
        if self.class_name in MODELS or self.whole:
            instead = (
                "if it computes what its layers do one after the other, give keras.Model(model.inputs, model.outputs) "
                "or keras.Sequential(model.layers)"
            )
        return self.error(f"it is of the user's own class {what}, whose code no file holds and nothing runs; {instead}")

    def part(self, value: Any, where: str = "") -> LayerSpec:
        """The layer, cell or function that is written in this one's configuration."""
        return parse_layer(value, self.keras, where or str(self), "" if self.whole else self.place)

    @property
    def place(self) -> str:
        """What this is and where, for messages."""
        return f"{self} in {self.inside}" if self.inside else str(self)

    def __str__(self) -> str:
        kind = "model" if self.class_name in MODELS or self.whole else "layer"
        return f"{kind} '{shown(self.name)}' ({plain(self.class_name)})"

    @property
    def is_op(self) -> bool:
        """Not a layer but a function such as ``keras.ops.add`` (in Keras's configuration both are)."""
        if self.class_name in TF_FUNCTIONS:
            return self.keras.major == 2
        if self.module is not None:
            return ".ops." in self.module
        # legacy files drop the module, but of the two only layers can be trainable, and nearly all say so
        layer = "trainable" in self.config or "layers" in self.config or self.class_name in _SILENT
        return self.keras.major >= 3 and not layer

    def check_options(self, used: Sequence[str]) -> None:
        """Refuse options that are neither in ``used`` nor known to be harmless.

        Raises:
            ConvertError: naming the layer and the option.
        """
        for key, value in self.config.items():
            if key == "dtype":
                self.other_float()
            elif key in _OFF and key not in used:
                if value not in _OFF[key]:
                    raise self.error(f"option {key}={value!r} is not supported")
            elif key not in used and key not in _HARMLESS:
                raise self.error(f"unknown option {plain(key)}={_short(value)}")

    def other_float(self) -> str | None:
        """The float type or policy the layer computes in, if it is not float32."""
        dtype = self.config.get("dtype")
        if isinstance(dtype, Mapping):
            if dtype.get("class_name") not in ("DTypePolicy", "Policy", "FloatDTypePolicy"):
                raise self.error(f"dtype policy {dtype.get('class_name')!r} is not supported")
            dtype = _inner(dtype).get("name")
        if dtype in (None, "float32"):
            return None
        if is_one_of(dtype, _OTHER_FLOATS):
            return str(dtype)
        raise self.error(f"dtype {_short(dtype)} is not supported, expected a float type")

    def required(self, key: str) -> Any:
        """The option ``key``, which must be there."""
        if key not in self.config:
            raise self.error(f"option {key!r} is missing from the configuration")
        return self.config[key]

    def flag(self, key: str, default: bool) -> bool:
        """A yes-or-no option."""
        value = self.config.get(key, default)
        if value not in (True, False) or isinstance(value, str):
            raise self.error(f"option {key} is {_short(value)}, expected true or false")
        return bool(value)

    def size(self, key: str) -> int:
        """A positive number of units."""
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(f"option {key} is {_short(value)}, expected a positive integer")
        return value

    def number_option(self, key: str, default: float) -> float:
        """A number."""
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"option {key} is {_short(value)}, expected a number")
        return float(value)

    def optional(self, key: str) -> float | None:
        """A number that may be missing."""
        return None if self.config.get(key) is None else self.number_option(key, 0.0)

    def sizes(self, key: str, count: int, default: Any = 1, least: int = 1) -> tuple[int, ...]:
        """One whole number for each of ``count`` axes, where a single one may stand for all."""
        value = self.config.get(key, default)
        sizes = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(sizes) != count or not all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in sizes):
            raise self.error(f"option {key} is {_short(value)}, expected {count} whole numbers of at least {least}")
        return tuple(sizes)

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """One of several words."""
        value = self.config.get(key, default)
        if not is_one_of(value, known):
            raise self.error(f"option {key}={_short(value)} is not supported, expected {' or '.join(known)}")
        return str(value)

    def sublayer(self, key: str) -> LayerSpec:
        """The layer or cell that the option ``key`` holds."""
        return self.part(self.required(key), f"{self}: option {key}")

    def activation(self, key: str) -> Activation:
        """The activation function that the option ``key`` names."""
        return self._function(key, self.required(key))

    def _function(self, key: str, value: Any) -> Activation:
        if value is None:
            return Activation("linear")
        if isinstance(value, str):
            if value == "hard_sigmoid":
                return Activation("hard_sigmoid", alpha=0.2 if self.keras.major == 2 else 1 / 6, beta=0.5)
            if value in _ACTIVATIONS:
                return Activation(*_ACTIVATIONS[value])
            if ">" in value:
                raise self._own_function(key, value)
            raise self.error(
                f"{key} {value!r} is not supported; known: hard_sigmoid, {', '.join(_ACTIVATIONS)}"
            )
        if isinstance(value, Mapping) and value.get("class_name") == "function":
            inner = value.get("config")
            if value.get("module") in ("keras.activations", "keras.src.activations.activations"):
                return self._function(key, inner)
            raise self._own_function(key, inner)
        # Keras writes a lambda as its byte code.
        if isinstance(value, Mapping) and (value.get("class_name") == "__lambda__" or list(value) == ["value"]):
            raise self._own_function(key, "lambda")
        if isinstance(value, Mapping) and is_one_of(value.get("class_name"), ACTIVATION_LAYERS):
            layer = self.part(value, f"{self}: option {key}")
            return replace(layer, name=self.name).activation_layer()
        raise self.error(f"{key} {_short(value)} is not supported")

    def _own_function(self, key: str, what: Any) -> ConvertError:
        return self.error(
            f"{key} is the user's own function {_short(what)}, whose code no file holds and nothing runs; {INSTEAD}"
        )

    def activation_layer(self) -> Activation:
        """The function of a layer that is nothing but an activation (:data:`ACTIVATION_LAYERS`)."""
        self.check_options(ACTIVATION_LAYERS[self.class_name])
        match self.class_name:
            case "Activation":
                return self.activation("activation")
            case "Softmax":
                if self.config.get("axis", -1) != -1:
                    raise self.error(f"option axis={_short(self.config['axis'])}: only the last axis is supported here")
                return Activation("softmax")
            case "ELU":
                return Activation("elu", alpha=self.number_option("alpha", 1.0))
            case "ThresholdedReLU":
                return Activation("thresholded_relu", alpha=self.number_option("theta", 1.0))
            case "LeakyReLU":  # Keras 2 calls the option alpha
                key = "negative_slope" if "negative_slope" in self.config else "alpha"
                return Activation("leaky_relu", alpha=self.number_option(key, 0.3))
        return self._relu()

    def _relu(self) -> Activation:
        slope, high = self.optional("negative_slope"), self.optional("max_value")
        if self.optional("threshold"):
            raise self.error(f"option threshold={_short(self.config['threshold'])} is not supported here")
        if slope and high is not None:
            raise self.error(f"option max_value={high} together with negative_slope={slope} is not supported here")
        if high is not None:
            return Activation("clip", alpha=0.0, beta=high)
        return Activation("leaky_relu", alpha=slope) if slope else Activation("relu")


def is_one_of(value: Any, names: Container[str]) -> bool:
    """Whether a value of a configuration, which may be of any type, is one of these names."""
    return isinstance(value, str) and value in names


#: Layers that are an activation function, with their options.
ACTIVATION_LAYERS: dict[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "Softmax": ("axis",),
    "ELU": ("alpha",),
    "LeakyReLU": ("negative_slope", "alpha"),
    "ReLU": ("negative_slope", "max_value", "threshold"),
    "ThresholdedReLU": ("theta",),
}


#: Layers that change images while a model learns, and do nothing later, with their options.
AUGMENTING: dict[str, tuple[str, ...]] = {
    "RandomFlip": ("mode",),
    "RandomRotation": ("factor", "fill_mode", "interpolation", "fill_value"),
    "RandomTranslation": ("height_factor", "width_factor", "fill_mode", "interpolation", "fill_value"),
    "RandomZoom": ("height_factor", "width_factor", "fill_mode", "interpolation", "fill_value"),
    "RandomContrast": ("factor", "value_range"),
    "RandomBrightness": ("factor", "value_range"),
}


def parse_layer(value: Any, keras: KerasVersion, where: str, inside: str = "") -> LayerSpec:
    """A :class:`LayerSpec` from ``{"class_name": ..., "config": {...}}``.

    Files of Keras 3, and archives of late Keras 2, say for each class where it is from: the module of
    one of Keras's own; for the user's the name it is registered under. Older ones give the name of
    the class alone, with the package before it if the user registered it (``package>Dense``).

    Raises:
        ConvertError: not of that form, or a class that is not Keras's own though it is called like one.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("class_name"), str):
        raise ConvertError(f"{where}: expected a layer's configuration, found {_short(value)}")
    class_name, module = value["class_name"], value.get("module")
    config = value.get("config")
    if isinstance(config, list):  # Sequential models before Keras 2.2.3
        config = {"layers": config}
    if not isinstance(config, Mapping):
        raise ConvertError(
            f"{where}: the configuration of {plain(class_name)} is {_short(config)}, expected an object"
        )
    name = valid_name(value.get("name", config.get("name", class_name.lower())), where)
    spec = LayerSpec(name, class_name, config, keras, module if isinstance(module, str) else None, inside)
    registered = value.get("registered_name")
    own = spec.module is not None and spec.module.split(".")[0] not in PACKAGES
    if own or registered not in (None, class_name) or (registered is not None and spec.module is None):
        raise spec.own_class(_short(registered if registered is not None else f"{module}.{class_name}"))
    return spec


def valid_name(value: Any, where: str) -> str:
    """A name as text that can be written to a file: JSON can hold halves of characters.

    Raises:
        ConvertError: it has such halves.
    """
    name = str(value)
    try:
        name.encode()
    except UnicodeEncodeError as e:
        raise ConvertError(f"{where}: the name {_short(name)} is not text: it holds half of a character") from e
    return name


def _inner(value: Mapping[str, Any]) -> Mapping[str, Any]:
    config = value.get("config")
    return config if isinstance(config, Mapping) else {}


def plain(name: str) -> str:
    """An identifier as it is, any other text escaped; for messages."""
    return name if name.isidentifier() and len(name) <= 60 else _short(name)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
