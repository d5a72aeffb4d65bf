"""Pickles: whatever else a checkpoint holds does not block its weights, and nothing in it is ever run."""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import json
import pathlib
import pickle
import pickletools
import random
import re
import struct
import types
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks.build import call, obj, table, tensor, torch_legacy, torch_zip, zipped
from helpers.weight_files import GOOD, SIX, numbers, read

from lstm_rt.errors import ConvertError

# -- whatever else a checkpoint holds ----------------------------------------------------------


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = (1, 2)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, [2]


EXTRAS: dict[str, Any] = {
    "enum": Colour.RED,
    "dataclass": Options(),
    "slots": Slots(),
    "class": Options,
    "partial": functools.partial(int, base=2),
    "function": json.dumps,
    "bound method": "abc".upper,
    "slice": slice(1, None, 2),
    "range": range(5),
    "frozenset": frozenset({1, (2, 3)}),
    "set": {1, "a"},
    "deque": collections.deque([1, 2], maxlen=3),
    "Counter": collections.Counter("hello"),
    "OrderedDict": collections.OrderedDict(a=1),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "defaultdict of a class": collections.defaultdict(Options, a=Options()),
    "ChainMap": collections.ChainMap({"a": 1}),
    "namespace": argparse.Namespace(lr=0.1, net=types.SimpleNamespace(a=1)),
    "date": [datetime.date(2020, 1, 1), datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(1)],
    "path": pathlib.PurePosixPath("/a/b"),
    "uuid": uuid.UUID(int=1),
    "decimal": [decimal.Decimal("1.5"), fractions.Fraction(1, 3)],
    "pattern": re.compile("a+"),
    "complex": 1 + 2j,
    "bytes": [b"ab", bytearray(b"cd")],
    "exception": ValueError("x"),
    "numpy scalars": [np.float64(1.5), np.int32(3), np.str_("x"), np.bool_(True)],
    "numpy dtype": np.dtype("f4"),
    "numpy arrays": [np.arange(3), np.array(["a", None], dtype=object), np.array([(1, 2.0)], dtype="i4,f8")],
    "numpy generators": [np.random.default_rng(0), np.random.RandomState(0)],
    "random state": random.getstate(),
    "keys": {(1, 2): 0, ((1,), ("a",)): 1, None: 2, 1.5: 3, b"x": 4, frozenset({1}): 5, 1 << 80: 6, Colour.RED: 7},
    "numpy keys": {np.str_("a"): 0, np.int64(3): 1, np.float32(0.5): 2},
    "surrogate": "\udc80",
}


@pytest.mark.parametrize("what", EXTRAS)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_extras_do_not_block_the_weights(tmp_path: Path, what: str, protocol: int) -> None:
    whole = pickle.dumps(EXTRAS[what], protocol)
    extra = b"".join(op for op in opcodes(whole) if op[0] not in b"\x80\x95")[:-1]
    # First, and nothing remembered before it: protocol 4 counts what it remembers.
    body = b"}X\x05\0\0\0extra" + extra + b"s" + obj("state_dict") + table(w=tensor("0", 6, (6,), (1,))) + b"s"
    found = numbers(read(tmp_path, torch_zip(body, {"0": SIX.tobytes()})))
    np.testing.assert_array_equal(found["w"], SIX)


def opcodes(data: bytes) -> list[bytes]:
    starts = [at for _, _, at in pickletools.genops(data)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


# -- hostile files -----------------------------------------------------------------------------

HOSTILE = {
    "reduce": call("os.system", obj("exit 1")),
    "posix": call("posix.system", obj("exit 1")),
    "eval": call("builtins.eval", obj("1")),
    "inst": b"(" + obj("exit 1") + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + obj("exit 1") + b"o",
    "stack_global": obj("os") + obj("system") + b"\x93(" + obj("exit 1") + b"tR",
    "getattr": call("builtins.getattr", obj("x"), obj("y")),
    "load": call("torch.storage._load_from_bytes", obj("x")),
    "setstate": call("copyreg.__newobj__", obj("x")),
    "call the result of a call": b"(" + call("builtins.getattr", obj("x"), obj("y")) + obj("exit 1") + b"o",
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_calls_are_never_made(tmp_path: Path, how: str, container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They become records beside the weights; tests/attacks has a canary in a process of its own."""
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("it was run"))
    body = table(w=tensor("0", 6, (6,), (1,)), evil=HOSTILE[how])
    storages = {"0": SIX.tobytes()}
    data = torch_zip(body, storages) if container == "zip" else torch_legacy(body, {"0": (6, storages["0"])})
    np.testing.assert_array_equal(numbers(read(tmp_path, data))["w"], SIX)


def test_a_call_in_place_of_the_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"no weights found.*there is a os\.system, which is looked at, never made"):
        read(tmp_path, torch_zip(HOSTILE["reduce"], {}))


def test_unknown_objects_stay_inert(tmp_path: Path) -> None:
    evil = b"cos\nsystem\n)\x81" + obj({"a": 1}) + b"b"  # cls.__new__ and a state: looked at, never made
    found = read(tmp_path, torch_zip(table(w=tensor("0", 6, (6,), (1,)), args=evil), {"0": SIX.tobytes()}))
    assert list(found.tensors) == ["w"]


MADE = b"(" + call("cloudpickle._make_skeleton_class", obj("Net"), obj(())) + b"o" + obj({"a": 1}) + b"b"


def test_objects_of_classes_that_the_file_makes(tmp_path: Path) -> None:
    """As cloudpickle and dill write those of scripts; they are named, and none that we know."""
    found = read(tmp_path, torch_zip(table(w=tensor("0", 6, (6,), (1,)), net=MADE), {"0": SIX.tobytes()}))
    assert list(found.tensors) == ["w"]
    new = call("cloudpickle._make_skeleton_class", obj("Net"), obj(())) + b")\x81" + obj({"a": 1}) + b"b"
    with pytest.raises(ConvertError, match=r"there is a cloudpickle\._make_skeleton_class\(\)\.Net, which"):
        read(tmp_path, torch_zip(new, {}))
    like = call("torch.nn.modules.rnn", obj("LSTM")) + b")\x81" + table(_modules=b"}", _parameters=b"}") + b"b"
    found = read(tmp_path, torch_zip(like, {}))
    assert str(found.module) == "torch.nn.modules.rnn().LSTM"
    with pytest.raises(ConvertError, match="an object without a class"):
        read(tmp_path, torch_zip(obj("x") + b")\x81", {}))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (tensor("0", 6, (1 << 40,), (0,)), "w would take far more memory"),
        (tensor("0", 6, (7,), (1,)), "needs element 6"),
        (tensor("0", 6, (1 << 62, 0, 1 << 62), (0, 0, 0)), "larger than an array can be"),
        (tensor("0", 6, [10**5000], (1,)), "damaged"),
        (tensor("0", 10**5000, (2,), (1,)), "proper name and size"),
        (tensor("0", 6, (2,), (1,), 10**5000), "damaged"),
        (tensor("0", 6, (1,) * 65, (1,) * 65), "damaged"),
        (tensor("0", 6, (3, 2), (3, 1)), "needs element 7 of a storage that holds 6"),
        (tensor("0", 6, (2,), (1,), -1), "negative"),
        (tensor("0", 6, (2,), (-1,)), "negative"),
        (tensor("0", 6, (2,), (1, 1)), "1 dimensions and 2 strides"),
        (tensor("0", 1 << 60, (2,), (1,)), "has 24 bytes, expected"),
        (tensor("9", 6, (2,), (1,)), "data/9 is missing"),
        (tensor("0", 6, (2,), (1,), kind="QInt8Storage"), "has 24 bytes, expected 6"),
        (tensor("0", 6, "ab", (1,)), "damaged"),
        (b"\x96" + struct.pack("<Q", 1 << 50), "damaged or truncated"),  # BYTEARRAY8
        (b"\x8d" + struct.pack("<Q", 1 << 50), "damaged or truncated"),  # BINUNICODE8
        (b"r\xff\xff\xff\x7f", "damaged or truncated"),  # LONG_BINPUT
        (b"\x82\x01", "EXT1"),
        (b"Q", "damaged or truncated"),
        (b"", "damaged or truncated"),
        (b"}((((((((((tttttttttt" + obj(1) + b"s", "no weights"),
        (obj(1), "no weights"),
    ],
)
def test_damage_is_told(tmp_path: Path, body: bytes, message: str) -> None:
    whole = body if not body.startswith(b"ctorch") else table(w=body)
    with pytest.raises(ConvertError, match=message):
        numbers(read(tmp_path, torch_zip(whole, {"0": SIX.tobytes()})))


def test_copying_is_bounded(tmp_path: Path) -> None:
    """One list, named often: the file is small, the copies would not be."""
    body = b"](" + b"K\x01" * 60_000 + b"eq\x00" + b"0(" + b"cbuiltins\nlist\nh\x00\x85R" * 600 + b"l"
    with pytest.raises(ConvertError, match="far more memory than a file of"):
        read(tmp_path, torch_zip(body, {}))


def test_self_containing_checkpoint_ends(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="no weights"):
        read(tmp_path, torch_zip(b"}q\x00" + obj("model") + b"h\x00s", {}))


def test_foreign_zips(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("readme.txt", b"x")
    with pytest.raises(ConvertError, match=r"without a data\.pkl.*it has readme\.txt"):
        read(tmp_path, out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name in ("a/data.pkl", "b/data.pkl"):
            z.writestr(name, b"\x80\x02}.")
    with pytest.raises(ConvertError, match=r"2 data\.pkl"):
        read(tmp_path, out.getvalue())


def test_an_archive_that_was_compressed_again_is_read(tmp_path: Path) -> None:
    data = torch_zip(table(w=tensor("0", 6, (6,), (1,))), {"0": SIX.tobytes()}, zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(numbers(read(tmp_path, data))["w"], SIX)
    bzip2 = torch_zip(table(w=tensor("0", 6, (6,), (1,))), {"0": SIX.tobytes()}, zipfile.ZIP_BZIP2)
    with pytest.raises(ConvertError, match="compressed by method 12, only deflate is read"):
        read(tmp_path, bzip2)


def test_exported_programs_are_none_of_weights(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"torch\.export archive .*holds its own graph"):
        read(tmp_path, zipped({"m/data.pkl": b"\x80\x02" + obj({}) + b".", "m/archive_format": b"pt2"}))


@pytest.mark.parametrize("form", GOOD)
def test_every_truncation_is_an_error(tmp_path: Path, form: str) -> None:
    data = GOOD[form]
    for n in range(len(data)):
        with pytest.raises(ConvertError):
            read(tmp_path, data[:n])


@pytest.mark.parametrize("form", GOOD)
def test_random_damage_never_escapes(tmp_path: Path, form: str) -> None:
    rng = random.Random(0)
    for _ in range(1500):
        data = bytearray(GOOD[form])
        for _ in range(rng.choice((1, 1, 2, 6))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ConvertError):
            numbers(read(tmp_path, bytes(data)))
