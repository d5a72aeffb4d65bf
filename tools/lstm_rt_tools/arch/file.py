"""The architecture file: read, and checked as far as that goes without the weights. See ``docs/arch.md``.

A small TOML file lists inputs, layers and outputs; layers name the prefix of their weights. Sizes,
numbers of layers and directions come from the weights. What runs apart, such as the encoder and the
decoder of one checkpoint, is listed apart, in parts.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lstm_rt.errors import ConvertError, did_you_mean
from lstm_rt.files import read_regular

from ..names import listed, shown
from . import MAX_ARCH
from .ops import ROWS
from .tables import known_keys, layer_title, optional, required, strings, tables

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

ArchSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

_MODEL_KEYS = ("input", "layer", "output")
_TOP_KEYS = ("checkpoint", "ignore", *_MODEL_KEYS, "part", "draft")
_INPUT_KEYS = ("name", "kind", "size", "of", "order", "dims")
_OUTPUT_KEYS = ("name", "value", "order", "dims")
_COMMON = ("op", "name", "input")
_MOST_IN_A_LINE = 1000  #: dots in a line, and digits in a number
_DIGITS = re.compile(rb"[0-9][0-9_]*")


@dataclass
class Arch:
    """A checked architecture file; ``what`` is its name for messages.

    Without layers it only says which ``checkpoint`` to take of a file that tells its architecture.
    Where there are ``parts``, by name, the layers are theirs.
    """

    what: str
    inputs: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    checkpoint: str | list[str] | None = None
    parts: dict[str, Arch] = field(default_factory=dict)
    draft: bool = False  #: made up by :func:`.guess.guess_arch`, and not yet checked by anybody

    @property
    def models(self) -> list[Arch]:
        """The parts, or the file itself if it has none."""
        return list(self.parts.values()) or [self]

    def part(self, name: str | None) -> Arch:
        """The part of that name, or the file itself if it has no parts.

        Raises:
            ConvertError: there is no such part, or a name is missing; the parts are listed.
        """
        if name is None and not self.parts:
            return self
        if name in self.parts and name is not None:
            return self.parts[name]
        there = f"it describes {listed(self.parts)}" if self.parts else "it describes one model, without parts"
        if name is None:
            raise ConvertError(
                f"{self.what}: {there}, which are models of their own: choose one of these parts with --part "
                f'on the command line, part="{shown(next(iter(self.parts)))}" in Python'
            )
        raise ConvertError(f"{self.what}: there is no part {name!r}: {there}{did_you_mean(name, self.parts)}")


def read_arch(source: ArchSource) -> Arch:
    """Read and check an architecture file (or the same as a dictionary).

    Raises:
        ConvertError: not TOML, or an unknown key, op or option: named, with the known ones.
        OSError: the file is missing, cannot be read, is no regular file or larger than 1 MiB.
    """
    what, tree = ("arch", dict(source)) if isinstance(source, Mapping) else _read_toml(source)
    known_keys(what, tree, _TOP_KEYS)
    arch = _model(what, tree)
    arch.ignore = strings(what, "ignore", tree.get("ignore", []))
    arch.checkpoint = _checkpoint(what, tree.get("checkpoint"))
    arch.draft = bool(optional(what, tree, "draft", bool))
    arch.parts = _parts(what, tree.get("part", {}))
    if arch.parts:
        if any(key in tree for key in _MODEL_KEYS):
            raise ConvertError(f"{what}: has parts, and layers of none: [[layer]] is [[part.NAME.layer]] there")
    elif not arch.layers and (arch.checkpoint is None or arch.inputs or arch.outputs or arch.ignore):
        raise ConvertError(f"{what}: there is no [[layer]]")
    return arch


def _model(what: str, tree: Mapping[str, Any]) -> Arch:
    arch = Arch(what, tables(what, tree, "input"), tables(what, tree, "layer"), tables(what, tree, "output"))
    for i, entry in enumerate(arch.inputs):
        known_keys(f"{what}: input {i + 1}", entry, _INPUT_KEYS)
    for i, entry in enumerate(arch.outputs):
        known_keys(f"{what}: output {i + 1}", entry, _OUTPUT_KEYS)
    for i, layer in enumerate(arch.layers):
        _check_layer(layer_title(what, i, layer), layer)
    return arch


def _parts(what: str, value: Any) -> dict[str, Arch]:
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise ConvertError(f"{what}: part must hold a table for each part, written [[part.NAME.layer]]")
    parts = {}
    for name, tree in value.items():
        title = f"{what}: part {shown(name)}"
        known_keys(title, tree, _MODEL_KEYS)
        parts[name] = _model(title, tree)
        if not parts[name].layers:
            raise ConvertError(f"{title}: there is no [[part.{shown(name)}.layer]]")
    return parts


def _checkpoint(what: str, value: Any) -> str | list[str] | None:
    """One place in a checkpoint, or several whose weights are taken together."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
        raise ConvertError(f"{what}: checkpoint is {value!r}, expected the path to the weights, or a list of paths")
    if len(set(value)) != len(value):
        raise ConvertError(f"{what}: checkpoint names one place twice")
    return value


def _read_toml(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    what = os.path.basename(os.fspath(path))
    data = read_regular(path, MAX_ARCH)
    _check_lines(data, what)
    try:
        return what, tomllib.loads(data.decode())
    except (ValueError, RecursionError) as e:  # also what is not UTF-8
        raise ConvertError(f"{what}: not valid TOML ({shown(str(e))})") from None


def _check_lines(data: bytes, what: str) -> None:
    """Refuse what makes the TOML reader slow, or its memory large: endless dotted keys and numbers."""
    for i, line in enumerate(data.split(b"\n"), 1):
        if line.count(b".") > _MOST_IN_A_LINE:
            raise ConvertError(f"{what}: line {i} has more than {_MOST_IN_A_LINE} dots; write it as several lines")
    for number in _DIGITS.finditer(data):
        if number.end() - number.start() > _MOST_IN_A_LINE:
            raise ConvertError(f"{what}: not valid TOML (a number of {number.end() - number.start()} digits)")


def _check_layer(what: str, layer: Mapping[str, Any]) -> None:
    op = required(what, layer, "op", str)
    row = ROWS.get(op)
    if row is None:
        raise ConvertError(f"{what}: unknown op {op!r}; known: {', '.join(ROWS)}{did_you_mean(op, ROWS)}")
    if op == "linear" and "weights" in layer:
        raise ConvertError(f'{what}: op "linear" is the activation that does nothing; nn.Linear is op = "dense"')
    if "weights" in row.options and not any(key in layer for key in row.instead):
        required(what, layer, "weights", str)
    known_keys(what, layer, (("op", "name") if row.many else _COMMON) + row.options)
