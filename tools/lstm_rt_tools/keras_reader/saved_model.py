"""SavedModel folders that Keras 2 wrote: what Keras says of the model in them, and the numbers of its checkpoint.

A SavedModel holds graphs of TensorFlow's, which nothing here runs. Keras 2 wrote down beside them what each object
is: for the model its configuration, for layers their names. TensorFlow is not needed.
"""

# ruff: noqa: RUF009 - what describes a field is called where the field stands
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lstm_rt.errors import ConvertError
from lstm_rt.files import read_regular

from ..names import shown
from ..row import SAVED_MODEL
from ..weights import saved_model_proto as proto
from ..weights.budget import Budget
from ..weights.json_text import load_json
from ..weights.protobuf import Reader, many, one
from ..weights.tensor_bundle import TensorBundle
from .weights import NamedWeights

#: The file that makes a folder a SavedModel, and the one in which later Keras 2 describes objects.
_METADATA = "keras_metadata.pb"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_NETWORKS = ("_tf_keras_model", "_tf_keras_network", "_tf_keras_sequential")
_DIGITS = 10  #: of numbers that are names
_DEEP = 100  #: lists in lists of a configuration


@dataclass(slots=True)
class _Described:
    node_id: int = one(2, "int", 0)
    identifier: str = one(4, "text", "")
    metadata: str = one(5, "text", "")


@dataclass(slots=True)
class _Metadata:
    nodes: list[_Described] = many(1, "message")


@dataclass(slots=True)
class _Attribute:
    checkpoint_key: str = one(3, "text", "")


@dataclass(slots=True)
class _Trackable:
    children: list[proto.Child] = many(1, "message")
    attributes: list[_Attribute] = many(2, "message")


@dataclass(slots=True)
class _Trackables:
    nodes: list[_Trackable] = many(1, "message")


_KINDS: dict[tuple[str, str], type] = {
    ("_Metadata", "nodes"): _Described,
    ("_Trackable", "children"): proto.Child,
    ("_Trackable", "attributes"): _Attribute,
    ("_Trackables", "nodes"): _Trackable,
}


@dataclass(frozen=True)
class Saved:
    """A folder as read: ``metadata`` is what Keras says of the model."""

    metadata: Mapping[str, Any]
    config: dict[str, Any]
    weights: NamedWeights
    digest: str
    budget: Budget


def open_saved_model(folder: Path) -> Saved:
    """What Keras 2 says of its model in a SavedModel folder, and its weights.

    Raises:
        ConvertError: a file is damaged, or it is not of Keras 2, or of a model whose code only its user has.
        OSError: a file is missing or cannot be read.
    """
    if not (folder / SAVED_MODEL).is_file():
        raise ConvertError(
            f"{folder.name} is a folder without {SAVED_MODEL}; expected a file, or a SavedModel folder of Keras 2"
        )
    index = folder / "variables" / "variables.index"
    files = [folder / SAVED_MODEL, folder / _METADATA, index, *sorted(index.parent.glob("variables.data-*"))]
    budget = Budget(sum(f.stat().st_size for f in files if f.is_file()), folder.name)
    data = read_regular(folder / SAVED_MODEL)
    digest = hashlib.sha256(data)
    objects = _objects(data, budget)
    described = _described(folder, objects, budget, digest)
    metadata = _of_model(folder, objects, described, budget)
    bundle = TensorBundle(index, budget)
    layers = _Layers(folder.name, objects, described, bundle, budget).read()
    digest.update(bundle.digest().encode())
    config = {"class_name": metadata.get("class_name"), "config": _plain(metadata.get("config"))}
    return Saved(metadata, config, NamedWeights.of_layers(layers), digest.hexdigest(), budget)


def describes_model(folder: Path) -> bool:
    """Whether Keras 2 says something of its model in a SavedModel folder, by a look at the bytes."""
    data = read_regular(folder / SAVED_MODEL)
    return (folder / _METADATA).is_file() or any(kind.encode() in data for kind in _NETWORKS)


def _objects(data: bytes, budget: Budget) -> list[proto.Object]:
    graphs = [g.objects for g in proto.parse(data, budget).graphs if g.objects is not None]
    return graphs[0].nodes if graphs else []


def _described(folder: Path, objects: list[proto.Object], budget: Budget, digest: Any) -> dict[int, tuple[str, str]]:
    """For each object that Keras describes: what kind of object it is, and the JSON text about it."""
    if (folder / _METADATA).is_file():  # since Keras 2.5
        data = read_regular(folder / _METADATA)
        digest.update(data)
        message = Reader(budget, "metadata of Keras", _KINDS).message(_Metadata, memoryview(data))
        return {n.node_id: (n.identifier, n.metadata) for n in message.nodes}
    users = {i: o.user_object for i, o in enumerate(objects) if o.user_object is not None}
    return {i: (user.identifier, user.metadata) for i, user in users.items() if user.metadata}


def _of_model(
    folder: Path, objects: list[proto.Object], described: Mapping[int, tuple[str, str]], budget: Budget
) -> Mapping[str, Any]:
    kind, text = described.get(0, ("", ""))
    if kind not in _NETWORKS or not objects:
        raise ConvertError(
            f"{folder.name} is a SavedModel without a model of Keras 2, a graph of TensorFlow's alone, which is not "
            "run here; save the model from Keras itself, model.save('model.keras'), or make ONNX of the graph with "
            "tf2onnx (python -m tf2onnx.convert) and convert that"
        )
    metadata = _json(text, folder.name, budget)
    class_name = metadata.get("class_name")
    if not isinstance(class_name, str):
        raise ConvertError(f"{folder.name}: what Keras says of the model has no class_name")
    config = metadata.get("config")
    if metadata.get("is_graph_network") is False and not (isinstance(config, Mapping) and "layers" in config):
        raise ConvertError(
            f"{folder.name}: the model is of the user's own class {shown(class_name)}, whose code no file holds and "
            "nothing runs; if it computes what layers do one after the other, give keras.Sequential(model.layers); "
            "with TensorFlow installed, --from tensorflow reads the graph"
        )
    return metadata


def _json(text: str, name: str, budget: Budget) -> Mapping[str, Any]:
    value = load_json(text.encode(), f"{name}: what Keras says of it", budget)
    if not isinstance(value, dict):
        raise ConvertError(f"{name}: what Keras says of it is {type(value).__name__}, expected a JSON object")
    return value


def _plain(value: Any, depth: int = 0) -> Any:
    """A configuration with lists for tuples and shapes, as other files have them."""
    if depth > _DEEP:
        raise ConvertError("the model's configuration is nested too deeply")
    if isinstance(value, list):
        return [_plain(v, depth + 1) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
        return _plain(value["items"], depth + 1)
    return {k: _plain(v, depth + 1) for k, v in value.items()}


@dataclass(frozen=True)
class _Layers:
    """Finds the weights of a model's layers.

    The objects of the SavedModel know which variables a layer has, those of the checkpoint where the numbers are.
    Both are found by the same paths of attributes from the model on.
    """

    name: str
    objects: list[proto.Object]
    described: Mapping[int, tuple[str, str]]
    bundle: TensorBundle
    budget: Budget

    def read(self) -> dict[str, list[tuple[str, NDArray[Any]]]]:
        """The names and arrays of each layer, in Keras's order."""
        keys = self._keys()
        layers: dict[str, list[tuple[str, NDArray[Any]]]] = {}
        for child in self._object(0).children:
            if not child.local_name.startswith("layer-"):
                continue
            _, text = self.described.get(child.node_id, ("", "{}"))
            name = _json(text, self.name, self.budget).get("name")
            layers[str(name)] = [
                (variable, self._array(node, keys, f"{name}: {variable}"))
                for node, variable in self._variables(child.node_id)
            ]
        return layers

    def _array(self, node: int, keys: Mapping[int, str], what: str) -> NDArray[Any]:
        if node not in keys:
            raise ConvertError(f"{self.name}: the checkpoint has no numbers of {shown(what)}")
        return self.bundle.array(keys[node])

    def _object(self, node: int) -> proto.Object:
        if not 0 <= node < len(self.objects):
            raise ConvertError(f"{self.name}: damaged: there is no object {node}")
        return self.objects[node]

    def _variables(self, layer: int) -> list[tuple[int, str]]:
        """The objects and names of a layer's variables."""
        listed = next((c.node_id for c in self._object(layer).children if c.local_name == "variables"), None)
        children = [] if listed is None else self._object(listed).children
        decimal = [c for c in children if c.local_name.isdecimal() and len(c.local_name) < _DIGITS]
        numbered = sorted((int(c.local_name), c.node_id) for c in decimal)
        self.budget.steps(len(children))
        found = []
        for _, node in numbered:
            variable = self._object(node).variable
            if variable is not None:
                found.append((node, variable.name))
        return found

    def _keys(self) -> dict[int, str]:
        """The names of tensors in the checkpoint, by the variables in the SavedModel."""
        data = memoryview(self.bundle.text(_OBJECT_GRAPH))
        trackables = Reader(self.budget, "checkpoint of Keras", _KINDS).message(_Trackables, data).nodes
        keys: dict[int, str] = {}
        seen, waiting = {0}, [(0, 0)]
        while waiting:
            node, other = waiting.pop()
            if not 0 <= other < len(trackables):
                raise ConvertError(f"{self.name}: damaged: the checkpoint has no object {other}")
            mine, theirs = self._object(node), trackables[other]
            if theirs.attributes:
                keys[node] = theirs.attributes[0].checkpoint_key
            there = {c.local_name: c.node_id for c in theirs.children}
            self.budget.steps(1 + len(mine.children) + len(there))
            for child in mine.children:
                if child.node_id not in seen and child.local_name in there:
                    seen.add(child.node_id)
                    waiting.append((child.node_id, there[child.local_name]))
        return keys
