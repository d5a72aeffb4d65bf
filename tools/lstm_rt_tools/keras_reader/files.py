"""Opens Keras model files: configuration, version and weights.

Needs h5py, and neither Keras nor TensorFlow. Nothing that a file names is imported, unpickled or
evaluated. Broken and foreign files give a :class:`ConvertError` that says what was expected.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.files import open_regular

from ..arch import MAX_ARCH
from ..names import listed, shown
from ..row import SAVED_MODEL
from ..weights.budget import Budget
from ..weights.hdf5_child import HDF5_MAGIC
from ..weights.hdf5_files import Hdf5Group, open_hdf5
from ..weights.json_text import load_json
from ..weights.mapped import feed
from ..weights.zip_archive import ZIP_MAGIC, ZipArchive
from .config import TF_FUNCTIONS
from .layers.cells import group_names
from .saved_model import open_saved_model
from .weights import GroupWeights, NamedWeights, Weight, Weights

_ROOT = "model.weights.h5"
_MAX_DEPTH = 100  #: of groups in groups
_GROUP = 800  #: bytes that a group's record takes


@dataclass(frozen=True)
class KerasModel:
    """A model as read: ``config`` has ``class_name`` and ``config`` as Keras serialises a model."""

    config: dict[str, Any]
    version: str
    weights: Weights
    source: dict[str, Any]  #: for ``graph.meta["source"]``
    budget: Budget = field(default_factory=Budget)  #: what is left of it for the graph


#: What tells an architecture: a path of a JSON file, the JSON text, or what it says.
ArchSource = str | os.PathLike[str] | Mapping[str, Any]


def open_model(source: str | os.PathLike[str], arch: ArchSource | None = None) -> KerasModel:
    """Read a ``.keras`` or ``.h5`` file, or a file of weights with the architecture beside it.

    Raises:
        ConvertError: a file is broken, of another kind, holds no architecture, or no weights.
        FileNotFoundError: there is no such file.
    """
    path = Path(os.fspath(source))
    return _open_path(path) if arch is None else _open_pair(path, arch)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    feed(digest, path)
    return digest.hexdigest()


def _open_path(path: Path) -> KerasModel:
    if path.is_dir() or path.name == SAVED_MODEL:
        return _open_folder(path if path.is_dir() else path.parent)
    with open_regular(path) as file:
        magic = file.read(8)
        file.seek(0)
        budget = _budget(file, path.name)
        if magic.startswith(ZIP_MAGIC):
            config, version, weights = _read_archive(file, path.name, budget)
        elif magic == HDF5_MAGIC:
            config, version, weights = _read_legacy(file, path.name, budget)
        elif magic.lstrip().startswith(b"{"):
            raise ConvertError(_no_weights(path))
        else:
            raise ConvertError(
                f"{path.name} is not a Keras model: expected a .keras archive (zip) or a .h5 file (HDF5), "
                f"the file begins with {magic!r}"
            )
    digest = _sha256(path)  # last: gigabytes that are no model are not hashed
    source = {"framework": "keras", "version": version, "file": path.name, "sha256": digest}
    return KerasModel(config, version, weights, source, budget)


def _open_folder(folder: Path) -> KerasModel:
    saved = open_saved_model(folder)
    version = read_version(saved.metadata.get("keras_version"), folder.name)
    source = {"framework": "keras", "version": version, "file": folder.resolve().name, "sha256": saved.digest}
    return KerasModel(saved.config, version, saved.weights, source, saved.budget)


def _budget(file: BinaryIO, name: str) -> Budget:
    return Budget(os.fstat(file.fileno()).st_size, name)


# -- architecture and weights in two files ----------------------------------------------------------


def _no_weights(path: Path) -> str:
    beside = (path.with_suffix(end) for end in (".weights.h5", ".h5", ".hdf5"))
    weights = next((p.name for p in beside if p.is_file()), "model.weights.h5")
    return (
        f"{path.name} is JSON: an architecture at most, and no weights; give the file of the weights with it: "
        f"lstm-rt convert {weights} --arch {path.name} -o model.lrt"
    )


def _open_pair(path: Path, arch: ArchSource) -> KerasModel:
    with open_regular(path) as file:
        magic = file.read(8)
        file.seek(0)
        if magic.startswith(ZIP_MAGIC):
            raise ConvertError(_whole(path.name))
        if magic != HDF5_MAGIC:
            raise ConvertError(
                f"{path.name} holds no Keras weights: expected an HDF5 file (.weights.h5, .h5) beside the "
                f"architecture, the file begins with {magic!r}"
            )
        config, arch_name = _read_arch(arch)
        budget = _budget(file, path.name)
        weights, saved_by = _read_weights_only(file, path.name, config, arch_name, budget)
    digest = _sha256(path)
    version = _pair_version(config, arch_name, saved_by, path.name)
    source = {"framework": "keras", "version": version, "file": path.name, "sha256": digest, "arch": arch_name}
    return KerasModel(config, version, weights, source, budget)


def _whole(name: str) -> str:
    return f"{name} is a whole model with an architecture of its own; convert it without --arch (arch=...)"


def _read_arch(arch: ArchSource) -> tuple[dict[str, Any], str]:
    """The configuration, and what to call it."""
    name = "the architecture"
    if isinstance(arch, Mapping):
        config = dict(arch)
    elif isinstance(arch, str) and arch.lstrip().startswith("{"):
        config = _json(arch, name, Budget(len(arch), name))
    else:
        path = Path(os.fspath(arch))
        name = path.name
        with open_regular(path, MAX_ARCH) as file:
            head = file.read(16).removeprefix(codecs.BOM_UTF8)  # editors on Windows write it
            if not head.lstrip().startswith(b"{"):
                raise ConvertError(
                    f"{name} is not the architecture of a Keras model; expected the JSON text that "
                    "model.to_json() gives"
                )
            text = head + file.read()
        config = _json(text, name, Budget(len(text), name))
    if not isinstance(config.get("class_name"), str) or "config" not in config:
        raise ConvertError(
            f"{name} is not the architecture of a Keras model; expected class_name and config, "
            "as model.to_json() writes them"
        )
    return config, name


def _read_weights_only(
    file: BinaryIO, name: str, config: Mapping[str, Any], arch_name: str, budget: Budget
) -> tuple[Weights, str | None]:
    """The weights that ``save_weights`` wrote, and the version of Keras if the file tells it.

    Archives number layers by class, so names may differ from those of the architecture.
    """
    with open_hdf5(file, name, budget) as h5:
        if h5.attribute("model_config") is not None:
            raise ConvertError(_whole(name))
        saved_by = _attribute(h5, "keras_version", name)
        if h5.attribute("layer_names") is not None or h5.attribute("layer_names0") is not None:
            layers = _read_named(h5, "", name)
            _check_names([layer for layer, arrays in layers.items() if arrays], name, config, arch_name)
            weights: Weights = NamedWeights.of_layers(layers)
        elif any(_layers_key(key) for key in h5):
            weights = groups = _read_groups(h5, budget)
            if groups.named:
                groups.forget_names(_layer_names(config))
            else:
                _name_groups(groups, config)
        else:
            raise ConvertError(f"{name}: this HDF5 file holds no Keras weights; expected what save_weights writes")
        return weights, None if saved_by is None else read_version(saved_by, name)


def _layer_names(config: Mapping[str, Any]) -> list[Any]:
    """The names of a model's layers, as far as its configuration is of the form of one."""
    inner = config["config"]
    listed = inner.get("layers") if isinstance(inner, Mapping) else inner
    entries = [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list) else []
    return [e.get("name", e["config"].get("name") if isinstance(e.get("config"), Mapping) else None) for e in entries]


def _check_names(layers: Sequence[str], name: str, config: Mapping[str, Any], arch_name: str) -> None:
    known = _layer_names(config)
    missing = [layer for layer in layers if layer not in known and layer != "top_level_model_weights"]
    if missing:
        raise ConvertError(
            f"{name} has weights of {', '.join(map(repr, missing[:5]))}, which {arch_name} does not know; it has "
            f"{', '.join(map(repr, known[:20]))}; save both from one model"
        )


def _pair_version(config: Mapping[str, Any], arch_name: str, saved_by: str | None, weights_name: str) -> str:
    """The version of Keras. Keras 3 writes none into JSON, but says of which module a class is."""
    if config.get("keras_version") is not None:
        version = read_version(config["keras_version"], arch_name)
    elif saved_by is not None:
        version = saved_by
    elif "registered_name" in config:
        version = "3"
    else:
        version = read_version(None, arch_name)
    if saved_by is not None and saved_by.split(".")[0] != version.split(".")[0]:
        raise ConvertError(
            f"{arch_name} is of Keras {version} but {weights_name} of Keras {saved_by}; save both with the same Keras"
        )
    return version


# -- .keras archives --------------------------------------------------------------------------------


def _read_archive(file: BinaryIO, name: str, budget: Budget) -> tuple[dict[str, Any], str, Weights]:
    archive = ZipArchive(file.read(), name, budget)
    if "config.json" not in archive or "metadata.json" not in archive:
        raise ConvertError(
            f"{name}: expected config.json, metadata.json and model.weights.h5 in the archive, "
            f"found {listed(sorted(archive.names)) or 'nothing'}"
        )
    if _ROOT not in archive:
        raise ConvertError(f"{name}: the archive has no model.weights.h5 (sharded weights are not read)")
    config = _json(archive.read("config.json"), f"{name}/config.json", budget)
    metadata = _json(archive.read("metadata.json"), f"{name}/metadata.json", budget)
    version = read_version(metadata.get("keras_version"), name)
    with open_hdf5(io.BytesIO(archive.read(_ROOT)), f"{name}/{_ROOT}", budget) as h5:
        weights = _read_groups(h5, budget)
    if not weights.named:
        _name_groups(weights, config)
    return config, version, weights


def _read_groups(h5: Hdf5Group, budget: Budget) -> GroupWeights:
    """The layers of ``model.weights.h5``; everything else there (the optimizer) is left alone."""
    root = GroupWeights(_ROOT)
    for key in h5:
        if _layers_key(key) and (group := h5.group(key)):
            _read_group(group, _below(root, key, budget), budget)
    if variables := h5.group("vars"):
        root.arrays = _read_arrays(variables, "vars", budget)
    root.link()
    return root


#: The group of a model's layers; Keras 2.12 calls it by the second name.
_LAYERS = ("layers", "_layer_checkpoint_dependencies")


def _layers_key(key: str) -> bool:
    return key.split("\\")[0] in _LAYERS


def _below(here: GroupWeights, key: str, budget: Budget) -> GroupWeights:
    """The group called ``key`` in ``here``. On Windows a key may be a whole path: ``layers\\lstm\\cell``."""
    for part in key.split("\\", _MAX_DEPTH):
        name = "layers" if part in _LAYERS else part
        label = f"{here.label}/{part}" if here.label != _ROOT else part
        if label.count("/") + label.count("\\") >= _MAX_DEPTH:
            raise ConvertError(f"{_ROOT}: groups in {shown(label)} are nested more than {_MAX_DEPTH} deep")
        budget.memory(_GROUP + 4 * len(label), "its groups")
        here = here.children.setdefault(name, GroupWeights(label))
    return here


def _name_groups(root: GroupWeights, config: Mapping[str, Any]) -> None:
    """Give groups the names of their layers, which Keras 2 left out: layers that models share are found by them."""
    _name_inside(root, config)
    root.link()


def _name_inside(group: GroupWeights, layer: Any) -> None:
    config = layer.get("config") if isinstance(layer, Mapping) else None
    if not isinstance(config, Mapping):
        return
    inner, inside = config.get("layer"), group.children.get("layer")
    if inside is not None and isinstance(inner, Mapping):
        _name_group(inside, inner)
    listed, layers = config.get("layers"), group.children.get("layers")
    if layers is None or not isinstance(listed, list):
        return
    entries = [e for e in listed if isinstance(e, Mapping) and isinstance(e.get("class_name"), str)]
    stored = [e for e in entries if e["class_name"] not in TF_FUNCTIONS]
    for entry, key in zip(stored, group_names([e["class_name"] for e in stored]), strict=True):
        if key in layers.children:
            _name_group(layers.children[key], entry)


def _name_group(group: GroupWeights, layer: Mapping[str, Any]) -> None:
    if not group.filled:  # its weights may be elsewhere
        return
    config = layer.get("config")
    name = layer.get("name", config.get("name") if isinstance(config, Mapping) else None)
    group.name = name if isinstance(name, str) else None
    _name_inside(group, layer)


def _read_group(group: Hdf5Group, here: GroupWeights, budget: Budget) -> None:
    for name in group:
        below = group.group(name)
        if below is None:
            raise ConvertError(f"{_ROOT}: expected only groups in {shown(here.label)}, found {shown(name)}")
        if name == "vars":
            if here.arrays:
                raise ConvertError(f"model.weights.h5: the group {here.label} is there twice")
            here.arrays = _read_arrays(below, f"{here.label}/vars", budget)
            here.name = _attribute(below, "name", f"{here.label}/vars")
        elif name != "seed_generator":
            _read_group(below, _below(here, name, budget), budget)


def _read_arrays(group: Hdf5Group, label: str, budget: Budget) -> dict[str, Weight]:
    arrays = {}
    for name in group:
        budget.memory(_GROUP + 4 * (len(label) + len(name)), "the names of its weights")
        arrays[name] = Weight(f"{label}/{name}", group.array(name, f"{label}/{name}"))
    return arrays


# -- .h5 files --------------------------------------------------------------------------------------


def _read_legacy(file: BinaryIO, name: str, budget: Budget) -> tuple[dict[str, Any], str, Weights]:
    with open_hdf5(file, name, budget) as h5:
        architecture = _attribute(h5, "model_config", name)
        if architecture is None:
            raise ConvertError(_no_architecture(h5, name))
        config = _json(architecture, f"{name}: model_config", budget)
        group = h5.group("model_weights")
        if group is None:
            raise ConvertError(f"{name}: expected a group model_weights, there is none")
        version = read_version(_attribute(h5, "keras_version", name) or _attribute(group, "keras_version", name), name)
        layers = _read_named(group, "model_weights/", name)
    return config, version, NamedWeights.of_layers(layers)


def _no_architecture(h5: Hdf5Group, name: str) -> str:
    if any(_layers_key(key) for key in h5) or h5.attribute("layer_names") is not None:
        return (
            f"{name} holds weights but no architecture; give the JSON text of model.to_json() with it: "
            f"lstm-rt convert {name} --arch model.json -o model.lrt; or save the whole model: "
            "model.save('model.keras')"
        )
    return f"{name}: expected the attribute model_config of a saved Keras model, this HDF5 file has none"


def _read_named(group: Hdf5Group, prefix: str, name: str) -> dict[str, list[tuple[str, NDArray[Any]]]]:
    """The names and arrays of each layer; ``prefix`` is where the group stands in the file ``name``."""
    names = _names(group, "layer_names", name)
    names += ["top_level_model_weights"] if group.group("top_level_model_weights") else []
    return {layer: _read_layer(group, layer, prefix, name) for layer in dict.fromkeys(names)}


def _read_layer(group: Hdf5Group, layer: str, prefix: str, name: str) -> list[tuple[str, NDArray[Any]]]:
    below = group.group(layer)
    if below is None:
        raise ConvertError(f"{name}: expected a group {prefix}{shown(layer)}, there is none")
    return [(w, below.array(w, f"{prefix}{layer}/{w}")) for w in _names(below, "weight_names", name)]


def _names(group: Hdf5Group, attribute: str, name: str) -> list[str]:
    """A list of names; Keras splits lists that are too long for one attribute into chunks."""
    names = group.attribute(attribute)
    if names is None:
        numbered = (group.attribute(f"{attribute}{i}") for i in itertools.count())
        chunks = list(itertools.takewhile(bool, numbered))
        if not chunks:
            raise ConvertError(f"{name}: group {shown(group.name)} has no attribute {attribute}")
        names = [item for chunk in chunks for item in chunk or ()]
    return [_text(item, name) for item in names]


# -- texts ------------------------------------------------------------------------------------------


def _attribute(group: Hdf5Group, attribute: str, name: str) -> str | None:
    """The one text of an attribute; None if there is none."""
    texts = group.attribute(attribute)
    if texts is not None and len(texts) != 1:
        raise ConvertError(f"{name}: expected one text in attribute {attribute}, found {len(texts)}")
    return _text(texts[0], name) if texts else None


def _text(value: Any, name: str) -> str:
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else value
        if isinstance(text, str):
            text.encode()  # HDF5 and JSON can hold halves of characters
    except UnicodeError as e:
        raise ConvertError(f"{name}: a name in the file is not UTF-8") from e
    if not isinstance(text, str):
        raise ConvertError(f"{name}: expected a text, found {type(value).__name__}")
    return text


def _json(text: str | bytes | memoryview, name: str, budget: Budget) -> dict[str, Any]:
    value = load_json(text.encode() if isinstance(text, str) else text, name, budget)
    if not isinstance(value, dict):
        raise ConvertError(f"{name}: expected a JSON object, found {type(value).__name__}")
    return value


def read_version(value: Any, name: str) -> str:
    """The version of Keras, which must be 2 or 3; ``name`` is what it is of."""
    if value is None:
        raise ConvertError(f"{name}: keras_version is missing; files of Keras 1 are not read")
    version = _text(value, name)
    if version.split(".")[0] not in ("2", "3"):
        raise ConvertError(f"{name} is of Keras {version}, expected Keras 2 or 3")
    return version
