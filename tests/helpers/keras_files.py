"""Keras files, changed as a test needs them, and how they are refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lstm_rt_tools import from_keras

from lstm_rt.errors import ConvertError

h5py = pytest.importorskip("h5py")


def save(model: Any, folder: Path, name: str = "m.keras") -> Path:
    model.save(folder / name)
    return folder / name


def layer(config: Any, class_name: str) -> Any:
    """The configuration of the first layer of a class."""
    return next(e["config"] for e in config["config"]["layers"] if e["class_name"] == class_name)


def rewrite(path: Path, changes: dict[str, bytes | None]) -> Path:
    """Replace (or with None, drop) members of an archive."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members = {k: v for k, v in (members | changes).items() if v is not None}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return path


def edit_config(path: Path, change: Callable[[Any], Any]) -> Path:
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return rewrite(path, {"config.json": json.dumps(config).encode()})


def edit_h5_config(path: Path, change: Callable[[Any], Any]) -> Path:
    with h5py.File(path, "a") as h5:
        config = json.loads(h5.attrs["model_config"])
        change(config)
        h5.attrs["model_config"] = json.dumps(config)
    return path


def edit_weights(path: Path, change: Callable[[Any], Any]) -> Path:
    with zipfile.ZipFile(path) as archive:
        data = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(data, "a") as h5:
        change(h5)
    return rewrite(path, {"model.weights.h5": data.getvalue()})


def refuse(source: Any, *words: str, arch: Any = None) -> str:
    """The error of the reader, which has all these words."""
    with pytest.raises(ConvertError) as caught:
        from_keras(source, arch)
    for word in words:
        assert word in str(caught.value), f"{source}: {caught.value}"
    return str(caught.value)


def set_option(class_name: str, **options: Any) -> Callable[[Any], None]:
    return lambda config: layer(config, class_name).update(options)
